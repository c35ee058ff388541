"""Boards rendered from known places are calibrated back to them; bad views are refused."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from rendered_boards import BOARD, about, shaken

from tmrl_ros.calibration.board import Board
from tmrl_ros.calibration.calibrate import CalibrationError, calibrate, check_views
from tmrl_ros.calibration.geometry import angle_deg, inverse, moved
from tmrl_ros.calibration.hand_eye import view_of
from tmrl_ros.calibration.views import Picture
from tmrl_ros.core.calibration_file import BoardConfig, read_calibration, write_calibration
from tmrl_ros.core.errors import ConfigurationError, OperatorError

MOST_MM, MOST_DEG = 2.0, 0.5


def off(found, truth):
    """Error of a pose (4, 4): mm and degrees."""
    shift_mm = 1e3 * np.linalg.norm(found[:3, 3] - truth[:3, 3])
    return float(shift_mm), angle_deg(inverse(truth) @ found)


@pytest.fixture(scope="module", params=["ee", "base"])
def mount(request):
    return request.param


@pytest.fixture(scope="module")
def taken(shoot, mount):
    """One set of views of each kind."""
    return shoot(mount, 0)


@pytest.mark.parametrize("seed", range(3))
def test_the_camera_is_found_where_it_is(shoot, mount, seed):
    truth, pictures = shoot(mount, seed)
    calibration, found = calibrate(about(mount, pictures), pictures)
    for pose, true in ((found.camera, truth.camera), (found.board, truth.board)):
        mm, deg = off(pose, true)
        assert mm < MOST_MM and deg < MOST_DEG, (mm, deg)
    assert calibration.residuals.reprojection_px < 1.0
    assert calibration.residuals.spread_mm < 1.5
    assert calibration.rejected == []


def test_one_wrong_view_is_left_out_and_named(taken, mount):
    truth, pictures = taken
    wrong = Picture(
        pictures[4].name,
        pictures[4].image,
        pictures[4].base_from_ee @ moved(np.array([0.05, 0.03, 0.0, 0.02, 0.0, 0.01])),
    )
    pictures = [*pictures[:4], wrong, *pictures[5:]]
    calibration, found = calibrate(about(mount, pictures), pictures)
    assert calibration.rejected == ["view_004.png"]
    mm, deg = off(found.camera, truth.camera)
    assert mm < MOST_MM and deg < MOST_DEG


def test_the_reported_error_covers_the_true_one_of_a_worse_arm(taken, mount):
    """The standard error is honest: three of them are hardly ever exceeded."""
    (truth, pictures), rng = taken, np.random.default_rng(7)
    pictures = [
        Picture(p.name, p.image, shaken(p.base_from_ee, rng, mm=0.3, deg=0.05)) for p in pictures
    ]
    calibration, found = calibrate(about(mount, pictures), pictures)
    mm, deg = off(found.camera, truth.camera)
    assert mm < 3.5 * calibration.residuals.spread_mm
    assert deg < 3.5 * calibration.residuals.spread_deg


def test_too_few_views_are_refused(taken, mount):
    _, pictures = taken
    with pytest.raises(CalibrationError, match=r"found in 5 of 5 views, 8 are needed"):
        calibrate(about(mount, pictures), pictures[:5])


def test_views_without_a_board_do_not_count(taken, mount):
    _, pictures = taken
    blank = [Picture(p.name, np.full_like(p.image, 90), p.base_from_ee) for p in pictures]
    with pytest.raises(CalibrationError, match=r"found in 4 of 16 views"):
        calibrate(about(mount, pictures), [*pictures[:4], *blank[4:]])


def views_turned(studio, turns):
    """Views of a board from poses with these rotation vectors (rad)."""
    board = Board(BOARD)
    seen = studio.picture(moved(np.array([0, 0, 0, -0.12, -0.08, 0.5])), np.random.default_rng(0))
    corners = board.find(seen)
    return [
        view_of(f"{index}", moved(np.array([*turn, 0.4, 0.01 * index, 0.3])), corners, board, "ee")
        for index, turn in enumerate(turns)
    ]


def test_a_tool_that_hardly_turned_is_refused(studio):
    turns = np.random.default_rng(0).uniform(-0.05, 0.05, (12, 3))
    with pytest.raises(CalibrationError, match=r"turned by at most \d degrees.*tilt it"):
        check_views(views_turned(studio, turns), 12)


@pytest.mark.parametrize("axis", range(3))
def test_a_tool_that_turned_about_one_axis_is_refused(studio, axis):
    turns = np.zeros((12, 3))
    turns[:, axis] = np.linspace(-1.5, 1.5, 12)
    with pytest.raises(CalibrationError, match="about one axis only"):
        check_views(views_turned(studio, turns), 12)


def test_a_board_that_slips_is_refused(shoot):
    _, first = shoot("ee", 0)
    _, second = shoot("ee", 1)
    slipped = [
        Picture(f"b{p.name}", p.image, moved(np.array([0, 0, 0.3, 0.1, 0, 0])) @ p.base_from_ee)
        for p in second
    ]
    pictures = [*first[:8], *slipped[:8]]
    with pytest.raises(CalibrationError, match="contradict|pixels from where|known to"):
        calibrate(about("ee", pictures), pictures)


def test_a_square_of_another_size_than_told_is_noticed(taken, mount):
    """A board printed 10 percent too small."""
    truth, pictures = taken
    wrong = BoardConfig(square_m=0.0385, marker_m=0.0286)
    try:
        calibration, found = calibrate(about(mount, pictures, board=wrong), pictures)
    except CalibrationError as error:
        assert "square" in str(error) or "contradict" in str(error)
    else:
        assert off(found.camera, truth.camera)[0] > 5.0
        assert calibration.residuals.board_mm > 2.0, "it must at least show in the residuals"


def test_a_picture_of_another_size_is_refused(taken, mount):
    _, pictures = taken
    small = Picture("small.png", np.zeros((10, 20, 3), np.uint8), np.eye(4))
    with pytest.raises(CalibrationError, match="small.png is 20x10.*640x480"):
        calibrate(about(mount, pictures), [*pictures[:8], small])


def test_a_calibration_survives_its_file(taken, mount, tmp_path):
    _, pictures = taken
    calibration, _ = calibrate(about(mount, pictures), pictures)
    write_calibration(calibration, tmp_path / "a" / "c.yaml")
    assert read_calibration(tmp_path / "a" / "c.yaml") == calibration
    assert calibration.serial == "1001" and calibration.mount == mount
    assert calibration.age_days(datetime.now(UTC) + timedelta(days=3)) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("camera: [", "is not YAML"),
        ("camera: wrist", "is no calibration: mount"),
        ("- 1", "is no calibration"),
    ],
)
def test_a_damaged_calibration_is_one_sentence(tmp_path, text, words):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_calibration(tmp_path / "c.yaml")
    with pytest.raises(ConfigurationError, match="tmrl calibrate"):
        read_calibration(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"marker_m": 0.04}, "do not fit squares"),
        ({"dictionary": "DICT_9X9_1"}, "no marker dictionary"),
        ({"columns": 20, "rows": 20}, "needs 200: use a larger dictionary"),
    ],
)
def test_a_board_that_cannot_be_is_refused(values, words):
    with pytest.raises(OperatorError, match=words):
        Board(BoardConfig(**values))
