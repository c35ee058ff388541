"""The way home: straight lines with smooth start and stop, in pieces short enough to watch over."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tmrl_ros.core.types import Chunk, ChunkSource, FloatArray, RobotSample

ACTION_SPACE = "cartesian_relative"
SPEED_MPS = 0.35
RAMP_S = 0.2
LIFT_M = 0.05
TOLERANCE_M = 0.01
OPEN_ENOUGH = 0.9
MAX_ROWS = 40
OPEN_ROWS = 8
SETTLE_ROWS = 3


def straight_line(
    start: FloatArray, end: FloatArray, rate_hz: float, max_rows: int = MAX_ROWS
) -> FloatArray:
    """Positions along a straight line, one per control period, at rest at both ends.

    The speed rises over `RAMP_S` to at most `SPEED_MPS` and falls the same way. A line too long for
    `max_rows` ends earlier, also at rest.

    Args:
        start: Where the tool is (3,), m; not part of the result.
        end: Where it shall be (3,), m.
        rate_hz: Rows per second.
        max_rows: Most rows wanted.

    Returns:
        (rows, 3), m; (0, 3) when start and end are the same point.
    """
    distance = float(np.linalg.norm(end - start))
    if distance < 1e-6:
        return np.zeros((0, 3))
    longest = SPEED_MPS * max(max_rows / rate_hz - RAMP_S, RAMP_S / 2)
    reach = min(distance, longest)
    ramp_s = RAMP_S
    if reach >= SPEED_MPS * RAMP_S:
        duration_s = reach / SPEED_MPS + RAMP_S
    else:  # never gets to full speed
        duration_s = 2.0 * np.sqrt(reach * RAMP_S / SPEED_MPS)
        ramp_s = duration_s / 2.0
    rows = min(max_rows, int(np.ceil(duration_s * rate_hz - 1e-9)))
    time_s = np.arange(1, rows + 1) * (duration_s / rows)
    top = reach / (duration_s - ramp_s)
    rising = 0.5 * top / ramp_s * np.minimum(time_s, ramp_s) ** 2
    even = top * np.clip(time_s - ramp_s, 0.0, duration_s - 2.0 * ramp_s)
    falling_s = np.clip(time_s - (duration_s - ramp_s), 0.0, ramp_s)
    falling = top * falling_s - 0.5 * top / ramp_s * falling_s**2
    along = rising + even + falling
    path: FloatArray = start + along[:, None] * (end - start) / distance
    return path


@dataclass
class Homing:
    """Plans the way home of one episode, piece by piece from what is measured.

    A gripper that is not open may hold something: the arm goes up a little, opens, then goes home.
    It opens once; a gripper that stays closed does not keep the arm from going home.

    Attributes:
        home_m: Where the tool shall be (3,), base frame.
        orientation: Commanded orientation of the tool, x y z w.
        gripper_max_width_m: Width of the open gripper.
        rate_hz: Control rate.
    """

    home_m: FloatArray
    orientation: FloatArray
    gripper_max_width_m: float
    rate_hz: float
    _opened: bool = field(default=False, init=False)

    def next_chunk(self, sample: RobotSample, episode_id: str, sequence: int) -> Chunk | None:
        """The next piece of the way, or None when the arm is home.

        Args:
            sample: Where the arm is; the rows are relative to its pose.
            episode_id: Episode that is being reset.
            sequence: Number of the piece.
        """
        position = sample.ee_pose.position
        opening = float(np.clip(sample.gripper_width_m / self.gripper_max_width_m, 0.0, 1.0))
        if opening < OPEN_ENOUGH and not self._opened:
            self._opened = True
            return self._chunk(sample, self._release(position, opening), episode_id, sequence)
        if self.distance_m(sample) <= TOLERANCE_M:
            return None
        line = straight_line(position, self.home_m, self.rate_hz, MAX_ROWS - SETTLE_ROWS)
        path = np.vstack([line, np.repeat(line[-1:], SETTLE_ROWS, axis=0)])
        rows = np.hstack([path - position, np.ones((len(path), 1))])
        return self._chunk(sample, rows, episode_id, sequence)

    def distance_m(self, sample: RobotSample) -> float:
        """How far the tool is from home."""
        return float(np.linalg.norm(sample.ee_pose.position - self.home_m))

    def _release(self, position: FloatArray, opening: float) -> FloatArray:
        up = float(np.clip(self.home_m[2] - position[2], 0.0, LIFT_M))
        line = straight_line(position, position + np.array([0.0, 0.0, up]), self.rate_hz)
        top = line[-1] if len(line) else position
        still = np.repeat(top[None], OPEN_ROWS, axis=0)
        path = np.vstack([line, still]) - position
        # A little less than measured, so that what is held is not lost on the way up.
        hold = np.full((len(line), 1), max(0.0, opening - 0.05))
        return np.hstack([path, np.vstack([hold, np.ones((OPEN_ROWS, 1))])])

    def _chunk(self, sample: RobotSample, rows: FloatArray, episode: str, sequence: int) -> Chunk:
        return Chunk(
            stamp_ns=sample.stamp_ns,
            sequence=sequence,
            episode_id=episode,
            decision=0,
            source=ChunkSource.RESET,
            action_space=ACTION_SPACE,
            reference_pose=sample.ee_pose,
            orientation=self.orientation,
            actions=rows,
            execute_steps=len(rows),
            control_rate_hz=self.rate_hz,
            frame_id=sample.frame_id,
            actor="reset",
        )
