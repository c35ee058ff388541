"""The recorder as a process of its own, over real DDS, on real files."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    Observation,
    PolicyParameters,
    RewardEstimate,
    RobotState,
    RobotTarget,
)
from tmrl_ros.core import topics
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.data import decode
from tmrl_ros.data.assembler import assemble
from tmrl_ros.data.bag_reader import read_episode, read_session
from tmrl_ros.data.bag_stream import BagStream
from tmrl_ros.data.repair import is_intact
from tmrl_ros.nodes import convert
from tmrl_ros.nodes.common import EVENTS, IMAGES, LATCHED, RELIABLE

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import recorded  # noqa: E402

PATIENCE_S = 30.0
BEST_EFFORT = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE
)
COLOR, DEPTH = topics.color("wrist"), topics.depth("wrist")


class Graph:
    """Publishers of the graph's topics, and what the recorder says of itself."""

    KINDS = {
        topics.EPISODE: (EpisodeEvent, EVENTS),
        topics.OBSERVATION: (Observation, RELIABLE),
        topics.ACTION_CHUNK: (ActionChunk, RELIABLE),
        topics.RESET_CHUNK: (ActionChunk, RELIABLE),
        topics.CHUNK_OUTCOME: (ChunkOutcome, RELIABLE),
        topics.REWARD: (RewardEstimate, RELIABLE),
        topics.ROBOT_STATE: (RobotState, RELIABLE),
        topics.ROBOT_TARGET: (RobotTarget, RELIABLE),
        topics.POLICY_PARAMETERS: (PolicyParameters, LATCHED),
        topics.JOINT_STATES: (JointState, BEST_EFFORT),
        topics.camera_info("wrist"): (CameraInfo, RELIABLE),
        COLOR: (Image, IMAGES),
        DEPTH: (Image, IMAGES),
    }

    def __init__(self):
        self.node = rclpy.create_node("graph")
        self.publishers = {
            name: self.node.create_publisher(kind, name, qos)
            for name, (kind, qos) in self.KINDS.items()
        }
        self.status = {}
        self.node.create_subscription(String, topics.RECORDER_STATUS, self._on_status, LATCHED)

    def _on_status(self, msg):
        self.status = json.loads(msg.data)

    def wait(self, condition):
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up, f"did not happen; recorder says {self.status}"
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def wait_for_recorder(self, without=()):
        names = [name for name in self.publishers if name not in without]
        self.wait(lambda: all(self.publishers[n].get_subscription_count() for n in names))
        self.wait(lambda: self.status.get("ok") or "min_free" in self.status.get("message", ""))

    def send(self, pieces):
        for piece in pieces:
            self.publish(recorded.topic_of(piece).name[1:], recorded.message(piece))

    def publish(self, name, msg):
        self.publishers[name].publish(msg)
        time.sleep(0.001)  # publishers of real nodes take turns, too


@pytest.fixture
def graph():
    rclpy.init()
    graph = Graph()
    yield graph
    graph.node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def start(tmp_path):
    processes = []

    def make(*overrides):
        config = load_config([f"session.dir={tmp_path}/cell", *overrides])
        write_config(config, tmp_path / "config.yaml")
        command = [sys.executable, "-m", "tmrl_ros.nodes.recorder", "--ros-args"]
        command += ["--disable-external-lib-logs", "-p", f"config_file:={tmp_path}/config.yaml"]
        processes.append(subprocess.Popen(command))
        return processes[-1]

    yield make
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def stop(process):
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def frames(count):
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (240, 424, 3), dtype=np.uint8)
    depth = rng.integers(0, 2000, (240, 424), dtype=np.uint16)
    for k in range(count):
        yield COLOR, convert.image_to_msg(color, "rgb8", k, "wrist")
        yield DEPTH, convert.image_to_msg(depth, "16UC1", k, "wrist")


def test_an_episode_arrives_in_its_bag_as_it_was_sent(graph, start, tmp_path):
    process = start()
    graph.wait_for_recorder()
    assert graph.status["ok"] and graph.status["episode_id"] == ""
    graph.send([recorded.parameters(4)])
    first = recorded.episode("train_000000")
    graph.send(first[:5])
    graph.publish(topics.camera_info("wrist"), CameraInfo(height=240, width=424))
    pictures = list(frames(8))
    for name, msg in pictures:
        graph.publish(name, msg)
        graph.publish(topics.JOINT_STATES, JointState(name=["joint1"], position=[0.5]))
    graph.wait(lambda: graph.status["episode_id"] == "train_000000")
    graph.send(first[5:])
    graph.send(recorded.episode("train_000001"))
    graph.send([recorded.event("", EpisodeState.IDLE)])
    folder = tmp_path / "cell" / "episodes" / "train_000000"
    graph.wait(lambda: (folder / "counts.json").exists())
    stop(process)

    found = read_episode(folder, observations=True, robot=True)
    sent = [decode.chunk(recorded.message(recorded.chunk(k))) for k in range(3)]
    for chunk, original in zip(found.chunks, sent, strict=False):
        assert np.array_equal(chunk.actions, original.actions)
        assert np.array_equal(chunk.features, original.features)
    assert len(found.events) == 4 and len(found.reset_chunks) == 1 and len(found.robot) == 12
    assert found.about["session"] == "cell" and len(found.about["config_hash"]) == 16
    counts = json.loads((folder / "counts.json").read_text())["topics"]
    for name, count in {"/observation": 4, "/chunk_outcome": 5, f"/{COLOR}": 8}.items():
        assert counts[name] == {"sent": count, "received": count, "written": count, "dropped": 0}
    assert counts["/joint_states"]["received"] > 0, "a publisher that offers less is heard, too"
    with AnyReader([folder]) as reader:
        depth = [
            reader.deserialize(raw, c.msgtype)
            for c, _, raw in reader.messages()
            if c.topic == f"/{DEPTH}"
        ]
        qos = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}
    for msg, (_, original) in zip(depth, pictures[1::2], strict=True):
        assert np.array_equal(msg.data, np.array(original.data))
    assert qos["/episode"].durability.name == "TRANSIENT_LOCAL"
    assert qos["/joint_states"].reliability.name == "BEST_EFFORT"
    second = folder.with_name("train_000001")
    again = {message.topic for message in BagStream(second)}
    assert {"/policy/parameters", f"/{topics.camera_info('wrist')}"} <= again
    assert [len(assemble(r).transitions) for r in read_session(tmp_path / "cell")] == [3, 3]


def test_a_killed_recorder_costs_the_rest_of_one_episode(graph, start, tmp_path):
    process = start("recorder.cameras=none")
    without = (COLOR, DEPTH)
    graph.wait_for_recorder(without)
    graph.send(recorded.episode("train_000000"))
    second = recorded.episode("train_000001", decisions=6)
    graph.send(second[:-6])
    folder = tmp_path / "cell" / "episodes" / "train_000001"
    graph.wait(lambda: folder.is_dir() and len(read_if_bag(folder)) == 6)
    process.kill()
    process.wait(10)
    assert not is_intact(folder)

    graph.status = {}
    start("recorder.cameras=none")
    graph.wait_for_recorder(without)
    assert is_intact(folder) and graph.status["ok"]
    graph.send(second[-6:])
    graph.send(recorded.episode("train_000002"))
    graph.wait(lambda: graph.status["episode_id"] == "train_000002")
    graph.send([recorded.event("", EpisodeState.IDLE)])
    graph.wait(lambda: graph.status["episode_id"] == "")
    records = read_session(tmp_path / "cell")
    assert [r.episode_id for r in records] == ["train_000000", "train_000001", "train_000002"]
    said = (folder.with_name("train_000002") / "counts.json").read_text()
    assert [len(assemble(r).transitions) for r in records] == [3, 5, 3], said
    assert records[1].ended is None and records[2].ended.outcome is EpisodeOutcome.SUCCESS
    assert [p.name for p in folder.parent.iterdir() if "." in p.name] == []


def read_if_bag(folder):
    return read_episode(folder).chunks if any(folder.glob("*.mcap")) else []


def test_nobody_starts_an_episode_before_the_recorder_hears_everybody(graph, start):
    start()
    late = graph.publishers.pop(topics.REWARD)
    graph.node.destroy_publisher(late)
    graph.wait(lambda: graph.status.get("message") == "it is not connected to reward yet")
    assert not graph.status["ok"]
    graph.publishers[topics.REWARD] = graph.node.create_publisher(
        RewardEstimate, topics.REWARD, RELIABLE
    )
    graph.wait(lambda: graph.status["ok"])


def test_a_disk_with_too_little_room_is_said_before_anything_moves(graph, start):
    process = start("recorder.min_free_mb=1.0e12")
    graph.wait_for_recorder()
    assert not graph.status["ok"]
    assert "less than recorder.min_free_mb=" in graph.status["message"]
    stop(process)


def test_a_recorder_that_is_switched_off_says_so_and_holds_nothing_up(graph, start, tmp_path):
    start("recorder.enabled=false")
    graph.wait(lambda: graph.status)
    assert graph.status["ok"] and "enabled=false" in graph.status["message"]
    assert not (tmp_path / "cell" / "episodes").exists()
