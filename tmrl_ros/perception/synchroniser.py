"""Bring camera frames and robot states of one instant together.

Colour, depth and robot states come one by one, in any order between each other. A bundle for a
stamp holds of every camera the first frame at or after that stamp, and the first robot state at or
after the newest of those frames. An older frame is never taken in place of a missing one: it would
not show what the last motion did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import NANOSECONDS, FloatArray, Pose, RobotSample
from tmrl_ros.perception.cloud import ColorArray
from tmrl_ros.perception.geometry import pose_between

FRAMES_KEPT = 8
STATES_KEPT = 200


@dataclass(frozen=True)
class Frame:
    """Colour and aligned depth of one camera at one instant.

    Attributes:
        stamp_ns: Stamp of both images.
        color: (h, w, 3) RGB.
        depth_mm: (h, w), 0 where unknown.
        intrinsics: K (3, 3) of both.
        ee_pose: Where the tool was at that stamp.
    """

    stamp_ns: int
    color: ColorArray
    depth_mm: NDArray[np.uint16]
    intrinsics: FloatArray
    ee_pose: Pose


@dataclass(frozen=True)
class Bundle:
    """A robot state and one frame per camera, in the order of the cameras."""

    robot: RobotSample
    frames: Mapping[str, Frame]


@dataclass(frozen=True)
class Missing:
    """What keeps a bundle from being made.

    Attributes:
        cameras: What each camera lacks, a few words per camera.
        robot: What the robot lacks, empty when nothing.
    """

    cameras: Mapping[str, str]
    robot: str = ""


@dataclass
class _Camera:
    """What has come of one camera; only colour and depth of equal stamp make a frame."""

    max_age_ns: int
    intrinsics: FloatArray | None = None
    colors: deque[tuple[int, ColorArray]] = field(default_factory=lambda: deque(maxlen=FRAMES_KEPT))
    depths: deque[tuple[int, NDArray[np.uint16]]] = field(
        default_factory=lambda: deque(maxlen=FRAMES_KEPT)
    )

    def stamps_from(self, stamp_ns: int) -> list[int]:
        """Stamps of whole frames at or after a stamp, oldest first."""
        depths = {stamp for stamp, _ in self.depths}
        return sorted({s for s, _ in self.colors if s >= stamp_ns and s in depths})

    def lacks(self, stamp_ns: int) -> str:
        """What is missing of a frame at or after a stamp; empty when there is one."""
        if self.intrinsics is None or not self.intrinsics[0, 0] > 0.0:
            return "no camera_info with a focal length"
        for what, stamps in (
            ("colour image", [stamp for stamp, _ in self.colors]),
            ("depth image", [stamp for stamp, _ in self.depths]),
        ):
            if not stamps:
                return f"no {what}"
            if max(stamps) < stamp_ns:
                return f"no {what} after {max(stamps) / NANOSECONDS:.3f} s"
        if not self.stamps_from(stamp_ns):
            return "no depth image of a colour image's stamp"
        return ""


class Synchroniser:
    """Keeps the last few frames and states; knows no clock but the stamps.

    Args:
        max_age_s: For every camera the longest time between its frame and the robot state.
    """

    def __init__(self, max_age_s: Mapping[str, float]) -> None:
        self._cameras = {
            name: _Camera(round(age_s * NANOSECONDS)) for name, age_s in max_age_s.items()
        }
        self._states: deque[RobotSample] = deque(maxlen=STATES_KEPT)

    @property
    def newest_state_ns(self) -> int:
        """Stamp of the newest robot state; 0 before the first."""
        return self._states[-1].stamp_ns if self._states else 0

    def add_intrinsics(self, camera: str, intrinsics: FloatArray) -> None:
        """Take in K (3, 3) of a camera's colour image."""
        self._cameras[camera].intrinsics = intrinsics

    def add_color(self, camera: str, stamp_ns: int, color: ColorArray) -> None:
        """Take in a colour image (h, w, 3)."""
        self._cameras[camera].colors.append((stamp_ns, color))

    def add_depth(self, camera: str, stamp_ns: int, depth_mm: NDArray[np.uint16]) -> None:
        """Take in a depth image (h, w), mm."""
        self._cameras[camera].depths.append((stamp_ns, depth_mm))

    def add_state(self, sample: RobotSample) -> None:
        """Take in a robot state; repeats are ignored.

        A state from before the last one means that the driver was started again: everything from
        before its start is forgotten.
        """
        if self._states and sample.stamp_ns < self.newest_state_ns:
            self._states.clear()
            self.drop_frames()
        if not self._states or sample.stamp_ns > self.newest_state_ns:
            self._states.append(sample)

    def drop_frames(self) -> None:
        """Forget all frames, so that only pictures taken from now on are used."""
        for camera in self._cameras.values():
            camera.colors.clear()
            camera.depths.clear()

    def bundle_at(self, stamp_ns: int) -> Bundle | Missing:
        """The bundle for a stamp, or what is missing of it."""
        lacking = {
            name: what for name, camera in self._cameras.items() if (what := camera.lacks(stamp_ns))
        }
        if lacking:
            return Missing(lacking)
        offered = {n: camera.stamps_from(stamp_ns) for n, camera in self._cameras.items()}
        newest_ns = max(stamps[0] for stamps in offered.values())
        robot = next((state for state in self._states if state.stamp_ns >= newest_ns), None)
        if robot is None:
            return Missing({}, f"no robot/state at or after {newest_ns / NANOSECONDS:.3f} s")
        frames = {}
        for name, camera in self._cameras.items():
            # A camera that was ahead of a slower one may have delivered a better frame since.
            chosen_ns = max(stamp for stamp in offered[name] if stamp <= newest_ns)
            age_ns = robot.stamp_ns - chosen_ns
            if age_ns > camera.max_age_ns:
                lacking[name] = (
                    f"its frame is {age_ns / NANOSECONDS:.2f} s older than the robot state"
                )
            else:
                frames[name] = self._frame(camera, chosen_ns)
        return Missing(lacking) if lacking else Bundle(robot, frames)

    def _frame(self, camera: _Camera, stamp_ns: int) -> Frame:
        assert camera.intrinsics is not None
        return Frame(
            stamp_ns=stamp_ns,
            color=next(image for stamp, image in camera.colors if stamp == stamp_ns),
            depth_mm=next(image for stamp, image in camera.depths if stamp == stamp_ns),
            intrinsics=camera.intrinsics,
            ee_pose=self._ee_pose_at(stamp_ns),
        )

    def _ee_pose_at(self, stamp_ns: int) -> Pose:
        """Pose of the tool between the states around a stamp; the nearest where it has only one."""
        before = next((s for s in reversed(self._states) if s.stamp_ns <= stamp_ns), None)
        after = next((s for s in self._states if s.stamp_ns >= stamp_ns), None)
        if before is None or after is None or before is after:
            known = before or after
            assert known is not None
            return known.ee_pose
        share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
        return pose_between(before.ee_pose, after.ee_pose, share)
