"""Judge every observation once, with a `RewardEstimate` of the same sequence number.

The simulator's truth is looked up here; any other model judges in a thread of its own, so that this
node's executor and the arm never wait for it. Success by a model is a word, not an act: this node
calls no service and publishes nothing but estimates and its status. Its one service judges what was
recorded again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from tmrl_msgs.msg import EpisodeEvent, GroundTruth, Observation, RewardEstimate
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import EpisodeState, Reward
from tmrl_ros.data import decode
from tmrl_ros.data.episodes_log import plain
from tmrl_ros.nodes.common import EVENTS, LATCHED, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import reward_to_msg
from tmrl_ros.rewards.agreement import Agreement, Label
from tmrl_ros.rewards.answers import Question, unknown
from tmrl_ros.rewards.attempt import Attempts, pick
from tmrl_ros.rewards.backends import Backend, load_backend
from tmrl_ros.rewards.labels_log import LabelsLog
from tmrl_ros.rewards.model import Calibration
from tmrl_ros.rewards.relabelling import Relabelling
from tmrl_ros.rewards.simulator import MODEL, SimulatorReward, Truth
from tmrl_ros.rewards.worker import RewardWorker

# While a scene is reset, simulated time runs much faster than observations are judged.
TRUTHS = QoSProfile(
    depth=100, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)
CHECK_PERIOD_S = 0.1
PATIENCE_S = 1.0


class RewardNode(ConfiguredNode):
    """Shell around the model that `reward.backend` names."""

    def __init__(
        self,
        *,
        config: Config | None = None,
        patience_s: float = PATIENCE_S,
        backend: Backend | None = None,
    ) -> None:
        """Load the model, then listen.

        Args:
            config: Resolved configuration; read from the parameter `config_file` by default.
            patience_s: Wall time to wait for the simulator's truth about an observation.
            backend: Model to ask; the one that the configuration names by default.
        """
        super().__init__("reward", config=config)
        reward = self.config.reward
        simulated = backend is None and reward.backend == "simulator"
        self._simulator: SimulatorReward | None = None
        self._backend: Backend | None = None
        self._worker: RewardWorker | None = None
        self._attempts = Attempts()
        if simulated:
            rule = Calibration(0.5, reward.k or 1, reward.n or 1)
            self._simulator = SimulatorReward(rule.k, rule.n, patience_s=patience_s)
        else:
            self._backend = backend or load_backend(self.config)
            rule = self._backend.rule
        self._rule = rule
        self._newest: Reward | None = None
        self._known: Reward | None = None
        self._said_status = ""
        self._agreement = Agreement(
            rule,
            margin=reward.uncertain_margin,
            window=reward.drift_window,
            least=reward.min_agreement,
            watch=not simulated,
        )
        self._log = LabelsLog(self.session_dir)
        self._recalled = False
        self._relabelling = Relabelling(self.config, self.session_dir)
        self._connect()

    def _connect(self) -> None:
        self._publisher = self.create_publisher(RewardEstimate, topics.REWARD, RELIABLE)
        self._status = self.create_publisher(String, topics.REWARD_STATUS, LATCHED)
        if self._simulator is not None:
            self._recall()
            self.create_subscription(GroundTruth, topics.GROUND_TRUTH, self._on_truth, TRUTHS)
        if self._backend is not None:
            answered = self.create_guard_condition(self._on_answers)
            self._worker = RewardWorker(self._backend.judge, answered.trigger)
            self._worker.start()
        self.create_subscription(Observation, topics.OBSERVATION, self._on_observation, RELIABLE)
        self.create_subscription(EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS)
        self.create_service(Trigger, topics.RELABEL, self._on_relabel)
        self.create_timer(
            CHECK_PERIOD_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def close(self) -> None:
        """Give up what is being judged."""
        if self._worker is not None:
            self._worker.close()

    @property
    def _model(self) -> tuple[str, str]:
        """Name and hash of who judges."""
        judge = self._backend.judge if self._backend is not None else None
        return (judge.name, judge.hash) if judge is not None else (MODEL, "")

    # observations

    def _on_truth(self, msg: GroundTruth) -> None:
        truth = Truth(
            decode.to_ns(msg.header.stamp),
            bool(msg.success),
            bool(msg.failure),
            float(msg.progress),
        )
        assert self._simulator is not None
        self._publish(self._simulator.on_truth(truth, time.monotonic()))

    def _on_observation(self, msg: Observation) -> None:
        now_s = time.monotonic()
        question = Question(
            decode.to_ns(msg.header.stamp),
            int(msg.sequence),
            msg.episode_id,
            int(msg.decision),
            now_s,
        )
        if self._simulator is not None:
            self._publish(self._simulator.on_question(question, now_s))
        else:
            self._ask_model(question, msg)

    def _ask_model(self, question: Question, msg: Observation) -> None:
        """Hand the frames on; what cannot be asked is answered at once."""
        assert self._backend is not None and self._worker is not None
        try:
            images = [decode.image(image) for image in msg.images]
            images = pick(msg.camera_names, images, self._backend.cameras)
        except (ValueError, KeyError) as error:
            why = f"observation {question.sequence} lacks an image: {error}"
            self._publish([self._unknown(question, why)])
            return
        if not images:
            why = f"observation {question.sequence} has no images"
            self._publish([self._unknown(question, why)])
            return
        self._worker.ask(self._attempts.take(question, msg.prompt, images))

    def _unknown(self, question: Question, why: str) -> Reward:
        name, digest = self._model
        return unknown(question, why, time.monotonic(), model=name, model_hash=digest)

    def _on_answers(self) -> None:
        """Publish what the worker's thread has answered since."""
        if self._worker is not None:
            now_s = time.monotonic()
            self._publish([a.reward(self._rule, now_s) for a in self._worker.answers()])

    def _publish(self, rewards: Iterable[Reward]) -> None:
        self._recall()  # an answer may come before the first word on an episode
        for reward in rewards:
            self._agreement.on_estimate(reward)
            self._newest = reward
            self._known = reward if reward.valid else self._known
            if not self._agreement.trusted:
                reward = replace(reward, success=False, failure=False)
            self._publisher.publish(reward_to_msg(reward))
            if not reward.valid:
                self.get_logger().warning(f"Decision {reward.decision}: {reward.error}.")

    # persons

    def _on_episode(self, msg: EpisodeEvent) -> None:
        self._recall()
        event = decode.episode(msg)
        trusted = self._agreement.trusted
        if event.state is EpisodeState.RESETTING:
            self._log.repeated(event.episode_id)
        label = self._agreement.on_episode(event)
        if label is not None:
            self._write(label)
        if trusted and not self._agreement.trusted:
            self.get_logger().error(f"{self._agreement.alarm}.")
        name = event.episode_id
        if event.state is EpisodeState.ENDED and name in self._agreement.uncertain():
            self.get_logger().info(
                f"{name} is uncertain: tmrl label success (or failure) --episode {name}"
            )
        self._say_status()

    def _recall(self) -> None:
        """Take the labels of earlier runs, once it is known who judges."""
        name, digest = self._model
        if self._recalled or (self._backend is not None and not digest):
            return
        self._recalled = True
        for label in self._log.compared_with(name, digest):
            self._agreement.add_label(label)
        if self._agreement.alarm:
            self.get_logger().error(f"{self._agreement.alarm}.")

    def _write(self, label: Label) -> None:
        name, digest = self._model
        try:
            self._log.write(label, model=name, model_hash=digest)
        except OSError as error:
            self.get_logger().error(f"The label of {label.episode_id} is in its bag only: {error}.")

    def _on_relabel(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._relabelling.begin()
        return response

    # status

    def _on_timer(self) -> None:
        if self._simulator is not None:
            self._publish(self._simulator.on_time(time.monotonic()))
        self._on_answers()
        self._say_status()

    def _say_status(self) -> None:
        """Publish what has changed."""
        text = json.dumps(plain(self._figures()))
        if text != self._said_status:
            self._said_status = text
            self._status.publish(String(data=text))

    def _figures(self) -> dict[str, Any]:
        name, digest = self._model
        judge = self._backend.judge if self._backend is not None else None
        newest, known = self._newest, self._known
        return {
            "model": name,
            "model_hash": digest,
            "rule": asdict(self._rule),
            "trouble": judge.trouble if judge is not None else "",
            "waiting": self._worker.waiting if self._worker is not None else 0,
            "stale": newest is not None and not newest.valid,
            "last": None
            if known is None
            else {
                "episode_id": known.episode_id,
                "decision": known.decision,
                "progress": known.progress,
                "success_probability": known.success_probability,
                "latency_ms": known.latency_ms,
            },
            "relabel": self._relabelling.text,
            **self._agreement.status(),
        }


def main() -> int:
    """Run the node."""
    return run_node(RewardNode)


if __name__ == "__main__":
    sys.exit(main())
