"""Demonstrations of a person in bags, with their quality and what was said of them later.

A person often says how an episode ended when its bag is closed already; that word lies in the next
bag, and counts here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tmrl_ros.core.collect_config import PERSON, CollectConfig
from tmrl_ros.core.types import Episode, EpisodeOutcome, EpisodeState
from tmrl_ros.data.assembler import by_person
from tmrl_ros.data.bag_reader import EpisodeRecord, bag_folders, is_label, read_episode
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.dataset import Demonstration, demonstration_from
from tmrl_ros.data.quality import Finding, Quality, quality_of


@dataclass(frozen=True)
class Collected:
    """One recorded episode.

    Attributes:
        demonstration: What was demonstrated; None where nobody moved the arm.
        by_person: A person drove from the beginning to the end, so that its quality counts.
    """

    path: Path
    quality: Quality
    demonstration: Demonstration | None
    by_person: bool

    @property
    def usable(self) -> bool:
        """Whether it is learned from unless somebody asks for all."""
        if self.demonstration is None:
            return False
        if self.by_person:
            return self.quality.good
        return self.demonstration.outcome is EpisodeOutcome.SUCCESS


def demonstration_sessions(folder: Path) -> list[Path]:
    """Folders with bags: a session, a folder of bags, or the sessions of a folder.

    Raises:
        BagError: There is none.
    """
    sessions = sorted(path.parent for path in folder.glob("*/episodes")) or [folder]
    found = [item for item in sessions if item.is_dir() and bag_folders(item)]
    if not found:
        raise BagError(f"{folder} holds no bags: name a session folder or its episodes folder.")
    return found


def read_collected(
    folder: Path, rules: CollectConfig, *, pictures: bool = False, only: str | None = None
) -> list[Collected]:
    """Every episode below a folder, in the order of recording.

    Args:
        folder: A session, a folder of bags, a folder of sessions, or one bag.
        rules: What a good demonstration looks like.
        pictures: Keep the observations, with images and points (about 70 kB each).
        only: Name of the one episode that is wanted; all by default.

    Raises:
        BagError: There is no bag.
    """
    found: list[Collected] = []
    if any(folder.glob("*.mcap")):  # one bag; words that came late lie in those beside it
        return list(_read_session(folder.parent, rules, pictures=pictures, only=folder.name))
    for session in demonstration_sessions(folder):
        found += _read_session(session, rules, pictures=pictures, only=only)
    return found


def _read_session(
    session: Path, rules: CollectConfig, *, pictures: bool, only: str | None
) -> Iterator[Collected]:
    bags = bag_folders(session)
    records: list[EpisodeRecord] = []
    damaged: dict[Path, str] = {}
    later: dict[str, Episode] = {}
    kept: list[Path] = []
    for bag in bags:
        wanted = not is_label(bag.name) and only in (None, bag.name)
        try:
            record = read_episode(
                bag, observations=wanted, images=wanted and pictures, robot=wanted
            )
        except BagError as error:
            damaged[bag] = str(error)
            continue
        said = record.events if is_label(bag.name) else record.others
        ends = [item for item in said if isinstance(item, Episode)]
        later |= {e.episode_id: e for e in ends if e.state is EpisodeState.ENDED and by_person(e)}
        if wanted:
            records.append(record)
            kept.append(bag)
    for bag, why in damaged.items():
        yield Collected(bag, Quality(bag.name, findings=(Finding("damaged", why),)), None, True)
    for bag, record in zip(kept, records, strict=True):
        if (word := later.get(record.episode_id)) is not None:
            record.events.append(word)
        yield _collected(bag, record, rules, pictures=pictures)


def _collected(
    bag: Path, record: EpisodeRecord, rules: CollectConfig, *, pictures: bool
) -> Collected:
    quality = quality_of(record, rules)
    by_whom = {event.method for event in record.events}
    try:
        demonstration = demonstration_from(record, pictures=pictures)
    except BagError as error:
        wrong = Finding("damaged", str(error))
        quality = replace(quality, findings=(wrong, *quality.findings))
        demonstration = None
    return Collected(bag, quality, demonstration, PERSON in by_whom)


def one_bag(path: Path) -> tuple[Path, str]:
    """The bag that a path names, and the prompt of its episode.

    Raises:
        BagError: It is no bag, or holds no word on an episode.
    """
    if not path.is_dir() or not any(path.glob("*.mcap")):
        raise BagError(f"{path} is no bag: name the folder of one episode, .../episodes/<name>.")
    events = read_episode(path).events
    if not events:
        raise BagError(f"{path} says nothing of an episode: name another.")
    return path, events[0].prompt


def play_bags(folders: Sequence[Path]) -> list[Path]:
    """Bags of all episodes below folders.

    Raises:
        BagError: A folder holds none.
    """
    found = []
    for folder in folders:
        for session in demonstration_sessions(folder):
            found += [bag for bag in bag_folders(session) if not is_label(bag.name)]
    return found
