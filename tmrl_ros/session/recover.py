"""Episodes that ended in their bag but not in the log, because the session was stopped in between.

Without this they would be run again, and the learner, which reads the bags, would know of an
episode that the log lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tmrl_ros.core import topics
from tmrl_ros.core.types import NANOSECONDS, Episode
from tmrl_ros.data import decode
from tmrl_ros.data.bag_reader import bag_folders, is_label, read_about
from tmrl_ros.data.bag_stream import BagError, BagStream, RawMessage, is_topic
from tmrl_ros.data.items import stamp_of
from tmrl_ros.session.collector import Collector
from tmrl_ros.session.records import EpisodeRecord, append_record, load_records

TOPICS = (topics.EPISODE, topics.OBSERVATION, topics.ACTION_CHUNK, topics.CHUNK_OUTCOME)


def recover_records(session: Path) -> list[str]:
    """Add the missing lines to the session's log, in the order of the bags.

    Returns:
        The episodes that were added.

    Raises:
        OSError: The log cannot be written.
    """
    added: list[str] = []
    records = load_records(session)
    for bag in bag_folders(session) if (session / "episodes").is_dir() else []:
        name = read_about(bag).get("episode_id", "")
        earlier = [record for record in records if record.episode_id == name]
        if is_label(bag.name) or any(not record.aborted for record in earlier):
            continue
        found = _replay(bag, name, records)
        if found is None or any(_same_end(record, found[1]) for record in earlier):
            continue  # it did not end, or the log has this attempt
        append_record(session, *found)
        records.append(found[0])
        added.append(name)
    return added


def _same_end(record: EpisodeRecord, event: Episode) -> bool:
    """A simulated robot's clock starts anew with every run, so the stamp alone does not tell."""
    return (record.stamp_ns, record.robot_seconds) == (event.stamp_ns, event.robot_seconds)


def _replay(
    bag: Path, name: str, records: Sequence[EpisodeRecord]
) -> tuple[EpisodeRecord, Episode] | None:
    """What the session would have written of an episode, and its event; None if it did not end."""
    attempts = [record.attempt + 1 for record in records if record.episode_id == name]
    job_wall_s = max((record.job_wall_s for record in records), default=0.0)
    collector = Collector(attempts={name: max(attempts, default=0)})
    found: tuple[EpisodeRecord, Episode] | None = None
    try:
        for message in BagStream(bag, TOPICS):
            found = _tell(collector, message, job_wall_s) or found
    except (BagError, OSError, ValueError):  # damaged, or just being put aside by the recorder
        return None
    return found


def _tell(
    collector: Collector, message: RawMessage, job_wall_s: float
) -> tuple[EpisodeRecord, Episode] | None:
    now_s = message.stamp_ns / NANOSECONDS
    match next(name for name in TOPICS if is_topic(message.topic, name)):
        case topics.OBSERVATION:
            collector.on_observation(stamp_of(message.data), now_s)
        case topics.ACTION_CHUNK:
            collector.on_chunk(decode.chunk(message.decode()), now_s)
        case topics.CHUNK_OUTCOME:
            collector.on_outcome(decode.outcome(message.decode()))
        case _:
            event = decode.episode(message.decode())
            record = collector.on_episode(event, now_s, job_wall_s)
            return None if record is None else (record, event)
    return None
