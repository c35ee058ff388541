"""Listen to how far the running chunk is, for those who make the next one meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tmrl_msgs.msg import ChunkOutcome
from tmrl_ros.core import topics
from tmrl_ros.core.attempts import is_earlier
from tmrl_ros.core.types import ChunkSource, Episode, Outcome
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import RELIABLE, ConfiguredNode
from tmrl_ros.policies.ahead import Ahead


def follow_chunks(
    node: ConfiguredNode, episode: Callable[[], Episode | None], told: Callable[[], None]
) -> Ahead:
    """What is known of the running chunk of the episode that goes on.

    Args:
        node: Listens.
        episode: The newest word on an episode.
        told: Called after every word on a chunk of it.
    """
    ahead = Ahead(node.config.safety, node.config.robot.control_rate_hz)

    def take(listener: Callable[[Outcome], None], msg: ChunkOutcome) -> None:
        outcome, known = decode.outcome(msg), episode()
        if known is None or outcome.episode_id != known.episode_id:
            return
        if is_earlier(outcome, known.stamp_ns) or outcome.source is ChunkSource.RESET:
            return
        listener(outcome)
        told()

    for topic, listener in (
        (topics.CHUNK_PROGRESS, ahead.on_progress),
        (topics.CHUNK_OUTCOME, ahead.on_outcome),
    ):
        node.create_subscription(ChunkOutcome, topic, partial(take, listener), RELIABLE)
    return ahead
