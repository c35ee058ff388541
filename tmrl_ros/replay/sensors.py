"""A recorded episode's sensors through perception again: the live code, without a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.core import topics
from tmrl_ros.core.attempts import is_earlier
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import (
    Chunk,
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeState,
    Outcome,
    RobotSample,
)
from tmrl_ros.data import decode
from tmrl_ros.data.bag_stream import BagStream, is_topic
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.data.pictures import SUFFIX
from tmrl_ros.perception.perceiver import Perceiver, Percept
from tmrl_ros.perception.synchroniser import Missing, Synchroniser

FIRST, SECOND, THIRD = range(3)  # order of what has one stamp


@dataclass(frozen=True)
class Seen:
    """An observation as it was recorded, and as perception makes it again.

    `again` is None where it cannot be made; `why` then says what the bag lacks.
    """

    recorded: RecordedObservation
    again: Percept | None
    why: str = ""


@dataclass(frozen=True)
class _Image:
    camera: str
    is_depth: bool
    pixels: Any


@dataclass(frozen=True)
class _Begin:
    """The episode runs; everything seen before is out of date."""


@dataclass(frozen=True)
class _Wanted:
    """An observation, made of what is not older than `due_ns`."""

    recorded: RecordedObservation
    due_ns: int


def read_tape(bag: Path, config: Config) -> Tape:
    """What of a bag is played again: read once, sensors, observations and chunks.

    Raises:
        BagError: There is no bag.
    """
    played = Tape([camera.name for camera in config.cameras.cameras])
    played.read(bag)
    return played


def look_again(played: Tape, config: Config) -> Iterator[Seen]:
    """Every observation of a bag, beside what perception makes of the bag's sensors.

    Stamps are the robot's clock, by which perception aligns; what was recorded is played in their
    order.
    """
    frames = Synchroniser({item.name: item.max_age_s for item in config.cameras.cameras})
    perceiver = Perceiver(config)
    for camera, matrix in played.intrinsics.items():
        frames.add_intrinsics(camera, matrix)
    for item in played.in_order():
        match item:
            case RobotSample():
                frames.add_state(item)
            case (int() as stamp_ns, _Image() as image):
                add = frames.add_depth if image.is_depth else frames.add_color
                add(image.camera, stamp_ns, image.pixels)
            case _Begin():
                frames.drop_frames()
                perceiver.forget()
            case _Wanted(recorded, due_ns):
                bundle = frames.bundle_at(due_ns)
                if isinstance(bundle, Missing):
                    lacks = [f"camera {name}: {what}" for name, what in bundle.cameras.items()]
                    yield Seen(recorded, None, "; ".join([*lacks, bundle.robot]).strip("; "))
                else:
                    yield Seen(recorded, perceiver.perceive(bundle))


class Tape:
    """What of a bag perception and policy listen to, by stamp."""

    def __init__(self, cameras: list[str]) -> None:
        self.intrinsics: dict[str, Any] = {}
        self._events: list[tuple[int, int, Any]] = []
        self._observations: list[RecordedObservation] = []
        self._outcomes: list[Outcome] = []
        self._chunks: list[Chunk] = []
        self._running_ns = 0
        self._readers: dict[str, Callable[[Any], None]] = {
            topics.ROBOT_STATE: self._on_state,
            topics.EPISODE: self._on_episode,
            topics.CHUNK_OUTCOME: self._on_outcome,
            topics.OBSERVATION: self._on_observation,
            topics.ACTION_CHUNK: lambda msg: self._chunks.append(decode.chunk(msg)),
        }
        for camera in cameras:
            self._readers |= {
                topics.color(camera): partial(self._on_image, camera, False),
                topics.color(camera) + SUFFIX: partial(self._on_jpeg, camera),
                topics.depth(camera): partial(self._on_image, camera, True),
                topics.camera_info(camera): partial(self._on_info, camera),
            }

    def read(self, bag: Path) -> None:
        """Read the whole bag."""
        for message in BagStream(bag, self._readers):
            name = max((n for n in self._readers if is_topic(message.topic, n)), key=len)
            self._readers[name](message.decode())

    @property
    def chunks(self) -> list[Chunk]:
        """The chunks of the episode whose observations these are, in order."""
        own = {item.episode_id for item in self._observations if item.stamp_ns >= self._running_ns}
        return [
            item
            for item in self._chunks
            if item.episode_id in own and not is_earlier(item, self._running_ns)
        ]

    def in_order(self) -> Iterator[Any]:
        """States, images with their stamps, and observations, as perception met them."""
        due = {0: self._running_ns}
        for outcome in self._outcomes:
            if not is_earlier(outcome, self._running_ns):
                due[outcome.decision + 1] = outcome.stamp_ns
        events = [(self._running_ns, SECOND, _Begin()), *self._events]
        for item in self._observations:
            if item.stamp_ns >= self._running_ns and item.decision in due:
                events.append((item.stamp_ns, THIRD, _Wanted(item, due[item.decision])))
        for stamp_ns, _, item in sorted(events, key=lambda event: event[:2]):
            yield (stamp_ns, item) if isinstance(item, _Image) else item

    def _on_state(self, msg: Any) -> None:
        sample = decode.robot(msg)
        self._events.append((sample.stamp_ns, FIRST, sample))

    def _on_episode(self, msg: Any) -> None:
        episode: Episode = decode.episode(msg)
        if episode.state is EpisodeState.RUNNING and not self._running_ns:
            self._running_ns = episode.stamp_ns

    def _on_outcome(self, msg: Any) -> None:
        outcome = decode.outcome(msg)
        counts = outcome.result is not ChunkResult.SKIPPED
        if counts and outcome.source is not ChunkSource.RESET:
            self._outcomes.append(outcome)

    def _on_observation(self, msg: Any) -> None:
        self._observations.append(decode.observation(msg, images=True))

    def _on_image(self, camera: str, is_depth: bool, msg: Any) -> None:
        image = _Image(camera, is_depth, decode.image(msg))
        self._events.append((decode.to_ns(msg.header.stamp), SECOND, image))

    def _on_jpeg(self, camera: str, msg: Any) -> None:
        image = _Image(camera, False, decode.rgb_image(msg))
        self._events.append((decode.to_ns(msg.header.stamp), SECOND, image))

    def _on_info(self, camera: str, msg: Any) -> None:
        self.intrinsics[camera] = np.array(msg.k, np.float64).reshape(3, 3)
