"""The chunk that runs and the one that may wait behind it: who goes on from whom, in what order."""

from __future__ import annotations

from dataclasses import dataclass

from tmrl_ros.core.types import Chunk, ChunkResult, ChunkSource, Outcome
from tmrl_ros.safety.execution import Execution, unsent_outcome
from tmrl_ros.safety.state_rules import Measured


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far chunks are made ahead.

    `rows`: the next chunk is wanted when the running one has so many rows left; 0 = when it has
    ended. `waits`: those rows are not sent before the next chunk is there. It is for simulated time
    that stands still meanwhile; without it the arm goes on, and holds where the rows end.
    """

    rows: int = 0
    waits: bool = False


class Line:
    """One chunk runs, at most one waits behind it, and a policy's come in the order of decisions.

    `running` is None while nothing runs. `behind` is the one that waits. A chunk of which nothing
    is to be executed waits there too, so that outcomes keep the order of decisions.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.running: Execution | None = None
        self.behind: Execution | Chunk | None = None
        self._done: Chunk | None = None
        self._last_decision: tuple[str, int, int] | None = None

    def in_order(self, chunk: Chunk) -> bool:
        """Note a policy's decision; False when it or a later one of its episode came before.

        An episode that is repeated after an abort numbers its decisions anew, from 0.
        """
        if chunk.source is not ChunkSource.POLICY:
            return True
        last = self._last_decision
        if last is not None and last[0] == chunk.episode_id and chunk.sequence <= last[1]:
            repeated = chunk.decision == 0 and chunk.stamp_ns > last[2]
            if not repeated:
                return False
        self._last_decision = (chunk.episode_id, chunk.sequence, chunk.stamp_ns)
        return True

    def may_wait(self, chunk: Chunk) -> bool:
        """Whether a chunk is the one that goes on from the running one."""
        run = self.running
        return run is not None and self.behind is None and _follows(chunk, run.chunk)

    def goes_on(self, chunk: Chunk) -> bool:
        """Whether the rows that a chunk takes for carried out were those of the last chunk.

        That one has been carried out to its end, and nothing has been since.
        """
        if not chunk.committed_steps:
            return True
        return self._done is not None and _follows(chunk, self._done)

    def ended(self, chunk: Chunk | None) -> None:
        """The running chunk has ended: `chunk` if it was carried out to its end."""
        self.running, self._done = None, chunk

    def take_behind(self) -> Execution | Chunk | None:
        """The one that waits, which then does not any more."""
        behind, self.behind = self.behind, None
        return behind

    def drop(self, reason: str, measured: Measured | None) -> list[Outcome]:
        """End whatever runs or waits; returns its outcomes, in order."""
        run, behind = self.running, self.take_behind()
        self.ended(None)
        stamp_ns = measured.stamp_ns if measured is not None else 0
        dropped: list[Outcome] = []
        if run is not None and run.started and measured is not None:
            dropped.append(run.outcome(ChunkResult.ABORTED, reason, measured))
        elif run is not None:
            dropped.append(unsent_outcome(run.chunk, ChunkResult.REJECTED, reason, stamp_ns))
        if isinstance(behind, Chunk):
            dropped.append(unsent_outcome(behind, ChunkResult.SKIPPED, "", stamp_ns))
        elif behind is not None:
            rejected = ChunkResult.REJECTED
            dropped.append(unsent_outcome(behind.chunk, rejected, reason, stamp_ns))
        return dropped


def _follows(chunk: Chunk, before: Chunk) -> bool:
    """Whether a policy's chunk is the next decision after another, and no older."""
    return (
        chunk.source is before.source is ChunkSource.POLICY
        and chunk.episode_id == before.episode_id
        and chunk.sequence == before.sequence + 1
        and chunk.stamp_ns >= before.stamp_ns
        and chunk.committed_steps <= before.execute_steps
    )
