"""Memory of the graph's processes, sampled about once a second and kept for the report."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

MEMORY_FILE = "memory.json"
PERIOD_S = 1.0
KIB_PER_MB = 1000.0 / 1.024


class MemoryLog:
    """Peaks of every node and of all together, in MB (10^6 bytes) of proportional set size.

    The proportional set size counts a page that n processes share as 1/n, so that the sum is what
    the machine really gives.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / MEMORY_FILE
        self._due = 0.0
        self.peak_mb, self.peaks_mb = _read(self._path)

    def sample(self, pids: Mapping[str, int]) -> None:
        """Take one sample when it is due and write it down when a peak grew."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + PERIOD_S
        sizes = memory_mb(pids)
        grown = sum(sizes.values()) > self.peak_mb
        self.peak_mb = max(self.peak_mb, sum(sizes.values()))
        for name, size in sizes.items():
            if size > self.peaks_mb.get(name, 0.0):
                self.peaks_mb[name] = size
                grown = True
        if grown:
            self._write()

    def _write(self) -> None:
        content = {
            "peak_memory_mb": round(self.peak_mb, 1),
            "nodes": {name: round(size, 1) for name, size in sorted(self.peaks_mb.items())},
        }
        temporary = self._path.with_suffix(".tmp")
        with contextlib.suppress(OSError):  # a full disk must not end the run
            temporary.write_text(json.dumps(content, indent=1) + "\n")
            os.replace(temporary, self._path)


def memory_mb(pids: Mapping[str, int]) -> dict[str, float]:
    """Memory of each named process with its descendants, and of this launcher, in MB."""
    names = {pid: name for name, pid in pids.items()}
    sizes = {"launcher": _pss_mb(os.getpid())}
    for process in psutil.Process().children(recursive=True):
        try:
            name = names.get(os.getpgid(process.pid))
        except ProcessLookupError:
            continue
        if name is not None:
            sizes[name] = sizes.get(name, 0.0) + _pss_mb(process.pid)
    return sizes


def _read(path: Path) -> tuple[float, dict[str, float]]:
    """Peaks of earlier runs of the same session."""
    try:
        content = json.loads(path.read_text())
        return float(content["peak_memory_mb"]), {k: float(v) for k, v in content["nodes"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return 0.0, {}


def _pss_mb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) / KIB_PER_MB
        return float(psutil.Process(pid).memory_info().rss) / 1e6
    except (OSError, psutil.Error):
        return 0.0
