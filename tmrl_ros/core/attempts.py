"""Tell messages of a repeated episode from those of an earlier attempt at it.

A repeated episode has the name and the sequence numbers of its first attempt, so that only the
robot's clock tells a late answer to the one from an answer to the other.
"""

from __future__ import annotations

from tmrl_ros.core.types import (
    Chunk,
    ChunkSource,
    Episode,
    EpisodeState,
    Outcome,
    Reward,
)

AGE_TOLERANCE_NS = 50_000_000  # of what an outcome says about its chunk's age; resets take longer


def is_earlier(piece: Chunk | Outcome | Reward, running_ns: int) -> bool:
    """Whether a piece is older than the attempt that runs since `running_ns` (robot clock).

    What belongs to resets is never too old, for a reset comes before RUNNING.
    """
    match piece:
        case Chunk(source=ChunkSource.RESET) | Outcome(source=ChunkSource.RESET):
            return False
        case Outcome(stamp_ns=0):  # from before the first robot state
            return False
        case Outcome():
            since_chunk_ns = round((piece.duration_s + piece.chunk_age_s) * 1e9)
            return piece.stamp_ns - since_chunk_ns < running_ns - AGE_TOLERANCE_NS
        case _:
            return piece.stamp_ns < running_ns


def is_ahead(stamp_ns: int, episode_id: str, decision: int, known: Episode | None) -> bool:
    """Whether an observation belongs to an attempt that is not known to run yet.

    Observations and words on episodes come on two topics, whose order nobody keeps: a busy process
    may read the first observation before it reads that the episode runs.

    Args:
        stamp_ns: Stamp of the observation, robot clock.
        episode_id: Episode that it names.
        decision: Its number in the episode.
        known: The last word on an episode that was read, if any.
    """
    if known is None:
        return True
    if stamp_ns < known.stamp_ns:
        return False
    if episode_id != known.episode_id or known.state < EpisodeState.RUNNING:
        return True
    # After the end the last observation of it comes, never its first: that is a repeat's.
    return known.state is EpisodeState.ENDED and decision == 0
