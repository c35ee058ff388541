"""One chunk on its way to the arm: clip each row, remember what was sent and what the arm did."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.types import Chunk, ChunkResult, ChunkSource, FloatArray, Outcome
from tmrl_ros.safety.causes import Cause
from tmrl_ros.safety.chunk_rules import ACTION_DIM, Plan
from tmrl_ros.safety.geometry import (
    Quat,
    Vec3,
    angle_between,
    pull_into_box,
    step_toward,
    turn_toward,
)
from tmrl_ros.safety.joint_rules import kept_slow
from tmrl_ros.safety.keep_out import way_cause
from tmrl_ros.safety.limits import Limits
from tmrl_ros.safety.pace import Pace
from tmrl_ros.safety.state_rules import Measured
from tmrl_ros.safety.takeover import NOWHERE, Hand

CLIPPED_M = 1e-6


@dataclass(frozen=True, slots=True)
class ToolPose:
    """Position (m) and unit quaternion of the tool in the base frame."""

    position: Vec3
    quaternion: Quat


def clip(asked: ToolPose, before: ToolPose, limits: Limits) -> ToolPose:
    """Pull a pose into the workspace, then bring it within one control period of the one before.

    Both sets are convex, so the result is never further outside the workspace than `before` was.
    """
    inside = pull_into_box(asked.position, limits.low_m, limits.high_m)
    return ToolPose(
        step_toward(before.position, inside, limits.max_target_step_m),
        turn_toward(before.quaternion, asked.quaternion, limits.max_target_turn_rad),
    )


def seed(last: ToolPose | None, measured: Measured, limits: Limits) -> ToolPose:
    """The pose a chunk's first step is counted from.

    The last target when the arm is near it, so that consecutive chunks join smoothly; the measured
    pose when the arm was moved away or has just been reset, so that it is never pulled back.
    """
    if (
        last is not None
        and math.dist(last.position, measured.position) <= limits.max_start_offset_m
        and angle_between(last.quaternion, measured.quaternion) <= limits.max_asked_turn_rad
    ):
        return last
    return ToolPose(measured.position, measured.quaternion)


class Execution:
    """Rows sent and measured so far of one accepted chunk."""

    def __init__(self, chunk: Chunk, plan: Plan, limits: Limits, *, void: bool = False) -> None:
        """Prepare; nothing is sent yet. Of a `void` plan only the number of rows is used."""
        self.chunk = chunk
        self.plan = plan
        self._limits = limits
        self._started_ns = 0
        self._executed: list[list[float]] = []
        self._measured: list[list[float]] = []
        self._sources: list[int] = []
        self._pose = ToolPose(plan.positions[0], plan.quaternion)
        self._opening = plan.openings[0]
        self._source = chunk.source
        self._asked_next = False
        self._taken = False  # a person has held the arm in an earlier row
        self.void = void
        self.by_person = False
        self.steps_clipped = 0

    @property
    def started(self) -> bool:
        """Whether the first target was sent."""
        return bool(self._executed)

    @property
    def all_sent(self) -> bool:
        """Whether no row is left to send."""
        return len(self._executed) == len(self.plan.positions)

    def prepare(
        self, before: ToolPose, measured: Measured, opening: float, hand: Hand | None
    ) -> None:
        """Work out what the next row asks for.

        A person's share steers from the target before. The policy's share goes to its row until a
        person has held the arm in this chunk; from then on it goes on by the policy's own steps, so
        that the arm is not pulled back, and the gripper stays as the person left it. Both together
        lead the tool by no more than a chunk may when it begins: an arm that is blocked is not
        pressed harder and harder.

        Args:
            before: The target before, or `seed` for the first row.
            measured: Where the arm is.
            opening: The gripper's, as it was last commanded.
            hand: What a person does, if one does.
        """
        row = len(self._executed)
        self.by_person = self._taken or self.void or hand is not None
        self._source = self.chunk.source if hand is None else ChunkSource.HUMAN
        if not self.by_person:
            self._pose = ToolPose(self.plan.positions[row], self.plan.quaternion)
            self._opening = self.plan.openings[row]
            return
        start = self.plan.positions[row - 1] if self._taken else before.position
        hand = hand or Hand(0.0, NOWHERE, None, False)
        goal = start if self.void else self.plan.positions[row]
        x, y, z = (
            at + hand.share * steered + (1.0 - hand.share) * (end - begin)
            for at, steered, end, begin in zip(before.position, hand.move, goal, start, strict=True)
        )
        asked = step_toward(measured.position, (x, y, z), self._limits.max_start_offset_m)
        self._pose = ToolPose(asked, before.quaternion if self.void else self.plan.quaternion)
        self._taken = self._taken or hand.engaged
        self._opening = opening if self._taken or self.void else self.plan.openings[row]
        if hand.opening is not None:
            self._opening = hand.opening

    def stay(self, before: ToolPose) -> None:
        """Ask for nothing in the next row, where a person would steer into what is forbidden."""
        self._pose = before

    def next_pose(self, before: ToolPose, pace: Pace, measured: Measured) -> ToolPose | Cause:
        """The next row as far as every limit lets it go in one control period, or what is wrong.

        Where targets are slowed down, they cut the corners of the way that was asked for.

        Args:
            before: The target before, or `seed` for the first row.
            pace: What was sent before.
            measured: Where the arm is.
        """
        pose = clip(self._asked(), before, self._limits)
        start, end = before.position, pose.position
        wrong = way_cause(start, end, "The next target", self._limits)
        if wrong is not None:
            return wrong
        share = pace.share(_step(start, end), measured.stamp_ns)
        if share < 1.0:
            end = step_toward(start, end, share * math.dist(start, end))
        slow = kept_slow(
            measured.q, (start, before.quaternion), (end, pose.quaternion), self._limits.joints
        )
        return slow if isinstance(slow, Cause) else ToolPose(*slow)

    def _asked(self) -> ToolPose:
        return self._pose

    def send(self, pose: ToolPose, before: ToolPose, pace: Pace, stamp_ns: int) -> float:
        """Count the next row as sent at `pose`, the robot's clock showing `stamp_ns`.

        Returns:
            The gripper opening to send with it, 0..1.
        """
        if not self._executed:
            self._started_ns = stamp_ns
        asked, wanted = self._asked(), min(max(self._opening, 0.0), 1.0)
        opening = pace.opening(wanted, stamp_ns)
        moved_m = math.dist(asked.position, pose.position)
        if moved_m > CLIPPED_M or pose.quaternion != asked.quaternion or opening != wanted:
            self.steps_clipped += 1
        pace.note(_step(before.position, pose.position), opening, stamp_ns)
        self._executed.append(self._relative(pose.position, opening))
        self._sources.append(int(self._source))
        return opening

    def arrived(self, measured: Measured) -> None:
        """Record what the arm did with the target sent last, once."""
        if len(self._measured) == len(self._executed):
            return
        opening = measured.width_m / self._limits.gripper_max_width_m
        self._measured.append(self._relative(measured.position, opening))

    def wants_next(self, rows: int) -> bool:
        """Whether the next chunk is wanted now, once: `rows` or fewer are not answered yet."""
        left = len(self.plan.positions) - len(self._measured)
        if self._asked_next or left > rows or self.chunk.source is not ChunkSource.POLICY:
            return False
        self._asked_next = True
        return True

    def outcome(
        self, result: ChunkResult, reason: str, measured: Measured, *, final: bool = True
    ) -> Outcome:
        """What became of the chunk; `measured` stands for a last target that was not answered.

        Without `final`, what was done of it by now.
        """
        assert final or len(self._measured) == len(self._executed)
        self.arrived(measured)
        started_ns = self._started_ns if self.started else measured.stamp_ns
        return Outcome(
            stamp_ns=measured.stamp_ns,
            sequence=self.chunk.sequence,
            episode_id=self.chunk.episode_id,
            decision=self.chunk.decision,
            source=self.chunk.source,
            result=result,
            reason=reason,
            steps_sent=len(self._executed),
            steps_clipped=self.steps_clipped,
            executed=_rows(self._executed),
            measured=_rows(self._measured),
            duration_s=max(0, measured.stamp_ns - started_ns) / 1e9,
            chunk_age_s=(started_ns - self.chunk.stamp_ns) / 1e9,
            sources=np.array(self._sources, np.uint8),
        )

    def _relative(self, position: Vec3, opening: float) -> list[float]:
        x, y, z = self.plan.reference
        return [position[0] - x, position[1] - y, position[2] - z, opening]


def unsent_outcome(chunk: Chunk, result: ChunkResult, reason: str, stamp_ns: int) -> Outcome:
    """Outcome of a chunk of which nothing was sent; `stamp_ns` is the robot's, 0 if unknown."""
    return Outcome(
        stamp_ns=stamp_ns,
        sequence=chunk.sequence,
        episode_id=chunk.episode_id,
        decision=chunk.decision,
        source=chunk.source,
        result=result,
        reason=reason,
        steps_sent=0,
        steps_clipped=0,
        executed=_rows([]),
        measured=_rows([]),
        duration_s=0.0,
        chunk_age_s=(stamp_ns - chunk.stamp_ns) / 1e9 if stamp_ns else 0.0,
    )


def _step(start: Vec3, end: Vec3) -> Vec3:
    return (end[0] - start[0], end[1] - start[1], end[2] - start[2])


def _rows(rows: list[list[float]]) -> FloatArray:
    return np.array(rows, np.float64).reshape(len(rows), ACTION_DIM)
