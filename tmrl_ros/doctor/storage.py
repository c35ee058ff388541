"""The disk: is there room for a session, and is it quick enough for the recorder?"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from tmrl_ros.core.config import Config
from tmrl_ros.doctor.finding import Finding, bad, good, skipped, warning

SESSION_MB = 5000.0
"""About what an hour with two cameras takes, several times over."""
PROBE_MB = 64
RATE_NEEDED_MBPS = 60.0
"""Twice what two simulated cameras with depth make uncompressed."""
MB = 1e6


def storage(config: Config, folder: Path) -> list[Finding]:
    """Room and speed where a session's bags will lie."""
    if not config.recorder.enabled:
        return [skipped("disk", "recorder.enabled is off: nothing of the session is kept")]
    place = existing(folder)
    findings = [room(shutil.disk_usage(place).free / MB, config.recorder.min_free_mb, place)]
    try:
        findings.append(speed(write_rate(place), place))
    except OSError as error:
        findings.append(
            bad("disk speed", f"{place} cannot be written ({error.strerror})", "name session.dir")
        )
    return findings


def existing(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def room(free_mb: float, least_mb: float, place: Path) -> Finding:
    """Whether a session fits."""
    text = f"{free_mb / 1000:.0f} GB free in {place}"
    if free_mb < least_mb:
        return bad("disk", text, f"below recorder.min_free_mb={least_mb:g} no episode starts")
    if free_mb < SESSION_MB:
        return warning("disk", text, f"a long session takes up to {SESSION_MB / 1000:g} GB")
    return good("disk", text)


def speed(rate_mbps: float, place: Path) -> Finding:
    """Whether the recorder keeps up."""
    text = f"{rate_mbps:.0f} MB/s written to {place}"
    if rate_mbps < RATE_NEEDED_MBPS:
        return warning(
            "disk speed",
            text,
            f"two cameras need {RATE_NEEDED_MBPS / 2:g} MB/s: record to an SSD of this computer",
        )
    return good("disk speed", text)


def write_rate(folder: Path, size_mb: int = PROBE_MB) -> float:
    """Megabytes per second that reach the disk, the last of them synchronised.

    Raises:
        OSError: The folder cannot be written.
    """
    block = os.urandom(1_000_000)
    probe = folder / f".tmrl-doctor-{os.getpid()}"
    try:
        started = time.monotonic()
        with probe.open("wb") as file:
            for _ in range(size_mb):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return size_mb / max(time.monotonic() - started, 1e-6)
    finally:
        probe.unlink(missing_ok=True)
