"""Views from a bag, the command that uses them, and the picture that shows the result."""

import numpy as np
import pytest
from PIL import Image as PilImage
from rclpy.serialization import serialize_message
from recorded import as_on_the_wire
from rendered_boards import BOARD, LENS, about

from tmrl_ros.calibration.board import Board
from tmrl_ros.calibration.calibrate import calibrate
from tmrl_ros.calibration.collect import Collector, collect_from_bag
from tmrl_ros.calibration.geometry import angle_deg, inverse, pose_of
from tmrl_ros.calibration.overlay import FOUND, PREDICTED, TABLE, overlay
from tmrl_ros.calibration.views import read_views, write_views
from tmrl_ros.cli.calibrate import board_from
from tmrl_ros.cli.calibrate import calibrate as command
from tmrl_ros.core import topics
from tmrl_ros.core.calibration_file import read_calibration
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.load import load_config, read_config, write_config
from tmrl_ros.core.types import Pose, RobotMode, RobotSample
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.nodes import convert
from tmrl_ros.nodes.driver_messages import intrinsics_to_msg

SECOND = 1_000_000_000
TABLE_BOX = np.array([0.3, -0.35, 0.0]), np.array([0.72, 0.35, 0.45])


@pytest.fixture(scope="module")
def taken(shoot):
    truth, pictures = shoot("ee", 0)
    return truth, pictures[:10]


@pytest.fixture(scope="module")
def folder(taken, tmp_path_factory):
    """A folder of views of the wrist camera."""
    path = tmp_path_factory.mktemp("views")
    write_views(path, taken[1], camera="wrist", serial="1001", mount="ee", board=BOARD, lens=LENS)
    return path


def sample(stamp_ns, base_from_ee):
    pose, zero = pose_of(base_from_ee), np.zeros(7)
    return RobotSample(
        stamp_ns, 0, zero, zero, zero, Pose(pose.position, pose.quaternion), np.zeros(6),
        np.zeros(6), 0.08, RobotMode.GUIDING,
    )  # fmt: skip


def guided(pictures, hold_s=1.2):
    """States at 20 Hz and pictures at 5 Hz of an arm that is guided from pose to pose."""
    at_ns = 10 * SECOND
    for picture in pictures:
        for step in range(6):  # on the way
            at_ns += SECOND // 20
            away = picture.base_from_ee.copy()
            away[:3, 3] += 0.02 * (6 - step)
            yield sample(at_ns, away)
        for step in range(int(hold_s * 20)):
            at_ns += SECOND // 20
            yield sample(at_ns, picture.base_from_ee)
            if step % 4 == 0:
                yield at_ns, picture.image


def test_one_view_is_taken_of_every_pose_in_which_the_arm_stood_still(taken):
    collector = Collector(Board(BOARD))
    collector.add_lens(LENS)
    heard, waiting = [], []
    for item in guided(taken[1][:4], hold_s=2.4):
        if isinstance(item, RobotSample):
            collector.add_state(item)
            while waiting and waiting[0][0] + SECOND // 2 < item.stamp_ns:
                heard.append(collector.add_picture(*waiting.pop(0)))
        else:
            waiting.append(item)
    assert len(collector.pictures) == 4
    for picture, true in zip(collector.pictures, taken[1], strict=False):
        assert np.allclose(picture.base_from_ee, true.base_from_ee, atol=1e-9)
    words = {item.text for item in heard if not item.taken}
    assert words == {"hold the arm still", "this view is taken: tilt or move the tool"}


def test_a_picture_without_the_board_says_what_is_missing(taken):
    collector = Collector(Board(BOARD))
    assert collector.add_picture(0, taken[1][0].image).text.startswith("waiting for the camera")
    collector.add_lens(LENS)
    for step in range(40):
        collector.add_state(sample(step * SECOND // 20, np.eye(4)))
    heard = collector.add_picture(SECOND, np.zeros((480, 640, 3), np.uint8))
    assert not heard.taken and heard.text == "0 of 24 corners are seen: bring the board into view"


def recorded_bag(path, pictures):
    """A bag as the recorder leaves it, of somebody who guides the arm."""
    info = intrinsics_to_msg(LENS.k, LENS.distortion, (640, 480), SECOND, "wrist_optical_frame")
    with BagWriter(path, custom={"episode_id": "other_000000"}) as bag:

        def put(name, message, stamp_ns):
            package, *_, kind = f"{type(message).__module__}.{type(message).__name__}".split(".")
            type_name = f"{package}/msg/{kind}"
            data = as_on_the_wire(bytes(serialize_message(message)), type_name)
            bag.write(f"/{name}", type_name, data, stamp_ns)

        put(topics.camera_info("wrist"), info, SECOND)
        for item in guided(pictures):
            if isinstance(item, RobotSample):
                put(topics.ROBOT_STATE, convert.robot_to_msg(item), item.stamp_ns)
            else:
                at_ns, image = item
                msg = convert.image_to_msg(image, "rgb8", at_ns, "wrist_optical_frame")
                put(topics.color("wrist"), msg, at_ns)


def test_the_command_calibrates_from_a_folder_and_the_session_uses_it(
    taken, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert command(["wrist", "--from", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "10 of 10 views are used" in said and "calibration/wrist_overlay.png" in said
    found = read_calibration(tmp_path / "calibration" / "wrist.yaml")
    mm = 1e3 * np.linalg.norm(np.array(found.position_m) - taken[0].camera[:3, 3])
    assert mm < 2.0
    assert PilImage.open(tmp_path / "calibration" / "wrist_overlay.png").size == (640, 502)

    cameras = tmp_path / "cameras.yaml"
    cameras.write_text(CAMERAS)
    config = load_config([f"cameras={cameras}"])
    (camera,) = config.cameras.cameras
    assert camera.position_m == found.position_m
    assert camera.quaternion_xyzw == found.quaternion_xyzw and camera.mount == "ee"
    write_config(config, tmp_path / "config.yaml")
    (tmp_path / "calibration" / "wrist.yaml").unlink()
    assert read_config(tmp_path / "config.yaml") == config, "a session keeps what it began with"


CAMERAS = """
cameras:
  - {name: wrist, serial: "1001", calibration: calibration/wrist.yaml}
workspace_min_m: [0.30, -0.35, 0.008]
workspace_max_m: [0.72, 0.35, 0.45]
"""


def test_a_calibration_of_another_camera_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command(["wrist", "--from", str(folder)])
    for line, word in (("serial: '7'", "serial '7'"), ("mount: base", "mount 'base'")):
        other = CAMERAS.replace('serial: "1001"', line)
        (tmp_path / "cameras.yaml").write_text(other)
        with pytest.raises(ConfigurationError, match=f"has {word}.*calibrate this camera anew"):
            load_config(["cameras=cameras.yaml"])


def test_the_overlay_puts_crosses_into_circles_and_the_table_where_it_is(taken):
    truth, pictures = taken
    calibration, _ = calibrate(about("ee", pictures), pictures)
    drawn = overlay(pictures[0].image, pictures[0].base_from_ee, calibration, TABLE_BOX)[22:]
    found = Board(BOARD).find(pictures[0].image)
    for x, y in found.pixels:
        patch = drawn[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].reshape(-1, 3)
        assert (np.abs(patch.astype(int) - PREDICTED).sum(axis=1) < 120).any()
    assert (drawn == FOUND).all(axis=2).sum() > 5 * len(found.pixels)
    wrong = calibration.model_copy(
        update={"position_m": [v + 0.01 for v in calibration.position_m]}
    )
    moved = overlay(pictures[0].image, pictures[0].base_from_ee, wrong, TABLE_BOX)[22:]
    inside = [
        (np.abs(moved[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].astype(int)
                - PREDICTED).sum(axis=2) < 120).any()
        for x, y in found.pixels
    ]  # fmt: skip
    assert np.mean(inside) < 0.5, "a camera that is 17 mm off must be seen to be"


def test_the_table_is_drawn_for_a_camera_beside_the_arm(shoot):
    _, pictures = shoot("base", 0)
    calibration, _ = calibrate(about("base", pictures), pictures)
    drawn = overlay(pictures[0].image, pictures[0].base_from_ee, calibration, TABLE_BOX)
    assert (drawn == TABLE).all(axis=2).sum() > 200


def test_views_come_from_a_recorded_bag_too(taken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorded_bag(tmp_path / "bag", taken[1])
    collector = collect_from_bag(tmp_path / "bag", "wrist", Board(BOARD))
    assert len(collector.pictures) == len(taken[1])
    assert np.allclose(collector.lens.k, LENS.k)
    assert np.allclose(collector.lens.distortion, LENS.distortion)
    assert command(["wrist", "--from", str(tmp_path / "bag")]) == 0
    about_views, pictures = read_views(next((tmp_path / "calibration/wrist_views").iterdir()))
    assert about_views.mount == "ee" and len(pictures) == len(taken[1])
    with pytest.raises(OperatorError, match="no picture of camera 'exterior'"):
        command(["exterior", "--from", str(tmp_path / "bag")])


def test_a_board_is_printed_in_its_size(tmp_path):
    out = tmp_path / "board.png"
    assert command(["board", "--out", str(out), "--board", "6x4x40x30"]) == 0
    with PilImage.open(out) as picture:
        dots_per_m = picture.info["dpi"][0] / 0.0254
        assert (picture.width - 200) / dots_per_m == pytest.approx(0.24, rel=1e-3)
        pixels = np.array(picture.convert("RGB").reduce(4))
    assert len(Board(board_from("6x4x40x30", "DICT_5X5_100")).find(pixels).ids) == 15


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["ceiling"], "no camera 'ceiling': the configuration has exterior, wrist"),
        (["wrist", "--board", "7x5"], "--board 7x5 is not understood"),
        (["wrist", "--board", "2x5x35x26"], "--board 2x5x35x26 cannot be"),
        (["wrist", "--board", "7x5x35x36"], "do not fit squares of 35 mm"),
        (["wrist", "--from", "nothing"], "nothing is not a bag"),
    ],
)
def test_a_wrong_word_is_one_sentence(words, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OperatorError, match=text):
        command(words)


def test_poses_survive_the_folder(taken, folder):
    about_views, pictures = read_views(folder)
    assert about_views.serial == "1001"
    for read, written in zip(pictures, taken[1], strict=True):
        assert np.array_equal(read.image, written.image)
        assert np.allclose(read.base_from_ee[:3, 3], written.base_from_ee[:3, 3])
        assert angle_deg(inverse(read.base_from_ee) @ written.base_from_ee) < 1e-5
