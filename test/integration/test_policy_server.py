"""The policy server over real DDS: one chunk for every observation, in whatever order it hears."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import PointCloud2

from tmrl_msgs.msg import ActionChunk, EpisodeEvent, Observation, RewardEstimate, RobotState
from tmrl_ros.core import topics
from tmrl_ros.core.load import load_config
from tmrl_ros.nodes.common import EVENTS, RELIABLE
from tmrl_ros.nodes.convert import header
from tmrl_ros.nodes.observation import cloud_to_msg
from tmrl_ros.nodes.policy_server import PolicyServer
from tmrl_ros.perception.cloud import Cloud
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.policy import ChunkPolicy

sys.path.append(str(Path(__file__).parents[1] / "serving"))

from small_model import Echo  # noqa: E402

from tmrl_ros.serving.server import Settings, VlaServer, running  # noqa: E402

PATIENCE_S = 30.0
POINTS = Path(__file__).parents[2] / "bundles" / "lift_points"
RESETTING, READY, RUNNING, ENDED = (
    EpisodeEvent.STATE_RESETTING,
    EpisodeEvent.STATE_READY,
    EpisodeEvent.STATE_RUNNING,
    EpisodeEvent.STATE_ENDED,
)


class Talk:
    """Says episodes, observations and rewards to a policy server and collects its chunks."""

    def __init__(self, *overrides):
        config = load_config(["task=lift", *overrides])
        self.server = PolicyServer(config=config)
        self.node = rclpy.create_node("talk")
        out = self.node.create_publisher
        self.events = out(EpisodeEvent, topics.EPISODE, EVENTS)
        self.observations = out(Observation, topics.OBSERVATION, RELIABLE)
        self.rewards = out(RewardEstimate, topics.REWARD, RELIABLE)
        self.chunks = []
        self.node.create_subscription(
            ActionChunk, topics.ACTION_CHUNK, self.chunks.append, RELIABLE
        )
        self.executor = SingleThreadedExecutor()
        for node in (self.server, self.node):
            self.executor.add_node(node)
        publishers = (self.events, self.observations, self.rewards)
        self.until(lambda: all(p.get_subscription_count() for p in publishers), "the server")
        self.until(lambda: self.node.count_publishers(topics.ACTION_CHUNK), "its chunks")

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            self.executor.spin_once(0.02)

    def spin(self, seconds=0.8):
        """Longer than the server waits for a reward before it answers."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.executor.spin_once(0.02)

    def say(self, state, at_ns, episode="train_000000", method=""):
        self.events.publish(
            EpisodeEvent(
                header=header(at_ns, "panda_link0"),
                episode_id=episode,
                state=state,
                method=method,
                max_decisions=3,
                prompt="lift the red cube",
            )
        )

    def observe(self, at_ns, decision=0, episode="train_000000", *, rewarded=True, cloud=None):
        at = header(at_ns, "panda_link0")
        robot = RobotState(header=at, gripper_width_m=0.08)
        robot.ee_pose.position.x, robot.ee_pose.position.z = 0.5, 0.2
        robot.ee_pose.orientation.x, robot.ee_pose.orientation.w = 1.0, 0.0
        name = {"header": at, "sequence": decision + 1, "episode_id": episode, "decision": decision}
        self.observations.publish(
            Observation(
                **name,
                robot=robot,
                object_names=["red"],
                object_positions=[0.5, 0.0, 0.02],
                state=[0.5, 0.0, 0.2, 1.0],
                points=cloud or PointCloud2(),
            )
        )
        if rewarded:
            self.rewards.publish(RewardEstimate(**name, valid=True))

    def close(self):
        self.server.destroy_node()
        self.node.destroy_node()


@pytest.fixture
def talk():
    rclpy.init()
    made = Talk("method.name=scripted")
    yield made
    made.close()
    rclpy.try_shutdown()


@pytest.mark.parametrize(
    ("method", "actor", "largest_z"),
    [("dsrl", "warmup", 1.5), ("base", "base", 0.0), ("probe_z_0.5", "probe", 0.75)],
)
def test_an_episode_is_acted_by_whom_its_event_names(method, actor, largest_z):
    rclpy.init()
    talk = Talk("method=dsrl")
    try:
        talk.say(RUNNING, 1_000, method=method)
        talk.spin(0.2)
        talk.observe(2_000)
        talk.until(lambda: talk.chunks, "the chunk")
        [chunk] = talk.chunks
        assert (chunk.actor, chunk.execute_steps > 0, chunk.t_context) == (actor, True, 0.0)
        assert max((abs(value) for value in chunk.z), default=0.0) <= largest_z
        assert (len(chunk.z) == 0) == (actor == "base"), "one z made the chunk, or none did"
    finally:
        talk.close()
        rclpy.try_shutdown()


@pytest.mark.parametrize("known", [RESETTING, READY])
def test_an_observation_that_comes_before_the_word_that_its_episode_runs_is_kept(talk, known):
    talk.say(known, 1_000)
    talk.spin(0.2)
    talk.observe(3_000)
    talk.spin()
    assert talk.chunks == [], "it is not known to run: nothing may be said of it yet"
    talk.say(RUNNING, 2_000)
    talk.until(lambda: talk.chunks, "the chunk")
    assert (talk.chunks[0].sequence, talk.chunks[0].execute_steps > 0) == (1, True)
    talk.spin()
    assert len(talk.chunks) == 1


def test_an_observation_of_the_next_episode_waits_for_it(talk):
    talk.say(RUNNING, 1_000)
    talk.spin(0.2)
    talk.say(ENDED, 2_000)
    talk.spin(0.2)
    talk.observe(5_000, episode="train_000001")
    talk.spin()
    talk.say(RUNNING, 4_000, "train_000001")
    talk.until(lambda: talk.chunks, "the chunk")
    talk.spin()
    [chunk] = talk.chunks
    assert (chunk.episode_id, chunk.execute_steps > 0) == ("train_000001", True)


def test_the_last_observation_of_an_ended_episode_gets_a_chunk_that_does_nothing(talk):
    talk.say(RUNNING, 1_000)
    talk.spin(0.2)
    talk.say(ENDED, 2_000)
    talk.spin(0.2)
    talk.observe(3_000, decision=2)
    talk.until(lambda: talk.chunks, "the chunk")
    assert talk.chunks[0].execute_steps == 0


def test_another_label_of_an_older_episode_does_not_end_the_one_that_runs(talk):
    talk.say(RUNNING, 2_000, "train_000001")
    talk.spin(0.2)
    talk.say(ENDED, 2_500, "train_000000")
    talk.spin(0.2)
    talk.observe(3_000, episode="train_000001")
    talk.until(lambda: talk.chunks, "the chunk")
    assert talk.chunks[0].execute_steps > 0


def test_a_reward_that_says_success_lets_nothing_move(talk):
    talk.say(RUNNING, 1_000)
    talk.spin(0.2)
    talk.observe(2_000, rewarded=False)
    talk.rewards.publish(
        RewardEstimate(header=header(2_000, ""), sequence=1, valid=True, success=True)
    )
    talk.until(lambda: talk.chunks, "the chunk")
    assert talk.chunks[0].execute_steps == 0


def as_batch(cloud):
    colors = cloud.colors.astype(np.float32) / 255.0
    return torch.from_numpy(cloud.points[None]), torch.from_numpy(colors[None])


@pytest.fixture
def talk_of_points():
    rclpy.init()
    made = Talk(f"task.bundle={POINTS}", "method=base")
    yield made
    made.close()
    rclpy.try_shutdown()


def test_a_policy_of_point_clouds_acts_on_the_cloud_and_passes_on_what_it_saw(talk_of_points):
    talk = talk_of_points
    rng = np.random.default_rng(0)
    cloud = Cloud(
        rng.uniform([0.3, -0.3, 0.0], [0.7, 0.3, 0.4], (500, 3)).astype(np.float32),
        rng.integers(0, 256, (500, 3), dtype=np.uint8),
    )
    talk.say(RUNNING, 1_000)
    talk.spin(0.2)
    talk.observe(2_000)  # without a cloud: nothing can be said of it
    talk.spin()
    assert talk.chunks == []
    talk.observe(3_000, 1, cloud=cloud_to_msg(cloud, 3_000, "panda_link0"))
    talk.until(lambda: talk.chunks, "the chunk")
    [chunk] = talk.chunks
    assert chunk.sequence == 2 and chunk.execute_steps > 0
    policy = ChunkPolicy(*load_bundle(POINTS))
    found = policy.network.encoder(*as_batch(cloud))[0].numpy()
    state = np.array([0.5, 0.0, 0.2, 1.0], np.float32)
    expected = policy.features(policy.spec.context.context("", found, state))
    assert np.allclose(np.array(chunk.features), expected, atol=1e-4)


def test_a_late_policy_server_lets_the_arm_hold_and_the_next_observation_asks_it_again():
    model = Echo(state_dim=4, cameras=())
    with running(VlaServer(lambda: model, Settings(port=0))) as server:
        rclpy.init()
        talk = Talk(
            "method=base",
            "policy=remote",
            f"policy.url=ws://127.0.0.1:{server.port}",
            "policy.timeout_s=2",
        )
        try:
            talk.say(RUNNING, 1_000, method="base")
            talk.spin(0.2)
            model.hold = True
            talk.observe(2_000)
            talk.until(lambda: talk.chunks, "the chunk without an answer")
            model.hold = False
            model.go.set()
            while talk.chunks[-1].actor == "unanswered":  # a busy machine may be late once more
                count = len(talk.chunks)
                assert count < 10
                talk.observe(2_000 + 1_000 * count, decision=count)
                talk.until(lambda n=count: len(talk.chunks) > n, "the next chunk")
        finally:
            talk.close()
            rclpy.try_shutdown()
    first, last = talk.chunks[0], talk.chunks[-1]
    assert (first.actor, first.execute_steps, len(first.features)) == ("unanswered", 0, 10)
    assert set(first.actions) == {0.0, 1.0}, "no row moves, and the gripper stays open"
    assert (last.actor, last.execute_steps) == ("base", 6)
    assert first.bundle_hash == last.bundle_hash != ""
