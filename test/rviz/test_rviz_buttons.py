"""RViz' side of the buttons and displays, against the real graph over DDS."""

from __future__ import annotations

import pytest
import yaml
from graph import Graph
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from visualization_msgs.msg import (
    InteractiveMarkerControl,
    InteractiveMarkerFeedback,
    InteractiveMarkerUpdate,
    Marker,
    MarkerArray,
)
from visualization_msgs.srv import GetInteractiveMarkers
from witness import Witness

from tmrl_msgs.msg import RobotTarget, SafetyState
from tmrl_ros.core import topics
from tmrl_ros.core.load import config_folder, load_config
from tmrl_ros.nodes.common import RELIABLE

NAMES = {"STOP", "RESET", "START", "SUCCESS", "FAILURE"}


class Viewer(Witness):
    """Also speaks the client's side of the protocol as RViz does."""

    def __init__(self):
        super().__init__("viewer")
        self.updates, self.scene = [], []
        name, listen = topics.BUTTONS, self.node.create_subscription
        self.feedback = self.node.create_publisher(
            InteractiveMarkerFeedback, f"{name}/feedback", QoSProfile(depth=100)
        )
        self.get = self.node.create_client(GetInteractiveMarkers, f"{name}/get_interactive_markers")
        updates = QoSProfile(depth=100)
        listen(InteractiveMarkerUpdate, f"{name}/update", self.updates.append, updates)
        listen(MarkerArray, topics.SCENE_MARKERS, lambda m: self.scene.extend(m.markers), RELIABLE)

    def markers(self):
        self.until(self.get.service_is_ready, "the service")
        future = self.get.call_async(GetInteractiveMarkers.Request())
        self.until(future.done, "the markers")
        self.number = future.result().sequence_number
        return {marker.name: marker for marker in future.result().markers}

    def mouse(self, name, event=InteractiveMarkerFeedback.BUTTON_CLICK):
        self.until(lambda: self.feedback.get_subscription_count() > 0, "the buttons")
        self.feedback.publish(
            InteractiveMarkerFeedback(
                client_id="/rviz", marker_name=name, control_name="click", event_type=event
            )
        )

    def words(self):
        """The sentence above the buttons."""
        markers = self.markers()["words"].controls[0].markers
        return markers[0].text.replace("\n", " ") if markers else ""


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    words = ("session.rviz=true", "session.console=false", "recorder.cameras=none")
    graph = Graph(tmp_path_factory.mktemp("rviz") / "session", "collect", *words)
    yield graph
    graph.close()


@pytest.fixture(scope="module")
def viewer(graph):
    viewer = Viewer()
    yield viewer
    viewer.close()


@pytest.fixture(autouse=True)
def is_going(viewer, graph):
    """Every test begins with a released stop and an episode that nobody has aborted."""
    viewer.until(lambda: viewer.safety.code or viewer.safety.state, "the supervisor")
    if viewer.safety.code == "OPERATOR_STOP":
        viewer.mouse("RESET")
    latched = SafetyState.STATE_LATCHED
    viewer.until(lambda: viewer.safety.state != latched, "a released stop")
    viewer.until(lambda: not graph.last_was_aborted(), "an episode that ends by itself")


def test_every_button_is_there_beside_the_workspace_and_can_be_clicked(viewer):
    markers = viewer.markers()
    assert markers.keys() >= NAMES
    config = load_config()
    for name in NAMES:
        marker = markers[name]
        assert marker.header.frame_id == config.robot.base_frame
        assert marker.pose.position.y > config.safety.workspace_max_m[1]
        (control,) = marker.controls
        assert control.interaction_mode == InteractiveMarkerControl.BUTTON
        assert name in [part.text for part in control.markers]
        assert any(part.type == Marker.CUBE and part.color.a == 1.0 for part in control.markers)
    sizes = {name: markers[name].controls[0].markers[0].scale.x for name in NAMES}
    assert all(sizes["STOP"] > sizes[name] for name in NAMES - {"STOP"})


@pytest.mark.parametrize("event", ["BUTTON_CLICK", "MOUSE_DOWN"])
def test_stop_is_clicked_during_motion(viewer, event):
    viewer.until_moving()
    viewer.mouse("STOP", getattr(InteractiveMarkerFeedback, event))
    viewer.until(lambda: viewer.safety.code == "OPERATOR_STOP", "the latch")
    viewer.until(lambda: viewer.kinds[-1] == RobotTarget.KIND_HOLD, "a hold")
    viewer.until(lambda: "Stopped" in viewer.words(), "the answer")


def test_reset_is_clicked(viewer):
    viewer.mouse("STOP")
    viewer.until(lambda: viewer.safety.state == SafetyState.STATE_LATCHED, "the latch")
    viewer.mouse("RESET")
    viewer.until(lambda: viewer.safety.state != SafetyState.STATE_LATCHED, "the release")
    viewer.until_moving()


def test_reset_is_grey_unless_there_is_something_to_reset(viewer):
    def color():
        found = viewer.markers()["RESET"].controls[0].markers[0].color
        return (found.r, found.g, found.b)

    viewer.until(lambda: len(set(color())) == 1, "a grey button")
    viewer.mouse("STOP")
    viewer.until(lambda: len(set(color())) > 1, "a coloured button")


@pytest.mark.parametrize("name", ["SUCCESS", "FAILURE"])
def test_an_episode_is_labelled(viewer, graph, name):
    before = {
        i: r["outcome"] for i, r in graph.outcomes().items() if r["labelled_by"] == "operator"
    }
    viewer.until_moving()
    viewer.mouse(name)

    def labelled():
        rows = {i: r for i, r in graph.outcomes().items() if r["labelled_by"] == "operator"}
        return [r for i, r in rows.items() if before.get(i) != r["outcome"]]

    (row,) = viewer.until(labelled, "the label in the log")
    assert row["outcome"] == name.lower()


def test_start_says_that_episodes_go_on(viewer):
    viewer.mouse("START")
    viewer.until(lambda: viewer.words() == "Episodes go on.", "the answer")


def test_what_is_no_click_presses_nothing(viewer):
    latches = viewer.safety.latches
    for event in ("POSE_UPDATE", "MENU_SELECT", "MOUSE_UP", "KEEP_ALIVE"):
        viewer.mouse("STOP", getattr(InteractiveMarkerFeedback, event))
    viewer.mouse("nonsense")
    viewer.mouse("words")
    viewer.mouse("START")
    viewer.until(lambda: viewer.words() == "Episodes go on.", "the answer to the last of them")
    assert viewer.safety.latches == latches


def test_updates_are_numbered_without_gaps(viewer):
    viewer.updates.clear()
    viewer.markers()
    first = viewer.number
    viewer.mouse("STOP")
    viewer.until(lambda: viewer.safety.state == SafetyState.STATE_LATCHED, "the latch")
    viewer.mouse("RESET")
    viewer.until(lambda: viewer.safety.state != SafetyState.STATE_LATCHED, "the release")
    viewer.until(lambda: len(viewer.updates) >= 2, "updates")
    numbers = [update.seq_num for update in viewer.updates if update.seq_num > first]
    assert numbers == list(range(first + 1, first + 1 + len(numbers)))
    assert all(update.type == InteractiveMarkerUpdate.UPDATE for update in viewer.updates)


def test_plan_path_tool_and_progress_are_drawn(viewer):
    viewer.scene.clear()
    shown = {"planned", "executed", "tool", "gauges", "workspace"}
    viewer.until(lambda: shown <= {m.ns for m in viewer.scene if m.points or m.text}, "markers")
    frame = load_config().robot.base_frame
    drawn = [m for m in viewer.scene if m.action == Marker.ADD]
    assert all(marker.header.frame_id == frame for marker in drawn)
    assert all(marker.lifetime.sec or marker.lifetime.nanosec for marker in drawn)
    plan = next(m for m in drawn if m.ns == "planned" and m.type == Marker.LINE_STRIP)
    assert plan.color.b > plan.color.r  # the expert's t is 0: precise is blue
    assert any("progress" in marker.text for marker in drawn)


def test_every_display_has_the_qos_its_topic_needs(viewer):
    view = yaml.safe_load((config_folder() / "rviz" / "tmrl.rviz").read_text())
    checked = 0
    for display in view["Visualization Manager"]["Displays"]:
        wanted = display.get("Topic")
        if not wanted:
            continue
        name = f"/{wanted['Value']}"
        offered = viewer.until(
            lambda name=name: viewer.node.get_publishers_info_by_topic(name),
            f"a publisher of {name}",
        )
        profile = QoSProfile(
            depth=wanted["Depth"],
            liveliness=LivelinessPolicy.AUTOMATIC,
            history=HistoryPolicy.KEEP_LAST,
            reliability=ReliabilityPolicy[wanted["Reliability Policy"].upper().replace(" ", "_")],
            durability=DurabilityPolicy[wanted["Durability Policy"].upper().replace(" ", "_")],
        )
        for publisher in offered:
            verdict, why = qos_check_compatible(publisher.qos_profile, profile)
            assert verdict == QoSCompatibility.OK, f"{name}: {why}"
            checked += 1
    assert checked >= 5
