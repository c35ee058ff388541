"""What a person asks for with a button, and how a word is repeated while it holds."""

from __future__ import annotations

import math
from enum import Enum, auto

from tmrl_ros.core.types import FloatArray, TeleopCommand


class Press(Enum):
    """A button that was pressed."""

    STOP = auto()
    SUCCESS = auto()
    FAILURE = auto()
    DISCARD = auto()
    QUIT = auto()


LABELS = {Press.SUCCESS: "success", Press.FAILURE: "failure", Press.DISCARD: "aborted"}
"""What a press says of the episode."""


class WhileTrue:
    """Tells True as long as something holds, False once when it ends, and then nothing."""

    def __init__(self) -> None:
        self._said = False

    def tell(self, now: bool) -> bool | None:
        """What is to be said now, None for nothing."""
        before, self._said = self._said, now
        return now if now or before else None


class Grip:
    """Where the gripper is to be: as it is until the person has asked for something else."""

    def __init__(self) -> None:
        self.opening = math.nan

    def toggle(self, commanded: float) -> None:
        """Open or close it, whichever it is not; `commanded` is its opening (0..1) now."""
        now = commanded if math.isnan(self.opening) else self.opening
        self.opening = 0.0 if now > 0.5 else 1.0

    def forget(self) -> None:
        """The person has let go."""
        self.opening = math.nan


def command(
    device: str, frame_id: str, engaged: bool, linear_mps: FloatArray, opening: float
) -> TeleopCommand:
    """A command of a device: where the person steers while they hold the arm."""
    return TeleopCommand(device, engaged, linear_mps, opening if engaged else math.nan, frame_id)
