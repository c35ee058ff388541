"""The cameras: which they are, how they take pictures, where they hang, what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tmrl_ros.core.safety_config import Name, Vector3
from tmrl_ros.core.section import Section

Quaternion = Annotated[list[float], Field(min_length=4, max_length=4)]
CameraDriver = Literal["auto", "simulated", "realsense", "realsense_topics", "bag"]


class CameraConfig(Section):
    """One camera: which it is, where it hangs and how its images are made."""

    name: Name
    serial: str = Field(
        "", pattern=r"^[A-Za-z0-9]*$", max_length=32, description="printed on it; '' = any"
    )
    width: int = Field(424, ge=16, le=1920)
    height: int = Field(240, ge=16, le=1080)
    rate_hz: int = Field(30, ge=1, le=90, description="of colour and depth; a rate the camera has")
    preset: str = Field("", max_length=40, description="visual preset, e.g. High Accuracy")
    global_time: bool = Field(True, description="let librealsense put stamps on the host's clock")
    mount: Literal["base", "ee"] = Field(description="frame the extrinsics refer to")
    calibration: Path | None = Field(
        None, description="YAML of `tmrl calibrate`; gives position_m and quaternion_xyzw"
    )
    position_m: Vector3
    quaternion_xyzw: Quaternion = Field(description="optical frame (z forward, x right) in mount")
    max_age_s: float = Field(0.2, gt=0, description="older frames make no observation")
    timeout_s: float = Field(3.0, gt=0, description="wall time without a frame when one is due")


class CamerasConfig(Section):
    """All cameras and what perception makes of them."""

    driver: CameraDriver = Field(
        "auto",
        description="who takes the pictures; auto = the simulated cell's own, on a real arm the "
        "topics of realsense2_camera",
    )
    bag: Path | None = Field(
        None,
        description="what driver=bag plays: a bag of ours, or a .db3 of librealsense; {camera} "
        "stands for a camera's name",
    )
    cameras: list[CameraConfig] = Field(min_length=1)
    workspace_min_m: Vector3
    workspace_max_m: Vector3
    points: int = Field(1024, ge=16, le=65536)
    voxel_m: float = Field(0.004, gt=0, le=0.1)
    image_width: int = Field(96, ge=16, le=512)
    image_height: int = Field(96, ge=16, le=512)
    realtime_rate_hz: float = Field(
        15.0, gt=0, le=90, description="frames per second of the simulated cameras, realtime only"
    )
    references: Path = Field(
        Path("calibration/pictures"),
        description="folder of one picture per camera that `tmrl doctor` compares with",
    )
    calibration_days: float = Field(
        90.0, gt=0, description="an older calibration is a warning of `tmrl doctor`"
    )

    @model_validator(mode="after")
    def _each_is_one(self) -> CamerasConfig:
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise ValueError(f"cameras are named twice: {names}")
        serials = [camera.serial for camera in self.cameras if camera.serial]
        if len(set(serials)) != len(serials):
            raise ValueError(f"serials are given twice: {serials}")
        if self.driver == "realsense" and len(names) > 1 and len(serials) < len(names):
            nameless = [camera.name for camera in self.cameras if not camera.serial]
            raise ValueError(
                f"cameras {nameless} have no serial: with several cameras each needs its own "
                "(`tmrl calibrate list` prints them)"
            )
        if (self.driver == "bag") != (self.bag is not None):
            raise ValueError("cameras.driver=bag and cameras.bag=<folder> belong together")
        return self
