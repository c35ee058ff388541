"""How often the robot stops itself: several reflexes in a minute are no accident any more."""

from __future__ import annotations

from collections import deque

from tmrl_ros.core.types import RobotMode
from tmrl_ros.safety.causes import Cause, Code, cause

WINDOW_S = 60.0


class Reflexes:
    """Counts the reflexes of the last minute of wall time."""

    def __init__(self, most: int) -> None:
        """Allow `most` of them."""
        self._most = most
        self._began: deque[float] = deque()
        self._active = False

    def on_mode(self, mode: RobotMode, wall_s: float) -> None:
        """Take in the robot's mode; a reflex that lasts counts once."""
        active = mode is RobotMode.REFLEX
        if active and not self._active:
            self._began.append(wall_s)
        self._active = active

    def cause(self, wall_s: float) -> Cause | None:
        """Too many, as long as they are less than a minute ago."""
        while self._began and wall_s - self._began[0] > WINDOW_S:
            self._began.popleft()
        count = len(self._began)
        if count <= self._most:
            return None
        what = f"The robot stopped itself {count} times within a minute, more than {self._most}."
        return cause(Code.REFLEXES, what, str(count))
