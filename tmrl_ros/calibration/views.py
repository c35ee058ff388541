"""Pictures of a board with the arm's pose at each: what a calibration is computed from.

A folder of them holds `views.yaml` and one PNG per view, so that it can be computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError

from tmrl_ros.calibration.geometry import Lens, pose_of
from tmrl_ros.core.calibration_file import BoardConfig, LensConfig
from tmrl_ros.core.camera_config import Quaternion
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.safety_config import Name, Vector3
from tmrl_ros.core.section import Section
from tmrl_ros.core.types import FloatArray, Pose
from tmrl_ros.perception.geometry import pose_matrix

LISTED = "views.yaml"


@dataclass(frozen=True)
class Picture:
    """A picture (h, w, 3) RGB, and the tool's pose in the base (4, 4) when it was taken."""

    name: str
    image: NDArray[np.uint8]
    base_from_ee: FloatArray


class ViewConfig(Section):
    """One line of `views.yaml`: a PNG beside it and the tool's pose in the base."""

    image: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    position_m: Vector3
    quaternion_xyzw: Quaternion


class ViewsConfig(Section):
    """`views.yaml`."""

    camera: Name
    serial: str = ""
    mount: Literal["base", "ee"]
    board: BoardConfig
    lens: LensConfig
    views: Annotated[list[ViewConfig], Field(min_length=1)]


def lens_of(config: LensConfig) -> Lens:
    """The lens as arrays."""
    k = np.array([[config.fx, 0, config.cx], [0, config.fy, config.cy], [0, 0, 1.0]])
    return Lens(k, np.array(config.distortion), config.width, config.height)


def lens_config(lens: Lens) -> LensConfig:
    """The lens as it is written."""
    k = lens.k
    return LensConfig(
        width=lens.width,
        height=lens.height,
        fx=float(k[0, 0]),
        fy=float(k[1, 1]),
        cx=float(k[0, 2]),
        cy=float(k[1, 2]),
        distortion=[float(value) for value in lens.distortion],
    )


def read_views(folder: Path) -> tuple[ViewsConfig, list[Picture]]:
    """Read a folder of views.

    Raises:
        OperatorError: One sentence naming the file and what is wrong.
    """
    path = folder / LISTED
    try:
        about = ViewsConfig.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise OperatorError(
            f"{path} cannot be read ({error.strerror}): name a folder that `tmrl calibrate` left."
        ) from None
    except (yaml.YAMLError, ValidationError) as error:
        words = " ".join(str(error).split())
        raise OperatorError(f"{path} is no list of views: {words[:200]}.") from None
    pictures = []
    for view in about.views:
        try:
            with Image.open(folder / view.image) as image:
                pixels = np.array(image.convert("RGB"))
        except OSError as error:
            raise OperatorError(f"{folder / view.image} cannot be read: {error}.") from None
        pose = Pose(np.array(view.position_m), np.array(view.quaternion_xyzw))
        pictures.append(Picture(view.image, pixels, pose_matrix(pose)))
    return about, pictures


def write_views(
    folder: Path,
    pictures: list[Picture],
    *,
    camera: str,
    serial: str,
    mount: Literal["base", "ee"],
    board: BoardConfig,
    lens: Lens,
) -> None:
    """Write a folder of views, the list last."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for picture in pictures:
        Image.fromarray(picture.image).save(folder / picture.name)
        pose = pose_of(picture.base_from_ee)
        listed.append(
            ViewConfig(
                image=picture.name,
                position_m=[float(v) for v in pose.position],
                quaternion_xyzw=[float(v) for v in pose.quaternion],
            )
        )
    about = ViewsConfig(
        camera=camera, serial=serial, mount=mount, board=board, lens=lens_config(lens), views=listed
    )
    (folder / LISTED).write_text(yaml.safe_dump(about.model_dump(mode="json"), sort_keys=False))
