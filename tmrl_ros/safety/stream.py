"""What goes to the arm: where the last target was, how abrupt the next may be, and the hold."""

from __future__ import annotations

import math

import numpy as np

from tmrl_ros.core.types import Pose, Target
from tmrl_ros.safety.causes import Cause
from tmrl_ros.safety.chunk_rules import start_cause
from tmrl_ros.safety.execution import Execution, ToolPose, seed
from tmrl_ros.safety.geometry import Quat
from tmrl_ros.safety.limits import Limits
from tmrl_ros.safety.pace import Pace
from tmrl_ros.safety.state_rules import Measured
from tmrl_ros.safety.status import Counters
from tmrl_ros.safety.takeover import Hand


class TargetStream:
    """Makes every target, one per control period, each from the one before."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        """Begin with an arm to which nothing was said."""
        self._limits, self._counters = limits, counters
        self._last: ToolPose | None = None
        self._last_asked: Quat | None = None
        self._width_m: float | None = None
        self._pace = Pace(limits.max_step_change_m, limits.min_reversal_ns, limits.period_ns)

    def hold(self, measured: Measured | None) -> list[Target]:
        """Stay where the arm is; the gripper keeps its last command, so that nothing is dropped."""
        if measured is None:
            return []
        here = ToolPose(measured.position, measured.quaternion)
        return [self._target(here, measured, self._commanded_width_m(measured), hold=True)]

    def rest(self) -> None:
        """The arm was told to stay: the next target is counted from where it is measured."""
        self._last = None
        self._pace.forget()

    def forget(self) -> None:
        """The stop has latched: the orientation asked for before does not matter either."""
        self.rest()
        self._last_asked = None

    def start_cause(self, run: Execution, measured: Measured) -> Cause | None:
        """What is wrong with beginning a chunk now."""
        return start_cause(run.plan, measured, self._last_asked, self._limits)

    def begins(self, run: Execution) -> None:
        """A chunk whose beginning is right goes on from here."""
        self._last_asked = run.plan.quaternion

    def joins(self, run: Execution, measured: Measured) -> bool:
        """Whether the rows that a chunk takes for carried out have led where it says.

        Nearer than half of what a chunk may begin from: what was slowed down on the way there is
        forgiven, where a person or a pause has led the arm elsewhere is not.
        """
        there = run.plan.joins
        last = self._last.position if self._last is not None else measured.position
        return there is None or math.dist(there, last) <= self._limits.max_start_offset_m / 2

    def next(self, run: Execution, measured: Measured, hand: Hand | None) -> Target | Cause:
        """The next target of a chunk, counted as sent, or what is wrong with it."""
        before = self._last
        if before is None or not run.started:
            before = seed(before, measured, self._limits)
        opening = self._commanded_width_m(measured) / self._limits.gripper_max_width_m
        run.prepare(before, measured, opening, hand)
        pose = run.next_pose(before, self._pace, measured)
        if isinstance(pose, Cause) and run.by_person:
            run.stay(before)
            pose = run.next_pose(before, self._pace, measured)
        if isinstance(pose, Cause):
            return pose
        clipped = run.steps_clipped
        opening = run.send(pose, before, self._pace, measured.stamp_ns)
        self._last = pose
        self._counters.targets_clipped += run.steps_clipped - clipped
        self._width_m = opening * self._limits.gripper_max_width_m
        return self._target(pose, measured, self._width_m, hold=False)

    def _commanded_width_m(self, measured: Measured) -> float:
        """The gripper's last command, or what it measures before the first."""
        if self._width_m is not None:
            return self._width_m
        return min(max(measured.width_m, 0.0), self._limits.gripper_max_width_m)

    def _target(self, tool: ToolPose, measured: Measured, width_m: float, *, hold: bool) -> Target:
        self._counters.targets_sent += 1
        pose = Pose(np.array(tool.position), np.array(tool.quaternion))
        number, frame = self._counters.targets_sent, self._limits.base_frame
        return Target(measured.stamp_ns, number, hold, pose, width_m, frame)
