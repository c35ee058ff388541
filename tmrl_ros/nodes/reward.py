"""Judge every observation once, with a `RewardEstimate` of the same sequence number."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from tmrl_msgs.msg import GroundTruth, Observation, RewardEstimate
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import Reward
from tmrl_ros.nodes.common import RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import reward_to_msg, to_ns
from tmrl_ros.rewards.simulator import Question, SimulatorReward, Truth

# While a scene is reset, simulated time runs much faster than observations are judged.
TRUTHS = QoSProfile(
    depth=100, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)
CHECK_PERIOD_S = 0.1
PATIENCE_S = 1.0


class RewardNode(ConfiguredNode):
    """Shell around the reward that `reward.backend` names."""

    def __init__(self, *, config: Config | None = None, patience_s: float = PATIENCE_S) -> None:
        """Wait `patience_s` of wall time for the truth about an observation."""
        super().__init__("reward", config=config)
        reward = self.config.reward
        self._reward = SimulatorReward(reward.k or 1, reward.n or 1, patience_s=patience_s)
        self._publisher = self.create_publisher(RewardEstimate, topics.REWARD, RELIABLE)
        if reward.backend == "simulator":
            self.create_subscription(GroundTruth, topics.GROUND_TRUTH, self._on_truth, TRUTHS)
        self.create_subscription(Observation, topics.OBSERVATION, self._on_observation, RELIABLE)
        self.create_timer(CHECK_PERIOD_S, self._on_timer)

    def _on_truth(self, msg: GroundTruth) -> None:
        truth = Truth(
            to_ns(msg.header.stamp), bool(msg.success), bool(msg.failure), float(msg.progress)
        )
        self._publish(self._reward.on_truth(truth, time.monotonic()))

    def _on_observation(self, msg: Observation) -> None:
        now_s = time.monotonic()
        question = Question(
            to_ns(msg.header.stamp), int(msg.sequence), msg.episode_id, int(msg.decision), now_s
        )
        self._publish(self._reward.on_question(question, now_s))

    def _on_timer(self) -> None:
        self._publish(self._reward.on_time(time.monotonic()))

    def _publish(self, rewards: Iterable[Reward]) -> None:
        for reward in rewards:
            self._publisher.publish(reward_to_msg(reward))
            if not reward.valid:
                self.get_logger().warning(f"Decision {reward.decision}: {reward.error}.")


def main() -> int:
    """Run the node."""
    return run_node(RewardNode)


if __name__ == "__main__":
    sys.exit(main())
