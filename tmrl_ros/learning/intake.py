"""Episodes on their way to the learner: those that run, those that wait, those that were taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tmrl_ros.core.types import Episode, EpisodeState, Phase
from tmrl_ros.data.assembler import EpisodeAssembler
from tmrl_ros.data.bag_reader import EpisodeRecord, Piece
from tmrl_ros.data.transitions import AssembledEpisode
from tmrl_ros.data.trims import Trim
from tmrl_ros.learning.late import Change, TakenEpisodes
from tmrl_ros.learning.progress import may_learn


class Intake:
    """Puts messages together to episodes, which wait in `queue` until they are learned from.

    Args:
        recall: Reads what was recorded of an episode.
    """

    def __init__(self, recall: Callable[[str], EpisodeRecord | None]) -> None:
        self._recall = recall
        self._assemblers: dict[str, EpisodeAssembler] = {}
        self._restored: set[str] = set()
        self._taken = TakenEpisodes()
        self.queue: deque[AssembledEpisode] = deque()
        self.dropped_rows = 0

    def restore(self, assembler: EpisodeAssembler) -> AssembledEpisode:
        """Take an episode of an earlier run, which does not wait here."""
        self._restored.add(assembler.episode_id)
        return self._taken.take(assembler)

    def add(self, piece: Piece) -> Change | None:
        """Take one message, of a running episode or a late one; what a late one changed."""
        if isinstance(piece, Episode):
            if piece.phase is not Phase.TRAIN or not piece.learn:
                return None
            # What was restored is said again to a learner that was started late.
            if piece.state is EpisodeState.RESETTING and piece.episode_id not in self._restored:
                self._taken.forget(piece.episode_id)
                self._assemblers.pop(piece.episode_id, None)
                self._assemblers[piece.episode_id] = EpisodeAssembler(piece.episode_id)
        assembler = self._assemblers.get(piece.episode_id)
        if assembler is None:
            return self._changed(self._taken.add(piece))
        if assembler.add(piece) is not None:
            if may_learn(assembler.ended):
                self._close_before(piece.episode_id)
            self._finish(piece.episode_id)
        return None

    def trim(self, episode_id: str, trim: Trim | None) -> Change | None:
        """A person cut an episode that has ended, or with None took that back."""
        waiting = self._assemblers.get(episode_id)
        if waiting is None:
            return self._changed(self._taken.trim(episode_id, trim))
        waiting.trim = trim
        return None

    @property
    def incomplete(self) -> str:
        """The first episode that has ended although something of it has not come, or ""."""
        ended = (key for key, item in self._assemblers.items() if item.ended is not None)
        return next(ended, "")

    def close_incomplete(self, episode_id: str) -> None:
        """Fill the gaps of an episode from its record and use it as far as it goes."""
        record = self._recall(episode_id)
        if record is not None:
            pieces: list[Piece] = [*record.chunks, *record.outcomes, *record.rewards]
            for piece in [*pieces, *record.events]:
                self._assemblers[episode_id].add(piece)
        self._finish(episode_id)

    def _close_before(self, episode_id: str) -> None:
        """Wait no longer for what is missing of the episodes before one.

        All of a later episode is there, and every topic keeps its order: what has not come by now
        was sent before this learner listened.
        """
        for other in list(self._assemblers):
            if other == episode_id:
                return
            self.close_incomplete(other)

    def _finish(self, episode_id: str) -> None:
        assembler = self._assemblers.pop(episode_id)
        if not may_learn(assembler.ended):
            return
        episode = self._taken.take(assembler)
        self.dropped_rows += sum(episode.dropped.values())
        self.queue.append(episode)

    def _changed(self, change: Change | None) -> Change | None:
        """Let a late estimate, label or cut change an episode that waits."""
        if change is None:
            return None
        before, after = change
        self.dropped_rows += sum(after.dropped.values()) - sum(before.dropped.values())
        for place, waiting in enumerate(self.queue):
            if waiting.episode_id == after.episode_id:
                self.queue[place] = after
        return change
