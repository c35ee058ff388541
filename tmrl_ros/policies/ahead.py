"""Which rows of the running chunk the next one begins with, while it is made ahead.

The supervisor says how far the running chunk is when the next one is wanted (`chunk_progress`).
From there on the rest of its rows is known: they are committed.
"""

from __future__ import annotations

import numpy as np

from tmrl_ros.core.safety_config import SafetyConfig
from tmrl_ros.core.types import NANOSECONDS, Chunk, ChunkResult, FloatArray, Outcome

NO_ROWS = np.zeros((0, 4))


class Ahead:
    """Follows the newest chunk that was handed out to be executed.

    Args:
        safety: What the supervisor pulls into the workspace and slows down.
        rate_hz: Control rate.
    """

    def __init__(self, safety: SafetyConfig, rate_hz: float) -> None:
        self._row_m, self._rate_hz = safety.max_speed_mps / rate_hz, rate_hz
        self._low, self._high = np.array(safety.workspace_min_m), np.array(safety.workspace_max_m)
        self._chunk: Chunk | None = None
        self._progress: dict[int, Outcome] = {}
        self._outcomes: dict[int, Outcome] = {}

    def begin(self) -> None:
        """An episode begins: what was handed out before does not count."""
        self._chunk = None
        self._progress.clear()
        self._outcomes.clear()

    def on_chunk(self, chunk: Chunk) -> None:
        """A chunk was handed out."""
        self._chunk = chunk if chunk.execute_steps > 0 else None
        for known in (self._progress, self._outcomes):
            for number in [number for number in known if number < chunk.sequence]:
                del known[number]

    def on_progress(self, progress: Outcome) -> None:
        """The next chunk is wanted: what was done of a chunk by then."""
        self._progress[progress.sequence] = progress

    def on_outcome(self, outcome: Outcome) -> None:
        """A chunk has ended."""
        self._outcomes[outcome.sequence] = outcome

    def knows(self, sequence: int, stamp_ns: int) -> bool:
        """Whether it is known what goes on at an observation.

        Observations, progress and outcomes come on topics of their own, whose order nobody keeps.
        """
        before = self._before(sequence)
        if before is None or before.sequence in self._progress:
            return True
        return self._has_ended(before, stamp_ns)

    def committed(self, sequence: int, stamp_ns: int, position: FloatArray) -> FloatArray:
        """Rows (R, 4) that are still carried out after an observation, R = 0 where none is.

        They are where targets will be, slowed down and pulled into the workspace as the supervisor
        does, not where the chunk before asked for: what goes on from there would drift away.

        Args:
            sequence: Number of the observation.
            stamp_ns: Its robot time.
            position: Tool position (3,) that the new chunk's rows refer to.
        """
        before = self._before(sequence)
        done = None if before is None else self._progress.get(before.sequence)
        if before is None or done is None or self._has_ended(before, stamp_ns):
            return NO_ROWS
        first = before.committed_steps
        rows = before.actions[: first + before.execute_steps].copy()
        rows[:, :3] = np.clip(rows[:, :3] + before.reference_pose.position, self._low, self._high)
        if done.steps_sent:
            last = before.reference_pose.position + done.executed[-1, :3]
        else:
            last = rows[first - 1, :3] if first else before.reference_pose.position
        rest = _slowed(rows[first + done.steps_sent :], last, self._row_m)
        passed = round((stamp_ns - done.stamp_ns) / NANOSECONDS * self._rate_hz)
        rest = rest[max(0, passed) :]
        rest[:, :3] -= position
        rest[:, 3] = np.clip(rest[:, 3], 0.0, 1.0)
        return rest

    def _before(self, sequence: int) -> Chunk | None:
        chunk = self._chunk
        return chunk if chunk is not None and chunk.sequence == sequence - 1 else None

    def _has_ended(self, chunk: Chunk, stamp_ns: int) -> bool:
        outcome = self._outcomes.get(chunk.sequence)
        if outcome is None:
            return False
        return outcome.result is not ChunkResult.EXECUTED or outcome.stamp_ns <= stamp_ns


def _slowed(rows: FloatArray, last: FloatArray, row_m: float) -> FloatArray:
    """Targets (R, 4) on the way through rows (R, 4), each at most `row_m` from the one before."""
    sent = rows.copy()
    for row in sent:
        way = row[:3] - last
        length = float(np.linalg.norm(way))
        row[:3] = last + way * min(1.0, row_m / max(length, 1e-9))
        last = row[:3]
    return sent
