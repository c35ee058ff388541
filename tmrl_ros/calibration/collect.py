"""Take views while somebody guides the arm: one wherever it stands still in a new pose."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.calibration.board import FEWEST_CORNERS, Board
from tmrl_ros.calibration.geometry import Lens, angle_deg, inverse
from tmrl_ros.calibration.views import Picture
from tmrl_ros.core import topics
from tmrl_ros.core.types import NANOSECONDS, FloatArray, RobotSample
from tmrl_ros.data import decode
from tmrl_ros.data.bag_stream import BagStream, RawMessage, is_topic
from tmrl_ros.data.pictures import SUFFIX
from tmrl_ros.perception.geometry import pose_matrix

STILL_S = 0.5
STILL_MM, STILL_DEG = 0.5, 0.1
NEW_MM, NEW_DEG = 30.0, 7.0
SHARE_OF_BOARD = 0.5
STATES_KEPT = 4000


@dataclass(frozen=True)
class Heard:
    """What became of a picture: whether it was taken, and the sentence for the person."""

    taken: bool
    text: str


class Collector:
    """Decides which pictures become views. Stamps are the robot's clock.

    Args:
        board: What to look for.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._states: deque[tuple[int, FloatArray]] = deque(maxlen=STATES_KEPT)
        self.pictures: list[Picture] = []
        self.lens: Lens | None = None

    def add_lens(self, lens: Lens) -> None:
        """Take in the camera's intrinsics."""
        self.lens = lens

    def add_state(self, sample: RobotSample) -> None:
        """Take in where the tool is."""
        if not self._states or sample.stamp_ns > self._states[-1][0]:
            self._states.append((sample.stamp_ns, pose_matrix(sample.ee_pose)))

    def add_picture(self, stamp_ns: int, image: NDArray[np.uint8]) -> Heard:
        """Take in a picture (h, w, 3) RGB."""
        if self.lens is None:
            return Heard(False, "waiting for the camera's intrinsics")
        pose = self._still_pose(stamp_ns)
        if pose is None:
            return Heard(False, "hold the arm still")
        if not self._is_new(pose):
            return Heard(False, "this view is taken: tilt or move the tool")
        corners = self._board.find(image)
        seen, whole = 0 if corners is None else len(corners.ids), self._board.corner_count
        if seen < max(FEWEST_CORNERS, SHARE_OF_BOARD * whole):
            return Heard(False, f"{seen} of {whole} corners are seen: bring the board into view")
        name = f"view_{len(self.pictures):03d}.png"
        self.pictures.append(Picture(name, np.array(image), pose))
        return Heard(True, f"view {len(self.pictures)}: {seen} of {whole} corners")

    def _still_pose(self, stamp_ns: int) -> FloatArray | None:
        """The tool's pose (4, 4) if it has stood still around this stamp."""
        window_ns = round(STILL_S * NANOSECONDS)
        around = [p for at, p in self._states if abs(at - stamp_ns) <= window_ns]
        before = any(at <= stamp_ns - window_ns // 2 for at, _ in self._states)
        if not around or not before:
            return None
        middle = around[len(around) // 2]
        moves = any(_differ(middle, pose, STILL_MM, STILL_DEG) for pose in around)
        return None if moves else middle

    def _is_new(self, pose: FloatArray) -> bool:
        taken = (picture.base_from_ee for picture in self.pictures)
        return all(_differ(other, pose, NEW_MM, NEW_DEG) for other in taken)


def _differ(first: FloatArray, second: FloatArray, mm: float, deg: float) -> bool:
    """Whether two poses (4, 4) are further apart, or turned by more, than this."""
    shift_mm = 1e3 * float(np.linalg.norm(first[:3, 3] - second[:3, 3]))
    return shift_mm > mm or angle_deg(inverse(first) @ second) > deg


def lens_from(info: Any) -> Lens:
    """The lens of a `sensor_msgs/CameraInfo`, live or from a bag."""
    distortion = np.zeros(5)
    given = np.array(info.d, np.float64)[:5]
    distortion[: len(given)] = given
    k = np.array(info.k, np.float64).reshape(3, 3)
    return Lens(k, distortion, int(info.width), int(info.height))


def collect_from_bag(bag: Path, camera: str, board: Board) -> Collector:
    """Views of a recorded bag in which somebody moved the arm from pose to pose.

    Raises:
        BagError: There is no bag.
    """
    collector = Collector(board)
    color = topics.color(camera)
    names = (topics.ROBOT_STATE, topics.camera_info(camera), color, color + SUFFIX)
    pictures = []
    for raw in BagStream(bag, names):
        if is_topic(raw.topic, topics.ROBOT_STATE):
            collector.add_state(decode.robot(raw.decode()))
        elif is_topic(raw.topic, topics.camera_info(camera)):
            collector.add_lens(lens_from(raw.decode()))
        else:
            pictures.append(raw)
        # A picture needs the states after it.
        while pictures and raw.stamp_ns - pictures[0].stamp_ns > 2 * STILL_S * NANOSECONDS:
            _offer(collector, pictures.pop(0))
    for raw in pictures:
        _offer(collector, raw)
    return collector


def _offer(collector: Collector, raw: RawMessage) -> None:
    msg = raw.decode()
    collector.add_picture(decode.to_ns(msg.header.stamp), decode.rgb_image(msg))
