"""One chunk on its way to the arm: clip each row, remember what was sent and what the arm did."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.types import Chunk, ChunkResult, FloatArray, Outcome
from tmrl_ros.safety.chunk_rules import ACTION_DIM, Plan
from tmrl_ros.safety.geometry import Quat, Vec3, angle_between, pull_into_box, step_toward
from tmrl_ros.safety.limits import Limits
from tmrl_ros.safety.state_rules import Measured

CLIPPED_M = 1e-6


@dataclass(frozen=True, slots=True)
class Setpoint:
    """What the arm is told: TCP position (m), unit quaternion (base frame), opening 0..1."""

    position: Vec3
    quaternion: Quat
    opening: float


def clip(asked: Vec3, before: Vec3, limits: Limits) -> Vec3:
    """Pull a position into the workspace, then bring it within one period of the one before.

    Both sets are convex, so the result is never further outside the workspace than `before` was.
    """
    inside = pull_into_box(asked, limits.low_m, limits.high_m)
    return step_toward(before, inside, limits.max_target_step_m)


def seed(last: Setpoint | None, measured: Measured, limits: Limits) -> tuple[Vec3, Quat]:
    """Position (m) and orientation a chunk's first step is counted from.

    The last target when the arm is near it, so that consecutive chunks join smoothly; the measured
    pose when the arm was moved away or has just been reset, so that it is never pulled back.
    """
    if (
        last is not None
        and math.dist(last.position, measured.position) <= limits.max_start_offset_m
        and angle_between(last.quaternion, measured.quaternion) <= limits.max_rotation_step_rad
    ):
        return last.position, last.quaternion
    return measured.position, measured.quaternion


class Execution:
    """Rows sent and measured so far of one accepted chunk."""

    def __init__(self, chunk: Chunk, plan: Plan, limits: Limits) -> None:
        """Prepare; nothing is sent yet."""
        self.chunk = chunk
        self.plan = plan
        self._limits = limits
        self._started_ns = 0
        self._executed: list[list[float]] = []
        self._measured: list[list[float]] = []
        self.steps_clipped = 0

    @property
    def started(self) -> bool:
        """Whether the first target was sent."""
        return bool(self._executed)

    @property
    def all_sent(self) -> bool:
        """Whether no row is left to send."""
        return len(self._executed) == len(self.plan.positions)

    def next_setpoint(self, before: Vec3, stamp_ns: int) -> Setpoint:
        """Clip the next row and count it as sent.

        Args:
            before: Position of the target before, or `seed` for the first row (m).
            stamp_ns: Stamp of the robot state it answers.
        """
        row = len(self._executed)
        if row == 0:
            self._started_ns = stamp_ns
        asked = self.plan.positions[row]
        position = clip(asked, before, self._limits)
        opening = min(max(self.plan.openings[row], 0.0), 1.0)
        if math.dist(asked, position) > CLIPPED_M:
            self.steps_clipped += 1
        self._executed.append(self._relative(position, opening))
        return Setpoint(position, self.plan.quaternion, opening)

    def arrived(self, measured: Measured) -> None:
        """Record what the arm did with the target sent last."""
        opening = measured.width_m / self._limits.gripper_max_width_m
        self._measured.append(self._relative(measured.position, opening))

    def outcome(self, result: ChunkResult, reason: str, measured: Measured) -> Outcome:
        """What became of the chunk; `measured` stands for a last target that was not answered."""
        if len(self._measured) < len(self._executed):
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


def _rows(rows: list[list[float]]) -> FloatArray:
    return np.array(rows, np.float64).reshape(len(rows), ACTION_DIM)
