"""The learner over real DDS: late estimates, labels and cuts reach it without a restart."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from tmrl_msgs.msg import ActionChunk, ChunkOutcome, EpisodeEvent, LearnerStatus, RewardEstimate
from tmrl_ros.cli.main import main
from tmrl_ros.core import topics
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.core.types import Chunk, Episode, EpisodeOutcome, EpisodeState, Outcome, Reward
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.data.reward_sidecar import Sidecar, choose, write_sidecar
from tmrl_ros.nodes.common import EVENTS, RELIABLE
from tmrl_ros.nodes.learner import Learner
from tmrl_ros.policies.bundle import check_bundle
from tmrl_ros.policies.context import feature_size
from tmrl_ros.session.collector import Collector
from tmrl_ros.session.records import append_record

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import recorded  # noqa: E402

ROWS = 3
PATIENCE_S = 60.0
TOPICS = {
    Chunk: (ActionChunk, topics.ACTION_CHUNK, RELIABLE),
    Outcome: (ChunkOutcome, topics.CHUNK_OUTCOME, RELIABLE),
    Reward: (RewardEstimate, topics.REWARD, RELIABLE),
    Episode: (EpisodeEvent, topics.EPISODE, EVENTS),
}


CUT = ("--episode", "train_000000")


def log_episode(session, ended):
    """Write what the session node would have written of the episode."""
    record = Collector(current=ended).on_episode(ended, 0.0, 0.0)
    append_record(session, record, ended)


class Stage:
    """The learner, and everybody else in one node."""

    def __init__(self, config):
        spec = check_bundle(config.task.bundle, config)
        self.sizes = feature_size(spec.context), spec.action.size
        self.status = LearnerStatus()
        self.learner, self.other = Learner(), Node("everybody_else")
        self.publishers = {
            kind: self.other.create_publisher(message, topic, qos)
            for kind, (message, topic, qos) in TOPICS.items()
        }
        self.other.create_subscription(
            LearnerStatus, topics.LEARNER_STATUS, self._on_status, EVENTS
        )
        self.executor = SingleThreadedExecutor()
        for node in (self.learner, self.other):
            self.executor.add_node(node)
        self.until(
            lambda: all(p.get_subscription_count() for p in self.publishers.values()), "discovery"
        )

    def _on_status(self, msg):
        self.status = msg

    def until(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen; {self.status}"
            self.executor.spin_once(timeout_sec=0.05)

    def tell(self, piece):
        if isinstance(piece, Chunk):
            features, z = (np.full(size, 0.1, np.float32) for size in self.sizes)
            piece = replace(piece, features=features, z=z)
        if type(piece) in self.publishers:
            self.publishers[type(piece)].publish(recorded.message(piece))

    def close(self):
        self.learner.close()
        self.executor.shutdown(timeout_sec=0.5)
        for node in (self.learner, self.other):
            node.destroy_node()


@pytest.fixture
def stage(tmp_path):
    config = load_config(
        [
            "task=lift",
            f"session.dir={tmp_path}",
            "method.hidden=16",
            "method.updates_per_decision=1",
        ]
    )
    write_config(config, tmp_path / "config.yaml")
    (tmp_path / "episodes").mkdir()
    rclpy.init(args=["--ros-args", "-p", f"config_file:={tmp_path / 'config.yaml'}"])
    made = Stage(config)
    yield made
    made.close()
    rclpy.try_shutdown()


def test_what_is_said_late_is_learned_from_without_a_restart(stage):
    for piece in recorded.episode(decisions=ROWS, result=EpisodeOutcome.TIMEOUT):
        if not (isinstance(piece, Reward) and piece.decision == 2):
            stage.tell(piece)
    stage.until(lambda: stage.status.episodes == 1, "the end of waiting for an estimate")
    assert (stage.status.transitions, stage.status.successes) == (ROWS - 1, 0)

    stage.tell(recorded.reward(2))
    stage.until(lambda: stage.status.transitions == ROWS, "the row of the late estimate")

    ended = recorded.event(decisions=ROWS, outcome=EpisodeOutcome.SUCCESS, labelled_by="ada")
    assert ended.state is EpisodeState.ENDED
    stage.tell(replace(ended, stamp_ns=3))
    stage.until(lambda: stage.status.successes == 1, "the label")
    assert stage.learner._core.replay.successes() == ROWS
    assert stage.status.episodes == 1, "it is the same episode"

    session = stage.learner.session_dir
    log_episode(session, ended)
    assert main(["label", "trim", "--session", str(session), *CUT, "--decisions", "2"]) == 0
    stage.until(lambda: stage.status.transitions == 2, "the cut")
    assert stage.learner._core.replay.successes() == 2
    assert main(["label", "trim", "--session", str(session), *CUT, "--undo"]) == 0
    stage.until(lambda: stage.status.transitions == ROWS, "the cut that was taken back")


def write_bag(folder, pieces):
    writer = BagWriter(folder, custom={"episode_id": folder.name}, compress=True)
    for piece in pieces:
        recorded.put(writer, piece)
    writer.close({})


def test_a_session_that_is_judged_again_is_learned_from_as_it_counts_now(stage):
    pieces = recorded.episode(decisions=ROWS, result=EpisodeOutcome.TIMEOUT)
    bag = stage.learner.session_dir / "episodes" / "train_000000"
    write_bag(bag, pieces)
    for piece in pieces:
        stage.tell(piece)
    stage.until(lambda: stage.status.episodes == 1, "the episode")
    assert (stage.status.transitions, stage.status.successes) == (ROWS, 0)

    said = [piece for piece in pieces if isinstance(piece, Reward)]
    again = [*said[:-1], replace(said[-1], success=True, progress=1.0)]
    write_sidecar(bag, Sidecar(bag.name, "other", "f00d", {}, "", "", again))
    choose(bag.parents[1], "f00d")
    stage.until(lambda: stage.status.successes == 1, "the success that another model saw")
    assert stage.learner._core.replay.successes() == ROWS
    assert stage.status.episodes == 1, "it is the same episode"
    choose(bag.parents[1], "")
    stage.until(lambda: stage.status.successes == 0, "the word of the day")
    assert stage.learner._core.replay.successes() == 0
