"""Labelled episodes from recorded bags: pictures from the observations, labels from who judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tmrl_ros.core.types import Episode, EpisodeOutcome, Reward
from tmrl_ros.data.assembler import by_person
from tmrl_ros.data.bag_reader import (
    EpisodeRecord,
    bag_folders,
    is_label,
    read_episode,
    read_session,
)
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.rewards.learned.episodes import (
    Frames,
    LabelledEpisode,
    Video,
    from_outcome,
    of_another_task,
)
from tmrl_ros.rewards.simulator import MODEL as TRUTH

LEAST_FRAMES = 2


@dataclass(frozen=True)
class RecordedFrames:
    """Observations of one bag in their order, and their pictures (T, cameras, h, w, 3)."""

    record: EpisodeRecord
    observations: Sequence[RecordedObservation]
    frames: Frames

    @property
    def prompt(self) -> str:
        """What was to be done."""
        return self.observations[0].prompt


def recorded_frames(bag: Path, cameras: Sequence[str]) -> RecordedFrames | None:
    """Pictures of one bag; None if it holds too few observations.

    Raises:
        BagError: No bag, or an observation lacks a camera.
    """
    record = read_episode(bag, images=True)
    rows = sorted({item.sequence: item for item in record.observations}.items())
    observations = [item for _, item in rows]
    if len(observations) < LEAST_FRAMES:
        return None
    for item in observations:
        if missing := [name for name in cameras if name not in item.images]:
            raise BagError(
                f"{bag}: observation {item.sequence} has no picture of camera {missing[0]!r}, "
                f"it has {sorted(item.images)}."
            )
    frames = np.stack([[item.images[name] for name in cameras] for item in observations])
    return RecordedFrames(record, observations, frames)


def episodes_from_bags(
    session: Path, cameras: Sequence[str], texts: Mapping[str, tuple[str, ...]]
) -> Iterator[list[LabelledEpisode]]:
    """Labelled episodes of a session, one list per bag.

    A person's word counts most. Where nobody spoke and a simulator judged, its progress and success
    are the labels; else the outcome is. Aborted episodes are left out. A success is also an episode
    of every instruction in `texts` that means something else, with progress 0.

    Args:
        session: A session, or a folder of bags.
        cameras: Whose pictures, in this order.
        texts: Prompts by what they mean.

    Raises:
        BagError: There is no bag, or one lacks pictures.
    """
    if not session.is_dir() or not (bags := bag_folders(session)):
        raise BagError(f"{session} holds no bags: name a session folder or its episodes folder.")
    ended = {record.path: record.ended for record in read_session(session)}
    for bag in bags:
        end = ended.get(bag)
        if is_label(bag.name) or end is None or end.outcome is EpisodeOutcome.ABORTED:
            continue
        seen = recorded_frames(bag, cameras)
        if seen is not None:
            yield _labelled(seen, end, texts)


def _labelled(
    seen: RecordedFrames, end: Episode, texts: Mapping[str, tuple[str, ...]]
) -> list[LabelledEpisode]:
    meaning = next((name for name, items in texts.items() if seen.prompt in items), None)
    prompts = (seen.prompt,) if meaning is None else texts[meaning]
    video = Video(seen.record.episode_id, end.outcome.name.lower(), seen.frames)
    truth = None if by_person(end) else _by_truth(seen, video, prompts)
    own = truth or from_outcome(video, prompts, end.outcome is EpisodeOutcome.SUCCESS)
    if not own.succeeds or meaning is None:
        return [own]
    others = [items for name, items in texts.items() if name != meaning]
    return [own, *(of_another_task(own, items) for items in others)]


def _by_truth(
    seen: RecordedFrames, video: Video, prompts: tuple[str, ...]
) -> LabelledEpisode | None:
    """Labels of a simulator that judged every observation, None if none did."""
    said: dict[int, Reward] = {
        item.sequence: item for item in seen.record.rewards if item.model == TRUTH and item.valid
    }
    rows = [said.get(item.sequence) for item in seen.observations]
    known = [item for item in rows if item is not None]
    if len(known) < len(rows):
        return None
    return LabelledEpisode(
        video,
        prompts,
        np.array([item.progress for item in known], np.float32),
        np.array([item.success_probability >= 0.5 for item in known]),
    )
