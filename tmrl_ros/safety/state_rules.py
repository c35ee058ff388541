"""Rules for what the arm reports: pure functions from one robot state to what is wrong with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tmrl_ros.core.types import RobotMode, RobotSample
from tmrl_ros.safety.causes import Cause, Code, cause
from tmrl_ros.safety.geometry import (
    LARGEST,
    Quat,
    Vec3,
    all_plausible,
    pull_into_box,
    unit_quaternion,
    vec3,
)
from tmrl_ros.safety.joint_rules import model_cause
from tmrl_ros.safety.keep_out import inside_cause
from tmrl_ros.safety.limits import Limits

STOPPED_MODES: dict[RobotMode, tuple[Code, str]] = {
    RobotMode.REFLEX: (Code.REFLEX, "The robot stopped itself with a reflex."),
    RobotMode.USER_STOPPED: (Code.USER_STOP, "The robot's stop button is pressed."),
    RobotMode.UNCONFIGURED: (Code.UNCONFIGURED, "The robot's hardware component is not active."),
    RobotMode.GUIDING: (Code.GUIDING, "Somebody guides the arm by hand."),
    RobotMode.RECOVERING: (Code.RECOVERING, "The robot recovers from an error."),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A sound robot state: TCP position (m), unit quaternion, finger width (m), joints q (rad)."""

    stamp_ns: int
    tick: int
    position: Vec3
    quaternion: Quat
    width_m: float
    q: tuple[float, ...]


def measure(sample: RobotSample, limits: Limits) -> Measured | Cause:
    """The pose of a robot state, or why it cannot be used."""
    if not _is_plausible(sample):
        return cause(
            Code.NON_FINITE_STATE,
            f"The robot reports a value that is not a number (tick {sample.tick}).",
            f"position {sample.ee_pose.position.tolist()}",
        )
    if sample.frame_id != limits.base_frame:
        return cause(
            Code.STATE_FRAME,
            f"The robot reports in frame {sample.frame_id!r}, not {limits.base_frame!r}.",
            repr(sample.frame_id),
        )
    quaternion = unit_quaternion(sample.ee_pose.quaternion)
    if quaternion is None:
        return cause(
            Code.STATE_ORIENTATION,
            "The robot reports an orientation that is not a unit quaternion.",
            str(sample.ee_pose.quaternion.tolist()),
        )
    position = vec3(sample.ee_pose.position)
    width_m, q = sample.gripper_width_m, tuple(sample.q.tolist())
    return Measured(sample.stamp_ns, sample.tick, position, quaternion, width_m, q)


def robot_causes(sample: RobotSample, measured: Measured, limits: Limits) -> list[Cause]:
    """Everything that is wrong with the arm at this state; empty when it may move."""
    found: list[Cause] = []
    if sample.mode in STOPPED_MODES:
        code, what = STOPPED_MODES[sample.mode]
        found.append(cause(code, what, f"mode {sample.mode.name}"))
    if sample.faults:
        names = ", ".join(sample.faults)
        found.append(cause(Code.ROBOT_FAULT, f"The robot reports: {names}.", names))
    force = sample.wrench.tolist()
    force_n = math.hypot(force[0], force[1], force[2])
    if not force_n <= limits.max_force_n:
        found.append(
            cause(
                Code.FORCE,
                f"The arm feels {force_n:.1f} N, more than {limits.max_force_n:.1f} N.",
                f"{force_n:.1f} N",
            )
        )
    inside = pull_into_box(measured.position, limits.low_m, limits.high_m)
    excess = math.dist(measured.position, inside)
    if not excess <= limits.max_excess_m:
        found.append(
            cause(
                Code.OUTSIDE_WORKSPACE,
                f"The tool is {excess * 100:.1f} cm outside the workspace.",
                f"{excess:.3f} m",
            )
        )
    stranger = model_cause(sample, measured.position, measured.quaternion, limits.joints)
    if stranger is not None:
        found.append(stranger)
    in_box = inside_cause(measured.position, limits)
    return [*found, in_box] if in_box is not None else found


def _is_plausible(sample: RobotSample) -> bool:
    return (
        all_plausible(sample.ee_pose.position)
        and all_plausible(sample.ee_pose.quaternion)
        and all_plausible(sample.wrench)
        and all_plausible(sample.ee_twist)
        and all_plausible(sample.q)
        and all_plausible(sample.dq)
        and all_plausible(sample.tau)
        and abs(sample.gripper_width_m) <= LARGEST
    )
