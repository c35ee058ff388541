"""What is said about an episode after it was taken: late estimates, a person's label or cut."""

from __future__ import annotations

from tmrl_ros.data.assembler import EpisodeAssembler
from tmrl_ros.data.bag_reader import Piece
from tmrl_ros.data.transitions import AssembledEpisode
from tmrl_ros.data.trims import Trim

Change = tuple[AssembledEpisode, AssembledEpisode]
"""An episode before and after a late word."""


class TakenEpisodes:
    """Keeps the pieces of episodes that were taken, so that a late one can change their rows."""

    def __init__(self) -> None:
        self._assemblers: dict[str, EpisodeAssembler] = {}
        self._taken: dict[str, AssembledEpisode] = {}

    def take(self, assembler: EpisodeAssembler) -> AssembledEpisode:
        """The episode as far as it is known now; from here on pieces of it are late."""
        episode = assembler.finish()
        self._assemblers[episode.episode_id] = assembler
        self._taken[episode.episode_id] = episode
        return episode

    def forget(self, episode_id: str) -> None:
        """The episode begins anew."""
        self._assemblers.pop(episode_id, None)
        self._taken.pop(episode_id, None)

    def add(self, piece: Piece) -> Change | None:
        """Take a late piece; what it changed, None if it makes no difference."""
        assembler = self._assemblers.get(piece.episode_id)
        if assembler is None:
            return None
        assembler.add(piece)
        return self._changed(assembler)

    def trim(self, episode_id: str, trim: Trim | None) -> Change | None:
        """Cut an episode, or with None take that back; what that changed, if anything."""
        assembler = self._assemblers.get(episode_id)
        if assembler is None:
            return None
        assembler.trim = trim
        return self._changed(assembler)

    def _changed(self, assembler: EpisodeAssembler) -> Change | None:
        name = assembler.episode_id
        before, after = self._taken[name], assembler.finish()
        if _meaning(before) == _meaning(after):
            return None
        self._taken[name] = after
        return before, after


def _meaning(episode: AssembledEpisode) -> tuple[object, ...]:
    """What of an episode a late piece can change."""
    rows = [
        (row.decision, row.reward, row.terminated, row.truncated, row.success_episode)
        for row in episode.transitions
    ]
    ended = episode.ended
    return rows, ended.outcome if ended is not None else None
