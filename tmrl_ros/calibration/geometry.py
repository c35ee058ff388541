"""Rigid motions as matrices, rotation vectors and quaternions, and projection through a lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.types import FloatArray, Pose

SMALL = 1e-12


@dataclass(frozen=True)
class Lens:
    """Intrinsics K (3, 3), Brown-Conrady distortion (5,) k1 k2 p1 p2 k3, and size in pixels."""

    k: FloatArray
    distortion: FloatArray
    width: int
    height: int


def project(points: FloatArray, lens: Lens) -> FloatArray:
    """Pixels (n, 2) of points (n, 3) in the optical frame.

    Brown (1966), as OpenCV's `projectPoints` computes it; points behind the camera come out
    far away.
    """
    depth = np.where(points[:, 2] > 1e-6, points[:, 2], 1e-6)
    x, y = points[:, 0] / depth, points[:, 1] / depth
    k1, k2, p1, p2, k3 = lens.distortion
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    xd = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
    yd = y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y
    k = lens.k
    return np.stack([k[0, 0] * xd + k[0, 2], k[1, 1] * yd + k[1, 2]], axis=1)


def inverse(motion: FloatArray) -> FloatArray:
    """Inverse of rigid motions (..., 4, 4)."""
    turned = np.swapaxes(motion[..., :3, :3], -1, -2)
    result = np.zeros_like(motion)
    result[..., :3, :3] = turned
    result[..., :3, 3] = -np.einsum("...ij,...j->...i", turned, motion[..., :3, 3])
    result[..., 3, 3] = 1.0
    return result


def moved(step: FloatArray) -> FloatArray:
    """Rigid motion (4, 4) of a step (6,): rotation vector (rad), then translation (m)."""
    result = np.eye(4)
    result[:3, :3] = rotation(step[:3])
    result[:3, 3] = step[3:]
    return result


def rotation(vector: FloatArray) -> FloatArray:
    """Matrix (3, 3) of a rotation vector (3,), rad (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle < SMALL:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def rotation_vector(matrix: FloatArray) -> FloatArray:
    """Rotation vector (3,), rad, of a matrix (3, 3)."""
    quaternion = quaternion_of(matrix)
    if quaternion[3] < 0.0:
        quaternion = -quaternion
    sine = float(np.linalg.norm(quaternion[:3]))
    if sine < SMALL:
        return np.zeros(3)
    return np.asarray(quaternion[:3] / sine * 2.0 * np.arctan2(sine, quaternion[3]))


def quaternion_of(matrix: FloatArray) -> FloatArray:
    """Unit quaternion (4,) x y z w of a rotation matrix (3, 3), w not negative (Shepperd, 1978)."""
    m = matrix
    squares = np.array(
        [
            1.0 + m[0, 0] - m[1, 1] - m[2, 2],
            1.0 - m[0, 0] + m[1, 1] - m[2, 2],
            1.0 - m[0, 0] - m[1, 1] + m[2, 2],
            1.0 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    rows = np.array(
        [
            [squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
        ]
    )
    best = rows[int(np.argmax(squares))]
    best = best / np.linalg.norm(best)
    return np.asarray(best if best[3] >= 0.0 else -best)


def pose_of(motion: FloatArray) -> Pose:
    """Pose of a matrix (4, 4)."""
    return Pose(motion[:3, 3].copy(), quaternion_of(motion[:3, :3]))


def mean_motion(motions: FloatArray) -> FloatArray:
    """Mean of rigid motions (n, 4, 4) that differ little: chordal mean of the rotations."""
    result = np.eye(4)
    u, _, vt = np.linalg.svd(motions[:, :3, :3].mean(axis=0))
    result[:3, :3] = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    result[:3, 3] = motions[:, :3, 3].mean(axis=0)
    return result


def angle_deg(matrix: FloatArray) -> float:
    """Angle of a rotation matrix (3, 3) or motion (4, 4), degrees."""
    return float(np.degrees(np.linalg.norm(rotation_vector(matrix[:3, :3]))))
