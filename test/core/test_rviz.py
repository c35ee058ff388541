"""RViz shows topics that exist under the names of core/topics.py."""

import pytest
import yaml

from tmrl_ros.core import topics
from tmrl_ros.core.load import config_folder, load_config


@pytest.fixture
def view():
    return yaml.safe_load((config_folder() / "rviz" / "finetune.rviz").read_text())


def test_every_shown_topic_is_one_of_the_graph(view):
    config = load_config()
    known = {topics.POINTS, topics.SAFETY_MARKERS, "robot_description"}
    known |= {topics.color(camera.name) for camera in config.cameras.cameras}
    displays = view["Visualization Manager"]["Displays"]
    shown = {
        display[key]["Value"]
        for display in displays
        for key in ("Topic", "Description Topic")
        if key in display
    }
    assert shown == known


def test_the_fixed_frame_is_the_arm_s_base(view):
    frame = view["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert frame == load_config().robot.base_frame
