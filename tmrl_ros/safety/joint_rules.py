"""Rules for the arm's joints: what a target needs of them, worked out from where they are measured.

A tool pose says nothing about how fast or how near to their ends the joints must go. Here it is
solved for the joints of the configured arm (`robot.model`), from the measured ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.arm_models import JOINTS, MODELS, ArmModel, Joints
from tmrl_ros.core.types import RobotSample
from tmrl_ros.safety.causes import Cause, Code, cause
from tmrl_ros.safety.geometry import (
    Quat,
    Vec3,
    angle_between,
    rotation_vector,
    step_toward,
    turn_toward,
    unit_quaternion,
    vec3,
)
from tmrl_ros.safety.kinematics import Tool, joint_step, posture, reach

BEYOND_RAD = 0.01
"""A measured joint further beyond a limit of the model shows that it is another arm's."""
REACHED = 1e-3
"""Error (m and rad together) above which no posture near the measured one has the pose."""
TRIES = 4
"""Attempts at shortening a step; what still is too fast then is not made at all."""
SHORTER = 0.98
"""Shortened a little more than the linear estimate says, so that one attempt mostly is enough."""


@dataclass(frozen=True, slots=True)
class JointLimits:
    """The arm and its tool, and how near to the joints' limits they may be brought.

    `margin_rad` is kept from every end; `max_speed_share` of every joint's speed may be used.
    """

    model: ArmModel
    tool: Tool
    margin_rad: float
    max_speed_share: float
    period_s: float
    max_error_m: float
    max_error_rad: float


def joint_limits(
    model: str,
    tool_offset_m: Sequence[float],
    tool_quaternion: Sequence[float],
    *,
    margin_rad: float,
    max_speed_share: float,
    period_s: float,
    max_error_m: float,
    max_error_rad: float,
) -> JointLimits:
    """Limits of a configured arm; the tool's quaternion is a rotation, as its section has checked.

    Args:
        model: Name in `MODELS`.
        tool_offset_m: Tool centre point in the flange's frame.
        tool_quaternion: Its orientation there.
        margin_rad: Kept from every end of a joint.
        max_speed_share: Of a joint's speed limit.
        period_s: Control period.
        max_error_m: Between reported and computed tool position.
        max_error_rad: The same for its orientation.
    """
    quaternion = unit_quaternion(np.array(tool_quaternion, np.float64))
    assert quaternion is not None
    tool = Tool(vec3(np.array(tool_offset_m, np.float64)), quaternion)
    return JointLimits(
        MODELS[model], tool, margin_rad, max_speed_share, period_s, max_error_m, max_error_rad
    )


def model_cause(
    sample: RobotSample, position: Vec3, quaternion: Quat, limits: JointLimits
) -> Cause | None:
    """Why the reported joints cannot be those of the configured arm with its tool.

    Args:
        sample: A robot state whose numbers are plausible.
        position: Its tool position (m).
        quaternion: Its tool orientation.
        limits: The configured arm.
    """
    model = limits.model
    q = tuple(sample.q.tolist())
    if len(q) != JOINTS:
        return _mismatch(f"The robot reports {len(q)} joints, a {model.name} has {JOINTS}.", q)
    others = [name for name in MODELS if name != model.name]
    for name in sample.joint_names:
        if any(f"{other}_joint" in name for other in others):
            return _mismatch(f"The robot's joints are called {name!r}, not {model.name}.", name)
    for number, (angle, low, high) in enumerate(zip(q, model.low, model.high, strict=True), 1):
        if not low - BEYOND_RAD <= angle <= high + BEYOND_RAD:
            what = f"Joint {number} is at {angle:.3f} rad, a {model.name}'s ends at "
            return _mismatch(f"{what}{low:.3f} and {high:.3f} rad.", f"{angle:.3f} rad")
    there = posture(q, limits.tool)
    away = math.dist(there.position, position)
    turned = angle_between(there.quaternion, quaternion)
    if not (away <= limits.max_error_m and turned <= limits.max_error_rad):
        what = f"The joints of a {model.name} put the tool {away * 100:.1f} cm and {turned:.2f} rad"
        return _mismatch(f"{what} from where the robot reports it.", f"{away:.3f} m")
    return None


def joint_motion(
    q: Joints, before: tuple[Vec3, Quat], asked: tuple[Vec3, Quat], limits: JointLimits
) -> tuple[Joints, Joints, float]:
    """What the joints must do for the tool to go from one target to the next.

    Args:
        q: Measured joints (rad).
        before: Position and orientation of the target before.
        asked: The same of the next.
        limits: The arm and its tool.

    Returns:
        The joints at `asked`, near `q`; the motion from `before` to it (rad), by the Jacobian
        there; and by how much `asked` is missed (m and rad together).
    """
    goal, there, missed = reach(q, asked[0], asked[1], limits.tool)
    a, b = before[0], asked[0]
    motion = (b[0] - a[0], b[1] - a[1], b[2] - a[2], *rotation_vector(before[1], asked[1]))
    return goal, tuple(joint_step(there.jacobian, motion).tolist()), missed


def slowed_share(goal: Joints, motion: Joints, limits: JointLimits) -> float:
    """Share (0 to 1) of a joint motion (rad in one period) that no joint is too fast for."""
    share = 1.0
    for joint, move in enumerate(motion):
        down, up = limits.model.fastest(joint, goal[joint])
        fastest = (up if move > 0.0 else -down) * limits.max_speed_share * limits.period_s
        if abs(move) > fastest:
            share = min(share, fastest / abs(move))
    return share


def end_cause(q: Joints, goal: Joints, limits: JointLimits) -> Cause | None:
    """Which joint a target brings too near to its end; who is there already may only go back."""
    model, margin = limits.model, limits.margin_rad
    for joint, (now, then) in enumerate(zip(q, goal, strict=True)):
        low = min(model.low[joint] + margin, now)
        high = max(model.high[joint] - margin, now)
        if not low <= then <= high:
            end = model.low[joint] if then < low else model.high[joint]
            what = f"The next target needs joint {joint + 1} at {then:.3f} rad, less than "
            return cause(
                Code.JOINT_LIMIT,
                f"{what}{margin:.2f} rad from its end at {end:.3f} rad.",
                f"joint {joint + 1} {then:.3f} rad",
            )
    return None


def kept_slow(
    q: Joints, before: tuple[Vec3, Quat], asked: tuple[Vec3, Quat], limits: JointLimits
) -> tuple[Vec3, Quat] | Cause:
    """The pose on the way from `before` to `asked` that is as far as the joints may go in a period.

    Args:
        q: Measured joints (rad).
        before: Position and orientation of the target before.
        asked: Of the next, as far as the tool's own limits let it.
        limits: The arm, its tool and its margins.

    Returns:
        The pose to send, or why none can be.
    """
    pose = asked
    for _ in range(TRIES):
        goal, motion, missed = joint_motion(q, before, pose, limits)
        if not missed <= REACHED:
            what = f"The next target is out of the arm's reach by {missed * 100:.1f} cm."
            return cause(Code.OUT_OF_REACH, what, f"{missed:.3f} m")
        share = slowed_share(goal, motion, limits)
        if share >= 1.0:
            return end_cause(q, goal, limits) or pose
        pose = _part(before, pose, share * SHORTER)
    goal, _, _ = joint_motion(q, before, before, limits)
    return end_cause(q, goal, limits) or before


def _part(before: tuple[Vec3, Quat], asked: tuple[Vec3, Quat], share: float) -> tuple[Vec3, Quat]:
    length, turn = math.dist(before[0], asked[0]), angle_between(before[1], asked[1])
    return (
        step_toward(before[0], asked[0], share * length),
        turn_toward(before[1], asked[1], share * turn),
    )


def _mismatch(what: str, value: object) -> Cause:
    return cause(Code.ARM_MODEL, what, str(value))
