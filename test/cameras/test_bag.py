"""A recorded bag in the place of a camera."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage

from tmrl_ros.cameras.bag import BagSource
from tmrl_ros.cameras.source import CameraRefusedError
from tmrl_ros.core import topics
from tmrl_ros.core.camera_config import CameraConfig
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.graph import nodes_for
from tmrl_ros.core.load import load_config
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.nodes.convert import header, image_to_msg
from tmrl_ros.nodes.driver_messages import intrinsics_to_msg

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from recorded import as_on_the_wire  # noqa: E402

K = np.array([[30.0, 0, 11.5], [0, 30.0, 7.5], [0, 0, 1]])
PERIOD_NS = 20_000_000


def pictures(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        flat = np.full((16, 24, 3), rng.integers(30, 220, 3), np.uint8)
        yield flat, rng.integers(0, 3000, (16, 24)).astype(np.uint16)


def camera(name="wrist"):
    about = {"mount": "ee", "position_m": [0, 0, 0], "quaternion_xyzw": [0, 0, 0, 1]}
    return CameraConfig(name=name, width=24, height=16, **about)


@pytest.fixture(params=["raw", "jpeg"])
def recorded(request, tmp_path):
    """A bag with three pictures of the wrist camera, and a colour picture without depth."""
    shown = list(pictures(4))
    frame = "wrist_optical_frame"
    with BagWriter(tmp_path / "bag", custom={"episode_id": "train_000000"}) as bag:

        def put(name, type_name, message, stamp_ns):
            data = as_on_the_wire(bytes(serialize_message(message)), type_name)
            bag.write(f"/cell/{name}", type_name, data, stamp_ns)

        info = intrinsics_to_msg(K, np.zeros(5), (24, 16), 0, frame)
        put(topics.camera_info("wrist"), "sensor_msgs/msg/CameraInfo", info, 1)
        for index, (color, depth_mm) in enumerate(shown):
            at_ns = 10**9 + index * PERIOD_NS
            if request.param == "jpeg":
                buffer = io.BytesIO()
                PilImage.fromarray(color).save(buffer, "JPEG", quality=95)
                msg = CompressedImage(header=header(at_ns, frame), format="jpeg")
                msg.data = buffer.getvalue()
                name, kind = topics.color("wrist") + "/compressed", "CompressedImage"
            else:
                msg = image_to_msg(color, "rgb8", at_ns, frame)
                name, kind = topics.color("wrist"), "Image"
            put(name, f"sensor_msgs/msg/{kind}", msg, at_ns)
            if index < 3:
                depth = image_to_msg(depth_mm, "16UC1", at_ns, frame)
                put(topics.depth("wrist"), "sensor_msgs/msg/Image", depth, at_ns + 1)
    return tmp_path / "bag", shown


def test_whole_pictures_are_played_again_and_again_with_stamps_of_now(recorded):
    bag, shown = recorded
    source = BagSource(camera(), bag)
    assert source.open().model == "bag"
    frames = [source.read(1.0) for _ in range(7)]
    assert [frame.numbers[0] for frame in frames] == list(range(1, 8))
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps)) and stamps[0] > 10**18
    for index, frame in enumerate(frames):
        color, depth_mm = shown[index % 3]
        assert np.abs(frame.color.astype(int) - color).max() <= 4
        assert np.array_equal(frame.depth_mm, depth_mm), "depth is lossless"
        assert np.array_equal(frame.intrinsics, K)


def test_a_bag_without_this_camera_is_refused(recorded):
    with pytest.raises(CameraRefusedError, match="no colour and depth.*'exterior'"):
        BagSource(camera("exterior"), recorded[0]).open()
    with pytest.raises(BagError, match="is not a bag"):
        BagSource(camera(), recorded[0].parent / "none").open()


REAL = ("robot=franka_fr3", "reward=learned", "task=lift", "safety=panda_table", "cameras=sim_two")


def named(config: Config):
    return {node.name for node in nodes_for(config, Path("c"))}


def test_the_driver_of_the_cameras_decides_which_nodes_run(tmp_path):
    ours = {"camera_exterior", "camera_wrist"}
    assert not ours & named(load_config())
    assert not ours & named(load_config(REAL)), "topics of realsense2_camera"
    assert ours < named(load_config([*REAL, "cameras.driver=bag", f"cameras.bag={tmp_path}"]))


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["cameras.driver=realsense"], "no serial: with several cameras each needs its own"),
        (["cameras.driver=bag"], "belong together"),
        (["cameras.driver=simulated"], "does not go with robot.kind=franka"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides, text):
    with pytest.raises(ConfigurationError, match=text):
        load_config([*REAL, *overrides])
    with pytest.raises(ConfigurationError, match="does not go with robot.kind=sim"):
        load_config(["cameras.driver=realsense_topics"])
