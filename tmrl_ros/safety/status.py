"""What the gate tells the world: the effects of one input, and its state for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tmrl_ros.core.types import Outcome, Target


class GateState(IntEnum):
    """State of the software stop, with the values of `SafetyState.STATE_*`."""

    LATCHED = 0
    READY = 1
    RUNNING = 2


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The status is worth publishing again."""


Effect = Target | Outcome | StateChanged


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
