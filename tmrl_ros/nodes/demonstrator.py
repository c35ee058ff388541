"""Takes the policy's place where a person drives: answers every observation with a chunk to fill.

A thin shell around `teleop.demonstrator.Demonstrator`. The person's own words go to the supervisor
(`teleop/command`), which puts them into the chunk's rows.
"""

from __future__ import annotations

import sys

from rclpy.clock import Clock, ClockType

from tmrl_msgs.msg import ActionChunk, EpisodeEvent, Observation, RobotTarget
from tmrl_ros.core import topics
from tmrl_ros.core.attempts import is_ahead
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import Episode
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, NEWEST, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import chunk_to_msg
from tmrl_ros.nodes.polling import PolledSubscription
from tmrl_ros.teleop.demonstrator import Demonstrator

WAKE_S = 0.1
"""A node without a timer sleeps through the signal that ends it until a message comes."""


class DemonstratorNode(ConfiguredNode):
    """Exactly one chunk for every observation."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Listen to observations, the episode and what is sent to the arm."""
        super().__init__("demonstrator", config=config)
        self._demonstrator = Demonstrator(self.config)
        self._episode: Episode | None = None
        self._early: Observation | None = None  # of an episode that is not known to run yet
        self._chunks = self.create_publisher(ActionChunk, topics.ACTION_CHUNK, RELIABLE)
        self._targets = PolledSubscription(self, RobotTarget, topics.ROBOT_TARGET, NEWEST)
        self.create_subscription(EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS)
        self.create_subscription(Observation, topics.OBSERVATION, self._on_observation, RELIABLE)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(WAKE_S, self._read_targets, clock=steady)

    def _read_targets(self) -> None:
        for target in self._targets.take():
            self._demonstrator.on_target(decode.target(target))

    def _on_episode(self, msg: EpisodeEvent) -> None:
        self._episode = decode.episode(msg)
        self._demonstrator.on_episode(self._episode)
        if self._early is not None and not self._is_ahead(self._early):
            observation, self._early = self._early, None
            self._on_observation(observation)

    def _is_ahead(self, msg: Observation) -> bool:
        stamp_ns = decode.to_ns(msg.header.stamp)
        return is_ahead(stamp_ns, msg.episode_id, int(msg.decision), self._episode)

    def _on_observation(self, msg: Observation) -> None:
        if self._is_ahead(msg):
            self._early = msg
            return
        self._read_targets()
        chunk = self._demonstrator.answer(
            decode.to_ns(msg.header.stamp),
            int(msg.sequence),
            msg.episode_id,
            int(msg.decision),
            decode.pose(msg.robot.ee_pose),
            float(msg.robot.gripper_width_m),
        )
        self._chunks.publish(chunk_to_msg(chunk))


def main() -> int:
    """Run the node; return the exit code."""
    return run_node(DemonstratorNode)


if __name__ == "__main__":
    sys.exit(main())
