"""Ends the nodes of a launcher that was killed, if they do not end by themselves.

Runs as a process of its own, without site packages, and reads `+pid` and `-pid` lines from the
launcher. When the launcher is gone, whatever way it went, its end of the pipe closes. The kernel
has then already asked every node to end (PR_SET_PDEATHSIG), so that the arm holds and bags are
closed; this process only ends the ones that hang.
"""

import os
import signal
import sys
import time

PATIENCE_S = 4.0


def is_alive(pid: int) -> bool:
    """Whether the process group of `pid` still has a member."""
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main() -> None:
    """Follow the launcher's processes until its pipe closes, then end the ones left over."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    alive: set[int] = set()
    for line in sys.stdin:
        change, pid = line[0], int(line[1:])
        (alive.add if change == "+" else alive.discard)(pid)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and any(map(is_alive, alive)):
        time.sleep(0.05)
    for pid in filter(is_alive, alive):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
