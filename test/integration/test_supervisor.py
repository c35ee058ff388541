"""The supervisor as a process, over DDS: what reaches the robot and what people are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    RobotState,
    RobotTarget,
    SafetyState,
)
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.core.types import Chunk, ChunkSource, Pose, RobotMode, RobotSample
from tmrl_ros.nodes.common import EVENTS, LATCHED, RELIABLE
from tmrl_ros.nodes.convert import chunk_to_msg, robot_to_msg
from tmrl_ros.sim.kinematics import Q_NOMINAL, ArmKinematics

ROOT = Path(__file__).resolve().parents[2]
CONFIG = load_config(
    [
        "robot.state_timeout_s=1.5",
        "safety.policy_timeout_s=1.0",
        f"session.domain_id={os.environ['ROS_DOMAIN_ID']}",
    ]
)
PATIENCE_S = 15.0
PRESS_AGAIN_S = 3.0
PERIOD_NS = 50_000_000
HOME = np.array([0.45, 0.0, 0.20])
DOWN = np.array([1.0, 0.0, 0.0, 0.0])


class Cell:
    """A robot driver that answers every target, and a person with both buttons."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("cell")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.sample = RobotSample(
            stamp_ns=PERIOD_NS,
            tick=1,
            q=ArmKinematics().inverse(HOME, DOWN, start=Q_NOMINAL, iterations=40),
            dq=np.zeros(7),
            tau=np.zeros(7),
            ee_pose=Pose(HOME, DOWN),
            ee_twist=np.zeros(6),
            wrench=np.zeros(6),
            gripper_width_m=0.04,
            frame_id=CONFIG.robot.base_frame,
        )
        self.sequence = 0
        self.speaks = True
        self.answers = True
        self.targets: list[RobotTarget] = []
        self.outcomes: list[ChunkOutcome] = []
        self.safety = SafetyState()
        make = self.node.create_publisher
        self.states = make(RobotState, topics.ROBOT_STATE, RELIABLE)
        self.chunks = make(ActionChunk, topics.ACTION_CHUNK, RELIABLE)
        self.resets = make(ActionChunk, topics.RESET_CHUNK, RELIABLE)
        listen = self.node.create_subscription
        listen(RobotTarget, topics.ROBOT_TARGET, self.on_target, RELIABLE)
        listen(ChunkOutcome, topics.CHUNK_OUTCOME, self.outcomes.append, RELIABLE)
        listen(SafetyState, topics.SAFETY_STATE, self.on_safety, LATCHED)
        self.stop = self.node.create_client(Trigger, topics.STOP)
        self.reset = self.node.create_client(Trigger, topics.RESET)
        self.node.create_timer(0.1, self.speak)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()

    def on_target(self, msg: RobotTarget) -> None:
        self.targets.append(msg)
        if self.answers:
            tick = self.sample.tick + 1
            self.sample = replace(self.sample, tick=tick, stamp_ns=tick * PERIOD_NS)
            self.speak()

    def on_safety(self, msg: SafetyState) -> None:
        self.safety = msg

    def speak(self) -> None:
        if self.speaks:
            self.states.publish(robot_to_msg(self.sample))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}; {self.safety}"
            self.executor.spin_once(timeout_sec=0.05)

    def press(self, button: object) -> Trigger.Response:
        self.until(button.service_is_ready, "the service")
        future, sent_s = button.call_async(Trigger.Request()), time.monotonic()

        def answered() -> bool:
            """An answer to a client that the server has just found may be lost: press again."""
            nonlocal future, sent_s
            if not future.done() and time.monotonic() - sent_s > PRESS_AGAIN_S:
                future, sent_s = button.call_async(Trigger.Request()), time.monotonic()
            return bool(future.done())

        self.until(answered, "an answer of the service")
        return future.result()

    def make_ready(self) -> None:
        """Reset as soon as no cause is present, as a patient person would."""
        self.speaks = self.answers = True
        self.until(lambda: self.press(self.reset).success, "a reset that is accepted")
        self.until(lambda: self.safety.state == SafetyState.STATE_READY, "the gate to be ready")
        self.targets.clear()
        self.outcomes.clear()

    def chunk(self, steps: int = 3) -> Chunk:
        self.sequence += 1
        actions = np.zeros((steps, 4))
        actions[:, 0] = 0.005 * np.arange(1, steps + 1)
        return Chunk(
            stamp_ns=self.sample.stamp_ns,
            sequence=self.sequence,
            episode_id="train_000001",
            decision=self.sequence,
            source=ChunkSource.POLICY,
            action_space="cartesian_relative",
            reference_pose=Pose(HOME, DOWN),
            orientation=DOWN,
            actions=actions,
            execute_steps=steps,
            control_rate_hz=CONFIG.robot.control_rate_hz,
            frame_id=CONFIG.robot.base_frame,
        )

    def ask(self, chunk: Chunk) -> None:
        self.chunks.publish(chunk_to_msg(chunk))

    def until_latched(self, code: str) -> None:
        self.until(
            lambda: self.safety.state == SafetyState.STATE_LATCHED and self.safety.code == code,
            f"the latch {code}",
        )

    def until_held(self) -> RobotTarget:
        self.until(lambda: self.kinds()[-1:] == [RobotTarget.KIND_HOLD], "a hold")
        return self.targets[-1]

    def kinds(self) -> list[int]:
        return [target.kind for target in self.targets]


def start_supervisor(folder: Path, config: Config = CONFIG) -> subprocess.Popen[bytes]:
    write_config(config, folder / "config.yaml")
    return subprocess.Popen(
        [sys.executable, "-m", "tmrl_ros.nodes.safety_supervisor"]
        + ["--ros-args", "-p", f"config_file:={folder / 'config.yaml'}"],
        env={**os.environ, **node_environment(config), "PYTHONPATH": str(ROOT)},
    )


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    with pytest.MonkeyPatch.context() as patch:
        for key, value in node_environment(CONFIG).items():
            patch.setenv(key, value)
        rclpy.init()
        process = start_supervisor(tmp_path_factory.mktemp("supervisor"))
        cell = Cell()
        cell.process = process
        try:
            cell.until(lambda: cell.states.get_subscription_count() > 0, "the supervisor")
            cell.until(lambda: cell.safety.code != "", "its state")
            yield cell
        finally:
            end(process)
            cell.close()
            rclpy.try_shutdown()


def test_starts_latched_and_says_so_to_whoever_comes_late(cell: Cell) -> None:
    assert cell.safety.code == "START"
    assert cell.safety.state == SafetyState.STATE_LATCHED
    assert "reset" in cell.safety.message
    cell.ask(cell.chunk())
    cell.until(lambda: bool(cell.outcomes), "an outcome")
    assert cell.outcomes[0].reason == "LATCHED"
    assert not cell.targets


@pytest.mark.parametrize("through", ["chunks", "resets"])
def test_chunk_is_streamed_and_reported(cell: Cell, through: str) -> None:
    cell.make_ready()
    getattr(cell, through).publish(chunk_to_msg(cell.chunk(4)))
    cell.until(lambda: bool(cell.outcomes), "an outcome")
    assert cell.outcomes[0].result == ChunkOutcome.RESULT_EXECUTED
    assert cell.outcomes[0].steps_sent == 4
    assert len(cell.outcomes[0].executed) == len(cell.outcomes[0].measured) == 16
    assert cell.kinds() == [RobotTarget.KIND_TRACK] * 4
    cell.until(lambda: cell.safety.state == SafetyState.STATE_READY, "the gate to be ready")


def test_stop_service_holds_the_arm_and_ends_the_chunk(cell: Cell) -> None:
    cell.make_ready()
    cell.answers = False
    cell.ask(cell.chunk())
    cell.until(lambda: len(cell.targets) == 1, "the first target")
    assert cell.press(cell.stop).success
    hold = cell.until_held()
    assert hold.pose.position.x == pytest.approx(HOME[0])
    cell.until(lambda: bool(cell.outcomes), "an outcome")
    assert cell.outcomes[0].result == ChunkOutcome.RESULT_ABORTED
    assert cell.outcomes[0].reason == "OPERATOR_STOP"
    cell.until_latched("OPERATOR_STOP")
    assert cell.safety.latched_at.sec > 0


def test_chunk_with_a_nan_latches_with_a_sentence(cell: Cell) -> None:
    cell.make_ready()
    broken = cell.chunk()
    broken.actions[1, 2] = np.nan
    cell.ask(broken)
    cell.until_held()
    cell.until_latched("NON_FINITE_ACTION")
    assert "not a number in row 1" in cell.safety.message
    assert "nan" in cell.safety.value
    cell.until(lambda: bool(cell.outcomes), "an outcome")
    assert cell.outcomes[0].result == ChunkOutcome.RESULT_REJECTED
    assert RobotTarget.KIND_TRACK not in cell.kinds()


def test_messages_that_cannot_be_read_latch_and_crash_nothing(cell: Cell) -> None:
    cell.make_ready()
    msg = chunk_to_msg(cell.chunk())
    msg.horizon = 99
    cell.chunks.publish(msg)
    cell.until_latched("MALFORMED_CHUNK")
    cell.until(lambda: bool(cell.outcomes), "an outcome")
    assert cell.outcomes[0].result == ChunkOutcome.RESULT_REJECTED
    cell.make_ready()
    msg = chunk_to_msg(cell.chunk())
    msg.source = 200
    cell.chunks.publish(msg)
    cell.until_latched("MALFORMED_CHUNK")
    cell.make_ready()
    state = robot_to_msg(cell.sample)
    state.mode = 99
    cell.states.publish(state)
    cell.until_latched("MALFORMED_STATE")
    assert cell.process.poll() is None


def test_markers_for_rviz_change_with_the_stop(cell: Cell) -> None:
    shown: list[str] = []
    cell.node.create_subscription(
        MarkerArray,
        topics.SAFETY_MARKERS,
        lambda msg: shown.extend(marker.text for marker in msg.markers if marker.text),
        LATCHED,
    )
    cell.make_ready()
    cell.until(lambda: "READY" in shown, "a marker that says READY")
    cell.press(cell.stop)
    cell.until(lambda: "LATCHED OPERATOR_STOP" in shown[-1], "a marker that names the stop")


def test_reset_is_refused_while_the_robot_is_faulted(cell: Cell) -> None:
    cell.make_ready()
    healthy = cell.sample
    cell.sample = replace(healthy, mode=RobotMode.REFLEX)
    cell.until_held()
    cell.until_latched("REFLEX")
    answer = cell.press(cell.reset)
    assert not answer.success and "reflex" in answer.message
    assert list(cell.safety.present_causes) == ["REFLEX"]
    cell.sample = replace(cell.sample, mode=RobotMode.MOVE)
    cell.make_ready()


def test_silent_robot_latches_until_it_speaks_again(cell: Cell) -> None:
    cell.make_ready()
    cell.speaks = False
    cell.until_held()
    cell.until_latched("ROBOT_SILENT")
    answer = cell.press(cell.reset)
    assert not answer.success and "silent" in answer.message
    cell.make_ready()


def test_a_policy_that_falls_silent_in_an_episode_latches_where_that_is_configured(cell: Cell):
    cell.make_ready()
    episodes = cell.node.create_publisher(EpisodeEvent, topics.EPISODE, EVENTS)
    episodes.publish(EpisodeEvent(state=EpisodeEvent.STATE_RUNNING))
    cell.until_latched("POLICY_TIMEOUT")
    cell.until_held()
    assert "Nothing was heard of the policy for 1.0 s" in cell.safety.message
    episodes.publish(EpisodeEvent(state=EpisodeEvent.STATE_ENDED))
    cell.make_ready()


def test_second_publisher_latches_until_it_is_gone(cell: Cell) -> None:
    cell.make_ready()
    intruder = cell.node.create_publisher(RobotTarget, topics.ROBOT_TARGET, RELIABLE)
    cell.until_latched("SECOND_PUBLISHER")
    cell.until_held()
    answer = cell.press(cell.reset)
    assert not answer.success and "publish" in answer.message
    cell.node.destroy_publisher(intruder)
    cell.make_ready()


def test_terminated_supervisor_leaves_the_arm_holding(cell: Cell) -> None:
    cell.make_ready()
    cell.answers = False
    cell.ask(cell.chunk())
    cell.until(lambda: len(cell.targets) == 1, "the first target")
    cell.process.send_signal(signal.SIGTERM)
    cell.until_held()
    cell.until(lambda: bool(cell.outcomes), "an outcome")
    assert cell.outcomes[0].reason == "SHUTDOWN"
    assert cell.process.wait(PATIENCE_S) == 0
