"""Small vector and quaternion arithmetic on plain floats, fast enough for every control period.

Positions are (x, y, z) in metres, quaternions (x, y, z, w). Comparisons against a limit are written
`not value <= limit` by the callers, so that NaN counts as a violation.
"""

from __future__ import annotations

import math

from tmrl_ros.core.types import FloatArray

Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]

LARGEST = 1e6
"""Nothing an arm measures in m, rad, N or Nm is larger; sums and quotients stay finite below it."""

UNIT_TOLERANCE = 0.01
"""A quaternion whose norm differs from 1 by more is not a rotation but a mistake."""


def vec3(values: FloatArray) -> Vec3:
    """Three floats from a (3,) array."""
    x, y, z = values.tolist()
    return (x, y, z)


def all_plausible(values: FloatArray) -> bool:
    """Whether a short array holds neither NaN nor anything beyond `LARGEST` in its unit."""
    return bool(sum(value * value for value in values.tolist()) <= LARGEST * LARGEST)


def unit_quaternion(values: FloatArray) -> Quat | None:
    """Normalised (x, y, z, w), or None when the norm is not 1 within `UNIT_TOLERANCE`."""
    x, y, z, w = values.tolist()
    norm = math.hypot(x, y, z, w)
    if not abs(norm - 1.0) <= UNIT_TOLERANCE:
        return None
    return (x / norm, y / norm, z / norm, w / norm)


def angle_between(a: Quat, b: Quat) -> float:
    """Angle of the rotation from `a` to `b`, 0 to pi rad; both must be unit quaternions."""
    dot = abs(a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3])
    return 2.0 * math.acos(min(1.0, dot))


def rotation_vector(start: Quat, goal: Quat) -> Vec3:
    """Axis times angle (rad, at most pi) that turns `start` into `goal`, in the base frame."""
    ax, ay, az, aw = goal
    bx, by, bz, bw = -start[0], -start[1], -start[2], start[3]
    x = aw * bx + ax * bw + ay * bz - az * by
    y = aw * by - ax * bz + ay * bw + az * bx
    z = aw * bz + ax * by - ay * bx + az * bw
    w = aw * bw - ax * bx - ay * by - az * bz
    length = math.hypot(x, y, z)
    if length < 1e-12:
        return (0.0, 0.0, 0.0)
    share = math.copysign(2.0 * math.atan2(length, abs(w)) / length, w)
    return (share * x, share * y, share * z)


def turn_toward(start: Quat, goal: Quat, max_angle_rad: float) -> Quat:
    """`goal`, or the orientation `max_angle_rad` from `start` on the shortest way to it."""
    angle = angle_between(start, goal)
    if angle <= max_angle_rad:
        return goal
    half = angle / 2.0
    dot = sum(a * b for a, b in zip(start, goal, strict=True))
    a = math.sin(half - max_angle_rad / 2.0)
    b = math.copysign(math.sin(max_angle_rad / 2.0), dot)
    x, y, z, w = (a * p + b * q for p, q in zip(start, goal, strict=True))
    norm = math.hypot(x, y, z, w)
    return (x / norm, y / norm, z / norm, w / norm)


def pull_into_box(point: Vec3, low: Vec3, high: Vec3) -> Vec3:
    """The point of the box `low`..`high` nearest to `point`."""
    return (
        min(max(point[0], low[0]), high[0]),
        min(max(point[1], low[1]), high[1]),
        min(max(point[2], low[2]), high[2]),
    )


def step_toward(start: Vec3, goal: Vec3, max_distance_m: float) -> Vec3:
    """`goal`, or the point `max_distance_m` from `start` on the way to it when it is further."""
    distance = math.dist(start, goal)
    if distance <= max_distance_m:
        return goal
    share = max_distance_m / distance
    return (
        start[0] + (goal[0] - start[0]) * share,
        start[1] + (goal[1] - start[1]) * share,
        start[2] + (goal[2] - start[2]) * share,
    )
