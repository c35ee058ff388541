"""The computer: processor, memory, kernel, clock, and what DDS needs of it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from tmrl_ros.core.config import Config
from tmrl_ros.core.hosts import GPU
from tmrl_ros.doctor.finding import Finding, bad, good, skipped, warning

MEMORY_NEEDED_MB = 2000.0
SEGMENT_MB = 8.4
"""Shared memory of one participant, as in config/dds."""
RECEIVE_BUFFER_BYTES = 2_000_000
REAL_TIME_PRIORITY = 98
COMMAND_S = 5.0
MB = 1e6


def machine(config: Config, processes: int, root: Path = Path("/")) -> list[Finding]:
    """All checks of this computer.

    Args:
        config: The resolved configuration.
        processes: How many processes the graph will have.
        root: Where /proc, /sys and /dev are (tests).
    """
    return [
        load(os.getloadavg()[0], os.cpu_count() or 1),
        governor(root),
        memory(psutil.virtual_memory().available / MB),
        shared_memory(root / "dev/shm", processes),
        *real_time(config, root),
        receive_buffer(config, root),
        clock(config),
    ]


def load(per_minute: float, cores: int) -> Finding:
    """Whether other work keeps the processor busy."""
    text = f"{cores} cores, load {per_minute:.1f}"
    if per_minute > 0.75 * cores:
        return warning("processor", text, "end other programs: decisions and the stop become late")
    return good("processor", text)


def governor(root: Path) -> Finding:
    """Whether cores run at full speed."""
    pattern = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
    found = {path.read_text().strip() for path in root.glob(pattern)}
    if not found:
        return skipped("CPU governor", "this kernel does not tell")
    text = ", ".join(sorted(found))
    if found != {"performance"}:
        return warning(
            "CPU governor", text, "`sudo cpupower frequency-set -g performance` (lost at reboot)"
        )
    return good("CPU governor", text)


def memory(available_mb: float) -> Finding:
    """Whether the graph fits."""
    text = f"{available_mb / 1000:.1f} GB free"
    if available_mb < MEMORY_NEEDED_MB:
        return bad("memory", text, f"a session needs about {MEMORY_NEEDED_MB / 1000:g} GB: free it")
    return good("memory", text)


def shared_memory(folder: Path, processes: int) -> Finding:
    """Whether every process gets its segment for images."""
    if not folder.is_dir():
        return warning("shared memory", f"there is no {folder}", "images travel over UDP, slower")
    free_mb = shutil.disk_usage(folder).free / MB
    needed_mb = SEGMENT_MB * processes
    text = f"{free_mb:.0f} MB free in /dev/shm, {needed_mb:.0f} MB needed"
    if free_mb < needed_mb:
        return bad(
            "shared memory", text, "`fastdds shm clean`, or give a container more with --shm-size"
        )
    return good("shared memory", text)


def real_time(config: Config, root: Path) -> list[Finding]:
    """Kernel and limits that a driver of a real arm needs."""
    if config.robot.kind == "sim":
        return [skipped("real-time kernel", "a simulated arm needs none")]
    if config.session.host == GPU:
        return [skipped("real-time kernel", "the driver runs on the robot PC")]
    file = root / "sys/kernel/realtime"
    if file.is_file() and file.read_text().strip() == "1":
        kernel = good("real-time kernel", "PREEMPT_RT")
    else:
        kernel = bad(
            "real-time kernel",
            "this kernel is not PREEMPT_RT",
            "install one where the driver runs (libfranka drops packets without; docs/hardware.md)",
        )
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    text = f"RTPRIO {'unlimited' if limit == resource.RLIM_INFINITY else limit}"
    if limit != resource.RLIM_INFINITY and limit < REAL_TIME_PRIORITY:
        return [
            kernel,
            bad(
                "real-time priority",
                text,
                "add `@realtime soft rtprio 99`, `hard` too, to /etc/security/limits.conf",
            ),
        ]
    return [kernel, good("real-time priority", text)]


def receive_buffer(config: Config, root: Path) -> Finding:
    """Whether images from another computer fit the kernel's buffers."""
    if config.session.localhost_only:
        return skipped("network buffers", "one computer")
    value = int((root / "proc/sys/net/core/rmem_max").read_text())
    text = f"net.core.rmem_max {value / MB:.1f} MB"
    if value < RECEIVE_BUFFER_BYTES:
        return warning(
            "network buffers", text, "`sudo sysctl -w net.core.rmem_max=8388608`: images are lost"
        )
    return good("network buffers", text)


def clock(config: Config) -> Finding:
    """Whether the clocks of several computers agree."""
    if config.session.localhost_only:
        return skipped("clock", "one computer")
    said = _said(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if said is None:
        return skipped("clock", "timedatectl is not there to ask")
    if said != "yes":
        return bad(
            "clock", "not synchronised", "start chrony or systemd-timesyncd on all computers"
        )
    return good("clock", "synchronised")


def _said(command: Sequence[str]) -> str | None:
    """Output of a short command; None if it cannot be run."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
