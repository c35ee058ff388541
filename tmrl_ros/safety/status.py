"""What the gate tells the world: the effects of one input, and its state for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tmrl_ros.core.types import Outcome, Target
from tmrl_ros.safety.causes import Refusal
from tmrl_ros.safety.hold_to_run import MESSAGE
from tmrl_ros.safety.latch import Latch


class GateState(IntEnum):
    """State of the software stop, with the values of `SafetyState.STATE_*`."""

    LATCHED = 0
    READY = 1
    RUNNING = 2


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The status is worth publishing again."""


@dataclass(frozen=True, slots=True)
class Underway:
    """A chunk is so far that the next one is wanted: what was done of it by now.

    `done.result` means nothing yet; its stamp is that of the state that answered the last of its
    rows, or of the one at which the chunk began.
    """

    done: Outcome


Effect = Target | Outcome | Underway | StateChanged


@dataclass(slots=True)
class Counters:
    """Counts since the start of the process."""

    targets_sent: int = 0
    targets_clipped: int = 0
    chunks_executed: int = 0
    chunks_rejected: int = 0


@dataclass(frozen=True, slots=True)
class GateStatus:
    """The stop as people see it. `latched_at_s` is monotonic wall time, `stamp_ns` the robot's."""

    stamp_ns: int
    state: GateState
    code: str
    message: str
    value: str
    latched_at_s: float
    present_causes: tuple[str, ...]
    targets_sent: int
    targets_clipped: int
    chunks_executed: int
    chunks_rejected: int
    latches: int


def status_of(
    latch: Latch,
    counters: Counters,
    *,
    stamp_ns: int,
    runs: bool,
    released: bool,
    present: tuple[str, ...],
) -> GateStatus:
    """The stop as people see it.

    Args:
        latch: Why nothing may move, if so.
        counters: Counts since the start.
        stamp_ns: The robot's clock.
        runs: Whether a chunk is being carried out.
        released: Whether the arm waits for somebody who holds the hold-to-run button.
        present: Codes of what is wrong with the robot now.
    """
    latched = latch.cause
    code, message = (Refusal.HOLD_RELEASED.value, MESSAGE) if released else ("", "")
    state = GateState.RUNNING if runs and not released else GateState.READY
    return GateStatus(
        stamp_ns=stamp_ns,
        state=state if latched is None else GateState.LATCHED,
        code=code if latched is None else latched.code.value,
        message=message if latched is None else latched.message,
        value="" if latched is None else latched.value,
        latched_at_s=latch.latched_at_s,
        present_causes=present,
        targets_sent=counters.targets_sent,
        targets_clipped=counters.targets_clipped,
        chunks_executed=counters.chunks_executed,
        chunks_rejected=counters.chunks_rejected,
        latches=latch.count,
    )
