"""Demonstrations from a folder of bags: what was seen, what was asked for, what the arm did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core import topics
from tmrl_ros.core.types import (
    Chunk,
    ChunkSource,
    EpisodeOutcome,
    Float32Array,
    FloatArray,
    RobotSample,
    Target,
)
from tmrl_ros.data.bag_reader import EpisodeRecord, bag_folders, is_label, read_episode
from tmrl_ros.data.bag_stream import BagError, BagStream, is_topic
from tmrl_ros.data.decode import BoolArray, RecordedObservation

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Trajectory:
    """The arm at control rate (20 Hz), from the first observation to the last.

    `stamp_ns` (M,) robot clock; `ee_positions` (M, 3) metres; `ee_quaternions` (M, 4) x y z w;
    `gripper_width_m` (M,). `target_*` are what the supervisor sent, L rows, on the stamps of the
    states they answered; holds are left out.
    """

    stamp_ns: IntArray
    ee_positions: FloatArray
    ee_quaternions: FloatArray
    gripper_width_m: FloatArray
    target_stamp_ns: IntArray
    target_positions: FloatArray
    target_quaternions: FloatArray
    target_gripper_width_m: FloatArray


@dataclass(frozen=True)
class Demonstration:
    """One episode, one row per decision that moved the arm (N rows).

    `state` (N, 4): x y z in metres and gripper opening 0..1. `objects` (N, K, 3) metres, base
    frame, `visible` (N, K), in the order of `object_names`. `actions` (N, H, 4): dx dy dz relative
    to the measured pose and gripper opening, of which the first `execute_steps` (N,) were carried
    out before the next observation; where a person drove, `trajectory` tells what they asked for.
    `sequence` (N,) names the observations. `observations` are the rows themselves, with images and
    points; empty unless they were asked for.
    """

    episode_id: str
    outcome: EpisodeOutcome
    prompt: str
    object_names: tuple[str, ...]
    sequence: IntArray
    state: Float32Array
    objects: Float32Array
    visible: BoolArray
    actions: Float32Array
    execute_steps: IntArray
    trajectory: Trajectory
    observations: tuple[RecordedObservation, ...] = ()


def load_demonstrations(
    folder: Path,
    *,
    sources: Sequence[ChunkSource] = (ChunkSource.HUMAN,),
    only_successful: bool = True,
    pictures: bool = False,
) -> list[Demonstration]:
    """Read every demonstration below a folder, in the order they were recorded.

    Args:
        folder: A session, or a folder of bags.
        sources: Whose chunks count as demonstrated.
        only_successful: Leave out episodes that did not end with SUCCESS.
        pictures: Keep the observations, with images and points (about 70 kB each).

    Raises:
        BagError: The folder holds no bag, or the chunks of an episode differ in shape.
    """
    if not folder.is_dir() or not (bags := bag_folders(folder)):
        raise BagError(f"{folder} holds no bags: name a session folder or its episodes folder.")
    found: list[Demonstration] = []
    for bag in bags:
        if is_label(bag.name):
            continue
        record = read_episode(bag, observations=True, images=pictures, robot=True)
        outcome = record.ended.outcome if record.ended else EpisodeOutcome.NONE
        if only_successful and outcome is not EpisodeOutcome.SUCCESS:
            continue
        demonstration = demonstration_from(record, sources=sources, pictures=pictures)
        if demonstration is not None:
            found.append(demonstration)
    return found


def camera_intrinsics(folder: Path, cameras: Sequence[str]) -> dict[str, FloatArray]:
    """K (3, 3) of every camera, as the first bag of a session has it.

    Raises:
        BagError: The folder holds no bag, or the bag says nothing of a camera.
    """
    bags = bag_folders(folder)
    wanted = {topics.camera_info(name): name for name in cameras}
    found: dict[str, FloatArray] = {}
    for message in BagStream(bags[0], list(wanted)) if bags else ():
        name = next(name for topic, name in wanted.items() if is_topic(message.topic, topic))
        found[name] = np.array(message.decode().k, np.float64).reshape(3, 3)
        if len(found) == len(wanted):
            return found
    lacking = [name for name in cameras if name not in found]
    raise BagError(f"{bags[0] if bags else folder} says nothing of camera {lacking[0]!r}.")


def demonstration_from(
    record: EpisodeRecord,
    *,
    sources: Sequence[ChunkSource] = (ChunkSource.HUMAN,),
    pictures: bool = False,
) -> Demonstration | None:
    """Demonstration of a record read with observations and robot; None if nothing was demonstrated.

    Raises:
        BagError: Chunks or object lists of the episode differ in shape.
    """
    chunks: dict[int, Chunk] = {
        chunk.sequence: chunk
        for chunk in record.chunks
        if chunk.source in sources and chunk.execute_steps > 0
    }
    outcomes = {item.sequence: item for item in record.outcomes if item.sequence in chunks}
    sent = {number: chunk.execute_steps for number, chunk in chunks.items()}
    sent |= {number: item.steps_sent for number, item in outcomes.items()}
    rows = [item for item in record.observations if sent.get(item.sequence)]
    rows.sort(key=lambda item: item.sequence)
    if not rows:
        return None
    asked = [chunks[item.sequence] for item in rows]
    names = rows[0].object_names
    shapes = {chunk.actions.shape for chunk in asked}
    if len(shapes) > 1 or any(item.object_names != names for item in rows):
        raise BagError(
            f"{record.path}: chunks or object names of episode {record.episode_id} differ in shape."
        )
    stamps = [item.stamp_ns for item in record.observations]
    stamps += [item.stamp_ns for item in outcomes.values()]  # a person may end it without another
    ended = record.ended
    # Where chunks overlap, the next observation is made before the last row is carried out.
    committed = np.array([*(chunk.committed_steps for chunk in asked), 0], np.int64)
    executed = np.array([sent[item.sequence] for item in rows], np.int64)
    return Demonstration(
        episode_id=record.episode_id,
        outcome=ended.outcome if ended else EpisodeOutcome.NONE,
        prompt=rows[0].prompt,
        object_names=names,
        sequence=np.array([item.sequence for item in rows], np.int64),
        state=np.stack([item.state for item in rows]),
        objects=np.stack([item.object_positions for item in rows]),
        visible=np.stack([item.object_visible for item in rows]),
        actions=np.stack([chunk.actions for chunk in asked]).astype(np.float32),
        execute_steps=executed - np.diff(committed),
        trajectory=trajectory_of(record.robot, record.targets, min(stamps), max(stamps)),
        observations=tuple(rows) if pictures else (),
    )


def trajectory_of(
    samples: Sequence[RobotSample], targets: Sequence[Target], start_ns: int, end_ns: int
) -> Trajectory:
    """Samples and targets of a time span; a driver's repetitions of a state count once."""
    by_stamp = {s.stamp_ns: s for s in samples if start_ns <= s.stamp_ns <= end_ns}
    states = [by_stamp[stamp] for stamp in sorted(by_stamp)]
    sent = [t for t in targets if start_ns <= t.stamp_ns < end_ns and not t.hold]
    sent.sort(key=lambda target: (target.stamp_ns, target.sequence))
    return Trajectory(
        stamp_ns=np.array([s.stamp_ns for s in states], np.int64),
        ee_positions=np.array([s.ee_pose.position for s in states]).reshape(-1, 3),
        ee_quaternions=np.array([s.ee_pose.quaternion for s in states]).reshape(-1, 4),
        gripper_width_m=np.array([s.gripper_width_m for s in states]),
        target_stamp_ns=np.array([t.stamp_ns for t in sent], np.int64),
        target_positions=np.array([t.pose.position for t in sent]).reshape(-1, 3),
        target_quaternions=np.array([t.pose.quaternion for t in sent]).reshape(-1, 4),
        target_gripper_width_m=np.array([t.gripper_width_m for t in sent]),
    )
