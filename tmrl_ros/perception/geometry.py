"""Poses as matrices, and poses between two poses."""

from __future__ import annotations

import numpy as np

from tmrl_ros.core.types import FloatArray, Pose


def pose_matrix(pose: Pose) -> FloatArray:
    """Homogeneous matrix (4, 4) of a pose; a quaternion that is not of unit length is normalised.

    Raises:
        ValueError: The quaternion has no length.
    """
    length = float(np.linalg.norm(pose.quaternion))
    if not length > 1e-6:
        raise ValueError(f"quaternion {pose.quaternion.tolist()} is no rotation")
    x, y, z, w = (float(value) / length for value in pose.quaternion)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = pose.position
    return matrix


def pose_between(first: Pose, second: Pose, share: float) -> Pose:
    """The pose at `share` (0..1) of the way from one pose to another, a control period apart.

    The orientation is interpolated linearly and normalised, which for small rotations differs from
    the exact arc by less than 0.1 degrees.
    """
    if share <= 0.0:
        return first
    if share >= 1.0:
        return second
    position = (1.0 - share) * first.position + share * second.position
    sign = 1.0 if float(first.quaternion @ second.quaternion) >= 0.0 else -1.0
    quaternion = (1.0 - share) * first.quaternion + share * sign * second.quaternion
    return Pose(position, quaternion / np.linalg.norm(quaternion))
