"""Depth images to points in the base frame, cropped to the workspace and thinned to a fixed number.

The order of work is chosen for speed: the height above the table is computed for every pixel, and
everything else for the few pixels that are left after cropping by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import fpsample
import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import Float32Array, FloatArray

ColorArray = NDArray[np.uint8]
MILLIMETRE = np.float32(0.001)
MAX_GRID_CELLS = 8_000_000


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in the base frame: corners (3,), m."""

    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Cloud:
    """Points in the base frame.

    Attributes:
        points: (n, 3), m.
        colors: (n, 3), RGB.
    """

    points: Float32Array
    colors: ColorArray

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)


def deproject(
    depth_mm: NDArray[np.uint16],
    color: ColorArray,
    intrinsics: FloatArray,
    base_from_optical: FloatArray,
    box: Box,
) -> Cloud:
    """Points of one depth image that lie in the box.

    Args:
        depth_mm: (h, w) distance along the optical axis, aligned to colour; 0 where unknown.
        color: (h, w, 3) RGB.
        intrinsics: K (3, 3); the centre of the first pixel is (0, 0).
        base_from_optical: Pose of the optical frame (z forward, x right) in the base (4, 4).
        box: What is kept.

    Raises:
        ValueError: Colour and depth are of different size.
    """
    height, width = depth_mm.shape
    if color.shape[:2] != (height, width):
        raise ValueError(
            f"colour image {color.shape[1]}x{color.shape[0]} and depth image {width}x{height} "
            "differ in size: depth must be aligned to colour"
        )
    across = ((np.arange(width) - intrinsics[0, 2]) / intrinsics[0, 0]).astype(np.float32)
    down = ((np.arange(height) - intrinsics[1, 2]) / intrinsics[1, 1]).astype(np.float32)
    rotation = base_from_optical[:3, :3].astype(np.float32)
    origin = base_from_optical[:3, 3].astype(np.float32)
    low, high = box.low.astype(np.float32), box.high.astype(np.float32)

    depth_m = depth_mm * MILLIMETRE
    z = np.add.outer(rotation[2, 1] * down + rotation[2, 2], rotation[2, 0] * across)
    z *= depth_m
    kept = (z >= low[2] - origin[2]) & (z <= high[2] - origin[2]) & (depth_mm > 0)
    pixels = np.flatnonzero(kept)
    row, column = np.divmod(pixels.astype(np.int32), np.int32(width))
    along = depth_m.ravel().take(pixels)
    right, below = across.take(column) * along, down.take(row) * along
    coordinates = [
        rotation[k, 0] * right + rotation[k, 1] * below + rotation[k, 2] * along + origin[k]
        for k in range(3)
    ]
    inside = np.ones(len(pixels), bool)
    for k in (0, 1):
        inside &= (coordinates[k] >= low[k]) & (coordinates[k] <= high[k])
    chosen = np.flatnonzero(inside)
    points = np.empty((len(chosen), 3), np.float32)
    for k in range(3):
        points[:, k] = coordinates[k].take(chosen)
    return Cloud(points, color.reshape(-1, 3).take(pixels.take(chosen), axis=0))


def merge(clouds: list[Cloud]) -> Cloud:
    """All points of several clouds; an empty cloud of none."""
    if not clouds:
        return Cloud(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    return Cloud(
        np.concatenate([cloud.points for cloud in clouds]),
        np.concatenate([cloud.colors for cloud in clouds]),
    )


class Downsampler:
    """Thins clouds to exactly `count` points: one per voxel, then the farthest from each other.

    The same cloud always gives the same points. It keeps a work array and belongs to one thread.

    Args:
        box: Where all points lie.
        voxel_m: Edge of a voxel.
        count: Points wanted.
    """

    def __init__(self, box: Box, voxel_m: float, count: int) -> None:
        self._low = box.low.astype(np.float32)
        self._per_m = np.float32(1.0 / voxel_m)
        self._shape = (np.floor((box.high - box.low) / voxel_m) + 2).astype(np.int64)
        self._count = count
        cells = int(np.prod(self._shape))
        self._last_in_cell = np.zeros(cells, np.int32) if cells <= MAX_GRID_CELLS else None

    def __call__(self, cloud: Cloud) -> Cloud:
        """Exactly `count` points, repeated when there are fewer; none when there are none."""
        if not len(cloud):
            return cloud
        kept = self._one_per_voxel(cloud.points)
        if len(kept) > self._count:
            chosen = fpsample.bucket_fps_kdline_sampling(
                cloud.points.take(kept, axis=0), self._count, h=5, start_idx=0
            )
            kept = kept[np.sort(chosen.astype(np.int64))]
        elif len(kept) < self._count:
            kept = np.resize(kept, self._count)
        return Cloud(cloud.points.take(kept, axis=0), cloud.colors.take(kept, axis=0))

    def _one_per_voxel(self, points: Float32Array) -> NDArray[np.int64]:
        """Indices of the last point of every voxel."""
        key = np.zeros(len(points), np.int64)
        for k, size in enumerate(self._shape):
            cell = ((points[:, k] - self._low[k]) * self._per_m).astype(np.int32)
            key *= size
            key += np.clip(cell, 0, size - 1)
        order = np.arange(len(points), dtype=np.int32)
        if self._last_in_cell is None:
            _, last = np.unique(key[::-1], return_index=True)
            return np.sort(len(points) - 1 - last).astype(np.int64)
        # Only cells written now are read, so that the array need not be cleared. NumPy keeps the
        # last of several values written to one place.
        self._last_in_cell[key] = order
        return np.flatnonzero(self._last_in_cell.take(key) == order)
