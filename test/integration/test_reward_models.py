"""The reward node over real DDS, with models that are slow, fail, die, or cannot be trusted."""

import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("doubles", "data")]

import recorded  # noqa: E402
from fake_reward_model import FakeModel  # noqa: E402
from robometer_server import RobometerServer  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from tmrl_msgs.msg import EpisodeEvent, Observation, RewardEstimate  # noqa: E402
from tmrl_ros.core import topics  # noqa: E402
from tmrl_ros.core.load import load_config  # noqa: E402
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState  # noqa: E402
from tmrl_ros.data.recording import Recording  # noqa: E402
from tmrl_ros.data.reward_sidecar import chosen, sidecar_file  # noqa: E402
from tmrl_ros.nodes.common import EVENTS, LATCHED, RELIABLE  # noqa: E402
from tmrl_ros.nodes.convert import header, image_to_msg  # noqa: E402
from tmrl_ros.nodes.reward import RewardNode  # noqa: E402
from tmrl_ros.rewards.backends import Backend  # noqa: E402
from tmrl_ros.rewards.model import Calibration  # noqa: E402
from tmrl_ros.rewards.stream import StreamJudge  # noqa: E402

SUCCESS, FAILURE, TIMEOUT, ABORTED = list(EpisodeOutcome)[1:]
PATIENCE_S = 30.0


class Stage:
    """The reward node, and everybody else in one node that speaks and listens."""

    def __init__(self, folder, *overrides, model=None):
        self.config = load_config(["task=lift", f"session.dir={folder}", *overrides])
        judge = StreamJudge(model) if model is not None else None
        self.backend = Backend(judge, ["exterior"], Calibration(0.65, 1, 1)) if judge else None
        self.other = Node("everybody_else")
        self.observations = self.other.create_publisher(Observation, topics.OBSERVATION, RELIABLE)
        self.episodes = self.other.create_publisher(EpisodeEvent, topics.EPISODE, EVENTS)
        self.estimates = []
        self.other.create_subscription(
            RewardEstimate, topics.REWARD, self.estimates.append, RELIABLE
        )
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.other)
        self.start()

    def start(self):
        """Go on once the node is connected and has said its first status."""
        self.reward = RewardNode(config=self.config, backend=self.backend)
        self.executor.add_node(self.reward)
        self.status = {}
        # A subscription for each node: an old one may still hold what the last node said.
        self.statuses = self.other.create_subscription(
            String, topics.REWARD_STATUS, self._on_status, LATCHED
        )
        self.until(
            lambda: (
                self.observations.get_subscription_count()
                and self.episodes.get_subscription_count()
                and self.other.count_publishers(topics.REWARD)
                and self.status
            ),
            "discovery",
        )

    def _on_status(self, msg):
        self.status = json.loads(msg.data)

    def until(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen; {self.status}"
            self.executor.spin_once(timeout_sec=0.05)

    def observe(self, sequence, progress=0.0, success=0.0, blue=0.0, *, episode=0, images=True):
        """Publish decision `sequence` - 1 of an episode."""
        pixel = np.round(255 * np.array([progress, success, blue])).astype(np.uint8)
        picture = np.broadcast_to(pixel, (4, 6, 3))
        black = np.zeros((4, 6, 3), np.uint8)
        self.observations.publish(
            Observation(
                header=header(sequence),
                sequence=1000 * episode + sequence,
                episode_id=f"train_{episode:06d}",
                decision=sequence - 1,
                prompt="lift the red cube",
                camera_names=["wrist", "exterior"] if images else [],
                images=[image_to_msg(item, "rgb8", 0, "") for item in (black, picture)]
                if images
                else [],
            )
        )

    def answer(self, sequence, episode=0):
        """The one estimate of an observation, once it has come."""
        number = 1000 * episode + sequence
        self.until(lambda: number in {e.sequence for e in self.estimates}, f"answer {number}")
        (found,) = [e for e in self.estimates if e.sequence == number]
        return found

    def say(self, state, outcome=EpisodeOutcome.NONE, by="", *, episode=0):
        self.episodes.publish(
            EpisodeEvent(
                episode_id=f"train_{episode:06d}",
                state=int(state),
                outcome=int(outcome),
                labelled_by=by,
                decisions=2,
            )
        )

    def episode(self, number, *, probability, person=None):
        """A whole episode of two observations, and a person's word on it."""
        self.say(EpisodeState.RESETTING, episode=number)
        self.observe(1, 0.1, 0.0, episode=number)
        self.observe(2, 0.9, probability, episode=number)
        last = self.answer(2, number)
        self.say(EpisodeState.ENDED, SUCCESS if last.success else TIMEOUT, "reward", episode=number)
        if person is not None:
            self.say(EpisodeState.ENDED, person, "ada", episode=number)
            self.until(lambda: self.status["labelled"] > number, "the label")
        return last

    def relabel(self):
        """Ask the node to judge again what was recorded; its answer."""
        client = self.other.create_client(Trigger, topics.RELABEL)
        self.until(client.service_is_ready, "the service")
        future = client.call_async(Trigger.Request())
        self.until(future.done, "its answer")
        return future.result()

    def restart(self):
        self.stop()
        self.start()

    def stop(self):
        self.reward.close()
        self.executor.remove_node(self.reward)
        self.reward.destroy_node()
        self.other.destroy_subscription(self.statuses)

    def close(self):
        self.stop()
        self.executor.shutdown(timeout_sec=0.5)
        self.other.destroy_node()


@pytest.fixture
def stage(tmp_path):
    rclpy.init()
    made = []

    def make(*overrides, **settings):
        made.append(Stage(tmp_path, *overrides, **settings))
        return made[-1]

    yield make
    for item in made:
        item.close()
    rclpy.try_shutdown()


@pytest.fixture
def server():
    made = RobometerServer()
    yield made
    made.die()


def robometer(url):
    patient = ("reward.timeout_s=60", "reward.backoff_s=0.05")
    return ("reward=robometer_http", f"reward.url={url}", *patient, "reward.k=1", "reward.n=1")


def test_every_observation_is_answered_with_its_own_number(stage):
    show = stage(model=FakeModel())
    for k in range(1, 6):
        show.observe(k, k / 5, 0.7 if k == 5 else 0.1)
    answers = [show.answer(k) for k in range(1, 6)]
    assert all(answer.valid for answer in answers)
    assert [round(answer.progress, 2) for answer in answers] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [answer.success for answer in answers] == [False] * 4 + [True]
    last = answers[-1]
    assert (last.decision, last.model, last.model_hash) == (4, "fake", "f00d")
    assert last.success_probability == pytest.approx(0.7, abs=0.01)
    assert last.header == header(5) and last.latency_ms > 0


def test_slow_model_holds_nobody_and_its_late_answers_keep_their_numbers(stage):
    model = FakeModel()
    model.go.clear()
    show = stage(model=model)
    show.observe(1, 0.5)
    show.observe(2, 0.6)
    show.observe(3, images=False)
    assert not show.answer(3).valid, "the node goes on while its model is stuck"
    assert [e.sequence for e in show.estimates] == [3]
    model.go.set()
    assert show.answer(1).progress == pytest.approx(0.5, abs=0.01)
    assert show.answer(2).progress == pytest.approx(0.6, abs=0.01)


def test_failing_model_says_that_it_does_not_know(stage):
    show = stage(model=FakeModel())
    show.observe(1, 0.4)
    show.observe(2, 0.5, 0.9, blue=0.5)
    show.observe(3, 0.6, 0.9, blue=1.0)
    refused, broken = show.answer(2), show.answer(3)
    for answer in (refused, broken):
        assert not answer.valid and not answer.success
        assert np.isnan(answer.progress) and np.isnan(answer.success_probability)
    assert refused.error == "it is too blue" and "RuntimeError('broken')" in broken.error
    show.until(lambda: show.status.get("stale"), "the stale flag")
    assert show.status["last"]["decision"] == 0, "what it knew last"
    show.observe(4, 0.7)
    assert show.answer(4).valid
    show.until(lambda: not show.status["stale"], "the end of the stale flag")


def test_node_that_was_restarted_in_an_episode_judges_the_next_one(stage):
    show = stage(model=FakeModel())
    show.observe(1, 0.5)
    show.answer(1)
    show.restart()
    show.observe(2, 0.9, 0.9)
    late = show.answer(2)
    assert not late.valid and "in the middle of train_000000" in late.error
    show.observe(1, 0.3, episode=1)
    assert show.answer(1, episode=1).valid


def test_nothing_moves_by_the_word_of_a_model(stage):
    show = stage(model=FakeModel())
    show.observe(1, 1.0, 1.0)
    assert show.answer(1).success
    name, space = show.reward.get_name(), show.reward.get_namespace()
    published = {
        topic for topic, _ in show.other.get_publisher_names_and_types_by_node(name, space)
    }
    assert published == {"/reward", "/reward/status", "/rosout", "/parameter_events"}
    assert show.other.get_client_names_and_types_by_node(name, space) == []


def test_robometer_that_dies_in_an_episode_is_missed_and_found_again(stage, server):
    show = stage(*robometer(server.url), "reward.retries=2")
    show.observe(1, 0.2, 0.1)
    show.observe(2, 0.4, 0.1)
    assert show.answer(2).progress == pytest.approx(0.4, abs=0.01)
    assert show.answer(1).model == "robometer_http robometer/Robometer-4B"
    server.die()
    show.observe(3, 0.6)
    lost = show.answer(3)
    assert not lost.valid and "nobody listens" in lost.error
    show.until(lambda: show.status["trouble"], "the trouble")
    again = RobometerServer(server.port)
    try:
        found, k = None, 3
        while found is None or not found.valid:
            k += 1
            assert k < 200, "the server was not found again"
            show.observe(k, 0.8, 0.9)
            found = show.answer(k)
            show.executor.spin_once(timeout_sec=0.05)
        assert found.success and found.progress == pytest.approx(0.8, abs=0.01)
    finally:
        again.die()
    assert max(Counter(e.sequence for e in show.estimates).values()) == 1


def test_robometer_answers_the_newest_first_and_one_at_a_time(stage, server):
    server.gate.clear()
    show = stage(*robometer(server.url))
    show.observe(1, 0.1)
    show.until(lambda: server.busy == 1, "the first request")
    for k in range(2, 6):
        show.observe(k, k / 10)
    show.until(lambda: show.reward._worker.waiting == 4, "four that wait")
    server.gate.set()
    for k in range(1, 6):
        assert show.answer(k).valid
    assert [e.sequence for e in show.estimates] == [1, 5, 2, 3, 4]
    assert server.most_busy == 1
    tails = [samples[0]["frames"][-1, 0, 0, 0] / 255 for samples in server.evaluations]
    assert tails == pytest.approx([0.1, 0.5, 0.2, 0.3, 0.4], abs=0.01), "each its own prefix"
    assert len(server.evaluations[0]) == 1, "only the exterior camera"


def test_person_is_counted_beside_the_model_and_written_down(stage, tmp_path):
    show = stage(model=FakeModel())
    show.episode(0, probability=0.9, person=SUCCESS)
    show.episode(1, probability=0.9, person=FAILURE)
    show.episode(2, probability=0.1, person=FAILURE)
    show.episode(3, probability=0.7)
    show.until(lambda: show.status["to_label"], "the uncertain episode")
    status = show.status
    assert (status["precision"], status["recall"], status["disagreements"]) == (0.5, 1.0, 1)
    assert status["to_label"] == ["train_000003"]
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert [(x["episode_id"][-1], x["outcome"], x["labelled_by"]) for x in lines] == [
        ("0", "success", "ada"),
        ("1", "failure", "ada"),
        ("2", "failure", "ada"),
    ]
    assert all(x["labelled_at"] and x["model_hash"] == "f00d" for x in lines)


def test_model_that_drifts_ends_no_episode_any_more_also_after_a_restart(stage):
    show = stage(model=FakeModel())
    for number in range(5):
        assert show.episode(number, probability=0.9, person=FAILURE).success
    show.until(lambda: not show.status["trusted"], "the alarm")
    assert "0 of the last 5" in show.status["alarm"]
    distrusted = show.episode(5, probability=0.9)
    assert distrusted.valid and not distrusted.success
    assert distrusted.success_probability == pytest.approx(0.9, abs=0.01), "it may still be read"
    show.until(lambda: "train_000005" in show.status["to_label"], "the episode to label")
    show.restart()
    assert not show.episode(6, probability=0.9).success


def test_what_was_recorded_is_judged_again_while_the_node_goes_on(stage, server, tmp_path):
    recording = Recording(tmp_path, custom={})
    recording.start()
    recording.put(map(recorded.item, recorded.episode("train_000000", 3, FAILURE)))
    recording.close()
    show = stage(*robometer(server.url))
    assert show.relabel().success
    show.observe(1, 0.5)
    assert show.answer(1).valid
    show.until(lambda: "1 episodes judged" in show.status["relabel"], "the end of it")
    model_hash = chosen(tmp_path)
    assert model_hash and model_hash in show.status["relabel"]
    assert sidecar_file(tmp_path / "episodes" / "train_000000", model_hash).is_file()


def test_where_the_simulator_judges_nothing_is_judged_again(stage, tmp_path):
    show = stage("reward=simulator")
    answer = show.relabel()
    assert not answer.success and "no model" in answer.message
    assert chosen(tmp_path) == ""


def test_a_server_that_is_gone_ends_judging_again_with_a_sentence(stage, server, tmp_path):
    show = stage(*robometer(server.url))
    server.die()
    assert show.relabel().success
    show.until(lambda: "nobody listens" in show.status["relabel"], "the sentence")
    assert chosen(tmp_path) == ""
