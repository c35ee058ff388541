"""Start processes that end with their parent, and signal them with everything they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import BinaryIO

from tmrl_ros.cli import guard
from tmrl_ros.core.parent import end_with_parent


def spawn(
    argv: Sequence[str], environment: Mapping[str, str], log: BinaryIO, *, terminal: bool = False
) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, so that Ctrl-C reaches only its parent.

    One that reads the terminal has to stay in the parent's group: the kernel stops all others.
    """
    return subprocess.Popen(
        list(argv),
        stdin=None if terminal else subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        process_group=None if terminal else 0,
        preexec_fn=partial(end_with_parent, os.getpid()),
    )


def start_guard() -> subprocess.Popen[bytes]:
    """Start the process that outlives a killed launcher; it reads pids from its stdin."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process and what it started; one that has gone is none of our business."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
