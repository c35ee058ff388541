"""Puts together the record of an episode from the messages that pass by."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tmrl_ros.core.attempts import is_earlier
from tmrl_ros.core.types import (
    NANOSECONDS,
    Chunk,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Outcome,
)
from tmrl_ros.session.records import EpisodeRecord
from tmrl_ros.session.seeds import PHASE_NAMES

KEPT_STAMPS = 32


@dataclass
class Collector:
    """Takes events, observations, chunks and outcomes; gives records.

    Attributes:
        attempts: How often every episode has ended before, by id; filled from the log on a resume.
        learner: The newest figures of the learner.
        current: Newest event of the episode that goes on.
    """

    attempts: dict[str, int] = field(default_factory=dict)
    learner: dict[str, float | None] = field(default_factory=dict)
    current: Episode | None = None
    t_context: list[float] = field(default_factory=list)
    bundle_hash: str = ""
    _written: dict[str, EpisodeRecord] = field(default_factory=dict)
    _observed: dict[int, float] = field(default_factory=dict)
    _z_norm: list[float] = field(default_factory=list)
    _latency_ms: list[float] = field(default_factory=list)
    _sent: int = 0
    _clipped: int = 0
    _human: int = 0
    _version: int = 0
    _began_s: float = 0.0
    _began_ns: int = 0
    _running_ns: int = 0

    def on_observation(self, stamp_ns: int, now_s: float) -> None:
        """An observation of that stamp came at that wall time."""
        self._observed[stamp_ns] = now_s
        while len(self._observed) > KEPT_STAMPS:
            del self._observed[next(iter(self._observed))]

    def on_chunk(self, chunk: Chunk, now_s: float) -> None:
        """The policy answered."""
        if not self._is_current(chunk.episode_id) or chunk.source == ChunkSource.RESET:
            return
        if is_earlier(chunk, self._running_ns):
            return
        asked_s = self._observed.pop(chunk.stamp_ns, None)
        if asked_s is not None:
            self._latency_ms.append(round((now_s - asked_s) * 1e3, 2))
        self.bundle_hash = chunk.bundle_hash or self.bundle_hash
        if chunk.execute_steps > 0:
            self.t_context.append(round(float(chunk.t_context), 4))
            self._z_norm.append(round(float(np.linalg.norm(chunk.z)), 4))
            self._version = chunk.parameters_version

    def on_outcome(self, outcome: Outcome) -> None:
        """The supervisor is done with a chunk."""
        if self._is_current(outcome.episode_id) and not is_earlier(outcome, self._running_ns):
            self._sent += outcome.steps_sent
            self._clipped += outcome.steps_clipped
            if outcome.source is not ChunkSource.RESET:
                self._human += outcome.human_steps

    def on_episode(self, event: Episode, now_s: float, job_wall_s: float) -> EpisodeRecord | None:
        """Take a change of an episode.

        Returns:
            The record of an episode that has ended or got another label; None for anything else.
        """
        if event.state == EpisodeState.IDLE:
            return None
        if event.state == EpisodeState.ENDED:
            return self._on_end(event, now_s, job_wall_s)
        new = not self._is_current(event.episode_id)
        self.current = event
        if event.state == EpisodeState.RESETTING and new:
            self._begin(event, now_s)
        elif event.state == EpisodeState.RUNNING:
            self._running_ns = event.stamp_ns
        return None

    def _is_current(self, episode_id: str) -> bool:
        return self.current is not None and self.current.episode_id == episode_id

    def _begin(self, event: Episode, now_s: float) -> None:
        self._began_s, self._began_ns, self._running_ns = now_s, event.stamp_ns, 0
        self.t_context, self._z_norm, self._latency_ms = [], [], []
        self._sent = self._clipped = self._human = self._version = 0

    def _on_end(self, event: Episode, now_s: float, job_wall_s: float) -> EpisodeRecord | None:
        if not self._is_current(event.episode_id):
            return self._relabel(event)
        self.current = None
        attempt = self.attempts.get(event.episode_id, 0)
        self.attempts[event.episode_id] = attempt + 1
        reset_end_ns = self._running_ns or event.stamp_ns
        record = EpisodeRecord(
            episode_id=event.episode_id,
            index=event.index,
            phase=PHASE_NAMES[event.phase],
            outcome=event.outcome.name.lower(),
            stamp_ns=event.stamp_ns,
            attempt=attempt,
            reason=event.reason,
            labelled_by=event.labelled_by,
            method=event.method,
            seed=event.seed,
            decisions=event.decisions,
            robot_seconds=round(event.robot_seconds, 3),
            reset_seconds=round(max(0, reset_end_ns - self._began_ns) / NANOSECONDS, 3),
            wall_s=round(now_s - self._began_s, 3),
            job_wall_s=round(job_wall_s, 1),
            t_context=list(self.t_context),
            z_norm=self._z_norm,
            latency_ms=self._latency_ms,
            steps_sent=self._sent,
            steps_clipped=self._clipped,
            human_steps=self._human,
            parameters_version=self._version,
            bundle_hash=self.bundle_hash,
            learner=dict(self.learner),
        )
        self._written[event.episode_id] = record
        return record

    def _relabel(self, event: Episode) -> EpisodeRecord | None:
        before = self._written.get(event.episode_id)
        if before is None or event.outcome == EpisodeOutcome.NONE:
            return None
        outcome = event.outcome.name.lower()
        if (before.outcome, before.labelled_by) == (outcome, event.labelled_by):
            return None  # the same event again
        record = replace(
            before, outcome=outcome, reason=event.reason, labelled_by=event.labelled_by
        )
        self._written[event.episode_id] = record
        return record
