"""RViz shows topics that exist under the names of core/topics.py."""

import pytest
import yaml

from tmrl_ros.core import topics
from tmrl_ros.core.load import config_folder, load_config


@pytest.fixture
def view():
    return yaml.safe_load((config_folder() / "rviz" / "tmrl.rviz").read_text())


def test_every_shown_topic_is_one_of_the_graph(view):
    config = load_config()
    known = {topics.POINTS, topics.SAFETY_MARKERS, topics.SCENE_MARKERS, "robot_description"}
    known |= {topics.color(camera.name) for camera in config.cameras.cameras}
    displays = view["Visualization Manager"]["Displays"]
    shown = {
        display[key]["Value"]
        for display in displays
        for key in ("Topic", "Description Topic")
        if key in display
    }
    assert shown == known


def test_the_buttons_are_shown_and_can_be_clicked(view):
    manager = view["Visualization Manager"]
    shown = [d for d in manager["Displays"] if d["Class"].endswith("/InteractiveMarkers")]
    assert [display["Interactive Markers Namespace"] for display in shown] == [topics.BUTTONS]
    assert all(display["Enabled"] for display in shown)
    assert any(tool["Class"].endswith("/Interact") for tool in manager["Tools"])


def test_the_fixed_frame_is_the_arm_s_base(view):
    frame = view["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert frame == load_config().robot.base_frame
