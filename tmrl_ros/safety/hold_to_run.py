"""Hold-to-run: the arm moves only while a person holds a button, where that is configured."""

from __future__ import annotations

from tmrl_ros.core.config import SafetyConfig
from tmrl_ros.core.types import NANOSECONDS

MESSAGE = "Nobody holds the hold-to-run button: the arm waits, and needs no reset."


class HoldToRun:
    """Is the button held? It begins released; a word older than the timeout is a release.

    Wall times are monotonic seconds. `paused` is what the gate has carried out: it turns when the
    gate has sent its hold, or has let the arm go on.
    """

    def __init__(self, safety: SafetyConfig) -> None:
        """Take the settings."""
        self._wanted = safety.hold_to_run
        self._timeout_s = safety.hold_timeout_s
        self._grace_ns = round(safety.hold_grace_s * NANOSECONDS)
        self._held_s: float | None = None
        self._since_ns = 0
        self.paused = self._wanted

    def on_signal(self, held: bool, wall_s: float) -> None:
        """Somebody says that they hold the button, or that they have released it."""
        self._held_s = wall_s if held else None

    def released(self, wall_s: float) -> bool:
        """Whether nothing may move for want of somebody who holds the button."""
        if not self._wanted:
            return False
        return self._held_s is None or wall_s - self._held_s > self._timeout_s

    def pause(self, stamp_ns: int) -> None:
        """The arm was told to stay at this robot time."""
        self.paused, self._since_ns = True, stamp_ns

    def resume(self, stamp_ns: int) -> bool:
        """It may move again; whether so soon that the chunk of before may go on."""
        self.paused = False
        return stamp_ns - self._since_ns <= self._grace_ns
