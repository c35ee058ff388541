"""A recorded bag as a camera: its pictures in their rhythm, with stamps of now, again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.cameras.loop import now_ns
from tmrl_ros.cameras.source import CameraAbout, CameraFrame, CameraRefusedError
from tmrl_ros.core import topics
from tmrl_ros.core.camera_config import CameraConfig
from tmrl_ros.core.types import FloatArray
from tmrl_ros.data import decode
from tmrl_ros.data.bag_stream import BagStream, RawMessage, is_topic
from tmrl_ros.data.pictures import SUFFIX

LONGEST_PAUSE_S = 1.0
"""Between two pictures; a bag may hold longer ones, in which nothing was asked for."""
HELD = 8
"""Pictures kept until the other of their stamp comes."""


class BagSource:
    """The pictures of one camera of a bag of ours.

    Args:
        config: Which camera.
        bag: Folder of the bag, or its `.mcap` file.
    """

    def __init__(self, config: CameraConfig, bag: Path) -> None:
        self._config, self._bag = config, bag
        self._pairs: Iterator[tuple[int, Any, Any, FloatArray]] = iter(())
        self._number = 0
        self._last_ns: int | None = None

    def open(self) -> CameraAbout:
        """Look whether the bag has pictures of this camera.

        Raises:
            CameraRefusedError: It has none.
            BagError: It is no bag.
        """
        if next(self._recorded(), None) is None:
            raise CameraRefusedError(
                f"{self._bag} has no colour and depth of equal stamp of camera "
                f"{self._config.name!r}: name another bag with cameras.bag, recorded with "
                "recorder.cameras=all."
            )
        self._pairs = self._recorded()
        return CameraAbout(model="bag", serial=self._bag.name)

    def read(self, timeout_s: float) -> CameraFrame | None:
        """Wait as long as the camera did, then the next picture; from the start after the last."""
        del timeout_s  # pauses are shortened to less
        pair = next(self._pairs, None)
        if pair is None:
            self._pairs, self._last_ns = self._recorded(), None
            pair = next(self._pairs)
        recorded_ns, color, depth_mm, intrinsics = pair
        if self._last_ns is not None:
            pause_s = (recorded_ns - self._last_ns) / 1e9
            time.sleep(min(max(pause_s, 0.0), LONGEST_PAUSE_S))
        self._last_ns = recorded_ns
        self._number += 1
        stamp_ns = now_ns()
        return CameraFrame(
            stamp_ns, stamp_ns, (self._number, self._number), color, depth_mm, intrinsics
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _recorded(self) -> Iterator[tuple[int, Any, Any, FloatArray]]:
        """Stamp, colour, depth and intrinsics of every whole picture, in the order of the bag."""
        name = self._config.name
        color_topic, depth_topic = topics.color(name), topics.depth(name)
        names = (color_topic, color_topic + SUFFIX, depth_topic)
        intrinsics = self._intrinsics()
        colors: dict[int, Any] = {}
        depths: dict[int, Any] = {}
        for raw in BagStream(self._bag, names):
            kept = depths if is_topic(raw.topic, depth_topic) else colors
            stamp_ns, pixels = _picture(raw, is_depth=kept is depths)
            kept[stamp_ns] = pixels
            if stamp_ns in colors and stamp_ns in depths and intrinsics is not None:
                yield stamp_ns, colors.pop(stamp_ns), depths.pop(stamp_ns), intrinsics
            while len(kept) > HELD:
                kept.pop(next(iter(kept)))

    def _intrinsics(self) -> FloatArray | None:
        """K (3, 3) of the bag's first camera_info of this camera."""
        for raw in BagStream(self._bag, (topics.camera_info(self._config.name),)):
            return np.array(raw.decode().k, np.float64).reshape(3, 3)
        return None


def _picture(raw: RawMessage, *, is_depth: bool) -> tuple[int, Any]:
    msg = raw.decode()
    pixels = decode.image(msg) if is_depth else decode.rgb_image(msg)
    return decode.to_ns(msg.header.stamp), pixels
