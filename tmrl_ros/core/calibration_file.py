"""A calibration as `tmrl calibrate` writes it: where a camera hangs, how well known, since when."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AwareDatetime, Field, ValidationError

from tmrl_ros.core.camera_config import Quaternion
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.safety_config import Name, Vector3
from tmrl_ros.core.section import Section


class BoardConfig(Section):
    """A ChArUco board: a chessboard with ArUco markers in its white squares."""

    columns: int = Field(7, ge=3, le=20)
    rows: int = Field(5, ge=3, le=20)
    square_m: float = Field(0.035, gt=0, le=0.2, description="edge of a square, as measured")
    marker_m: float = Field(0.026, gt=0, le=0.2)
    dictionary: str = Field("DICT_5X5_100", pattern=r"^DICT_[A-Za-z0-9_]+$")


class Residuals(Section):
    """How well all views agree.

    Attributes:
        reprojection_px: Root mean square distance of a corner from where it was predicted.
        worst_view_px: The same in the worst view.
        board_mm: Root mean square distance between where single views put the board.
        board_deg: The same for its rotation.
        spread_mm: Standard error of the camera's position, from leaving out one view at a time.
        spread_deg: The same for its rotation.
    """

    reprojection_px: float = Field(ge=0)
    worst_view_px: float = Field(ge=0)
    board_mm: float = Field(ge=0)
    board_deg: float = Field(ge=0)
    spread_mm: float = Field(ge=0)
    spread_deg: float = Field(ge=0)


class LensConfig(Section):
    """Intrinsics that a calibration was made with; `distortion` is k1 k2 p1 p2 k3."""

    width: int = Field(ge=16)
    height: int = Field(ge=16)
    fx: float = Field(gt=0)
    fy: float = Field(gt=0)
    cx: float
    cy: float
    distortion: Annotated[list[float], Field(min_length=5, max_length=5)]


class Calibration(Section):
    """Where a camera's optical frame is in what it hangs on."""

    camera: Name
    serial: str = ""
    mount: Literal["base", "ee"]
    date: AwareDatetime
    position_m: Vector3
    quaternion_xyzw: Quaternion
    method: str
    views: int = Field(ge=1)
    rejected: list[str] = Field([], description="views that contradicted all others")
    residuals: Residuals
    board: BoardConfig
    board_position_m: Vector3
    board_quaternion_xyzw: Quaternion
    lens: LensConfig

    def age_days(self, now: datetime | None = None) -> float:
        """Days since it was made."""
        return ((now or datetime.now(UTC)) - self.date).total_seconds() / 86400.0


def read_calibration(path: Path) -> Calibration:
    """Read what `tmrl calibrate` wrote.

    Raises:
        ConfigurationError: One sentence naming the file and what is wrong.
    """
    try:
        return Calibration.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise ConfigurationError(
            f"Calibration {path} cannot be read ({error.strerror}): run `tmrl calibrate <camera>`."
        ) from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {' '.join(str(error).split())}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "its content"
        raise ConfigurationError(
            f"{path} is no calibration: {key}: {first['msg']}; run `tmrl calibrate <camera>`."
        ) from None


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write it where `cameras.cameras[..].calibration` names it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = calibration.model_dump(mode="json")
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def take_calibrations(values: dict[str, Any], origin: str) -> None:
    """Put what `tmrl calibrate` found in the place of cameras' extrinsics.

    Args:
        values: The section `cameras` as it was read; it is changed.
        origin: File that it comes from.

    Raises:
        ConfigurationError: A calibration cannot be read, or is of another camera.
    """
    cameras = values.get("cameras")
    for camera in cameras if isinstance(cameras, list) else []:
        if not isinstance(camera, dict) or not isinstance(camera.get("calibration"), str):
            continue
        path = Path(os.path.normpath(Path.cwd() / camera["calibration"]))
        found = read_calibration(path)
        for key, value in (("serial", found.serial), ("mount", found.mount)):
            wanted = camera.get(key) or value
            if value and wanted != value:
                raise ConfigurationError(
                    f"{origin}: camera {camera.get('name')!r} has {key} {wanted!r}, its "
                    f"calibration {path} is of {key} {value!r}: calibrate this camera anew."
                )
        camera |= {"calibration": str(path), "mount": found.mount}
        camera |= {"position_m": found.position_m, "quaternion_xyzw": found.quaternion_xyzw}
