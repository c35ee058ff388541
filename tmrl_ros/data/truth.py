"""Compare how episodes ended with the simulator's truth in their bags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tmrl_ros.core import topics
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.data import decode
from tmrl_ros.data.bag_stream import BagStream, is_topic

NEIGHBOUR_NS = 400_000_000  # one decision: what passes the line between two pictures is no mistake


@dataclass(frozen=True)
class Checked:
    """One episode: how it ended, and whether the task was really done.

    Attributes:
        episode_id: Which.
        success: Whether it ended as a success, by whoever judged it.
        really: Whether the truth said so at any moment of it.
        then: Whether the truth said so within one decision of its end.
    """

    episode_id: str
    success: bool
    really: bool
    then: bool


def check(bag: Path) -> Checked | None:
    """Compare an episode's end with the truth in its bag.

    Returns:
        None for an aborted or unfinished episode, and where no truth was recorded, as on a real
        robot.

    Raises:
        BagError: There is no bag.
    """
    ended, running_ns = None, -1
    truths: list[tuple[int, bool]] = []
    for message in BagStream(bag, [topics.EPISODE, topics.GROUND_TRUTH]):
        if is_topic(message.topic, topics.EPISODE):
            event = decode.episode(message.decode())
            if event.state is EpisodeState.RUNNING:
                running_ns, truths = event.stamp_ns, []
            if event.state is EpisodeState.ENDED and ended is None:
                ended = event
        elif running_ns >= 0 and ended is None:
            truth = message.decode()
            truths.append((decode.to_ns(truth.header.stamp), bool(truth.success)))
    during = [(stamp, yes) for stamp, yes in truths if stamp >= running_ns]
    if ended is None or ended.outcome is EpisodeOutcome.ABORTED or not during:
        return None
    last_ns = max(stamp for stamp, _ in during)
    return Checked(
        ended.episode_id,
        ended.outcome is EpisodeOutcome.SUCCESS,
        any(yes for _, yes in during),
        any(yes for stamp, yes in during if stamp >= last_ns - NEIGHBOUR_NS),
    )
