"""The next chunk while this one runs, over real DDS: supervisor and policy server, time by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import Vector3
from rclpy.executors import SingleThreadedExecutor
from std_srvs.srv import Trigger

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    Observation,
    RewardEstimate,
    RobotState,
    RobotTarget,
    SafetyState,
    TeleopCommand,
)
from tmrl_ros.core import topics
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import ChunkResult, ChunkSource, Pose, RobotSample
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, LATCHED, NEWEST, RELIABLE
from tmrl_ros.nodes.convert import header, robot_to_msg
from tmrl_ros.nodes.policy_server import PolicyServer
from tmrl_ros.nodes.safety_supervisor import SafetySupervisor
from tmrl_ros.sim.kinematics import Q_NOMINAL, ArmKinematics

PATIENCE_S = 60.0
QUIET_S = 0.2
PERIOD_NS = 50_000_000
NAME = "evaluate_before_000000"
HOME, DOWN = np.array([0.45, 0.0, 0.20]), np.array([1.0, 0.0, 0.0, 0.0])
ROWS, OVERLAP = 8, 4
EXECUTED, ABORTED, REJECTED, SKIPPED = ChunkResult


class Cell:
    """The arm, perception, reward and a person; the robot's clock is turned on by `tick`."""

    def __init__(self) -> None:
        self.config = load_config(
            [
                *("task=lift", "method=base", "robot.realtime=true"),
                *(f"session.overlap_rows={OVERLAP}", "robot.state_timeout_s=30"),
                *("safety.teleop_timeout_s=2", "safety.teleop_blend_s=0"),
            ]
        )
        self.nodes = SafetySupervisor(config=self.config), PolicyServer(config=self.config)
        self.node = rclpy.create_node("cell")
        self.executor = SingleThreadedExecutor()
        for node in (*self.nodes, self.node):
            self.executor.add_node(node)
        self.arm, self.q = ArmKinematics(), Q_NOMINAL
        self.tick_number, self.position = 1, HOME
        self.samples: dict[int, RobotSample] = {}
        self.targets, self.chunks, self.outcomes, self.wanted = [], [], [], []
        self.safety = SafetyState()
        out, listen = self.node.create_publisher, self.node.create_subscription
        self.states = out(RobotState, topics.ROBOT_STATE, RELIABLE)
        self.events = out(EpisodeEvent, topics.EPISODE, EVENTS)
        self.observations = out(Observation, topics.OBSERVATION, RELIABLE)
        self.rewards = out(RewardEstimate, topics.REWARD, RELIABLE)
        self.stick = out(TeleopCommand, topics.TELEOP_COMMAND, NEWEST)
        for kind, topic, keep in (
            (RobotTarget, topics.ROBOT_TARGET, self.targets),
            (ActionChunk, topics.ACTION_CHUNK, self.chunks),
            (ChunkOutcome, topics.CHUNK_OUTCOME, self.outcomes),
            (ChunkOutcome, topics.CHUNK_PROGRESS, self.wanted),
        ):
            listen(kind, topic, keep.append, RELIABLE)
        listen(SafetyState, topics.SAFETY_STATE, lambda m: setattr(self, "safety", m), LATCHED)
        self.stop = self.node.create_client(Trigger, topics.STOP)
        self.reset = self.node.create_client(Trigger, topics.RESET)
        outs = (self.states, self.events, self.observations, self.rewards, self.stick)
        self.until(lambda: all(item.get_subscription_count() for item in outs), "the nodes")
        self.until(lambda: self.node.count_publishers(topics.ACTION_CHUNK), "its chunks")
        self.press(self.reset, self.say_state)
        self.until(lambda: self.safety.state == SafetyState.STATE_READY, "an open gate")
        event = {"episode_id": NAME, "state": EpisodeEvent.STATE_RUNNING, "method": "base"}
        at = header(PERIOD_NS, "panda_link0")
        self.events.publish(EpisodeEvent(header=at, max_decisions=9, deterministic=True, **event))
        self.rest()

    def close(self) -> None:
        self.executor.shutdown()
        for node in (*self.nodes, self.node):
            node.destroy_node()

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.safety}"
            self.executor.spin_once(0.02)

    def rest(self) -> None:
        """Let everybody read what was said."""
        until = time.monotonic() + QUIET_S
        while time.monotonic() < until:
            self.executor.spin_once(0.02)

    def press(self, button, meanwhile=lambda: None) -> None:
        self.until(button.service_is_ready, "a button")
        future = None
        while future is None or not future.result().success:
            meanwhile()
            self.rest()
            future = button.call_async(Trigger.Request())
            self.until(future.done, "an answer")

    def say_state(self) -> None:
        self.q = self.arm.inverse(self.position, DOWN, start=self.q, iterations=40)
        sample = RobotSample(
            stamp_ns=self.tick_number * PERIOD_NS,
            tick=self.tick_number,
            q=self.q,
            dq=np.zeros(7),
            tau=np.zeros(7),
            ee_pose=Pose(self.position, DOWN),
            ee_twist=np.zeros(6),
            wrench=np.zeros(6),
            gripper_width_m=0.04,
            frame_id="panda_link0",
        )
        self.samples[sample.stamp_ns] = sample
        self.states.publish(robot_to_msg(sample))

    def tick(self) -> list[RobotTarget]:
        """A control period passes in which the arm follows its target; what it is told then."""
        if self.targets:
            at = self.targets[-1].pose.position
            self.position = np.array([at.x, at.y, at.z])
        told, self.tick_number = len(self.targets), self.tick_number + 1
        self.say_state()
        self.rest()
        return self.targets[told:]

    def observe(self, decision, stamp_ns=None, *, success=False) -> ActionChunk:
        """What is seen at a robot time, judged; the policy's answer, that the supervisor has."""
        sample = self.samples[stamp_ns or self.tick_number * PERIOD_NS]
        at, seen = header(sample.stamp_ns, "panda_link0"), len(self.chunks)
        name = {"header": at, "sequence": decision + 1, "episode_id": NAME, "decision": decision}
        self.rewards.publish(RewardEstimate(**name, valid=True, success=success))
        self.observations.publish(
            Observation(
                **name,
                robot=robot_to_msg(sample),
                object_names=["red"],
                object_positions=[0.5, 0.05, 0.02],
                state=[*sample.ee_pose.position.tolist(), 0.5],
            )
        )
        self.until(lambda: len(self.chunks) > seen, "the chunk")
        self.rest()
        return self.chunks[-1]

    def begin(self) -> None:
        """The first chunk runs, and the next one is wanted."""
        first = self.observe(0)
        assert (first.committed_steps, first.execute_steps) == (0, ROWS)
        for row in range(ROWS - OVERLAP):
            assert not self.wanted, row
            self.tick()
        self.until(lambda: self.wanted, "word that the next chunk is wanted")

    def moves(self) -> list[int]:
        """Stamps of the states that targets which move the arm have answered, in periods."""
        tracks = [item for item in self.targets if item.kind == RobotTarget.KIND_TRACK]
        return [decode.to_ns(item.header.stamp) // PERIOD_NS for item in tracks]

    def ends(self) -> list[tuple[int, ChunkResult]]:
        return [(item.decision, ChunkResult(item.result)) for item in self.outcomes]


@pytest.fixture
def cell():
    rclpy.init()
    made = Cell()
    yield made
    made.close()
    rclpy.try_shutdown()


def place(chunk, row):
    """Where a row of a chunk is, base frame."""
    made = decode.chunk(chunk)
    return made.reference_pose.position + made.actions[row, :3]


def test_the_arm_does_not_stop_between_chunks(cell):
    cell.begin()
    for decision in (1, 2, 3):
        chunk = cell.observe(decision, decode.to_ns(cell.wanted[-1].header.stamp))
        assert (chunk.committed_steps, chunk.execute_steps) == (OVERLAP, ROWS - OVERLAP)
        ended = len(cell.outcomes)
        while len(cell.outcomes) == ended:
            cell.tick()
        cell.until(lambda n=decision: len(cell.wanted) > n, "the next one to be wanted")
    begun = cell.moves()[0]
    assert cell.moves() == list(range(begun, begun + len(cell.moves()))), "a target every period"
    assert cell.ends() == [(0, EXECUTED), (1, EXECUTED), (2, EXECUTED)]
    assert [item.decision for item in cell.wanted] == [0, 1, 2, 3]


def test_the_next_chunk_begins_with_what_is_carried_out_meanwhile(cell):
    cell.begin()
    second = cell.observe(1, decode.to_ns(cell.wanted[-1].header.stamp))
    while not cell.outcomes:
        cell.tick()
    sent = cell.targets[ROWS - 1].pose.position
    np.testing.assert_allclose(place(second, OVERLAP - 1), [sent.x, sent.y, sent.z], atol=2e-3)


def test_a_stop_in_the_overlap_ends_both_chunks_and_nothing_moves(cell):
    cell.begin()
    cell.observe(1, decode.to_ns(cell.wanted[-1].header.stamp))
    moved = len(cell.moves())
    cell.press(cell.stop)
    cell.until(lambda: len(cell.outcomes) == 2, "both outcomes")
    assert cell.ends() == [(0, ABORTED), (1, REJECTED)]
    assert cell.targets[-1].kind == RobotTarget.KIND_HOLD
    for _ in range(3):
        cell.tick()
    cell.press(cell.reset)
    cell.tick()
    assert len(cell.moves()) == moved, "neither before nor after the reset"


def test_a_terminal_reward_in_the_overlap_lets_the_running_chunk_end_and_no_other_begin(cell):
    cell.begin()
    last = cell.observe(1, decode.to_ns(cell.wanted[-1].header.stamp), success=True)
    assert last.execute_steps == 0
    assert cell.ends() == [], "its outcome comes behind that of the chunk which runs"
    for _ in range(OVERLAP + 2):
        cell.tick()
    assert cell.ends() == [(0, EXECUTED), (1, SKIPPED)]
    assert len(cell.moves()) == ROWS


def test_a_late_chunk_goes_on_where_the_arm_waits(cell):
    cell.begin()
    seen_ns = decode.to_ns(cell.wanted[-1].header.stamp)
    while not cell.outcomes:
        cell.tick()
    assert cell.tick() == [], "the arm holds where the chunk has led it"
    waits_at = cell.position
    cell.observe(1, seen_ns)
    for _ in range(ROWS - OVERLAP):
        cell.tick()
    assert cell.ends() == [(0, EXECUTED), (1, EXECUTED)]
    begun = cell.targets[ROWS].pose.position
    step_m = np.linalg.norm(np.array([begun.x, begun.y, begun.z]) - waits_at)
    assert step_m <= cell.config.safety.max_speed_mps * 0.05 + 1e-6
    assert np.diff(cell.moves()).tolist().count(1) == len(cell.moves()) - 2, "one gap"


def test_a_person_takes_the_arm_in_the_overlap_and_keeps_it_over_the_joint(cell):
    cell.begin()
    cell.observe(1, decode.to_ns(cell.wanted[-1].header.stamp))
    command = TeleopCommand(
        header=header(0, "panda_link0"),
        device="stick",
        engaged=True,
        linear=Vector3(x=0.0, y=-0.4, z=0.0),
        gripper=float("nan"),
    )
    while len(cell.outcomes) < 2:
        cell.stick.publish(replace_stamp(command))
        cell.rest()
        cell.tick()
    assert cell.ends() == [(0, EXECUTED), (1, EXECUTED)]
    first, second = (decode.outcome(item) for item in cell.outcomes)
    human, policy = int(ChunkSource.HUMAN), int(ChunkSource.POLICY)
    assert set(first.sources[:4]) == {policy} and first.sources[-1] == human
    assert set(second.sources) == {human}
    assert np.diff(cell.moves()).tolist() == [1] * (len(cell.moves()) - 1), "without a gap"
    assert cell.position[1] < HOME[1] - 0.05


def replace_stamp(command):
    """The same, said again."""
    command.header.stamp.nanosec += 1
    return command
