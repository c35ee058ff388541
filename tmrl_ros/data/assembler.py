"""Make transitions from the messages of one episode, in whatever order they come.

The learner feeds messages as they arrive, and bags as they are read, through the same assembler.
Row k is (features k, z, t, plan, executed chunk, reward of observation k+1, features k+1, plans
that could have been chosen there, terminated, truncated).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tmrl_ros.core.attempts import is_earlier
from tmrl_ros.core.types import (
    HOLD_RELEASED,
    Chunk,
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Outcome,
    Reward,
)
from tmrl_ros.data.plans import executed_plan, plans_of
from tmrl_ros.data.transitions import AssembledEpisode, Transition
from tmrl_ros.data.trims import Trim, trimmed_end

if TYPE_CHECKING:
    from tmrl_ros.data.bag_reader import EpisodeRecord

NO_PLAN = np.zeros(0, np.float32)
TERMINAL = (EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE)


def by_person(event: Episode) -> bool:
    """Whether an outcome is a person's word, which counts above the reward's estimate."""
    return event.labelled_by not in ("", "reward")


class EpisodeAssembler:
    """Collects the pieces of one episode until its rows are complete.

    Pieces of other episodes and of an earlier attempt at this one (older than its RUNNING), reset
    motions and repeated messages are ignored. A valid estimate replaces an invalid one. A person's
    label overrules the estimate on the last row, whenever it comes. With a `trim` the episode ends
    where a person cut it; it may be set and taken back at any time.

    Args:
        episode_id: The episode.
        include_aborted: Make rows of an ABORTED episode too.
    """

    def __init__(self, episode_id: str, *, include_aborted: bool = False) -> None:
        self.episode_id = episode_id
        self._include_aborted = include_aborted
        self._chunks: dict[int, Chunk] = {}  # by decision
        self._outcomes: dict[int, Outcome] = {}  # by sequence
        self._rewards: dict[int, Reward] = {}  # by sequence
        self._said: Episode | None = None
        self.trim: Trim | None = None
        self._running_ns = 0

    def add(self, piece: Chunk | Outcome | Reward | Episode) -> list[Transition] | None:
        """Take one piece.

        Returns:
            The rows once nothing is missing any more (empty for an aborted episode), else None.
        """
        if piece.episode_id != self.episode_id:
            return None
        if not isinstance(piece, Episode) and is_earlier(piece, self._running_ns):
            return None
        match piece:
            case Chunk():
                self._add_chunk(piece)
            case Outcome() if piece.source is not ChunkSource.RESET:
                self._add_outcome(piece)
            case Reward():
                self._add_reward(piece)
            case Episode() if piece.state is EpisodeState.ENDED:
                self._add_ended(piece)
            case Episode() if piece.state is EpisodeState.RUNNING:
                self._begin(piece)
        return self.finish().transitions if self.complete else None

    @property
    def ended(self) -> Episode | None:
        """The ENDED event that counts: a person's label before the reward's, and what was cut."""
        return self._ended

    @property
    def _ended(self) -> Episode | None:
        said, trim = self._said, self.trim
        return said if said is None or trim is None else trimmed_end(said, trim)

    @property
    def complete(self) -> bool:
        """Whether the episode has ended and every message its rows need is there."""
        if self._ended is None:
            return False
        if self._ended.outcome is EpisodeOutcome.ABORTED and not self._include_aborted:
            return True
        for decision in range(self._decisions()):
            missing = self._missing(decision)
            if missing not in (None, "not_executed"):
                return False
            if missing is None and self._row(decision).terminated:
                return True
        return True

    def finish(self) -> AssembledEpisode:
        """Rows of what is there; incomplete ones are left out and counted."""
        ended = self._ended
        aborted = ended is not None and ended.outcome is EpisodeOutcome.ABORTED
        rows: list[Transition] = []
        dropped: Counter[str] = Counter()
        if aborted and not self._include_aborted:
            return AssembledEpisode(self.episode_id, ended, rows, dropped)
        over = False
        for decision in range(self._decisions()):
            missing = "after_end" if over else self._missing(decision, final=True)
            row = self._row(decision) if missing is None else None
            if row is not None and not _is_finite(row):
                row, missing = None, "not_finite"
            if row is None:
                dropped[missing or ""] += 1
                continue
            rows.append(row)
            over = row.terminated
        success = self._success(rows)
        rows = [replace(row, success_episode=success) for row in rows]
        return AssembledEpisode(self.episode_id, ended, rows, dropped)

    def _begin(self, event: Episode) -> None:
        """Forget what of an earlier attempt came before this one was running."""
        self._running_ns = event.stamp_ns
        collections: tuple[dict[int, Any], ...] = (self._chunks, self._outcomes, self._rewards)
        for known in collections:
            for key in [key for key, item in known.items() if is_earlier(item, event.stamp_ns)]:
                del known[key]

    def _add_chunk(self, chunk: Chunk) -> None:
        """Keep the newest chunk of a decision."""
        if chunk.source is ChunkSource.RESET:
            return
        known = self._chunks.get(chunk.decision)
        if known is None or (chunk.stamp_ns, chunk.sequence) > (known.stamp_ns, known.sequence):
            self._chunks[chunk.decision] = chunk

    def _add_outcome(self, outcome: Outcome) -> None:
        known = self._outcomes.get(outcome.sequence)
        if known is None or outcome.stamp_ns > known.stamp_ns:
            self._outcomes[outcome.sequence] = outcome

    def _add_reward(self, reward: Reward) -> None:
        """Keep the newest estimate about an observation, of two alike the one that is valid."""
        known = self._rewards.get(reward.sequence)
        if known is None or (reward.stamp_ns, reward.valid) > (known.stamp_ns, known.valid):
            self._rewards[reward.sequence] = reward

    def _add_ended(self, event: Episode) -> None:
        def rank(item: Episode) -> tuple[bool, int]:
            return by_person(item), item.stamp_ns

        if self._said is None or rank(event) >= rank(self._said):
            self._said = event

    def _decisions(self) -> int:
        """Number of rows the episode should have; without its end, what its chunks let expect."""
        if self._ended is None:
            moves = (k for k, chunk in self._chunks.items() if chunk.execute_steps > 0)
            return max(moves, default=-1) + 1
        count = self._ended.decisions
        while count and (last := self._chunks.get(count - 1)) and last.execute_steps == 0:
            count -= 1  # the last observation asks for no motion and is no decision
        return count

    def _label(self, decision: int) -> EpisodeOutcome | None:
        """The person's label where it stands in for the estimate: on the last row."""
        ended = self._ended
        last = ended is not None and decision == self._decisions() - 1
        return ended.outcome if ended and last and by_person(ended) else None

    def _estimate(self, decision: int) -> Reward | None:
        """Reward of the observation after a decision."""
        after = self._chunks.get(decision + 1)
        if after is not None:
            return self._rewards.get(after.sequence)
        late = [reward for reward in self._rewards.values() if reward.decision == decision + 1]
        return max(late, key=lambda reward: reward.sequence, default=None)

    def _missing(self, decision: int, *, final: bool = False) -> str | None:
        """What row `decision` lacks, None if nothing.

        With `final` nothing more will come, and a row that ends the episode does without next
        features, which nobody bootstraps from; a labelled one also does without an estimate, and
        the first one without that of the first observation.
        """
        chunk = self._chunks.get(decision)
        if chunk is None:
            return "chunk"
        outcome = self._outcomes.get(chunk.sequence)
        if outcome is None:
            return "outcome"
        if outcome.result is not ChunkResult.EXECUTED:
            return None if self._is_fault(decision, outcome) else "not_executed"
        if decision == 0 and self._estimate(-1) is None and not final:
            return "reward"  # of the first observation, from which progress is counted
        label, estimate = self._label(decision), self._estimate(decision)
        terminal = label in TERMINAL or (label is None and _is_terminal(estimate))
        if decision + 1 not in self._chunks and not (final and terminal):
            return "next_chunk"
        if estimate is None and not (final and label is not None):
            return "reward"
        if estimate is not None and not estimate.valid and label is None:
            return "invalid_reward"
        return None

    def _is_fault(self, decision: int, outcome: Outcome) -> bool:
        """Whether the stop that ended this chunk was the policy's own failure."""
        failed = self._ended is not None and self._ended.outcome is EpisodeOutcome.FAILURE
        last = decision == self._decisions() - 1
        stopped = outcome.result is ChunkResult.ABORTED and outcome.reason != HOLD_RELEASED
        return failed and last and stopped

    def _row(self, decision: int) -> Transition:
        chunk, after = self._chunks[decision], self._chunks.get(decision + 1)
        label, estimate, ended = self._label(decision), self._estimate(decision), self._ended
        if label is not None:
            reward, terminated = float(label is EpisodeOutcome.SUCCESS), label in TERMINAL
        elif estimate is not None and not self._denied(estimate):
            reward, terminated = float(estimate.success), _is_terminal(estimate)
        else:
            reward, terminated = 0.0, False
        if self._is_fault(decision, self._outcomes[chunk.sequence]):
            reward, terminated = 0.0, True
        last = ended is not None and decision == self._decisions() - 1
        timeout = ended is not None and ended.outcome is EpisodeOutcome.TIMEOUT
        outcome, following = self._outcomes[chunk.sequence], plans_of(after or chunk)
        plans = plans_of(chunk)[:1]
        if outcome.human_steps:
            done = np.concatenate([chunk.actions[: chunk.committed_steps], outcome.executed])
            plans = executed_plan(done, len(chunk.actions))[None]
        return Transition(
            episode_id=self.episode_id,
            decision=decision,
            features=chunk.features,
            z=chunk.z,
            t_context=chunk.t_context,
            eps_context=chunk.eps_context,
            plan=plans[0] if len(plans) else NO_PLAN,
            executed=outcome.executed,
            source=chunk.source,
            reward=reward,
            next_features=after.features if after else chunk.features,
            next_plans=following,
            terminated=terminated,
            truncated=last and timeout and not terminated,
            parameters_version=chunk.parameters_version,
            success_episode=False,
            actor=chunk.actor,
            edited=bool(np.any(chunk.edit)),
            progress=self._progress(decision),
            next_progress=1.0 if terminated and reward > 0 else self._progress(decision + 1),
            human_steps=outcome.human_steps,
        )

    def _progress(self, decision: int) -> float:
        """Progress at an observation; where nobody knows it, what was known last."""
        for before in range(decision, -1, -1):
            estimate = self._estimate(before - 1)
            if estimate is not None and estimate.valid:
                return estimate.progress
        return 0.0

    def _denied(self, estimate: Reward) -> bool:
        """Whether the person's label says that a terminal estimate was wrong."""
        ended = self._ended
        if ended is None or not by_person(ended) or not _is_terminal(estimate):
            return False
        said = EpisodeOutcome.SUCCESS if estimate.success else EpisodeOutcome.FAILURE
        return ended.outcome is not said

    def _success(self, rows: list[Transition]) -> bool:
        if self._ended is not None:
            return self._ended.outcome is EpisodeOutcome.SUCCESS
        estimates = (self._estimate(row.decision) for row in rows)
        return any(item is not None and item.valid and item.success for item in estimates)


def assembler_of(record: EpisodeRecord, *, include_aborted: bool = False) -> EpisodeAssembler:
    """The live learner's own assembler, filled with a recorded episode."""
    assembler = EpisodeAssembler(record.episode_id, include_aborted=include_aborted)
    assembler.trim = record.trim
    pieces: Iterable[Chunk | Outcome | Reward | Episode] = [
        *record.chunks,
        *record.outcomes,
        *record.rewards,
        *record.events,
    ]
    for piece in pieces:
        assembler.add(piece)
    return assembler


def assemble(record: EpisodeRecord, *, include_aborted: bool = False) -> AssembledEpisode:
    """Rows of a recorded episode."""
    return assembler_of(record, include_aborted=include_aborted).finish()


def _is_terminal(estimate: Reward | None) -> bool:
    return estimate is not None and estimate.valid and (estimate.success or estimate.failure)


def _is_finite(row: Transition) -> bool:
    arrays = (
        row.features,
        row.z,
        row.eps_context,
        row.plan,
        row.next_features,
        row.next_plans,
        row.executed,
    )
    return all(np.isfinite(array).all() for array in arrays) and bool(
        np.isfinite([row.reward, row.t_context]).all()
    )
