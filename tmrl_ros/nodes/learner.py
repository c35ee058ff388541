"""Learner: turns finished episodes into weights; never in the way of the arm."""

from __future__ import annotations

import array
import hashlib
import os
import sys
import time
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    LearnerStatus,
    PolicyParameters,
    RewardEstimate,
)
from tmrl_ros.core import topics
from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.hosts import GPU
from tmrl_ros.data import decode
from tmrl_ros.data.bag_reader import EpisodeRecord, read_episode, read_session
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.recount import as_it_counts
from tmrl_ros.data.relabels import Relabels
from tmrl_ros.data.trims import read_trims
from tmrl_ros.learning.core import LearnerCore
from tmrl_ros.learning.demonstrated import Cutter
from tmrl_ros.learning.methods import Sizes
from tmrl_ros.learning.progress import Weights
from tmrl_ros.nodes.common import EVENTS, ConfiguredNode, run_node
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.source import check_policy

LOOK_S = 1.0  # between looks at what was cut or judged again
SLICE_S = 0.02  # longest stretch of updates between looks at the messages
INCOMPLETE_S = 3.0  # wall time that the rest of an ended episode may take; the bag has it by then
# More than an episode's, so that a learner that is held up for a moment misses nothing.
PATIENT = QoSProfile(
    depth=1000, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)
NICENESS = 5


class Learner(ConfiguredNode):
    """Subscribes to what happened, learns in slices, publishes weights and its state."""

    def __init__(self) -> None:
        """Restore from the checkpoint and the session's bags, then listen."""
        super().__init__("learner")
        prepare_torch(self.config.session.torch_threads)
        spec = check_policy(self.config)
        self._core = LearnerCore(
            self.config.method,
            Sizes(feature_size(spec.context), spec.action.size, spec.context.size),
            self.config.session.seed,
            self.session_dir / "checkpoints",
            recall=self._recall,
            demonstrated=Cutter(
                spec, self.config.task.prompt, self.config.robot.gripper_max_width_m
            ).recorded,
        )
        self._incomplete, self._incomplete_s = "", 0.0
        self._status = self.create_publisher(LearnerStatus, topics.LEARNER_STATUS, EVENTS)
        self._weights = self.create_publisher(PolicyParameters, topics.POLICY_PARAMETERS, EVENTS)
        self._ready, self._checkpoint, self._saved_at = False, "", 0
        self._last_status_s = 0.0
        for earlier in self.config.session.replay_from:
            rows = self._core.seed(earlier.name, _episodes_of(earlier))
            self.get_logger().info(f"The replay begins with {rows} decisions of {earlier}.")
        self._trims, self._looked_s = read_trims(self.session_dir), time.monotonic()
        self._relabels = Relabels(self.session_dir)
        found = self._core.restore(_episodes_of(self.session_dir))
        if found:
            self.get_logger().info(f"Rebuilt the replay from {found} recorded episodes.")
        known = self._core.progress.episodes
        if self.config.session.host == GPU and found < known:
            self.get_logger().warning(
                f"The checkpoint has learned from {known} episodes, but only {found} bags are in "
                f"{self.session_dir / 'episodes'}: the replay lacks the others. "
                "Make that folder the robot PC's (docs/install.md), and start again."
            )
        self._say_what_is_of_use(found)
        self._saved_at = self._core.progress.episodes
        for kind, topic, convert, qos in (
            (EpisodeEvent, topics.EPISODE, decode.episode, EVENTS),
            (ActionChunk, topics.ACTION_CHUNK, decode.chunk, PATIENT),
            (ChunkOutcome, topics.CHUNK_OUTCOME, decode.outcome, PATIENT),
            (RewardEstimate, topics.REWARD, decode.reward, PATIENT),
        ):
            self.create_subscription(
                kind, topic, lambda msg, c=convert: self._core.on_piece(c(msg)), qos
            )
        self._ready = True
        self._publish_weights(self._core.weights())
        self._publish_status()
        self._timer = self.create_timer(
            0.001, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def _say_what_is_of_use(self, found: int) -> None:
        """Tell what a method begins with that others have recorded for."""
        name, rows = self.config.method.name, self._core.replay.size
        if self._core.seeding:
            self.get_logger().info(f"{name} learns from {rows} recorded decisions before it acts.")
        elif self._core.progress.prior_through and not rows:
            self.get_logger().warning(
                f"Nothing in the {found} recorded episodes is of use to {name} (docs/method.md, "
                "rows): it begins with the frozen policy. method.warmup_episodes, counted from the "
                "session's first episode, says for how long."
            )

    def _on_timer(self) -> None:
        self._close_incomplete()
        self._look_for_words()
        self._follow_relabels()
        seeding = self._core.seeding
        weights = self._core.work(SLICE_S)
        if weights is not None:
            self._publish_weights(weights)
            new = self._core.progress.episodes - self._saved_at
            if seeding or new >= self.config.method.checkpoint_every_episodes:
                self._save()
            self._publish_status()
        elif time.monotonic() - self._last_status_s > 1.0:
            self._publish_status()
        idle = self._core.between_episodes and self._core.updates_owed == 0
        self._timer.timer_period_ns = 10_000_000 if idle else 1_000_000

    def _close_incomplete(self) -> None:
        """Do not wait for ever for messages that a learner started late has missed."""
        name, now_s = self._core.intake.incomplete, time.monotonic()
        if name != self._incomplete:
            self._incomplete, self._incomplete_s = name, now_s
        elif name and now_s - self._incomplete_s > INCOMPLETE_S:
            self._core.intake.close_incomplete(name)

    def _look_for_words(self) -> None:
        """Look once a second whether episodes were cut or judged again, or that was taken back."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        if waiting := self._relabels.look():
            self.get_logger().info(f"Other rewards count now: {waiting} episodes are read again.")
        before, self._trims = self._trims, read_trims(self.session_dir)
        for name in before.keys() | self._trims.keys():
            trim = self._trims.get(name)
            if trim == before.get(name):
                continue
            self._core.trim(name, trim)
            where = f"ends after {trim.decisions} decisions" if trim else "is whole again"
            self.get_logger().info(f"{name} {where}: the replay follows.")
            self._publish_status()

    def _follow_relabels(self) -> None:
        """Let one episode that was judged again count as it does now."""
        try:
            record = self._relabels.take()
        except (BagError, OSError) as error:
            self.get_logger().error(f"{error} The rewards of the day go on to count for it.")
            return
        if record is None:
            return
        for reward in record.rewards:
            self._core.on_piece(reward)
        if record.ended is not None:
            self._core.on_piece(record.ended)
        self._publish_status()

    def _recall(self, episode_id: str) -> EpisodeRecord | None:
        try:
            record = read_episode(self.session_dir / "episodes" / episode_id)
        except (BagError, OSError):
            return None
        self.get_logger().info(f"The rest of {episode_id} was read from its bag.")
        return record

    def _save(self) -> None:
        self._checkpoint = str(self._core.save())
        self._saved_at = self._core.progress.episodes

    def _publish_weights(self, weights: Weights) -> None:
        data = array.array("B")
        data.frombytes(weights.data)
        self._weights.publish(
            PolicyParameters(
                header=Header(stamp=self.get_clock().now().to_msg()),
                version=weights.version,
                method=self.config.method.name,
                trained_through=weights.trained_through,
                metadata_json=weights.metadata_json,
                weights=data,
                sha256=hashlib.sha256(weights.data).hexdigest(),
            )
        )

    def _publish_status(self) -> None:
        core, progress = self._core, self._core.progress
        metrics = core.metrics()
        warmup = progress.episodes < self.config.method.warmup_episodes
        self._status.publish(
            LearnerStatus(
                header=Header(stamp=self.get_clock().now().to_msg()),
                method=self.config.method.name,
                ready=self._ready and not core.seeding,
                phase="warmup" if warmup else "idle" if core.between_episodes else "learning",
                transitions=core.replay.size,
                episodes=progress.episodes,
                successes=progress.successes,
                updates_done=core.learner.updates,
                updates_owed=core.updates_owed,
                updates_per_second=core.updates_per_second,
                parameters_version=progress.version,
                trained_through=progress.trained_through,
                metric_names=list(metrics),
                metric_values=list(metrics.values()),
                checkpoint=self._checkpoint,
            )
        )
        self._last_status_s = time.monotonic()

    def close(self) -> None:
        """Keep what was learned; a half-learned episode is learned again from its bag."""
        if self._core.between_episodes and self._core.progress.episodes > self._saved_at:
            self._save()


def _episodes_of(session: Path) -> list[EpisodeRecord]:
    """What a session recorded, with the rewards that count for it now."""
    return [as_it_counts(session, record) for record in read_session(session)]


def main() -> int:
    """Entry point of the process."""
    os.nice(NICENESS)  # decisions first: the arm waits for them, and nothing for an update
    return run_node(Learner)


if __name__ == "__main__":
    sys.exit(main())
