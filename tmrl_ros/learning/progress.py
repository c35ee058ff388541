"""How far a learner has come: what a checkpoint counts, and what is published of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tmrl_ros.core.types import Episode, EpisodeOutcome, Phase
from tmrl_ros.data.transitions import AssembledEpisode
from tmrl_ros.learning.warmup import Counts


@dataclass(frozen=True)
class Weights:
    """Actor weights ready to be published."""

    version: int
    trained_through: str
    metadata_json: str
    data: bytes


@dataclass
class Progress:
    """Counters that a checkpoint keeps.

    `prior_through` is the last episode before this method took over from another one; "" if none.
    """

    trained_through: str = ""
    episodes: int = 0
    successes: int = 0
    version: int = 0
    warmup: Counts = field(default_factory=dict)
    steering: dict[str, float] | None = None  # decided before the first update, then it stays
    prior_through: str = ""


def may_learn(ended: Episode | None) -> bool:
    """Whether an episode that ended so is one to learn from."""
    if ended is None or ended.outcome is EpisodeOutcome.ABORTED:
        return False
    return ended.phase is Phase.TRAIN and ended.learn


def succeeded(episode: AssembledEpisode) -> bool:
    """Whether an episode ended with success."""
    return episode.ended is not None and episode.ended.outcome is EpisodeOutcome.SUCCESS
