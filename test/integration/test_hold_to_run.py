"""Hold-to-run over DDS: the supervisor alone, and a whole graph that waits for the person."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import rclpy
from graph import Graph
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool
from test_supervisor import CONFIG, Cell, end, start_supervisor

from tmrl_msgs.msg import ChunkOutcome, EpisodeEvent, RobotTarget, SafetyState
from tmrl_ros.core import topics
from tmrl_ros.core.environment import node_environment
from tmrl_ros.data.bag_reader import read_episode
from tmrl_ros.nodes.common import EVENTS, LATCHED, NEWEST, RELIABLE

PATIENCE_S = 180.0  # keeps a broken test from hanging; nothing is measured by it
HOLD = CONFIG.model_copy(update={"safety": CONFIG.safety.model_copy(update={"hold_to_run": True})})
TRACK, KIND_HOLD = RobotTarget.KIND_TRACK, RobotTarget.KIND_HOLD


class Button:
    """A hold-to-run button that says twenty times a second that it is held."""

    def __init__(self, node) -> None:
        self.publisher = node.create_publisher(Bool, topics.HOLD_TO_RUN, NEWEST)
        self.held = False
        node.create_timer(0.05, self.say)

    def say(self) -> None:
        if self.held:
            self.publisher.publish(Bool(data=True))

    def release(self) -> None:
        self.held = False
        self.publisher.publish(Bool(data=False))


@pytest.fixture
def cell(tmp_path) -> Iterator[Cell]:
    with pytest.MonkeyPatch.context() as patch:
        for key, value in node_environment(HOLD).items():
            patch.setenv(key, value)
        rclpy.init()
        process = start_supervisor(tmp_path, HOLD)
        cell = Cell()
        cell.button = Button(cell.node)
        try:
            cell.until(lambda: cell.button.publisher.get_subscription_count() > 0, "the button")
            cell.until(lambda: cell.states.get_subscription_count() > 0, "the supervisor")
            cell.make_ready()
            yield cell
        finally:
            end(process)
            cell.close()
            rclpy.try_shutdown()


def test_nothing_moves_before_it_is_held_and_then_the_chunk_goes_out(cell: Cell) -> None:
    cell.until(lambda: cell.safety.code == "HOLD_RELEASED", "the word that nobody holds")
    assert cell.safety.state == SafetyState.STATE_READY
    cell.ask(cell.chunk())
    until_s = time.monotonic() + 1.0
    cell.until(lambda: time.monotonic() > until_s, "a second")
    assert not cell.targets and not cell.outcomes
    cell.button.held = True
    cell.until(lambda: bool(cell.outcomes), "an outcome")
    assert cell.outcomes[0].result == ChunkOutcome.RESULT_EXECUTED
    assert cell.kinds() == [TRACK] * 3


@pytest.mark.parametrize("way", ["says so", "falls silent"])
def test_released_in_the_middle_of_a_chunk_the_arm_holds_and_goes_on_when_held(
    cell: Cell, way: str
) -> None:
    cell.button.held = True
    cell.until(lambda: cell.safety.code == "", "a button that is held")
    cell.answers = False
    cell.ask(cell.chunk())
    cell.until(lambda: cell.kinds() == [TRACK], "the first target")
    if way == "says so":
        cell.button.release()
    else:
        cell.button.held = False
    hold = cell.until_held()
    assert hold.pose.position.x == pytest.approx(cell.sample.ee_pose.position[0])
    cell.until(lambda: cell.safety.code == "HOLD_RELEASED", "the word that nobody holds")
    assert cell.safety.latches == 0
    assert not cell.outcomes
    cell.answers = cell.button.held = True
    cell.until(lambda: bool(cell.outcomes), "an outcome")
    assert cell.outcomes[0].result == ChunkOutcome.RESULT_EXECUTED
    assert cell.kinds() == [TRACK, KIND_HOLD, TRACK, TRACK]


class Watch:
    """Somebody with a button beside a whole graph."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node("watch")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.button = Button(self.node)
        self.kinds: list[int] = []
        self.reasons: list[str] = []
        self.event, self.safety = EpisodeEvent(), SafetyState()
        listen = self.node.create_subscription
        listen(RobotTarget, topics.ROBOT_TARGET, lambda m: self.kinds.append(m.kind), RELIABLE)
        listen(ChunkOutcome, topics.CHUNK_OUTCOME, self.on_outcome, RELIABLE)
        listen(EpisodeEvent, topics.EPISODE, lambda m: setattr(self, "event", m), EVENTS)
        listen(SafetyState, topics.SAFETY_STATE, lambda m: setattr(self, "safety", m), LATCHED)

    def on_outcome(self, msg: ChunkOutcome) -> None:
        self.reasons.append(msg.reason)

    def look(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self.executor.spin_once(timeout_sec=0.02)

    def until(self, condition, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.safety}"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()


def test_a_long_release_is_a_pause_of_the_episode_in_which_robot_time_goes_on(tmp_path) -> None:
    """Longer than the grace and than the patience of the episode manager."""
    graph = Graph(
        tmp_path / "session",
        "collect",
        *("safety.hold_to_run=true", "robot.realtime=true", "session.decision_timeout_s=4"),
        *("session.console=false", "recorder.cameras=none"),
    )
    watch = Watch()
    try:
        watch.until(lambda: watch.safety.code == "HOLD_RELEASED", "a graph that waits")
        watch.button.held = True
        running = EpisodeEvent.STATE_RUNNING
        watch.until(lambda: watch.event.state == running, "an episode")
        name = watch.event.episode_id
        watch.kinds.clear()
        watch.until(lambda: TRACK in watch.kinds, "motion")
        watch.button.release()
        watch.until(lambda: watch.kinds[-1:] == [KIND_HOLD], "the hold")
        watch.look(0.5)
        watch.kinds.clear()
        watch.look(7.0)
        assert TRACK not in watch.kinds
        assert (watch.event.episode_id, watch.event.state) == (name, running), "it waits"
        watch.button.held = True
        watch.until(lambda: watch.event.state == EpisodeEvent.STATE_ENDED, "the end")
        assert watch.event.outcome != EpisodeEvent.OUTCOME_ABORTED, watch.event
        assert watch.event.decisions > 1
        assert watch.reasons.count("HOLD_RELEASED") >= 1, "the chunk of before was not taken up"
        assert watch.safety.latches == 0
        graph.until(lambda: name in graph.outcomes(), "its line in the log")
        outcomes = read_episode(tmp_path / "session" / "episodes" / name).outcomes
        assert "HOLD_RELEASED" in {item.reason for item in outcomes}
    finally:
        watch.close()
        graph.close()
