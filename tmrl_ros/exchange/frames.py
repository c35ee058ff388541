"""One episode as rows at the control rate: what other formats call frames.

Nothing is synchronised here. What the cameras saw and where objects were is taken from the recorded
observations, which perception made live; which state belongs to which target is what the supervisor
said when it sent it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import ChunkSource, EpisodeOutcome, Float32Array, Phase, Reward
from tmrl_ros.data.bag_reader import EpisodeRecord, bag_folders, is_label, read_episode
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.dataset import Demonstration, IntArray, demonstration_from
from tmrl_ros.data.decode import BoolArray, RecordedObservation
from tmrl_ros.data.recount import as_it_counts

DEFAULT_WIDTH_M = 0.08
"""Opening 1 of the gripper, where no observation tells."""
LEAST_OPENING = 0.1
ACTING = (ChunkSource.POLICY, ChunkSource.HUMAN, ChunkSource.REPLAY)
STATE_NAMES = ("x", "y", "z", "gripper")


@dataclass(frozen=True)
class EpisodeFrames:
    """One episode, L rows, one per control period from its first target to its last.

    `state` (L, 4): measured x y z in metres, base frame, and gripper opening 0..1. `action` (L, 4):
    the target that was sent, likewise absolute. `hold`: no target answered this state, the last
    one stood. `human`: a person moved the arm. `row` (L,) names the observation that was the
    newest; `fresh` where it is new.
    `objects` (L, K, 3) metres and `visible` (L, K), held between observations. `reward` (L,) is 1
    in the last row of an episode that succeeded, else 0. `progress` (L,) is the newest estimate
    that is valid, 0 before the first. `images` are (N, h, w, 3) RGB by camera, one per observation.
    """

    episode_id: str
    task: str
    outcome: EpisodeOutcome
    phase: Phase
    rate_hz: float
    object_names: tuple[str, ...]
    stamp_ns: IntArray
    state: Float32Array
    action: Float32Array
    hold: BoolArray
    human: BoolArray
    row: IntArray
    fresh: BoolArray
    decision: IntArray
    objects: Float32Array
    visible: BoolArray
    reward: Float32Array
    progress: Float32Array
    t_context: Float32Array
    images: Mapping[str, NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.stamp_ns)


def session_frames(
    session: Path, *, only_successful: bool = False, phases: Sequence[Phase] = ()
) -> list[EpisodeFrames]:
    """Every ended episode of a session, aborted ones left out, in the order of recording.

    Args:
        session: A session, or a folder of bags.
        only_successful: Leave out what did not end with SUCCESS.
        phases: Which episodes; all by default.

    Raises:
        BagError: The folder holds no bag, or no episode that may be exported.
    """
    if not session.is_dir() or not (bags := bag_folders(session)):
        raise BagError(f"{session} holds no bags: name a session folder or its episodes folder.")
    found = []
    for bag in bags:
        if is_label(bag.name):
            continue
        record = as_it_counts(session, read_episode(bag, images=True, robot=True))
        ended = record.ended
        if ended is None or ended.outcome is EpisodeOutcome.ABORTED:
            continue
        if only_successful and ended.outcome is not EpisodeOutcome.SUCCESS:
            continue
        if phases and ended.phase not in phases:
            continue
        if (frames := episode_frames(record)) is not None:
            found.append(frames)
    if not found:
        raise BagError(f"{session} has no ended episode to export.")
    return found


def episode_frames(record: EpisodeRecord) -> EpisodeFrames | None:
    """Rows of one record that was read with images and robot; None if nothing moved in it.

    Raises:
        BagError: Chunks, object lists or cameras of the episode differ in shape.
    """
    whole = demonstration_from(record, sources=ACTING, pictures=True)
    if whole is None or not len(whole.trajectory.target_stamp_ns) or record.ended is None:
        return None
    track, seen = whole.trajectory, whole.observations
    first, last = np.searchsorted(track.stamp_ns, track.target_stamp_ns[[0, -1]])
    states = np.arange(first, min(int(last) + 1, len(track.stamp_ns)))
    if not len(states):
        return None
    stamps = track.stamp_ns[states]
    sent = np.searchsorted(track.target_stamp_ns, stamps, side="right") - 1
    width_m = gripper_width_m(seen)
    row = np.searchsorted([item.stamp_ns for item in seen], stamps, side="right") - 1
    row = np.maximum(row, 0)
    fresh = np.concatenate([[True], row[1:] != row[:-1]])
    rewards = {item.sequence: item for item in record.rewards if item.valid}
    chunks = {chunk.sequence: chunk for chunk in record.chunks}
    now = [rewards.get(item.sequence) for item in seen]
    return EpisodeFrames(
        episode_id=record.episode_id,
        task=whole.prompt,
        outcome=record.ended.outcome,
        phase=record.ended.phase,
        rate_hz=chunks[seen[0].sequence].control_rate_hz,
        object_names=whole.object_names,
        stamp_ns=stamps,
        state=_rows(track.ee_positions[states], track.gripper_width_m[states] / width_m),
        action=_rows(track.target_positions[sent], track.target_gripper_width_m[sent] / width_m),
        hold=track.target_stamp_ns[sent] != stamps,
        human=_human(record, seen, len(track.target_stamp_ns))[sent],
        row=row.astype(np.int64),
        fresh=fresh,
        decision=np.array([item.decision for item in seen], np.int64)[row],
        objects=whole.objects[row],
        visible=whole.visible[row],
        reward=_rewards(whole, len(row)),
        progress=_held(now)[row],
        t_context=np.array([chunks[item.sequence].t_context for item in seen], np.float32)[row],
        images=_images(record, seen),
    )


def gripper_width_m(seen: Sequence[RecordedObservation]) -> float:
    """Width that counts as opening 1, by what perception made of measured widths."""
    ratios = [
        item.robot.gripper_width_m / float(item.state[3])
        for item in seen
        if len(item.state) == 4 and item.state[3] > LEAST_OPENING
    ]
    return float(np.round(np.median(ratios), 6)) if ratios else DEFAULT_WIDTH_M


def _rows(positions: NDArray[np.float64], openings: NDArray[np.float64]) -> Float32Array:
    return np.concatenate([positions, openings[:, None]], axis=1).astype(np.float32)


def _human(record: EpisodeRecord, seen: Sequence[RecordedObservation], targets: int) -> BoolArray:
    """Whose every target was (targets,), by what the outcomes say of the rows they sent."""
    outcomes = {item.sequence: item for item in record.outcomes}
    rows = [outcomes[s.sequence].sources for s in seen if s.sequence in outcomes]
    found = np.concatenate([*rows, np.zeros(0, np.uint8)]) == ChunkSource.HUMAN
    unknown = np.zeros(max(0, targets - len(found)), bool)  # sent, but stopped before it counted
    return np.concatenate([found[:targets], unknown])


def _rewards(whole: Demonstration, count: int) -> Float32Array:
    """1 in the last row of an episode that succeeded, 0 elsewhere."""
    found = np.zeros(count, np.float32)
    found[-1] = float(whole.outcome is EpisodeOutcome.SUCCESS)
    return found


def _held(rewards: Sequence[Reward | None]) -> Float32Array:
    """Progress at every observation; the last known one where there is none."""
    found, last = np.zeros(len(rewards), np.float32), 0.0
    for place, reward in enumerate(rewards):
        last = reward.progress if reward is not None else last
        found[place] = last
    return found


def _images(
    record: EpisodeRecord, seen: Sequence[RecordedObservation]
) -> dict[str, NDArray[np.uint8]]:
    names = list(seen[0].images)
    shapes = {(name, picture.shape) for item in seen for name, picture in item.images.items()}
    if len(shapes) != len(names):
        raise BagError(
            f"{record.path}: cameras or image sizes of episode {record.episode_id} differ."
        )
    return {name: np.stack([item.images[name] for item in seen]) for name in names}
