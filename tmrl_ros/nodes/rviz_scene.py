"""What the policy plans and what the arm does, as markers for RViz.

Of the stop itself the supervisor publishes markers of its own (`safety/markers`), which fade with
it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from visualization_msgs.msg import Marker, MarkerArray

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    RewardEstimate,
    RobotState,
    RobotTarget,
)
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import (
    Chunk,
    ChunkSource,
    Episode,
    EpisodeState,
    FloatArray,
    Outcome,
    Reward,
)
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.polling import PolledSubscription
from tmrl_ros.nodes.scene_markers import BLUE, GREEN, WHITE, Scene, color_of

DRAW_PERIOD_S = 0.2
KEPT_CHUNKS = 40
GAP_M = 0.25
GAUGE_M = 0.4
NO_ROWS = np.zeros((0, 3))
RED = (0.9, 0.15, 0.15)
NEWEST = QoSProfile(
    depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)


@dataclass
class Story:
    """The running episode in positions of the tool, metres in the base frame.

    Attributes:
        planned: Every decision's rows (horizon, 3) and its context timestep, the newest last.
        executed: Where the tool was measured, (N, 3).
    """

    name: str = ""
    planned: list[tuple[FloatArray, float]] = field(default_factory=list)
    executed: FloatArray = field(default_factory=lambda: NO_ROWS)
    progress: float = 0.0
    probability: float = 0.0
    _references: dict[int, FloatArray] = field(default_factory=dict)

    def on_episode(self, event: Episode) -> bool:
        """A new episode begins with an empty page; whether it does."""
        if event.state is not EpisodeState.RESETTING or event.episode_id == self.name:
            return False
        self.name = event.episode_id
        self.planned, self.executed = [], NO_ROWS
        self.progress = self.probability = 0.0
        self._references.clear()
        return True

    def on_chunk(self, chunk: Chunk) -> None:
        """The policy decided."""
        if chunk.source is ChunkSource.RESET or chunk.actions.shape[1] < 3:
            return
        reference = chunk.reference_pose.position
        self._references[chunk.sequence] = reference
        if chunk.execute_steps and np.isfinite(chunk.actions).all():
            rows = np.vstack([reference, reference + chunk.actions[:, :3]])
            self.planned = [*self.planned[-KEPT_CHUNKS + 1 :], (rows, chunk.t_context)]

    def on_outcome(self, outcome: Outcome) -> None:
        """The supervisor is done with a chunk."""
        reference = self._references.pop(outcome.sequence, None)
        if reference is not None and len(outcome.measured):
            rows = reference + outcome.measured[:, :3]
            self.executed = np.vstack([self.executed, rows])

    def on_reward(self, reward: Reward) -> None:
        """The reward judged."""
        if reward.valid:
            self.progress, self.probability = reward.progress, reward.success_probability


class RvizScene(ConfiguredNode):
    """Draws the story five times a second; markers fade when this node is gone."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Listen and draw."""
        super().__init__("rviz_scene", config=config)
        self._scene = Scene(self.config.robot.base_frame)
        self._story = Story()
        self._clear = True
        self._target: FloatArray | None = None
        self._tool: FloatArray | None = None
        self._publisher = self.create_publisher(MarkerArray, topics.SCENE_MARKERS, RELIABLE)
        listen = self.create_subscription
        listen(EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS)
        listen(ActionChunk, topics.ACTION_CHUNK, self._on_chunk, RELIABLE)
        listen(ChunkOutcome, topics.CHUNK_OUTCOME, self._on_outcome, RELIABLE)
        listen(RewardEstimate, topics.REWARD, self._on_reward, RELIABLE)
        self._targets = PolledSubscription(self, RobotTarget, topics.ROBOT_TARGET, NEWEST)
        self._states = PolledSubscription(self, RobotState, topics.ROBOT_STATE, NEWEST)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DRAW_PERIOD_S, self._draw, clock=steady)

    def _on_episode(self, msg: EpisodeEvent) -> None:
        self._clear |= self._story.on_episode(decode.episode(msg))

    def _on_chunk(self, msg: ActionChunk) -> None:
        self._story.on_chunk(decode.chunk(msg))

    def _on_outcome(self, msg: ChunkOutcome) -> None:
        self._story.on_outcome(decode.outcome(msg))

    def _on_reward(self, msg: RewardEstimate) -> None:
        self._story.on_reward(decode.reward(msg))

    def _draw(self) -> None:
        for msg in self._targets.take():
            self._target = _position(msg.pose)
        for msg in self._states.take():
            self._tool = _position(msg.ee_pose)
        markers = [Marker(action=Marker.DELETEALL)] if self._clear else []
        self._clear = False
        markers += [*self._paths(), *self._tools(), *self._gauges()]
        safety = self.config.safety
        markers.append(self._scene.box(0, safety.workspace_min_m, safety.workspace_max_m))
        markers += [
            self._scene.box(number, box.min_m, box.max_m, RED)
            for number, box in enumerate(safety.keep_out, start=1)
        ]
        self._publisher.publish(MarkerArray(markers=markers))

    def _paths(self) -> list[Marker]:
        scene, story = self._scene, self._story
        markers = [
            scene.path("planned", i, rows, color_of(t), 0.006 if is_newest else 0.002)
            for i, (rows, t) in enumerate(story.planned)
            for is_newest in [i == len(story.planned) - 1]
        ]
        if story.planned:
            rows, t = story.planned[-1]
            markers.append(scene.dots("planned", KEPT_CHUNKS, rows, color_of(t)))
            label = f"t = {t:.2f}"
            markers.append(scene.text("planned", KEPT_CHUNKS + 1, rows[-1], label, 0.03))
        markers.append(scene.path("executed", 0, story.executed, WHITE, 0.004))
        return markers

    def _tools(self) -> list[Marker]:
        """Commanded (red) and measured (green) tool, and the way between them."""
        if self._target is None or self._tool is None:
            return []
        both = np.stack([self._target, self._tool])
        return [
            self._scene.dots("tool", 0, both[:1], RED),
            self._scene.dots("tool", 1, both[1:], GREEN),
            self._scene.path("tool", 2, both, RED, 0.003),
        ]

    def _gauges(self) -> list[Marker]:
        low, high = self.config.safety.workspace_min_m, self.config.safety.workspace_max_m
        side_m = high[1] + GAP_M
        at = (low[0] + 0.05, side_m)
        story = self._story
        return [
            *self._scene.gauge(0, (*at, -0.04), GAUGE_M, "progress", story.progress, GREEN),
            *self._scene.gauge(3, (*at, -0.14), GAUGE_M, "success", story.probability, BLUE),
        ]


def _position(pose: object) -> FloatArray:
    p = pose.position  # type: ignore[attr-defined]
    return np.array([p.x, p.y, p.z])


def main() -> int:
    """Run the node."""
    return run_node(RvizScene)


if __name__ == "__main__":
    sys.exit(main())
