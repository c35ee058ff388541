"""Colour images go into bags as JPEG, depth as it came."""

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from recorded import as_on_the_wire, episode, item

from tmrl_ros.core import topics
from tmrl_ros.data import decode
from tmrl_ros.data.bag_stream import BagStream
from tmrl_ros.data.items import Item, Topic
from tmrl_ros.data.pictures import JpegPictures
from tmrl_ros.data.recording import Recording
from tmrl_ros.nodes import convert

COLOR, DEPTH = f"/cell/{topics.color('wrist')}", f"/{topics.depth('wrist')}"


def scene(height=48, width=64):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([4 * rows, 3 * columns, rows + columns], axis=-1).astype(np.uint8)


def picture(name, pixels, encoding, stamp_ns=7_000_000_001):
    msg = convert.image_to_msg(pixels, "rgb8" if encoding == "bgr8" else encoding, stamp_ns, "lens")
    msg.encoding = encoding
    topic = Topic(name, "sensor_msgs/msg/Image")
    data = as_on_the_wire(bytes(serialize_message(msg)), topic.type_name)
    return Item(topic, data, 1_700_000_000_000_000_000, number=5)


def message(one):
    from tmrl_ros.data.definitions import definition, deserialise

    kind = one.topic.type_name
    return deserialise(one.data, kind, definition(kind).text)


def test_a_colour_image_becomes_a_jpeg_with_the_same_header_and_nearly_the_same_pixels():
    one = JpegPictures(95).take(picture(COLOR, scene(), "rgb8"))
    assert one.topic.name == f"{COLOR}/compressed" and one.number == 5
    assert one.topic.type_name == "sensor_msgs/msg/CompressedImage"
    msg = message(one)
    assert (decode.to_ns(msg.header.stamp), msg.header.frame_id) == (7_000_000_001, "lens")
    assert bytes(msg.data[:2]) == b"\xff\xd8" and len(one.data) < scene().nbytes / 3
    assert np.abs(decode.rgb_image(msg).astype(int) - scene()).mean() < 3.0
    assert decode.camera_of(one.topic.name) == "wrist"


def test_blue_first_images_come_back_with_red_first():
    one = JpegPictures(95).take(picture(COLOR, scene()[..., ::-1].copy(), "bgr8"))
    assert np.abs(decode.rgb_image(message(one)).astype(int) - scene()).mean() < 3.0


@pytest.mark.parametrize("quality", [30, 95])
def test_quality_is_what_was_asked_for(quality):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    best = JpegPictures(100).take(picture(COLOR, noise, "rgb8"))
    assert len(JpegPictures(quality).take(picture(COLOR, noise, "rgb8")).data) < len(best.data)


def test_depth_and_unknown_encodings_stay_as_they_came():
    depth = picture(DEPTH, np.arange(48 * 64, dtype=np.uint16).reshape(48, 64), "16UC1")
    assert JpegPictures(95).take(depth) == depth
    strange = picture(COLOR, scene(), "yuv422")
    assert JpegPictures(95).take(strange) == strange
    other = item(episode()[0])
    assert JpegPictures(95).take(other) == other


@pytest.mark.parametrize(("quality", "suffix"), [(95, "/compressed"), (0, "")])
def test_the_recorder_writes_what_its_configuration_says(tmp_path, quality, suffix):
    recording = Recording(tmp_path, custom={}, jpeg_quality=quality)
    recording.start()
    recording.put([item(episode()[0]), picture(COLOR, scene(), "rgb8")])
    recording.close()
    (found,) = [m for m in BagStream(tmp_path / "episodes" / "train_000000") if "color" in m.topic]
    assert found.topic == COLOR + suffix
    shown = decode.rgb_image(found.decode())
    assert np.array_equal(shown, scene()) if not quality else shown.shape == scene().shape
