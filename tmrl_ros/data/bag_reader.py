"""Read whole episodes and sessions back from their bags as core types, without ROS."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmrl_ros.core import topics
from tmrl_ros.core.attempts import is_earlier
from tmrl_ros.core.types import Chunk, Episode, EpisodeState, Outcome, Reward, RobotSample, Target
from tmrl_ros.data import decode
from tmrl_ros.data.assembler import by_person
from tmrl_ros.data.bag_stream import BagStream, is_topic
from tmrl_ros.data.bag_writer import ABOUT_FILE
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.data.trims import Trim

Piece = Episode | Chunk | Outcome | Reward


@dataclass
class EpisodeRecord:
    """What one bag tells about its episode. `complete` is False for a bag without its end.

    `trim` is where a person cut it, which no bag tells (`data/recount.py`).
    """

    path: Path
    episode_id: str
    about: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    events: list[Episode] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    reset_chunks: list[Chunk] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    rewards: list[Reward] = field(default_factory=list)
    observations: list[RecordedObservation] = field(default_factory=list)
    robot: list[RobotSample] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    trim: Trim | None = None
    others: list[Piece] = field(default_factory=list)
    """What came when the bag of its own episode was closed already (labels above all)."""

    @property
    def ended(self) -> Episode | None:
        """The last ENDED event, a person's label before the reward's."""
        ended = [event for event in self.events if event.state is EpisodeState.ENDED]
        labels = [event for event in ended if by_person(event)]
        last = labels or ended
        return last[-1] if last else None

    def add(self, piece: Piece) -> None:
        """Put an event, a chunk of the policy, an outcome or a reward where it belongs."""
        match piece:
            case Episode():
                self.events.append(piece)
            case Chunk():
                self.chunks.append(piece)
            case Outcome():
                self.outcomes.append(piece)
            case Reward():
                self.rewards.append(piece)


def bag_folders(session: Path) -> list[Path]:
    """Folders of a session's bags in the order they were recorded, without those moved aside."""
    folder = session / "episodes" if (session / "episodes").is_dir() else session
    found = [
        item
        for item in folder.iterdir()
        if item.is_dir() and not is_aside(item.name) and any(item.glob("*.mcap"))
    ]
    return sorted(found, key=lambda item: (_started_ns(item), item.name))


def recorded_folders(session: Path) -> list[Path]:
    """Every folder below a session's bags, oldest first, also those moved aside or damaged.

    Unlike `bag_folders` it leaves nothing out: for whoever accounts for all that was recorded.
    """
    folder = session / "episodes" if (session / "episodes").is_dir() else session
    if not folder.is_dir():
        return []
    found = [item for item in folder.iterdir() if item.is_dir() and _is_bag(item)]
    return sorted(found, key=lambda item: (_started_ns(item), item.name))


def _is_bag(folder: Path) -> bool:
    return (folder / ABOUT_FILE).exists() or any(folder.glob("*.mcap"))


def is_aside(name: str) -> bool:
    """Whether a folder of this name was moved aside (a repeated episode, an empty bag)."""
    return ".aborted-" in name or ".empty-" in name


def is_label(name: str) -> bool:
    """Whether a folder of this name holds only a label that was given after its episode's bag."""
    return ".label-" in name


def read_about(path: Path) -> dict[str, str]:
    """What the recorder wrote about a bag when it opened it; empty if that is lost."""
    try:
        about = json.loads((path / ABOUT_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in about.items()} if isinstance(about, dict) else {}


def read_episode(
    path: Path, *, observations: bool = False, images: bool = False, robot: bool = False
) -> EpisodeRecord:
    """Read the record of one episode; a damaged tail is ignored.

    Args:
        path: Folder of the bag.
        observations: Read observations too.
        images: ... with their images and points.
        robot: Read `robot/state` and `robot/target` too.

    Raises:
        BagError: There is no bag.
    """
    about = read_about(path)
    record = EpisodeRecord(path, about.get("episode_id", ""), about)
    readers: dict[str, Callable[[Any], None]] = {
        topics.EPISODE: lambda m: record.events.append(decode.episode(m)),
        topics.ACTION_CHUNK: lambda m: record.chunks.append(decode.chunk(m)),
        topics.RESET_CHUNK: lambda m: record.reset_chunks.append(decode.chunk(m)),
        topics.CHUNK_OUTCOME: lambda m: record.outcomes.append(decode.outcome(m)),
        topics.REWARD: lambda m: record.rewards.append(decode.reward(m)),
    }
    if observations or images:
        readers[topics.OBSERVATION] = lambda m: record.observations.append(
            decode.observation(m, images=images)
        )
    if robot:
        readers[topics.ROBOT_STATE] = lambda m: record.robot.append(decode.robot(m))
        readers[topics.ROBOT_TARGET] = lambda m: record.targets.append(decode.target(m))
    stream = BagStream(path, readers)
    by_topic: dict[str, Callable[[Any], None]] = {}
    for message in stream:
        if message.topic not in by_topic:
            name = max((n for n in readers if is_topic(message.topic, n)), key=len)
            by_topic[message.topic] = readers[name]
        by_topic[message.topic](message.decode())
    record.complete = stream.complete
    _keep_own(record)
    return record


def read_session(session: Path) -> list[EpisodeRecord]:
    """Every episode of a session in the order it was recorded.

    What came when the bag of its episode was closed already lies in a later bag, or, for a label,
    in a small bag of its own; here it joins its episode.

    Raises:
        BagError: A folder is no bag.
    """
    records: dict[str, EpisodeRecord] = {}
    late: list[Piece] = []
    for folder in bag_folders(session):
        record = read_episode(folder)
        late += record.others
        if is_label(folder.name):
            late += record.events
        else:
            records[record.episode_id] = record
    for piece in late:
        is_start = isinstance(piece, Episode) and piece.state is not EpisodeState.ENDED
        if piece.episode_id in records and not is_start:
            records[piece.episode_id].add(piece)
    return list(records.values())


def _keep_own(record: EpisodeRecord) -> None:
    """Tell the bag's episode from what came late, from another one or an earlier attempt."""
    if not record.episode_id:
        named = [event.episode_id for event in record.events[:1]]
        record.episode_id = named[0] if named else record.path.name
    own = record.episode_id
    pieces: list[Piece] = [*record.events, *record.chunks, *record.outcomes, *record.rewards]
    record.others = [piece for piece in pieces if piece.episode_id != own]
    record.events, record.chunks, record.outcomes, record.rewards = [], [], [], []
    mine = [piece for piece in pieces if piece.episode_id == own]
    begun = [item.stamp_ns for item in mine if _is_running(item)]
    running_ns = min(begun, default=0)
    for piece in mine:
        if isinstance(piece, Episode) or not is_earlier(piece, running_ns):
            record.add(piece)
    record.reset_chunks = [item for item in record.reset_chunks if item.episode_id == own]
    record.observations = [
        item
        for item in record.observations
        if item.episode_id == own and item.stamp_ns >= running_ns
    ]


def _is_running(piece: Piece) -> bool:
    return isinstance(piece, Episode) and piece.state is EpisodeState.RUNNING


def _started_ns(folder: Path) -> int:
    about = read_about(folder)
    started = about.get("started_ns", "")
    return int(started) if started.isdigit() else 0
