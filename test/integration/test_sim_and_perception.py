"""The simulated driver and perception as processes, with a scripted supervisor and manager."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rclpy
import yaml
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, JointState, PointCloud2
from std_msgs.msg import Header

from tmrl_msgs.msg import (
    ChunkOutcome,
    EpisodeEvent,
    GroundTruth,
    Observation,
    RobotState,
    RobotTarget,
)
from tmrl_msgs.srv import ResetScene
from tmrl_ros.core import topics
from tmrl_ros.core.load import config_folder, load_config, write_config
from tmrl_ros.core.types import EpisodeState, Phase
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, LATCHED, RELIABLE
from tmrl_ros.nodes.convert import header
from tmrl_ros.perception.requests import sequence_number

PATIENCE_S = 30.0
PERIOD_NS = 50_000_000
HOME = (0.45, 0.0, 0.20)


def make_config(folder, *overrides):
    """The usual cell, with cameras that are missed after one second."""
    cameras = yaml.safe_load((config_folder() / "cameras" / "sim_two.yaml").read_text())
    for camera in cameras["cameras"]:
        camera["timeout_s"] = 1.0
    (folder / "cameras.yaml").write_text(yaml.safe_dump(cameras))
    config = load_config(
        [
            "task=pick_named",
            f"cameras={folder / 'cameras.yaml'}",
            f"session.domain_id={os.environ['ROS_DOMAIN_ID']}",
            *overrides,
        ]
    )
    write_config(config, folder / "config.yaml")
    return config


class Graph:
    """Both processes, and everything that a supervisor and an episode manager say and hear."""

    def __init__(self, folder, *overrides, namespace=""):
        self.folder, self.namespace = folder, namespace
        self.config = make_config(folder, *overrides)
        self.processes = {}
        self.node = rclpy.create_node("stand_in", namespace=namespace)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.states, self.truths, self.observations, self.logs = [], [], [], []
        self.target_sequence = 0
        self.episode = EpisodeEvent()
        out, into = self.node.create_publisher, self.node.create_subscription
        self.targets = out(RobotTarget, topics.ROBOT_TARGET, RELIABLE)
        self.episodes = out(EpisodeEvent, topics.EPISODE, EVENTS)
        self.outcomes = out(ChunkOutcome, topics.CHUNK_OUTCOME, RELIABLE)
        self.triggers = out(Header, topics.CAMERA_TRIGGER, RELIABLE)
        into(RobotState, topics.ROBOT_STATE, self.on_state, RELIABLE)
        into(GroundTruth, topics.GROUND_TRUTH, self.on_truth, RELIABLE)
        into(Observation, topics.OBSERVATION, self.observations.append, RELIABLE)
        into(Log, "/rosout", self.logs.append, EVENTS)
        self.reset_scene = self.node.create_client(ResetScene, topics.RESET_SCENE)
        self.parameters = self.node.create_client(SetParameters, "sim_franka/set_parameters")
        try:
            self.start("sim_franka")
            self.start("perception")
            self.until(lambda: self.states, "a robot state")
            self.until(self.connected, "the nodes to find each other")
        except BaseException:
            self.close()
            raise

    def connected(self):
        return (
            self.targets.get_subscription_count() > 0
            and self.episodes.get_subscription_count() > 0
            and self.outcomes.get_subscription_count() > 0
            and self.node.count_publishers(topics.OBSERVATION) > 0
            and self.reset_scene.service_is_ready()
        )

    def start(self, name):
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", f"tmrl_ros.nodes.{name}", "--ros-args"]
            + ["-p", f"config_file:={self.folder / 'config.yaml'}"]
            + ["-r", f"__ns:=/{self.namespace}"]
        )

    def end(self, name):
        """Ask a process to end; returns its exit code, or "hung" when it had to be killed."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "hung"

    def close(self):
        codes = {name: self.end(name) for name in list(self.processes)}
        self.executor.shutdown()
        self.node.destroy_node()
        return codes

    def on_state(self, msg, info):
        self.states.append((msg, info["source_timestamp"]))
        del self.states[:-500]

    def on_truth(self, msg, info):
        self.truths.append((msg, info["source_timestamp"]))
        del self.truths[:-500]

    @property
    def state(self):
        return self.states[-1][0]

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            self.executor.spin_once(timeout_sec=0.05)

    def listen_for(self, seconds):
        """Let messages come that should not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, client, request):
        self.until(client.service_is_ready, "the service")
        future = client.call_async(request)
        self.until(future.done, "the answer of the service")
        return future.result()

    def break_it(self, **faults):
        values = [Parameter(f"fault.{k}", value=v).to_parameter_msg() for k, v in faults.items()]
        results = self.call(self.parameters, SetParameters.Request(parameters=values)).results
        assert all(result.successful for result in results), results

    def target(self, position=HOME, width_m=0.08):
        self.target_sequence += 1
        at = self.state.header
        msg = RobotTarget(header=at, sequence=self.target_sequence, gripper_width_m=width_m)
        point = msg.pose.position
        point.x, point.y, point.z = position
        msg.pose.orientation.x, msg.pose.orientation.w = 1.0, 0.0
        return msg

    def step(self, position=HOME, width_m=0.08):
        tick = self.state.tick
        self.targets.publish(self.target(position, width_m))
        self.until(lambda: self.state.tick > tick, "an answer to the target")

    def say(self, state, index=0):
        self.episode = EpisodeEvent(
            header=header(decode.to_ns(self.state.header.stamp)),
            episode_id=f"train_{index:06d}",
            index=index,
            phase=int(Phase.TRAIN),
            state=int(state),
            prompt=self.config.task.prompt,
            max_decisions=3,
        )
        self.episodes.publish(self.episode)

    def outcome(self, decision, result=ChunkOutcome.RESULT_EXECUTED):
        self.outcomes.publish(
            ChunkOutcome(
                header=header(decode.to_ns(self.state.header.stamp)),
                episode_id=self.episode.episode_id,
                decision=decision,
                result=result,
            )
        )

    def begin(self, index):
        """Run an episode's reset and hear its first observation."""
        self.say(EpisodeState.RESETTING, index)
        answer = self.call(self.reset_scene, ResetScene.Request(seed=index, task="pick_named"))
        assert answer.success, answer.message
        self.say(EpisodeState.READY, index)
        self.say(EpisodeState.RUNNING, index)
        return self.observation(index, 0)

    def observation(self, index, decision):
        wanted = (f"train_{index:06d}", decision)
        self.until(
            lambda: any((m.episode_id, m.decision) == wanted for m in self.observations),
            f"observation {wanted}",
        )
        return next(m for m in self.observations if (m.episode_id, m.decision) == wanted)

    def truth_of(self, stamp):
        self.until(lambda: any(m.header.stamp == stamp for m, _ in self.truths), "the truth")
        return next(m for m, _ in reversed(self.truths) if m.header.stamp == stamp)


@pytest.fixture(scope="module", autouse=True)
def ros():
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    graph = Graph(tmp_path_factory.mktemp("lockstep"))
    try:
        yield graph
    finally:
        codes = graph.close()
    assert set(codes.values()) == {0}, codes


def errors(graph, *words):
    return [log.msg for log in graph.logs if all(word in log.msg for word in words)]


def positions(msg):
    rows = np.array(msg.object_positions).reshape(-1, 3)
    return dict(zip(msg.object_names, rows, strict=True))


def test_every_target_advances_the_robot_by_one_tick(graph):
    before = graph.state
    for _ in range(3):
        graph.step((0.45, 0.02, 0.20))
    assert graph.state.tick == before.tick + 3
    moved_ns = decode.to_ns(graph.state.header.stamp) - decode.to_ns(before.header.stamp)
    assert moved_ns == 3 * PERIOD_NS
    assert graph.state.header.frame_id == "panda_link0"
    assert len(graph.state.joint_positions) == len(graph.state.joint_names) == 7
    assert graph.state.mode == RobotState.MODE_MOVE


def test_the_same_target_twice_moves_the_robot_once(graph):
    tick, target = graph.state.tick, graph.target()
    for _ in range(3):
        graph.targets.publish(target)
    graph.until(lambda: graph.state.tick > tick, "an answer to the target")
    graph.step()
    assert graph.state.tick == tick + 2


def test_a_target_that_is_no_pose_is_ignored_and_named(graph):
    tick = graph.state.tick
    graph.targets.publish(graph.target((float("nan"), 0.0, 0.2)))
    graph.until(lambda: errors(graph, "no pose", "nan"), "an error in the log")
    graph.step()
    assert graph.state.tick == tick + 1


def test_a_robot_that_stands_still_repeats_its_state(graph):
    graph.step()
    tick = graph.state.tick
    graph.states.clear()
    graph.until(lambda: len(graph.states) >= 3, "repeated states")
    assert {msg.tick for msg, _ in graph.states} == {tick}


def test_the_truth_of_a_stamp_is_sent_before_its_state(graph):
    graph.truths.clear()
    for _ in range(5):
        graph.step()
    last = graph.states[-3:]
    assert len(last) == 3

    def truths_of(state):
        return [sent_ns for m, sent_ns in graph.truths if m.header.stamp == state.header.stamp]

    # They come on another topic and may be read later than they were sent.
    graph.until(lambda: all(truths_of(state) for state, _ in last), "the truths of the last states")
    assert all(min(truths_of(state)) < sent_ns for state, sent_ns in last)


def test_putting_objects_back_takes_robot_time_and_follows_the_seed(graph):
    seen = []
    for seed in (1, 2, 1):
        tick = graph.state.tick
        answer = graph.call(graph.reset_scene, ResetScene.Request(seed=seed))
        assert answer.success
        assert answer.duration_s == pytest.approx(graph.config.task.scene_reset_s)
        graph.until(lambda end=tick + 60: graph.state.tick >= end, "the end of the reset")
        assert graph.state.tick == tick + 60
        seen.append(positions(graph.truth_of(graph.state.header.stamp))["blue"])
    assert seen[0] == pytest.approx(seen[2], abs=1e-4)
    assert np.linalg.norm(seen[0] - seen[1]) > 1e-3
    wrong = graph.call(graph.reset_scene, ResetScene.Request(seed=1, task="stack"))
    assert not wrong.success
    assert "pick_named" in wrong.message


def test_cameras_publish_what_realsense_cameras_do_when_triggered(graph):
    got = {}
    listeners = [
        graph.node.create_subscription(kind, topic, lambda m, t=topic: got.update({t: m}), RELIABLE)
        for camera in ("exterior", "wrist")
        for kind, topic in (
            (Image, topics.color(camera)),
            (Image, topics.depth(camera)),
            (CameraInfo, topics.camera_info(camera)),
        )
    ]
    graph.until(lambda: graph.triggers.get_subscription_count(), "the driver")
    stamp = graph.state.header.stamp

    def arrived():
        if len(got) < len(listeners):
            graph.triggers.publish(Header(stamp=stamp))
        return len(got) == len(listeners)

    graph.until(arrived, "pictures")
    for camera in ("exterior", "wrist"):
        color, depth = got[topics.color(camera)], got[topics.depth(camera)]
        info = got[topics.camera_info(camera)]
        assert (color.encoding, depth.encoding) == ("rgb8", "16UC1")
        assert color.header == depth.header == info.header
        assert color.header.frame_id == f"{camera}_optical_frame"
        assert (info.width, info.height) == (color.width, color.height) == (424, 240)
        assert info.k[0] > 100.0
        assert 0.1 < np.median(decode.image(depth)) / 1000.0 < 1.5
    for listener in listeners:
        graph.node.destroy_subscription(listener)


def test_transforms_and_joint_states_are_published_for_tools(graph):
    tf_message = pytest.importorskip("tf2_msgs.msg").TFMessage
    found, joints = {}, []

    def on_tf(msg):
        found.update({t.child_frame_id: t for t in msg.transforms})

    listeners = [
        graph.node.create_subscription(tf_message, "/tf_static", on_tf, LATCHED),
        graph.node.create_subscription(tf_message, "/tf", on_tf, RELIABLE),
        graph.node.create_subscription(JointState, topics.JOINT_STATES, joints.append, RELIABLE),
    ]
    graph.until(lambda: len(found) == 3 and joints, "transforms and joint states")
    assert found["wrist_optical_frame"].header.frame_id == "panda_hand_tcp"
    assert found["exterior_optical_frame"].header.frame_id == "panda_link0"
    tool, measured = found["panda_hand_tcp"].transform.translation, graph.state.ee_pose.position
    assert (tool.x, tool.y, tool.z) == pytest.approx((measured.x, measured.y, measured.z))
    assert len(joints[0].name) == len(joints[0].position) == 9
    for listener in listeners:
        graph.node.destroy_subscription(listener)


def test_an_observation_comes_when_running_and_after_every_outcome(graph):
    clouds = []
    listener = graph.node.create_subscription(PointCloud2, topics.POINTS, clouds.append, RELIABLE)
    first = graph.begin(index=1)
    graph.step((0.47, 0.0, 0.18), 0.04)
    graph.step((0.49, 0.0, 0.16), 0.04)
    graph.outcome(0)
    second = graph.observation(1, 1)
    graph.outcome(0)  # said twice
    graph.outcome(1, ChunkOutcome.RESULT_SKIPPED)
    graph.listen_for(0.5)
    assert [m.decision for m in graph.observations if m.episode_id == "train_000001"] == [0, 1]
    assert second.header.stamp == graph.state.header.stamp
    assert decode.to_ns(second.header.stamp) - decode.to_ns(first.header.stamp) == 2 * PERIOD_NS
    for msg in (first, second):
        truth = positions(graph.truth_of(msg.header.stamp))
        assert msg.sequence == sequence_number(Phase.TRAIN, 1, msg.decision)
        assert msg.prompt == graph.config.task.prompt
        assert list(msg.object_visible) == [True] * 3
        assert list(msg.object_age_s) == [0.0] * 3
        for name, position in positions(msg).items():
            assert np.linalg.norm(position - truth[name]) < 0.005, name
        ee = msg.robot.ee_pose.position
        assert msg.state[:3] == pytest.approx([ee.x, ee.y, ee.z], abs=1e-6)
        assert msg.state[3] == pytest.approx(msg.robot.gripper_width_m / 0.08, abs=1e-6)
        assert list(msg.camera_names) == ["exterior", "wrist"]
        assert list(msg.camera_age_s) == [0.0, 0.0]
        assert [(i.width, i.height, i.encoding) for i in msg.images] == [(96, 96, "rgb8")] * 2
        assert all(i.header.stamp == msg.header.stamp for i in msg.images)
        assert msg.points.width == graph.config.cameras.points
        assert msg.points.header.frame_id == "panda_link0"
        assert msg.processing_ms > 0.0
    assert second.robot.gripper_width_m < first.robot.gripper_width_m
    graph.until(lambda: clouds, "a cloud for RViz")
    graph.node.destroy_subscription(listener)


def test_an_ended_episode_makes_no_observations(graph):
    graph.begin(index=2)
    graph.say(EpisodeState.ENDED, 2)
    graph.outcome(0)
    graph.listen_for(0.5)
    assert [m.decision for m in graph.observations if m.episode_id == "train_000002"] == [0]


def test_a_frozen_camera_stops_observations_and_is_named(graph):
    graph.begin(index=3)
    graph.break_it(freeze_camera="wrist")
    graph.logs.clear()
    graph.step()
    graph.outcome(0)
    graph.until(lambda: errors(graph, "'wrist'"), "a complaint about the camera")
    assert errors(graph, topics.color("wrist"), "no colour image after", "the arm holds")
    assert not errors(graph, "'exterior'")
    assert not any((m.episode_id, m.decision) == ("train_000003", 1) for m in graph.observations)
    graph.break_it(freeze_camera="")
    graph.observation(3, 1)


def test_a_reflex_stops_the_arm_until_it_is_over(graph):
    graph.break_it(mode="reflex")
    graph.until(lambda: graph.state.mode == RobotState.MODE_REFLEX, "the reflex")
    tick = graph.state.tick
    graph.targets.publish(graph.target())
    graph.break_it(mode="move")
    graph.until(lambda: graph.state.mode == RobotState.MODE_MOVE, "the end of the reflex")
    assert graph.state.tick == tick
    graph.step()


def test_a_silent_robot_says_nothing_until_it_is_cured(graph):
    graph.break_it(silent=True)
    graph.listen_for(0.3)
    graph.states.clear()
    graph.listen_for(0.5)
    assert not graph.states
    graph.break_it(silent=False)
    graph.until(lambda: graph.states, "the robot's voice")


def test_perception_that_is_started_again_goes_on_with_the_next_decision(graph):
    graph.begin(index=4)
    assert graph.end("perception") == 0
    graph.until(lambda: not graph.node.count_publishers(topics.OBSERVATION), "its end")
    graph.observations.clear()
    graph.start("perception")
    graph.until(lambda: graph.connected(), "its return")
    graph.listen_for(0.5)
    assert not graph.observations, "decision 0 was observed already"
    graph.step()
    graph.outcome(0)
    assert graph.observation(4, 1).sequence == sequence_number(Phase.TRAIN, 4, 1)


def test_in_real_time_the_robot_and_cameras_need_no_asking(tmp_path):
    graph = Graph(tmp_path, "robot.realtime=true", "task.scene_reset_s=0.2", namespace="live")
    try:
        tick = graph.state.tick
        graph.until(lambda: graph.state.tick > tick + 3, "time to go by")
        first = graph.begin(index=0)
        assert first.robot.tick >= tick + 4
        graph.targets.publish(graph.target((0.46, 0.0, 0.19)))
        graph.until(lambda: graph.state.ee_pose.position.z < 0.195, "the arm to follow")
        graph.outcome(0)
        second = graph.observation(0, 1)
        assert decode.to_ns(second.header.stamp) > decode.to_ns(first.header.stamp)
        longest_s = max(camera.max_age_s for camera in graph.config.cameras.cameras)
        assert all(0.0 <= age_s <= longest_s for age_s in second.camera_age_s)
        truth = positions(graph.truth_of(second.header.stamp))
        for name, position in positions(second).items():
            assert np.linalg.norm(position - truth[name]) < 0.01, name
    finally:
        codes = graph.close()
    assert set(codes.values()) == {0}, codes
