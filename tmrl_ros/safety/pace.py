"""How abrupt targets may be: the tool's acceleration, and the gripper to and fro.

Both rules hold a target back on its own way and so keep every other limit that the way keeps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tmrl_ros.safety.geometry import Vec3

STANDSTILL: Vec3 = (0.0, 0.0, 0.0)
PAUSE_PERIODS = 1.5
"""Longer without a target, and the arm stands."""
RIPPLE = 0.5
"""A gripper opening (0..1) that goes back by less is a tremor, no change of mind."""


def shortened(step: Vec3, before: Vec3, largest_change: float) -> float:
    """Share (0 to 1) of a step that the tool may make after the step before.

    The largest one that changes the step by no more than `largest_change` (m per control period);
    where there is none, the one that changes it least. That one is shorter than the step before:
    only speeding up and turning are held back, while braking is free, so that a target never runs
    past what was asked.
    """
    length = math.hypot(*step)
    if length == 0.0:
        return 1.0
    along = sum(a * b for a, b in zip(step, before, strict=True)) / length
    aside = max(0.0, sum(value * value for value in before) - along * along)
    room = largest_change * largest_change - aside
    reachable = along + math.sqrt(room) if room > 0.0 else along
    return min(1.0, max(0.0, reachable / length))


@dataclass(slots=True)
class Pace:
    """What was sent last, as far as the next target depends on it. Stamps are the robot's, ns."""

    largest_change_m: float
    min_reversal_ns: int
    period_ns: int
    step: Vec3 = STANDSTILL
    sent_ns: int | None = None
    _opening: float | None = None
    _direction: int = 0
    _turned_ns: int = 0

    def forget(self) -> None:
        """Start from an arm at rest; the gripper keeps its command."""
        self.step, self.sent_ns = STANDSTILL, None

    def share(self, step: Vec3, stamp_ns: int) -> float:
        """Share of a step (m) that may be made now."""
        paused = self.sent_ns is None or stamp_ns - self.sent_ns > PAUSE_PERIODS * self.period_ns
        before = STANDSTILL if paused else self.step
        return shortened(step, before, self.largest_change_m)

    def opening(self, asked: float, stamp_ns: int) -> float:
        """The opening (0..1) to command: the last one while it is too early to turn back."""
        last = self._opening
        if last is None:
            return asked
        turns = self._direction * (asked - last) < -RIPPLE
        early = 0 <= stamp_ns - self._turned_ns < self.min_reversal_ns
        return last if turns and early else asked

    def note(self, step: Vec3, opening: float, stamp_ns: int) -> None:
        """Remember what was sent."""
        self.step, self.sent_ns = step, stamp_ns
        last = self._opening
        if last is None:
            self._opening = opening
            return
        change = opening - last
        if abs(change) > RIPPLE or change * self._direction > 0.0:
            direction = 1 if change > 0.0 else -1
            if direction != self._direction:
                self._direction, self._turned_ns = direction, stamp_ns
            self._opening = opening
