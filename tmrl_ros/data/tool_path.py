"""The tool's path in a bag at a steady rate, and how it moves from one sample to the next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core import topics
from tmrl_ros.core.types import NANOSECONDS, FloatArray
from tmrl_ros.data import decode
from tmrl_ros.data.bag_stream import BagError, BagStream, is_topic

RATE_HZ = 10.0
SMOOTH = 3
"""Samples a position is averaged over: a hand trembles."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ToolPath:
    """The tool (M samples) on the robot's clock.

    `stamps_ns` (M,), `positions` (M, 3) in metres, base frame, `widths_m` (M,) of the gripper.
    """

    bag: Path
    stamps_ns: IntArray
    positions: FloatArray
    widths_m: FloatArray

    def motion(self, widest_m: float) -> FloatArray:
        """What is compared (M - 1, 4): steps x y z in metres per sample, and the opening 0..1.

        Steps, not places: the same motion somewhere else on the table is the same.
        """
        steps = np.diff(smoothed(self.positions), axis=0)
        opening = np.clip(self.widths_m[1:, None] / widest_m, 0.0, 1.0)
        return np.concatenate([steps, opening], axis=1)


def smoothed(positions: FloatArray) -> FloatArray:
    """Positions (M, 3) averaged over `SMOOTH` samples, the ends over fewer."""
    if len(positions) < SMOOTH:
        return positions
    kernel = np.ones(SMOOTH)
    counts = np.convolve(np.ones(len(positions)), kernel, "same")
    columns = [np.convolve(column, kernel, "same") / counts for column in positions.T]
    found: FloatArray = np.stack(columns, axis=1)
    return found


def read_path(bag: Path, rate_hz: float = RATE_HZ) -> ToolPath:
    """The measured path of a bag's episode, from RUNNING to its end, at a steady rate.

    Only robot states and words on the episode are read: pictures stay where they are.

    Raises:
        BagError: There is no bag, or no episode ran in it.
    """
    stamps: list[int] = []
    positions: list[FloatArray] = []
    widths: list[float] = []
    begin_ns = end_ns = 0
    for message in BagStream(bag, [topics.ROBOT_STATE, topics.EPISODE]):
        if is_topic(message.topic, topics.ROBOT_STATE):
            msg = message.decode()
            at = msg.ee_pose.position
            stamps.append(decode.to_ns(msg.header.stamp))
            positions.append(np.array([at.x, at.y, at.z]))
            widths.append(float(msg.gripper_width_m))
            continue
        event = decode.episode(message.decode())
        if event.state.name == "RUNNING":
            begin_ns = begin_ns or event.stamp_ns
        elif event.state.name == "ENDED":
            end_ns = max(end_ns, event.stamp_ns)
    known, places = np.unique(np.array(stamps, np.int64), return_index=True)
    begin_ns = begin_ns or (int(known[0]) if len(known) else 0)
    end_ns = end_ns or (int(known[-1]) if len(known) else 0)
    at_ns = np.arange(begin_ns, end_ns, round(NANOSECONDS / rate_hz), dtype=np.int64)
    if len(known) < 2 or len(at_ns) < 2:
        raise BagError(f"{bag}: no episode ran in it, or it has no robot states.")
    path = np.array(positions)[places]
    return ToolPath(
        bag,
        at_ns,
        np.stack([np.interp(at_ns, known, column) for column in path.T], axis=1),
        np.interp(at_ns, known, np.array(widths)[places]),
    )
