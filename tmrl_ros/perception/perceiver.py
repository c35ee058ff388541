"""From one synchronised bundle to everything an observation says about the scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.config import CameraConfig, Config
from tmrl_ros.core.types import NANOSECONDS, Float32Array, FloatArray, Pose
from tmrl_ros.perception.cloud import Box, Cloud, ColorArray, Downsampler, deproject, merge
from tmrl_ros.perception.geometry import pose_matrix
from tmrl_ros.perception.images import shrink
from tmrl_ros.perception.objects import ObjectFinder, Sighting, View
from tmrl_ros.perception.synchroniser import Bundle, Frame


@dataclass(frozen=True)
class Percept:
    """What was made of one bundle.

    Attributes:
        state: End effector position (3, m, base frame) and gripper opening (0..1): (4,).
        sightings: One per configured object.
        images: One shrunk colour image (h, w, 3) per camera.
        camera_age_s: Robot stamp minus frame stamp, per camera.
        cloud: The points of all cameras, cropped and thinned.
    """

    state: Float32Array
    sightings: list[Sighting]
    images: list[ColorArray]
    camera_age_s: list[float]
    cloud: Cloud


class Perceiver:
    """Crops, finds, thins and shrinks as the configuration says.

    It remembers objects that are out of sight (`forget`) and belongs to one thread.
    """

    def __init__(self, config: Config) -> None:
        settings = config.cameras
        self._settings = settings
        self._gripper_max_width_m = config.robot.gripper_max_width_m
        self._box = Box(np.array(settings.workspace_min_m), np.array(settings.workspace_max_m))
        self._mounts = [_mount(camera) for camera in settings.cameras]
        self._finder = ObjectFinder(config.task.objects, settings.workspace_min_m[2])
        self._thin = Downsampler(self._box, settings.voxel_m, settings.points)

    @property
    def object_names(self) -> tuple[str, ...]:
        """Names of the objects, in the order of `Percept.sightings`."""
        return self._finder.names

    def forget(self) -> None:
        """Forget where objects were."""
        self._finder.forget()

    def perceive(self, bundle: Bundle) -> Percept:
        """Make everything from a bundle that has a frame of every configured camera."""
        robot, settings = bundle.robot, self._settings
        views, images, ages = [], [], []
        for camera, mount in zip(settings.cameras, self._mounts, strict=True):
            frame = bundle.frames[camera.name]
            views.append(self._view(camera, mount, frame))
            images.append(shrink(frame.color, settings.image_width, settings.image_height))
            ages.append((robot.stamp_ns - frame.stamp_ns) / NANOSECONDS)
        opening = robot.gripper_width_m / self._gripper_max_width_m
        position = robot.ee_pose.position
        return Percept(
            state=np.array([*position, min(max(opening, 0.0), 1.0)], np.float32),
            sightings=self._finder.look(views, robot.stamp_ns),
            images=images,
            camera_age_s=ages,
            cloud=self._thin(merge([view.cloud for view in views])),
        )

    def _view(self, camera: CameraConfig, mount: FloatArray, frame: Frame) -> View:
        pose = pose_matrix(frame.ee_pose) @ mount if camera.mount == "ee" else mount
        cloud = deproject(frame.depth_mm, frame.color, frame.intrinsics, pose, self._box)
        return View(cloud, pose[:3, 3])


def _mount(camera: CameraConfig) -> FloatArray:
    """Pose of the optical frame in what the camera is mounted on (4, 4)."""
    return pose_matrix(Pose(np.array(camera.position_m), np.array(camera.quaternion_xyzw)))
