"""From widths at the control rate to goals of a gripper that does one thing at a time.

The gripper's action server accepts every goal and runs it at once in a thread of its own: it queues
nothing and a second goal breaks the first. So there is one goal at a time, the newest wish wins,
and a width between the thresholds changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from tmrl_ros.core.franka_config import GripperConfig

MAX_FAILURES = 2


@dataclass(frozen=True)
class GripperGoal:
    """A goal of `~/grasp` (`grasp`) or `~/move`; metres, m/s, N.

    Attributes:
        grasp: Close and press with `force_n`; any width within `tolerance_m` counts as held.
    """

    grasp: bool
    width_m: float
    speed_mps: float
    force_n: float = 0.0
    tolerance_m: float = 0.0


class GripperCommander:
    """Decides which goal is sent when; times are monotonic wall seconds.

    Args:
        config: Thresholds and limits.
        max_width_m: Width of the open gripper.
    """

    def __init__(self, config: GripperConfig, max_width_m: float) -> None:
        self._config = config
        self._max_width_m = max_width_m
        self._wish: bool | None = None
        self._sent: bool | None = None
        self._started_s = float("-inf")
        self._busy = False
        self._failures = 0
        self.goals = 0
        """Goals started so far."""

    @property
    def failed(self) -> bool:
        """Whether goals failed one after the other; a homing clears it."""
        return self._failures >= MAX_FAILURES

    def ask(self, width_m: float) -> None:
        """Take in the width of a target, 0 to the maximum."""
        opening = width_m / self._max_width_m
        if opening < self._config.close_below:
            self._wish = True
        elif opening > self._config.open_above:
            self._wish = False

    def next_goal(self, now_s: float) -> GripperGoal | None:
        """The goal to send now, which then counts as started; None when there is none."""
        config = self._config
        if self._busy and now_s - self._started_s > config.goal_timeout_s:
            self.ended(success=False)
        waits = now_s - self._started_s < config.min_interval_s
        if self._busy or waits or self.failed or self._wish is None or self._wish == self._sent:
            return None
        self._busy, self._sent, self._started_s = True, self._wish, now_s
        self.goals += 1
        if self._wish:
            return GripperGoal(True, 0.0, config.speed_mps, config.force_n, self._max_width_m)
        return GripperGoal(False, self._max_width_m, config.speed_mps)

    def ended(self, *, success: bool) -> None:
        """The goal that was sent has ended; one that failed is sent once more."""
        if not self._busy:
            return
        self._busy = False
        if success:
            self._failures = 0
        else:
            self._failures += 1
            self._sent = None

    def begin_homing(self, now_s: float) -> bool:
        """Keep goals back while the fingers are homed; False when one is under way."""
        if self._busy:
            return False
        self._busy, self._started_s = True, now_s
        self.goals += 1
        return True

    def end_homing(self, *, success: bool) -> None:
        """Homed, the fingers are where nobody asked for, and failures are forgotten."""
        self._busy = False
        if success:
            self._sent, self._wish, self._failures = None, None, 0
