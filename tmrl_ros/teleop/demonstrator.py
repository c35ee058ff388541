"""The chunks of an episode in which a person drives: what happens in them where nobody steers.

A chunk gives the supervisor rows to fill. While a person holds the arm it replaces each of them by
where they steer (`safety/takeover.py`); otherwise the arm stays where it was last sent.
"""

from __future__ import annotations

import numpy as np

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import Chunk, ChunkSource, Episode, EpisodeState, Pose, Target


class Demonstrator:
    """Answers observations with chunks of `collect.rows` rows that stay where the arm is.

    It stays at the last target, not at the measured pose, which lies a little beside it: an arm
    that is told to stay where it is measured sinks, chunk by chunk.
    """

    def __init__(self, config: Config) -> None:
        """Begin without an episode."""
        self._rows = config.collect.rows
        self._rate_hz = config.robot.control_rate_hz
        self._width_m = config.robot.gripper_max_width_m
        self._near_m = config.safety.max_start_offset_m
        self._frame_id = config.robot.base_frame
        self._orientation = np.array(config.task.orientation_xyzw)
        self._episode: Episode | None = None
        self._target: Target | None = None

    def on_episode(self, episode: Episode) -> None:
        """Follow the episode."""
        known = self._episode
        late = episode.state is EpisodeState.ENDED and known is not None
        if not (late and known is not None and known.episode_id != episode.episode_id):
            self._episode = episode

    def on_target(self, target: Target) -> None:
        """Take what the supervisor has sent last."""
        self._target = target

    def answer(
        self,
        stamp_ns: int,
        sequence: int,
        episode_id: str,
        decision: int,
        pose: Pose,
        gripper_width_m: float,
    ) -> Chunk:
        """The chunk for an observation of `pose` (the tool's) and `gripper_width_m`.

        It has nothing to execute when the episode has ended, or has had its time.
        """
        at, width_m = pose.position, gripper_width_m
        target = self._target
        if target is not None:
            width_m = target.gripper_width_m
            if float(np.linalg.norm(target.pose.position - at)) <= self._near_m:
                at = target.pose.position
        opening = min(max(width_m / self._width_m, 0.0), 1.0)
        row = np.array([*(at - pose.position), opening])
        return Chunk(
            stamp_ns=stamp_ns,
            sequence=sequence,
            episode_id=episode_id,
            decision=decision,
            source=ChunkSource.HUMAN,
            action_space="cartesian_relative",
            reference_pose=pose,
            orientation=self._orientation,
            actions=np.tile(row, (self._rows, 1)),
            execute_steps=self._rows if self._goes_on(episode_id, decision) else 0,
            control_rate_hz=self._rate_hz,
            frame_id=self._frame_id,
            actor="person",
        )

    def _goes_on(self, episode_id: str, decision: int) -> bool:
        episode = self._episode
        return (
            episode is not None
            and episode.state is EpisodeState.RUNNING
            and episode.episode_id == episode_id
            and decision < episode.max_decisions
        )
