"""Videos and Rerun recordings of episodes; the Foxglove layout opens what we record."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from recorded import as_on_the_wire, item
from sessions import open_bags, put, record, story

from tmrl_ros.cli.main import main
from tmrl_ros.core import topics
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Episode, EpisodeOutcome, EpisodeState
from tmrl_ros.data.definitions import definition, typestore
from tmrl_ros.data.items import Item, Topic
from tmrl_ros.data.recorded_topics import graph_topics
from tmrl_ros.exchange.movie import moments
from tmrl_ros.exchange.rerun_log import has_rerun
from tmrl_ros.exchange.video import VideoWriter, read_video
from tmrl_ros.nodes import convert

COLORS = {"exterior": (200, 30, 30), "wrist": (30, 30, 200)}
SUCCESS = EpisodeOutcome.SUCCESS
PICTURES, EVERY_MS = 8, 100


def picture(camera, number):
    stamp_ns = number * EVERY_MS * 1_000_000
    pixels = np.full((24, 32, 3), COLORS[camera], np.uint8)
    pixels[:, :, 1] = 20 * number % 200
    msg = convert.image_to_msg(pixels, "rgb8", stamp_ns, camera)
    topic = Topic(f"/{topics.color(camera)}", "sensor_msgs/msg/Image")
    data = as_on_the_wire(bytes(serialize_message(msg)), topic.type_name)
    return Item(topic, data, 1_700_000_000_000_000_000 + stamp_ns)


@pytest.fixture
def filmed(tmp_path):
    """An episode with pictures of two cameras, ten a second, and one before it ran."""
    bags, numbers = open_bags(tmp_path / "session"), {}
    for piece in story(0, SUCCESS):
        put(bags, item(piece), numbers)
        if isinstance(piece, Episode) and piece.state is EpisodeState.RESETTING:
            put(bags, picture("wrist", 99), numbers)
        if isinstance(piece, Episode) and piece.state is EpisodeState.RUNNING:
            for number in range(1, PICTURES + 1):
                for camera in COLORS:
                    put(bags, picture(camera, number), numbers)
    bags.close()
    return tmp_path / "session"


def test_a_video_shows_the_cameras_side_by_side_at_the_pace_of_the_robot(filmed, capsys):
    assert main(["bag", "video", str(filmed), "--episode", "train_000000"]) == 0
    file = filmed / "video" / "train_000000.mp4"
    assert "1 episodes, " in capsys.readouterr().out
    shown = list(read_video(file))
    length = (PICTURES - 1) * EVERY_MS / 1000 + 1.0  # the last picture stays for a second
    assert len(shown) == round(20 * length)
    assert [time for time, _ in shown[:3]] == pytest.approx([0.0, 0.05, 0.1])
    _, first = shown[0]
    assert first.shape == (24 + 36, 64, 3)
    left, right = first[4:20, 4:28].mean((0, 1)), first[4:20, 36:60].mean((0, 1))
    assert np.allclose(left, (200, 20, 30), atol=12) and np.allclose(right, (30, 20, 200), atol=12)
    greens = [frame[4:20, 4:28, 1].mean() for _, frame in shown]
    assert greens[2 * 3] == pytest.approx(80, abs=8), "the fourth picture, 0.3 s later"


def test_pictures_of_the_reset_are_left_out_and_both_cameras_of_an_instant_are_one(filmed):
    found = list(moments(filmed / "episodes" / "train_000000"))
    assert [m.stamp_ns // 1_000_000 for m in found] == [100 * k for k in range(1, PICTURES + 1)]
    assert set(found[1].pictures) == set(COLORS)
    assert found[-1].words[0] == "train_000000: success"


def test_a_bag_without_pictures_and_an_unknown_episode_are_one_sentence(tmp_path, capsys):
    session = record(tmp_path / "session", [SUCCESS])
    assert main(["bag", "video", str(session)]) == 2
    assert "holds no camera images" in capsys.readouterr().err
    assert main(["bag", "video", str(session), "--episode", "train_000009"]) == 2
    said = capsys.readouterr().err
    assert "has no episode 'train_000009'; the last are train_000000" in said


def test_odd_sides_are_refused_with_a_sentence(tmp_path):
    with pytest.raises(OperatorError, match="33 x 24 cannot become a video"):
        VideoWriter(tmp_path / "odd.mp4", rate_hz=20, width=33, height=24)


@pytest.mark.skipif(has_rerun(), reason="rerun-sdk is installed here")
def test_without_rerun_it_says_what_to_open_in_foxglove(filmed, capsys):
    assert main(["bag", "show", str(filmed)]) == 0
    said = capsys.readouterr().out
    assert "foxglove/tmrl.json" in said and "train_000000_0.mcap" in said
    assert main(["bag", "show", str(filmed), "--out", "x.rrd"]) == 2
    assert "Rerun is not installed" in capsys.readouterr().err


@pytest.mark.skipif(not has_rerun(), reason="rerun-sdk is not installed (pip install .[show])")
def test_a_rerun_recording_is_written(filmed, tmp_path, capsys):
    out = tmp_path / "episode.rrd"
    assert main(["bag", "show", str(filmed), "--out", str(out)]) == 0
    assert out.read_bytes()[:3] == b"RRF" and out.stat().st_size > 10_000
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0 and "/camera/wrist" in done.stdout


def test_the_foxglove_layout_names_topics_and_fields_that_are_recorded(root):
    layout = json.loads((root / "config" / "foxglove" / "tmrl.json").read_text())
    known = {f"/{topic.name}".replace("//", "/"): topic for topic in graph_topics(lift())}
    assert set(panels(layout["layout"])) == set(layout["configById"])
    for name, panel in layout["configById"].items():
        mode = panel.get("imageMode") or {}
        named = [*panel.get("topics", {}), *filter(None, [panel.get("topicPath")])]
        named += [mode[key] for key in ("imageTopic", "calibrationTopic") if key in mode]
        assert [topic for topic in named if topic not in known] == [], name
        for path in panel.get("paths", []):
            topic, *fields = re.match(r"(/[\w/]+)\.(.+)", path["value"]).groups()
            kind = known[topic].type_name
            store = typestore(kind, definition(kind).text)
            for field in ".".join(fields).split("."):
                found = {name: what for name, what in store.fielddefs[kind][1]}
                assert field in found, path["value"]
                kind = found[field][1] if isinstance(found[field][1], str) else kind


def lift():
    return load_config(["task=lift"])


def panels(tree):
    """Names of the panels of a layout."""
    if isinstance(tree, str):
        return [tree]
    return [*panels(tree["first"]), *panels(tree["second"])]
