"""What the preflight says of drivers, swapped or moved cameras, and calibrations."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tmrl_ros.core.calibration_file import (
    BoardConfig,
    Calibration,
    LensConfig,
    Residuals,
    write_calibration,
)
from tmrl_ros.core.config import Config
from tmrl_ros.core.load import load_config
from tmrl_ros.doctor.cameras import (
    CameraReport,
    calibrations,
    likeness,
    remember,
    reports,
    small,
    swapped,
)
from tmrl_ros.doctor.finding import Level
from tmrl_ros.sim import SimulatedCell

NOW = datetime(2026, 5, 1, tzinfo=UTC)
REAL = ("robot=franka_fr3", "reward=learned", "task=lift", "safety=panda_table")
VALUES = {
    **{"serial": "1001", "model": "D435", "usb": "3.2", "rate_hz": "29.8"},
    **{"wanted_rate_hz": "30", "age_ms": "24.0", "dropped": "3"},
}


def real(folder: Path, *, serial: str = "1001", calibration: str = "") -> Config:
    """One camera beside a real arm."""
    line = f"calibration: {calibration}" if calibration else "mount: base"
    place = "" if calibration else "position_m: [1.1, 0, 0.5], quaternion_xyzw: [1, 0, 0, 0],"
    (folder / "cameras.yaml").write_text(
        "driver: realsense\n"
        "workspace_min_m: [0.3, -0.3, 0.0]\nworkspace_max_m: [0.7, 0.3, 0.4]\n"
        f"cameras: [{{name: exterior, serial: '{serial}', {place} {line}}}]\n"
    )
    return load_config([*REAL, f"cameras={folder / 'cameras.yaml'}"])


def test_a_healthy_driver_tells_serial_usb_rate_and_age(tmp_path: Path) -> None:
    (found,) = reports({"exterior": CameraReport(0, "30 frames", VALUES)}, real(tmp_path))
    assert found.level is Level.GOOD
    assert found.text == "D435 1001, USB 3.2, 29.8 of 30 frames per second, 24.0 ms old, 3 lost"


@pytest.mark.parametrize(
    ("report", "level", "text"),
    [
        (None, Level.BAD, "says nothing"),
        (CameraReport(2, "It was unplugged.", VALUES), Level.BAD, "It was unplugged."),
        (CameraReport(1, "It is on USB 2.1.", VALUES), Level.WARNING, "It is on USB 2.1."),
        (
            CameraReport(0, "", {**VALUES, "serial": "7"}),
            Level.BAD,
            "serial 1001 is configured",
        ),
    ],
)
def test_what_is_wrong_with_a_driver_is_named(
    tmp_path: Path, report: CameraReport | None, level: Level, text: str
) -> None:
    (found,) = reports({"exterior": report} if report else {}, real(tmp_path))
    assert (found.check, found.level) == ("driver of exterior", level)
    assert text in found.text and found.remedy


def test_topics_of_another_driver_bring_no_report_of_ours() -> None:
    assert reports({}, load_config()) == []


def calibration_of(folder: Path, *, days: float, serial: str = "1001") -> str:
    written = Calibration(
        camera="exterior",
        serial=serial,
        mount="base",
        date=NOW - timedelta(days=days),
        position_m=[1.12, 0.0, 0.55],
        quaternion_xyzw=[0.0, 0.0, 0.0, 1.0],
        method="test",
        views=20,
        residuals=Residuals(
            reprojection_px=0.3, worst_view_px=0.5, board_mm=0.5, board_deg=0.1,
            spread_mm=0.8, spread_deg=0.1,
        ),
        board=BoardConfig(),
        board_position_m=[0.0, 0.0, 0.0],
        board_quaternion_xyzw=[0.0, 0.0, 0.0, 1.0],
        lens=LensConfig(width=424, height=240, fx=300, fy=300, cx=211, cy=119, distortion=[0] * 5),
    )  # fmt: skip
    write_calibration(written, folder / "exterior.yaml")
    return str(folder / "exterior.yaml")


def test_a_young_calibration_is_good_and_an_old_one_a_warning(tmp_path: Path) -> None:
    config = real(tmp_path, calibration=calibration_of(tmp_path, days=3))
    (found,) = calibrations(config, NOW)
    assert (found.level, found.check) == (Level.GOOD, "calibration exterior")
    assert found.text == "3 days old, known to 0.8 mm and 0.10 degrees"
    (old,) = calibrations(config, NOW + timedelta(days=100))
    assert old.level is Level.WARNING and old.text.startswith("103 days old")
    assert "tmrl calibrate exterior" in old.remedy


def test_a_missing_or_changed_calibration_is_told(tmp_path: Path) -> None:
    (none,) = calibrations(real(tmp_path), NOW)
    assert none.level is Level.WARNING and none.text.startswith("none")
    config = real(tmp_path, calibration=calibration_of(tmp_path, days=3))
    calibration_of(tmp_path, days=1, serial="7")
    (other,) = calibrations(config, NOW)
    assert other.level is Level.BAD and "of serial 7, not 1001" in other.text
    (tmp_path / "exterior.yaml").unlink()
    (gone,) = calibrations(config, NOW)
    assert gone.level is Level.BAD and "cannot be read" in gone.text


def test_a_simulated_camera_needs_no_calibration() -> None:
    (found,) = calibrations(load_config())
    assert found.level is Level.SKIPPED


@pytest.fixture(scope="module")
def shown() -> list[dict[str, np.ndarray]]:
    """Pictures of both cameras of three scenes."""
    scenes = []
    with SimulatedCell("pick_named") as cell:
        for seed in range(3):
            cell.reset_scene(seed, home_arm=True)
            scenes.append({name: cell.render(name).color for name in ("exterior", "wrist")})
    return scenes


def with_references(folder: Path, pictures: dict[str, np.ndarray]) -> Config:
    config = load_config([f"cameras.references={folder / 'pictures'}"])
    remember(pictures, config)
    return config


def seen(pictures: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: small(pixels) for name, pixels in pictures.items()}


def test_cameras_that_show_what_they_showed_are_not_swapped(tmp_path: Path, shown: list) -> None:
    config = with_references(tmp_path, shown[0])
    for scene in shown[1:]:
        (found,) = swapped(seen(scene), config)
        assert found.level is Level.GOOD and "2 show what they showed" in found.text
        darker = {name: (0.6 * pixels).astype(np.uint8) for name, pixels in scene.items()}
        (found,) = swapped(seen(darker), config)
        assert found.level is Level.GOOD, "less light is not another place"


def test_swapped_cameras_are_told_from_each_other(tmp_path: Path, shown: list) -> None:
    config = with_references(tmp_path, shown[0])
    for scene in shown[1:]:
        exchanged = {"exterior": scene["wrist"], "wrist": scene["exterior"]}
        found = swapped(seen(exchanged), config)
        assert [item.level for item in found] == [Level.BAD, Level.BAD]
        assert "shows what 'wrist' showed" in found[0].text
        assert "swapped" in found[0].remedy


def test_a_camera_that_was_turned_away_is_a_warning(tmp_path: Path, shown: list) -> None:
    config = with_references(tmp_path, {"exterior": shown[0]["exterior"]})
    turned = np.ascontiguousarray(np.roll(shown[1]["exterior"], 120, axis=1)[::-1])
    (found,) = swapped(seen({"exterior": turned}), config)
    assert found.level is Level.WARNING and "calibrate it anew" in found.remedy


def test_without_references_nothing_is_compared(tmp_path: Path, shown: list) -> None:
    config = load_config([f"cameras.references={tmp_path}"])
    (found,) = swapped(seen(shown[0]), config)
    assert found.level is Level.SKIPPED and "--remember" in found.text


def test_likeness_knows_the_same_and_nothing(shown: list) -> None:
    picture = small(shown[0]["exterior"])
    assert likeness(picture, picture) == pytest.approx(1.0, abs=1e-5)
    assert likeness(picture, 0.5 * picture + 20) == pytest.approx(1.0, abs=1e-5)
    assert likeness(picture, np.zeros_like(picture)) == 0.0
