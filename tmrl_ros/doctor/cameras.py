"""Cameras: what drivers report, whether they are swapped or moved, how old calibrations are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tmrl_ros.core.calibration_file import read_calibration
from tmrl_ros.core.camera_config import CameraConfig
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.doctor.finding import Finding, bad, good, skipped, warning

SMALL = (64, 36)
"""Width and height at which pictures are compared: objects that moved hardly matter."""
CLEARLY = 0.1
"""A picture that is more like another camera's by so much is that camera's."""
ALIKE = 0.5
"""A camera that stands still shows less than this of its reference only if it was moved."""
REMEMBER = "`tmrl doctor --remember` takes them, when everything is as it should be"


@dataclass(frozen=True)
class CameraReport:
    """The newest diagnostics of a camera: level 0 good, 1 warning, 2 error."""

    level: int
    message: str
    values: Mapping[str, str]


def reports(found: Mapping[str, CameraReport], config: Config) -> list[Finding]:
    """What drivers of this graph say: serial, USB speed, rate, age, lost frames."""
    if config.camera_driver not in ("realsense", "bag"):
        return []
    return [_report(camera, found.get(camera.name)) for camera in config.cameras.cameras]


def _report(camera: CameraConfig, report: CameraReport | None) -> Finding:
    check = f"driver of {camera.name}"
    if report is None:
        return bad(check, "says nothing", f"look at logs/camera_{camera.name}.log")
    said = report.values.get
    serial = said("serial", "")
    usb = f", USB {said('usb')}" if said("usb") else ""
    text = (
        f"{said('model', '')} {serial}{usb}, {said('rate_hz', '?')} of "
        f"{said('wanted_rate_hz', '?')} frames per second, {said('age_ms', '?')} ms old, "
        f"{said('dropped', '?')} lost"
    )
    if report.level >= 2:
        return bad(check, report.message, "check cable, power and serial")
    if camera.serial and serial and serial != camera.serial:
        return bad(check, f"{text}; serial {camera.serial} is configured", "correct the serial")
    if report.level == 1:
        remedy = "USB 3 port and cable, fewer programs, or a lower rate_hz"
        return warning(check, f"{text}: {report.message}", remedy)
    return good(check, text)


def calibrations(config: Config, now: datetime | None = None) -> list[Finding]:
    """How old each camera's calibration is; a simulated camera needs none."""
    if config.camera_driver == "simulated":
        return [skipped("calibration", "simulated cameras are where the configuration has them")]
    return [_calibration(c, config.cameras.calibration_days, now) for c in config.cameras.cameras]


def _calibration(camera: CameraConfig, most_days: float, now: datetime | None) -> Finding:
    check, remedy = f"calibration {camera.name}", f"`tmrl calibrate {camera.name}`"
    if camera.calibration is None:
        return warning(check, "none: its pose in the configuration was not measured", remedy)
    try:
        found = read_calibration(camera.calibration)
    except OperatorError as error:
        return bad(check, str(error), remedy)
    days = found.age_days(now or datetime.now(UTC))
    off = found.residuals
    text = f"{days:.0f} days old, known to {off.spread_mm:.1f} mm and {off.spread_deg:.2f} degrees"
    if found.serial and camera.serial and found.serial != camera.serial:
        return bad(check, f"of serial {found.serial}, not {camera.serial}", remedy)
    used = [*camera.position_m, *camera.quaternion_xyzw]
    if not np.allclose(used, [*found.position_m, *found.quaternion_xyzw], atol=1e-6):
        return warning(check, f"{text}; this session began with another", "start a new session")
    if days > most_days:
        return warning(check, text, f"{remedy}: mounts creep and are bumped into")
    return good(check, text)


def small(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A picture (h, w, 3) as it is compared: grey (36, 64)."""
    return np.array(Image.fromarray(pixels).convert("L").resize(SMALL, Image.Resampling.BOX), "f4")


def likeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Zero-normalised cross-correlation, -1 to 1; brighter light does not change it."""
    a, b = first - first.mean(), second - second.mean()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.sum(a * b)) / length if length > 0.0 else 0.0


def swapped(shown: Mapping[str, NDArray[np.float32]], config: Config) -> list[Finding]:
    """Whether every camera shows what it showed when its reference picture was taken.

    Args:
        shown: What each camera shows now (`small`).
        config: Names of the cameras and the folder of reference pictures.
    """
    known = read_references(config)
    check = "cameras swapped"
    if not known:
        return [skipped(check, f"no pictures in {config.cameras.references} yet: {REMEMBER}")]
    findings = [
        _compared(camera, shown[camera.name], known)
        for camera in config.cameras.cameras
        if camera.name in shown and camera.name in known
    ]
    wrong = [finding for finding in findings if finding is not None]
    return wrong or [good(check, f"no: {len(findings)} show what they showed before")]


def _compared(
    camera: CameraConfig, shown: NDArray[np.float32], known: Mapping[str, NDArray[np.float32]]
) -> Finding | None:
    alike = {name: likeness(shown, picture) for name, picture in known.items()}
    own = alike.pop(camera.name)
    check = f"camera {camera.name}"
    other = max(alike, key=lambda name: alike[name], default="")
    if other and alike[other] > own + CLEARLY:
        text = f"shows what {other!r} showed ({alike[other]:.2f} alike, its own {own:.2f})"
        return bad(check, text, "cameras are swapped: exchange their serials or cables")
    if camera.mount == "base" and own < ALIKE:
        text = f"shows something else than before ({own:.2f} alike)"
        return warning(check, text, f"if it was moved, calibrate it anew; then {REMEMBER}")
    return None


def read_references(config: Config) -> dict[str, NDArray[np.float32]]:
    """Reference pictures of the configured cameras, as far as there are any."""
    found = {}
    for camera in config.cameras.cameras:
        path = reference_file(config, camera.name)
        if path.is_file():
            with Image.open(path) as picture:
                found[camera.name] = small(np.array(picture.convert("RGB")))
    return found


def reference_file(config: Config, camera: str) -> Path:
    """Where a camera's reference picture lies."""
    return config.cameras.references / f"{camera}.png"


def remember(pictures: Mapping[str, NDArray[np.uint8]], config: Config) -> Sequence[Finding]:
    """Keep these pictures (h, w, 3) as references."""
    config.cameras.references.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(reference_file(config, name))
    kept = ", ".join(pictures) or "none"
    return [good("reference pictures", f"{kept} kept in {config.cameras.references}")]
