"""Let a process that must not wait go first on a busy machine, as far as it may."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path

REALTIME = 1
"""The lowest real-time priority: before every ordinary process, behind drivers' own threads."""
NICENESS = -10


def go_first() -> str:
    """Raise the priority of every thread of this process, those of DDS included.

    Priorities belong to threads: raised for the main thread alone, messages would still wait for
    the threads that receive them. Also takes what start-up has left behind out of the collector's
    sight, which otherwise looks through it for tens of milliseconds every now and then.

    Returns:
        What was permitted, for the log.
    """
    gc.collect()
    gc.freeze()
    threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    with contextlib.suppress(OSError):
        for thread in threads:
            os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(REALTIME))
        return f"real-time priority {REALTIME}"
    with contextlib.suppress(OSError):
        for thread in threads:
            os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
        return f"niceness {NICENESS}"
    return "ordinary priority: neither real-time scheduling nor a lower niceness is permitted"
