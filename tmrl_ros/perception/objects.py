"""Find objects by their colour, and remember where they were last seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.config import ObjectConfig
from tmrl_ros.core.types import NANOSECONDS, FloatArray
from tmrl_ros.perception.center import estimate_center
from tmrl_ros.perception.cloud import Cloud, ColorArray

MIN_POINTS = 30
"""Fewer points of an object's colour are no sighting."""


@dataclass(frozen=True)
class View:
    """One camera's points, and where it saw them from: `eye` (3,) in the base frame, m."""

    cloud: Cloud
    eye: FloatArray


@dataclass(frozen=True)
class Sighting:
    """Where an object is believed to be.

    Attributes:
        position: Centre (3,) in the base frame, m; NaN when it was never seen.
        visible: Whether it is seen now.
        age_s: Robot time since it was seen; infinite when it never was.
    """

    position: FloatArray
    visible: bool
    age_s: float

    @property
    def never(self) -> bool:
        """Whether it was never seen."""
        return math.isinf(self.age_s)


class ObjectFinder:
    """Finds the configured objects and holds the last position of those that are out of sight.

    Args:
        objects: What to look for.
        floor_m: Height below which the points were cropped away.
    """

    def __init__(self, objects: Sequence[ObjectConfig], floor_m: float) -> None:
        self._objects = tuple(objects)
        self._floor_m = floor_m
        self._seen: dict[str, tuple[int, FloatArray]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the objects, in the order of `look`."""
        return tuple(item.name for item in self._objects)

    def forget(self) -> None:
        """Forget where objects were: somebody puts them elsewhere."""
        self._seen.clear()

    def look(self, views: Sequence[View], stamp_ns: int) -> list[Sighting]:
        """Where each object is, in the order of the configuration.

        Args:
            views: What each camera sees.
            stamp_ns: Robot stamp of this look.
        """
        found = [select(view.cloud.colors, self._objects) for view in views]
        sightings = []
        for k, item in enumerate(self._objects):
            seen = [
                view.cloud.points[indices[k]] for view, indices in zip(views, found, strict=True)
            ]
            counts = np.array([len(points) for points in seen])
            if counts.sum() >= MIN_POINTS:
                eye = counts @ np.array([view.eye for view in views]) / counts.sum()
                position = estimate_center(np.concatenate(seen), item.size_m, eye, self._floor_m)
                self._seen[item.name] = (stamp_ns, position)
                sightings.append(Sighting(position, True, 0.0))
            elif item.name in self._seen:
                seen_ns, position = self._seen[item.name]
                sightings.append(Sighting(position, False, (stamp_ns - seen_ns) / NANOSECONDS))
            else:
                sightings.append(Sighting(np.full(3, math.nan), False, math.inf))
        return sightings


def select(colors: ColorArray, objects: Sequence[ObjectConfig]) -> list[NDArray[np.int64]]:
    """Indices of the colours that belong to each object.

    Args:
        colors: (n, 3) RGB.
        objects: Hue ranges with the least saturation and value.
    """
    strongest = np.maximum(np.maximum(colors[:, 0], colors[:, 1]), colors[:, 2])
    spread = strongest - np.minimum(np.minimum(colors[:, 0], colors[:, 1]), colors[:, 2])
    # Most of a scene is grey: the hue is computed of the rest only.
    least = np.float32(min(item.min_saturation for item in objects))
    vivid = np.flatnonzero((spread > 0) & (spread >= least * strongest))
    red, green, blue = (colors[:, k].take(vivid).astype(np.float32) for k in range(3))
    top, width = strongest[vivid].astype(np.float32), spread[vivid].astype(np.float32)
    sextant = np.where(
        top == red,
        (green - blue) / width,
        np.where(top == green, (blue - red) / width + 2.0, (red - green) / width + 4.0),
    )
    hue_deg = 60.0 * sextant
    found = []
    for item in objects:
        away_deg = np.abs((hue_deg - item.hue_deg + 180.0) % 360.0 - 180.0)
        good = (
            (away_deg <= item.hue_tolerance_deg)
            & (width >= item.min_saturation * top)
            & (top >= item.min_value * 255.0)
        )
        found.append(vivid[good])
    return found
