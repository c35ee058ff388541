"""Where the tool of a Franka arm is for given joints, and which joints a tool pose needs.

Modified Denavit-Hartenberg parameters of Panda and FR3 (Franka Control Interface documentation,
"Denavit-Hartenberg parameters"). Plain floats: a control period has room for a few of these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.arm_models import JOINTS, Joints
from tmrl_ros.core.types import FloatArray
from tmrl_ros.safety.geometry import Quat, Vec3, rotation_vector, vec3

LINKS = (  # a (m), d (m), sine and cosine of the twist
    (0.0, 0.333, 0.0, 1.0),
    (0.0, 0.0, -1.0, 0.0),
    (0.0, 0.316, 1.0, 0.0),
    (0.0825, 0.0, 1.0, 0.0),
    (-0.0825, 0.384, -1.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.088, 0.0, 1.0, 0.0),
)
FLANGE_M = 0.107
DAMPING = 1e-6
"""Exact wherever the arm works; a direction that the arm has lost asks for very fast joints."""
SOLVED = 1e-4
"""Error (m and rad together) at which a pose counts as reached."""
LONGEST_STEP_M, LARGEST_STEP_RAD = 0.1, 0.5
"""A Newton step stays where the Jacobian still holds."""
_DAMPED = DAMPING * np.eye(6)
# A link's transform is _FIXED + cos(q) _COSINE + sin(q) _SINE (Craig 2005, equation 3.6).
_FIXED = np.array(
    [[[0, 0, 0, a], [0, 0, -s, -d * s], [0, 0, c, d * c], [0, 0, 0, 1]] for a, d, s, c in LINKS]
)
_COSINE = np.array([[[1, 0, 0, 0], [0, c, 0, 0], [0, s, 0, 0], [0] * 4] for _, _, s, c in LINKS])
_SINE = np.array([[[0, -1, 0, 0], [c, 0, 0, 0], [s, 0, 0, 0], [0] * 4] for _, _, s, c in LINKS])
_NEXT, _BEFORE = np.array([1, 2, 0]), np.array([2, 0, 1])


@dataclass(frozen=True, slots=True)
class Tool:
    """The tool centre point in the frame of the flange: offset (m) and unit quaternion."""

    offset_m: Vec3
    quaternion: Quat


@dataclass(frozen=True, slots=True)
class Posture:
    """Tool position (m) and unit quaternion at some joints, and the Jacobian (6, 7) there."""

    position: Vec3
    quaternion: Quat
    jacobian: FloatArray


def posture(q: Joints, tool: Tool) -> Posture:
    """Forward kinematics and geometric Jacobian (m and rad per rad, base frame)."""
    angles = np.array(q)[:, None, None]
    links = _FIXED + np.cos(angles) * _COSINE + np.sin(angles) * _SINE
    frames = np.empty((JOINTS, 4, 4))
    frames[0] = frame = links[0]
    for joint in range(1, JOINTS):
        frames[joint] = frame = frame @ links[joint]
    dx, dy, dz = tool.offset_m
    tip = frame[:3] @ (dx, dy, dz + FLANGE_M, 1.0)
    axes, arms = frames[:, :3, 2], tip - frames[:, :3, 3]
    jacobian = np.empty((6, JOINTS))
    jacobian[:3] = (axes[:, _NEXT] * arms[:, _BEFORE] - axes[:, _BEFORE] * arms[:, _NEXT]).T
    jacobian[3:] = axes.T
    turned = _product(_quaternion(frame[:3, :3].tolist()), tool.quaternion)
    return Posture(vec3(tip), turned, jacobian)


def pose_step(start: Posture, position: Vec3, quaternion: Quat) -> Joints:
    """Motion (m, rad; six numbers) from a posture to a pose in the base frame."""
    a, b = start.position, position
    turn = rotation_vector(start.quaternion, quaternion)
    return (b[0] - a[0], b[1] - a[1], b[2] - a[2], *turn)


def joint_step(jacobian: FloatArray, motion: Sequence[float]) -> FloatArray:
    """Smallest joint motion (7,) for a tool motion (6,), by damped least squares.

    Nakamura and Hanafusa 1986, equation 24, with a constant small damping.
    """
    gram = jacobian @ jacobian.T + _DAMPED
    step: FloatArray = jacobian.T @ np.linalg.solve(gram, np.array(motion))
    return step


def reach(
    start: Joints, position: Vec3, quaternion: Quat, tool: Tool, *, steps: int = 6
) -> tuple[Joints, Posture, float]:
    """Joints near `start` at which the tool is at a pose, by Newton's method.

    Returns:
        The joints, the posture there, and what is left: metres and rad together.
    """
    q, here = start, posture(start, tool)
    left = pose_step(here, position, quaternion)
    for _ in range(steps):
        error = math.hypot(*left)
        if error < SOLVED:
            break
        shorter = min(
            1.0,
            LONGEST_STEP_M / max(math.hypot(*left[:3]), 1e-9),
            LARGEST_STEP_RAD / max(math.hypot(*left[3:]), 1e-9),
        )
        move = joint_step(here.jacobian, [shorter * value for value in left]).tolist()
        q = tuple(angle + change for angle, change in zip(q, move, strict=True))
        here = posture(q, tool)
        left = pose_step(here, position, quaternion)
    return q, here, math.hypot(*left)


def _quaternion(rotation: list[list[float]]) -> Quat:
    """Unit quaternion of a rotation matrix (Shepperd 1978)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    trace = xx + yy + zz
    largest = max(trace, xx, yy, zz)
    if largest == trace:
        parts = (zy - yz, xz - zx, yx - xy, 1.0 + trace)
    elif largest == xx:
        parts = (1.0 + xx - yy - zz, yx + xy, zx + xz, zy - yz)
    elif largest == yy:
        parts = (yx + xy, 1.0 - xx + yy - zz, zy + yz, xz - zx)
    else:
        parts = (zx + xz, zy + yz, 1.0 - xx - yy + zz, yx - xy)
    norm = math.hypot(*parts)
    return (parts[0] / norm, parts[1] / norm, parts[2] / norm, parts[3] / norm)


def _product(a: Quat, b: Quat) -> Quat:
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )
