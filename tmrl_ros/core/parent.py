"""Processes that end with their parent, however it ends (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PARENT = "TMRL_PARENT_PID"


def end_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the parent dies; survives exec, not fork.

    Args:
        parent: Process id of the parent; if it died before the call, this process ends at once.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def end_with_parent_if_wanted() -> None:
    """The same in a node whose launcher can only put its process id into the environment."""
    parent = os.environ.get(PARENT, "")
    if parent.isdecimal():
        end_with_parent(int(parent))
