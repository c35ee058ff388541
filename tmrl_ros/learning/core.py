"""The learner without ROS: episodes in, gradient steps in their order, weights out.

Episodes are learned from strictly one after the other: the rows of the next one enter the replay
only when the updates owed for the last are done. What is learned therefore does not depend on when
messages arrive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import Episode
from tmrl_ros.data.assembler import assembler_of
from tmrl_ros.data.bag_reader import EpisodeRecord, Piece
from tmrl_ros.data.transitions import AssembledEpisode, Transition
from tmrl_ros.data.trims import Trim
from tmrl_ros.learning.acting import pack_weights
from tmrl_ros.learning.calibration import ValueCheck
from tmrl_ros.learning.checkpoint import load_checkpoint, save_checkpoint, set_aside
from tmrl_ros.learning.intake import Intake
from tmrl_ros.learning.late import Change
from tmrl_ros.learning.learners.goals import returns
from tmrl_ros.learning.methods import Sizes, learner_for
from tmrl_ros.learning.progress import Progress, Weights, may_learn, succeeded
from tmrl_ros.learning.replay import Replay
from tmrl_ros.learning.steering import SteeringRange
from tmrl_ros.learning.usable import nothing_usable, usable
from tmrl_ros.learning.warmup import count, exploration


class LearnerCore:
    """Replay, learner and the queue of episodes that wait to be learned from."""

    def __init__(
        self,
        method: MethodConfig,
        sizes: Sizes,
        seed: int,
        folder: Path,
        *,
        recall: Callable[[str], EpisodeRecord | None] = lambda _: None,
        demonstrated: Callable[[EpisodeRecord], list[Transition]] = lambda _: [],
    ) -> None:
        """Begin with nothing learned.

        Args:
            method: How to learn.
            sizes: Of what the policy gives.
            seed: Of everything random.
            folder: Where checkpoints go.
            recall: Reads what was recorded of an episode.
            demonstrated: Makes rows of a recorded demonstration.
        """
        self.method, self.folder, self._z_size = method, folder, sizes.z
        self._demonstrated = demonstrated
        self.replay = Replay(sizes.features, sizes.z, sizes.context, method.capacity)
        self.learner = learner_for(method, sizes, seed)
        self.progress = Progress()
        self.intake = Intake(recall)
        self._learned: set[str] = set()  # their rows are in the replay
        self._owed = 0.0
        self._check = ValueCheck()
        self._range = SteeringRange(method, sizes.z)
        self._seeded = 0  # rows of earlier sessions
        self.seeding = False  # learning from them, before anything else
        self._current: AssembledEpisode | None = None
        self.updates_per_second = 0.0

    @property
    def updates_owed(self) -> int:
        """Gradient steps not done yet, queued episodes included."""
        rows = sum(len(item.transitions) for item in self.intake.queue)
        return int(self._owed + rows * self.method.updates_per_decision)

    def seed(self, session: str, records: Iterable[EpisodeRecord]) -> int:
        """Begin the replay with what an earlier session recorded; returns the rows found.

        Call it before `restore`. Episodes of all phases count, and successful demonstrations. What
        is seeded is learned from before the first episode, and warm-up is not waited for.

        Raises:
            OperatorError: The session was recorded with a policy that sees other things, or the
                method can learn nothing from it.
        """
        found = 0
        for record in records:
            rows = self._usable(assembler_of(record).finish().transitions)
            found += self.seed_rows(session, rows or self._demonstrated(record))
        if not found:
            raise OperatorError(nothing_usable(session, self.method))
        return found

    def seed_rows(self, session: str, rows: Sequence[Transition]) -> int:
        """Begin the replay with rows of an earlier session; returns how many are of use.

        Raises:
            OperatorError: They are of a policy that sees other things.
        """
        rows = [
            replace(row, episode_id=f"{session}/{row.episode_id}", parameters_version=0)
            for row in self._usable(rows)
        ]
        try:
            self.replay.add_episode(rows)
        except ValueError as error:
            raise OperatorError(
                f"The replay cannot begin with session {session} ({error}): it was recorded "
                "with another kind of policy or task. Leave it out of session.replay_from."
            ) from None
        self._seeded += len({(row.episode_id, row.decision) for row in rows})
        return len(rows)

    def restore(self, records: Iterable[EpisodeRecord]) -> int:
        """Rebuild from the checkpoint and the bags of earlier runs; returns the episodes found.

        Episodes the checkpoint has learned from only fill the replay; later ones are queued. The
        checkpoint of another method is set aside: then all episodes fill the replay, and are
        learned from before the next one.

        Raises:
            OperatorError: The checkpoint is damaged.
        """
        switched = set_aside(self.folder, self.method)
        extra = load_checkpoint(self.folder, self.learner)
        if extra is not None:
            self.progress = Progress(**extra)
        mine = []
        for record in sorted(records, key=lambda item: item.episode_id):
            if record.ended is not None:
                self._range.hear(record.ended)
            if may_learn(record.ended):
                mine.append(record)
        if switched and mine:
            self.progress.prior_through = self.progress.trained_through = mine[-1].episode_id
        learned: list[AssembledEpisode] = []
        for record in mine:
            episode = self.intake.restore(assembler_of(record))
            if record.episode_id > self.progress.trained_through:
                self.intake.queue.append(episode)
                continue
            self.replay.add_episode(self._stored(episode))
            self._learned.add(episode.episode_id)
            learned.append(episode)
        if switched:
            self.progress.episodes = len(learned)
        if len(learned) == self.progress.episodes:
            self._count_anew(learned)
        self._range.restore(self.progress.steering, self.learner)
        rows = self._seeded + sum(len(self._usable(item.transitions)) for item in learned)
        self.seeding = rows > 0 if switched else extra is None and self._seeded > 0
        no_update_yet = not self._seeded and self.progress.episodes < self.method.warmup_episodes
        if self.seeding or no_update_yet:
            self._owed = rows * self.method.updates_per_decision
        return len(mine)

    def on_piece(self, piece: Piece) -> None:
        """Take one message, of a running episode or a late one."""
        if isinstance(piece, Episode):
            self._range.hear(piece)
        self._follow(self.intake.add(piece))

    def trim(self, episode_id: str, trim: Trim | None) -> None:
        """A person cut an episode that has ended, or with None took that back."""
        self._follow(self.intake.trim(episode_id, trim))

    def work(self, budget_s: float) -> Weights | None:
        """Do owed updates for about `budget_s` seconds; weights whenever an episode is done."""
        if not self.seeding and self._current is None and not self._begin_next():
            self.updates_per_second = 0.0
            return self._newer() if self._range.follow(self.learner) else None
        if self._warming_up:
            return self._end_episode()
        if self.progress.steering is None:
            self.progress.steering = self._range.decide(self.progress.warmup, self.learner)
        self._spend(budget_s)
        if self._owed >= 1:
            return None
        if self.seeding:
            self.seeding = False
            return self._newer()
        return self._end_episode()

    def _spend(self, budget_s: float) -> None:
        """Do owed updates for about that long."""
        started, done = time.monotonic(), 0
        while self._owed >= 1 and time.monotonic() - started < budget_s:
            self.learner.update(self.replay)
            self._owed -= 1
            done += 1
        elapsed = time.monotonic() - started
        if done:
            rate = done / max(elapsed, 1e-6)
            self.updates_per_second = (
                rate if not self.updates_per_second else 0.9 * self.updates_per_second + 0.1 * rate
            )

    @property
    def _warming_up(self) -> bool:
        """Whether updates still wait, and are owed, until the warm-up episodes are all in.

        Trained on the first few episodes, an actor runs to the ends of its range and stays there.
        """
        return not self._seeded and self.progress.episodes + 1 < self.method.warmup_episodes

    def weights(self) -> Weights:
        """What to act with now."""
        data, metadata = pack_weights(
            self.learner.acting, exploration(self.progress.warmup), self._range.now
        )
        return Weights(self.progress.version, self.progress.trained_through, metadata, data)

    def save(self) -> Path:
        """Write a checkpoint; call it between episodes."""
        return save_checkpoint(self.folder, self.learner, vars(self.progress).copy())

    @property
    def between_episodes(self) -> bool:
        """Whether no episode is half learned."""
        return self._current is None

    def metrics(self) -> dict[str, float]:
        """Figures of the latest updates."""
        values = {**self.learner.metrics, **self._check.metrics()}
        values["dropped_rows"] = float(self.intake.dropped_rows)
        return values

    def _usable(self, rows: Sequence[Transition]) -> list[Transition]:
        return usable(rows, self.method, self._z_size)

    def _stored(self, episode: AssembledEpisode) -> list[Transition]:
        """Rows as the replay has them: those of another method's time are prior data."""
        rows = self._usable(episode.transitions)
        if episode.episode_id > self.progress.prior_through:
            return rows
        return [replace(row, parameters_version=0) for row in rows]

    def _follow(self, changed: Change | None) -> None:
        """Let a late estimate, label or cut change what was learned from already."""
        if changed is not None and changed[1].episode_id in self._learned:
            self._relabel(*changed)

    def _relabel(self, before: AssembledEpisode, after: AssembledEpisode) -> None:
        """Rewrite rows that are in the replay, and what was counted from them."""
        old, new = self._usable(before.transitions), self._usable(after.transitions)
        if before.episode_id in self.replay:
            self.replay.relabel(before.episode_id, self._stored(after))
        else:
            self.replay.add_episode(self._stored(after))
        count(self.progress.warmup, old, -1.0)
        count(self.progress.warmup, new)
        self._owed += max(0, len(new) - len(old)) * self.method.updates_per_decision
        if self._current is not None and self._current.episode_id == before.episode_id:
            self._current = after
        else:
            self.progress.successes += succeeded(after) - succeeded(before)

    def _begin_next(self) -> bool:
        if not self.intake.queue:
            return False
        self._current = self.intake.queue.popleft()
        rows = self._usable(self._current.transitions)
        if rows and self.learner.updates and not rows[0].by_base:
            self._check.add(self.learner.judge(rows), returns(rows, self.method))
        self.replay.add_episode(rows)
        self._learned.add(self._current.episode_id)
        count(self.progress.warmup, rows)
        self._owed += len(rows) * self.method.updates_per_decision
        if self.replay.size == 0:
            self._owed = 0.0
        return True

    def _count_anew(self, learned: list[AssembledEpisode]) -> None:
        """Count what a checkpoint counted, with the labels that came after it."""
        self.progress.successes = sum(succeeded(episode) for episode in learned)
        self.progress.warmup = {}
        for episode in learned:
            count(self.progress.warmup, self._usable(episode.transitions))

    def _end_episode(self) -> Weights:
        episode = self._current
        assert episode is not None and episode.ended is not None
        self._current = None
        self.progress.episodes += 1
        self.progress.successes += succeeded(episode)
        self.progress.trained_through = episode.episode_id
        return self._newer()

    def _newer(self) -> Weights:
        self.progress.version += 1
        return self.weights()
