"""Parts of recorded episodes by time: the index that `tmrl retrieve` writes, and what is in it.

Bags are never changed: an index names them, and the robot's clock says from when to when.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.types import ChunkSource, EpisodeOutcome
from tmrl_ros.data.bag_reader import EpisodeRecord, read_episode
from tmrl_ros.data.dataset import Demonstration, demonstration_from
from tmrl_ros.data.episodes_log import write_json_atomic

KIND = "tmrl_segments"
VERSION = 1
ANYONE = (ChunkSource.POLICY, ChunkSource.HUMAN, ChunkSource.REPLAY)


@dataclass(frozen=True)
class Segment:
    """A part of a bag: `begin_ns` to `end_ns` on the robot's clock, and how unlike it is."""

    bag: Path
    begin_ns: int
    end_ns: int
    distance: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.begin_ns) / 1e9


@dataclass(frozen=True)
class SegmentIndex:
    """Segments, the best first, and what they were found for.

    Attributes:
        demonstration: Bag of the demonstration that they resemble.
        prompt: What it shows, and what the segments therefore show.
    """

    demonstration: Path
    prompt: str
    segments: Sequence[Segment]


def write_index(path: Path, index: SegmentIndex) -> None:
    """Write an index; bags are named from its folder, so that both can be moved together."""
    folder = path.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)

    def name(bag: Path) -> str:
        return os.path.relpath(bag.absolute(), folder)

    segments = [{**asdict(item), "bag": name(item.bag)} for item in index.segments]
    content = {
        "kind": KIND,
        "version": VERSION,
        "demonstration": name(index.demonstration),
        "prompt": index.prompt,
        "segments": segments,
    }
    write_json_atomic(path, content)


def is_index(path: Path) -> bool:
    """Whether a path names a file of this kind."""
    return path.suffix == ".json" and path.is_file()


def read_index(path: Path) -> SegmentIndex:
    """Read what `write_index` wrote.

    Raises:
        ConfigurationError: It is no such file.
    """
    try:
        content = json.loads(path.read_text())
        if content["kind"] != KIND or content["version"] != VERSION:
            raise ValueError(f"kind {content['kind']!r}, version {content['version']!r}")
        folder = path.absolute().parent
        segments = [
            Segment(
                Path(os.path.normpath(folder / item["bag"])),
                int(item["begin_ns"]),
                int(item["end_ns"]),
                float(item["distance"]),
            )
            for item in content["segments"]
        ]
        demonstration = Path(os.path.normpath(folder / content["demonstration"]))
        return SegmentIndex(demonstration, str(content["prompt"]), segments)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is no index of segments ({error}): make one with `tmrl retrieve`."
        ) from None


def load_segments(path: Path, *, pictures: bool = False) -> list[Demonstration]:
    """The segments of an index as demonstrations of its prompt; what moved nobody is left out.

    Raises:
        OperatorError: The index or a bag cannot be read.
    """
    index = read_index(path)
    found: list[Demonstration] = []
    records: dict[Path, EpisodeRecord] = {}
    for segment in index.segments:
        if segment.bag not in records:
            records[segment.bag] = read_episode(
                segment.bag, observations=True, images=pictures, robot=True
            )
        whole = demonstration_from(records[segment.bag], sources=ANYONE, pictures=pictures)
        part = None if whole is None else part_of(whole, segment.begin_ns, segment.end_ns)
        if part is not None:
            found.append(replace(part, prompt=index.prompt, outcome=EpisodeOutcome.SUCCESS))
    return found


def part_of(whole: Demonstration, begin_ns: int, end_ns: int) -> Demonstration | None:
    """The part of a demonstration between two stamps; None if no observation lies in it.

    It begins with the last observation that is not later than `begin_ns`, from which its rows are
    counted, and ends with the last target before `end_ns`.
    """
    track = whole.trajectory
    firsts = np.concatenate([[0], np.cumsum(whole.execute_steps)[:-1]])
    if not len(track.target_stamp_ns) or firsts[-1] >= len(track.target_stamp_ns):
        return None
    observed_ns = track.target_stamp_ns[firsts]  # of the first target of every chunk
    first = max(0, int(np.searchsorted(observed_ns, begin_ns, "right")) - 1)
    stop = int(np.searchsorted(track.target_stamp_ns, end_ns))
    last = int(np.searchsorted(firsts, stop))
    if last <= first or stop - firsts[first] < 2:
        return None
    rows = slice(first, last)
    steps = whole.execute_steps[rows].copy()
    steps[-1] = stop - firsts[last - 1]
    targets = slice(int(firsts[first]), stop)
    after_ns = track.target_stamp_ns[stop - 1]
    measured = (track.stamp_ns >= track.target_stamp_ns[targets.start]) & (
        track.stamp_ns <= after_ns
    )
    return replace(
        whole,
        sequence=whole.sequence[rows],
        state=whole.state[rows],
        objects=whole.objects[rows],
        visible=whole.visible[rows],
        actions=whole.actions[rows],
        execute_steps=steps,
        observations=whole.observations[rows],
        trajectory=replace(
            track,
            stamp_ns=track.stamp_ns[measured],
            ee_positions=track.ee_positions[measured],
            ee_quaternions=track.ee_quaternions[measured],
            gripper_width_m=track.gripper_width_m[measured],
            target_stamp_ns=track.target_stamp_ns[targets],
            target_positions=track.target_positions[targets],
            target_quaternions=track.target_quaternions[targets],
            target_gripper_width_m=track.target_gripper_width_m[targets],
        ),
    )
