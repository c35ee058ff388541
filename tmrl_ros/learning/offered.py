"""Which of the weights that the learner has published an episode is acted with."""

from __future__ import annotations

from collections import deque

from tmrl_ros.core.types import Episode, Phase
from tmrl_ros.learning.progress import Weights

KEPT = 8


class OfferedWeights:
    """The newest weights; where robot time waits, those from exactly `lag_episodes` ago.

    Fixing the lag makes results independent of how fast the machine is.

    Args:
        lag_episodes: `session.learner_lag_episodes`; None where robot time goes on by itself.
    """

    def __init__(self, lag_episodes: int | None) -> None:
        self._lag_episodes = lag_episodes
        self._offered: deque[Weights] = deque(maxlen=KEPT)

    def add(self, weights: Weights) -> None:
        """Take what the learner has published; an old version comes of one that was restarted."""
        if self._offered and weights.version <= self._offered[-1].version:
            self._offered.clear()
        self._offered.append(weights)

    def of(self, episode: Episode) -> Weights | None:
        """The weights for an episode that begins, None while there are none."""
        if not self._offered:
            return None
        if self._lag_episodes is not None and episode.phase is Phase.TRAIN:
            limit = episode.index - 1 - self._lag_episodes
            fitting = [item for item in self._offered if _index(item.trained_through) <= limit]
            if fitting:
                return fitting[-1]
        return self._offered[-1]


def _index(episode_id: str) -> int:
    """Number at the end of an episode's name; -1 before the first."""
    digits = episode_id.rpartition("_")[2]
    return int(digits) if digits.isdigit() else -1
