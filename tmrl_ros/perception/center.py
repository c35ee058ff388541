"""The centre of a cube from the points of the side that cameras see.

The mean of visible points lies towards the cameras, so the centre is found from where the points
end and from the known size, in the cube's own axes.
"""

from __future__ import annotations

import numpy as np

from tmrl_ros.core.types import Float32Array, FloatArray

MAX_POINTS = 1500
TRIM = 0.01
"""Share of the points at either end that may be noise."""
FULL_EXTENT = 0.85
"""Share of the size that must be seen for both ends to be believed."""
FACING = 0.25
"""Least cosine between a face's normal and the way to the camera for the face to be visible."""
CUT_M = 0.003
"""Points that end this near the floor end there because they were cropped."""

YAW_POINTS = 400
YAW_GAIN = 0.9
"""A rotated footprint must have less than this share of the unrotated one's area."""
_YAWS = np.radians(np.arange(0.0, 90.0, 5.0))
_TO_FIRST = np.array([np.cos(_YAWS), np.sin(_YAWS)], np.float32)
_TO_SECOND = np.array([-np.sin(_YAWS), np.cos(_YAWS)], np.float32)


def estimate_center(
    points: Float32Array, size_m: float, eye: FloatArray, floor_m: float
) -> FloatArray:
    """Centre (3,) of a cube that stands upright, at any rotation about z.

    Along each axis of the cube: seen from end to end, the centre is in the middle. Seen in part,
    the end that faces the camera is a face of the cube, half a size from the centre. Seen in part
    and edge-on, both ends are equally doubtful, and the middle is taken.

    Args:
        points: (n, 3) m in the base frame, n >= 1; a few may be wrong.
        size_m: Edge length; for a ball its diameter.
        eye: Where the cameras are, weighted by how many points each sees (3,), m.
        floor_m: Height below which points were cropped away.
    """
    points = points[:: -(-len(points) // MAX_POINTS)]
    middle = np.median(points, axis=0)
    near = points - middle
    near = near[(np.abs(near) <= size_m).all(axis=1)]
    yaw = _yaw(near[:, :2])
    cosine, sine = np.cos(yaw), np.sin(yaw)
    to_cube = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    ordered = np.sort(near @ to_cube.T.astype(np.float32), axis=0).astype(np.float64)
    trim = int(TRIM * len(ordered))
    low, high = ordered[trim], ordered[-1 - trim]
    whole = high - low >= FULL_EXTENT * size_m
    if low[2] + middle[2] < floor_m + CUT_M:
        whole[2] = False
    facing = to_cube @ (eye - middle)
    facing /= max(float(np.linalg.norm(facing)), 1e-9)
    half = size_m / 2.0
    behind_face = np.where(facing > 0.0, high - half, low + half)
    centre = np.where(whole | (np.abs(facing) < FACING), (low + high) / 2.0, behind_face)
    result: FloatArray = centre @ to_cube + middle
    return result


def _yaw(footprint: Float32Array) -> float:
    """Rotation about z, in [0, pi/2), whose rectangle around the points (n, 2) is smallest."""
    footprint = footprint[:: -(-len(footprint) // YAW_POINTS)]
    trim = int(TRIM * len(footprint))
    first = np.sort(footprint @ _TO_FIRST, axis=0)
    second = np.sort(footprint @ _TO_SECOND, axis=0)
    area = (first[-1 - trim] - first[trim]) * (second[-1 - trim] - second[trim])
    best = int(np.argmin(area))
    return float(_YAWS[best]) if area[best] < YAW_GAIN * area[0] else 0.0
