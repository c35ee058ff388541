"""From the robot's separate topics to one `RobotSample` per control period."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tmrl_ros.core.types import NANOSECONDS, FloatArray, Pose, RobotSample
from tmrl_ros.robots.franka.faults import Report


class Source(StrEnum):
    """Topics that a sample is made of."""

    POSE = "pose"
    JOINTS = "joints"
    WRENCH = "wrench"
    GRIPPER = "gripper"


@dataclass(frozen=True)
class PoseReading:
    """Tool centre point; `frame_id` as the robot says it."""

    stamp_ns: int
    frame_id: str
    pose: Pose


@dataclass(frozen=True)
class JointReading:
    """Arm joints (7,) by name: rad, rad/s, Nm."""

    names: tuple[str, ...]
    q: FloatArray
    dq: FloatArray
    tau: FloatArray


class Readings:
    """The newest value of every source, and when it came (monotonic wall seconds).

    Args:
        joint_names: The arm's joints, in our order.
        silence_s: Age at which a value is none of now any more.
    """

    def __init__(self, joint_names: tuple[str, ...], silence_s: float) -> None:
        self._joint_names = joint_names
        self._silence_s = silence_s
        self._came_s: dict[Source, float] = {}
        self._pose: PoseReading | None = None
        self._joints: JointReading | None = None
        self._wrench = np.zeros(6)
        self._width_m = 0.0
        self._before: PoseReading | None = None
        self._twist = np.zeros(6)
        self._tick = 0

    def on_pose(self, reading: PoseReading, now_s: float) -> None:
        """Take in a pose; one with the last stamp is no news."""
        if self._pose is None or reading.stamp_ns != self._pose.stamp_ns:
            self._pose, self._came_s[Source.POSE] = reading, now_s

    def on_joints(self, reading: JointReading, now_s: float) -> None:
        """Take in joint states, in any order and among others'."""
        at = {name: index for index, name in enumerate(reading.names)}
        if all(name in at for name in self._joint_names):
            order = [at[name] for name in self._joint_names]
            values = (column[order] for column in (reading.q, reading.dq, reading.tau))
            self._joints = JointReading(self._joint_names, *values)
            self._came_s[Source.JOINTS] = now_s

    def on_wrench(self, wrench: FloatArray, now_s: float) -> None:
        """Take in the external wrench (6,): N, Nm."""
        self._wrench, self._came_s[Source.WRENCH] = wrench, now_s

    def on_fingers(self, positions: FloatArray, now_s: float) -> None:
        """Take in the fingers' joint positions (2,), each half of the width, m."""
        self._width_m, self._came_s[Source.GRIPPER] = float(np.sum(positions)), now_s

    def is_stale(self, source: Source, now_s: float, silence_s: float | None = None) -> bool:
        """Whether a source has said nothing for too long."""
        limit_s = self._silence_s if silence_s is None else silence_s
        return now_s - self._came_s.get(source, -math.inf) > limit_s

    @property
    def pose(self) -> PoseReading | None:
        """Newest pose."""
        return self._pose

    def sample(self, report: Report, frame_id: str) -> RobotSample | None:
        """The arm now; a pose that was in a sample before repeats its tick and stamp.

        Returns:
            None before every required source has spoken.
        """
        pose, joints = self._pose, self._joints
        if pose is None or joints is None or Source.WRENCH not in self._came_s:
            return None
        if self._before is None or pose.stamp_ns != self._before.stamp_ns:
            self._tick += 1
            self._twist = np.zeros(6) if self._before is None else twist(self._before, pose)
            self._before = pose
        return RobotSample(
            stamp_ns=pose.stamp_ns,
            tick=self._tick,
            q=joints.q,
            dq=joints.dq,
            tau=joints.tau,
            ee_pose=pose.pose,
            ee_twist=self._twist,
            wrench=self._wrench,
            gripper_width_m=self._width_m,
            mode=report.mode,
            faults=report.faults,
            frame_id=frame_id,
            joint_names=joints.names,
        )


def twist(before: PoseReading, now: PoseReading) -> FloatArray:
    """Mean velocity (6,) from one pose to the next, m/s and rad/s in the base frame.

    The robot publishes only the velocity it wants, not the one it measures. Zero when the stamps do
    not grow.
    """
    elapsed_s = (now.stamp_ns - before.stamp_ns) / NANOSECONDS
    if elapsed_s <= 0.0:
        return np.zeros(6)
    moved = now.pose.position - before.pose.position
    x0, y0, z0, w0 = (float(v) for v in before.pose.quaternion)
    x1, y1, z1, w1 = (float(v) for v in now.pose.quaternion)
    # q1 * conj(q0): the turn from the one to the other, in the base frame.
    axis = np.array(
        [
            -w1 * x0 + x1 * w0 - y1 * z0 + z1 * y0,
            -w1 * y0 + x1 * z0 + y1 * w0 - z1 * x0,
            -w1 * z0 - x1 * y0 + y1 * x0 + z1 * w0,
        ]
    )
    w = w1 * w0 + x1 * x0 + y1 * y0 + z1 * z0
    sine = float(np.linalg.norm(axis))
    turned = np.zeros(3)
    if sine > 1e-9:
        turned = axis / sine * 2.0 * math.atan2(sine, abs(w)) * math.copysign(1.0, w)
    return np.concatenate([moved, turned]) / elapsed_s
