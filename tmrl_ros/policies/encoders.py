"""The observation encoders, what a bundle says about one, and whether a cell fits it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from tmrl_ros.core.config import CameraConfig, CamerasConfig, Config
from tmrl_ros.core.types import FloatArray
from tmrl_ros.data.bundle_folder import Strict
from tmrl_ros.policies.image_encoder import Camera, ImageEncoder
from tmrl_ros.policies.keypoints import KeypointEncoder
from tmrl_ros.policies.point_encoder import PointEncoder

MOVED_M = 0.02
TURNED_DEG = 3.0
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]


class PointEncoderSpec(Strict):
    """An encoder of point clouds, and how the clouds it was trained on were made."""

    kind: Literal["points"] = "points"
    keypoints: int = Field(ge=1, le=64)
    width: int = Field(32, ge=4, le=1024)
    cameras: list[str]
    workspace_min_m: Triple
    workspace_max_m: Triple
    points: int
    voxel_m: float

    @classmethod
    def of(cls, cameras: CamerasConfig, keypoints: int) -> PointEncoderSpec:
        """For clouds as a cell makes them."""
        return cls(
            keypoints=keypoints,
            cameras=[camera.name for camera in cameras.cameras],
            workspace_min_m=cameras.workspace_min_m,
            workspace_max_m=cameras.workspace_max_m,
            points=cameras.points,
            voxel_m=cameras.voxel_m,
        )

    def build(self) -> PointEncoder:
        """The network, without its weights."""
        return PointEncoder(self.keypoints, self.width)

    def misfit(self, cameras: CamerasConfig) -> str:
        """What of a cell differs from what the encoder was trained on, as a clause, or ""."""
        here = PointEncoderSpec.of(cameras, self.keypoints)
        if missing := [name for name in self.cameras if name not in here.cameras]:
            return f"was trained on camera {missing[0]!r}, the configuration has {here.cameras}"
        for key in ("workspace_min_m", "workspace_max_m", "points", "voxel_m"):
            trained, found = getattr(self, key), getattr(here, key)
            if trained != found:
                return f"was trained on clouds with {key}={trained}, cameras.{key} is {found}"
        return ""


class ImageView(Strict):
    """One camera of an image encoder: where it hung in training, and its lens."""

    name: str
    mount: Literal["base", "ee"]
    position_m: Triple
    quaternion_xyzw: Annotated[list[float], Field(min_length=4, max_length=4)]
    intrinsics: list[Triple] = Field(
        min_length=3, max_length=3, description="K of the pictures as the camera takes them"
    )
    width: int = Field(ge=1, description="of the pictures as the camera takes them")
    height: int = Field(ge=1)

    def misfit(self, found: CameraConfig) -> str:
        """What of a configured camera differs, as a clause, or ""."""
        if (self.mount, self.width, self.height) != (found.mount, found.width, found.height):
            return (
                f"was trained on camera {self.name!r} of {self.width}x{self.height} on "
                f"{self.mount}, the configuration has {found.width}x{found.height} on {found.mount}"
            )
        moved_m = math.dist(self.position_m, found.position_m)
        cosine = abs(float(np.dot(self.quaternion_xyzw, found.quaternion_xyzw)))
        turned_deg = math.degrees(2 * math.acos(min(cosine, 1.0)))
        if moved_m > MOVED_M or turned_deg > TURNED_DEG:
            return (
                f"was trained with camera {self.name!r} {moved_m:.3f} m and {turned_deg:.1f} "
                "degrees from where the configuration has it"
            )
        return ""


class ImageEncoderSpec(Strict):
    """An encoder of resized colour images, and the cameras it was trained with."""

    kind: Literal["images"] = "images"
    keypoints: int = Field(ge=1, le=64)
    width: int = Field(12, ge=4, le=1024)
    image_width: int
    image_height: int
    cameras: list[ImageView] = Field(min_length=1)

    @classmethod
    def of(
        cls, cameras: CamerasConfig, keypoints: int, intrinsics: Mapping[str, FloatArray]
    ) -> ImageEncoderSpec:
        """For images as a cell takes them; `intrinsics` has every camera's K (3, 3)."""
        views = [
            ImageView(
                name=camera.name,
                mount=camera.mount,
                position_m=camera.position_m,
                quaternion_xyzw=camera.quaternion_xyzw,
                intrinsics=intrinsics[camera.name].tolist(),
                width=camera.width,
                height=camera.height,
            )
            for camera in cameras.cameras
        ]
        width, height = cameras.image_width, cameras.image_height
        return cls(keypoints=keypoints, image_width=width, image_height=height, cameras=views)

    def build(self) -> ImageEncoder:
        """The network, without its weights."""
        cameras = [
            Camera(
                view.name,
                view.mount == "ee",
                np.array(view.position_m),
                np.array(view.quaternion_xyzw),
                np.array(view.intrinsics),
                (view.width, view.height),
            )
            for view in self.cameras
        ]
        size = self.image_width, self.image_height
        return ImageEncoder(cameras, size, self.keypoints, self.width)

    def misfit(self, cameras: CamerasConfig) -> str:
        """What of a cell differs from what the encoder was trained on, as a clause, or ""."""
        for key in ("image_width", "image_height"):
            trained, found = getattr(self, key), getattr(cameras, key)
            if trained != found:
                return f"was trained on images with {key}={trained}, cameras.{key} is {found}"
        there = {camera.name: camera for camera in cameras.cameras}
        for view in self.cameras:
            if view.name not in there:
                return f"was trained on camera {view.name!r}, the configuration has {list(there)}"
            if why := view.misfit(there[view.name]):
                return why
        return ""


EncoderSpec = Annotated[PointEncoderSpec | ImageEncoderSpec, Field(discriminator="kind")]


def build(spec: PointEncoderSpec | ImageEncoderSpec | None) -> KeypointEncoder | None:
    """The encoder of a bundle without its weights; None where objects are named."""
    return None if spec is None else spec.build()


def build_seeded(spec: PointEncoderSpec | ImageEncoderSpec, seed: int) -> KeypointEncoder:
    """An encoder whose initial weights a seed decides."""
    torch.manual_seed(seed)
    return spec.build()


def encoder_spec_for(
    config: Config, intrinsics: Mapping[str, FloatArray]
) -> PointEncoderSpec | ImageEncoderSpec | None:
    """The encoder that a configuration asks for; images need every camera's K (3, 3)."""
    choice = config.task.pretraining
    keypoints = choice.keypoints or len(config.task.objects)
    if choice.observation == "points":
        return PointEncoderSpec.of(config.cameras, keypoints)
    if choice.observation == "images":
        return ImageEncoderSpec.of(config.cameras, keypoints, intrinsics)
    return None
