"""Notice that a session was judged again while somebody learns from it."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from tmrl_ros.data.bag_reader import EpisodeRecord, bag_folders, is_label, read_episode
from tmrl_ros.data.recount import as_it_counts
from tmrl_ros.data.reward_sidecar import CHOICE_FILE


class Relabels:
    """Hands out the episodes of a session, as they count now, whenever that has changed."""

    def __init__(self, session: Path) -> None:
        """What counts now is known; only what is chosen later is handed out."""
        self._session = session
        self._known_ns = self._chosen_ns()
        self._waiting: deque[Path] = deque()

    def look(self) -> int:
        """Look whether other estimates were chosen; returns how many episodes wait to be read."""
        chosen_ns = self._chosen_ns()
        if chosen_ns != self._known_ns:
            self._known_ns = chosen_ns
            self._waiting = deque(p for p in bag_folders(self._session) if not is_label(p.name))
        return len(self._waiting)

    def take(self) -> EpisodeRecord | None:
        """The next episode, None when all were handed out.

        Raises:
            BagError: Its bag, or the file beside it, cannot be read. It is not handed out again.
        """
        if not self._waiting:
            return None
        return as_it_counts(self._session, read_episode(self._waiting.popleft()))

    def _chosen_ns(self) -> int:
        """When the choice was made; files are replaced whole."""
        try:
            return (self._session / CHOICE_FILE).stat().st_mtime_ns
        except OSError:
            return 0
