"""Demonstrations of others, put into the form in which ours are learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import (
    NANOSECONDS,
    EpisodeOutcome,
    Float32Array,
    FloatArray,
    Pose,
    RobotSample,
)
from tmrl_ros.data.dataset import Demonstration, IntArray, Trajectory
from tmrl_ros.data.decode import BoolArray, RecordedObservation

TOOL_DOWN = (1.0, 0.0, 0.0, 0.0)
"""Orientation of what was recorded without one: x y z w of a tool that points down."""


@dataclass(frozen=True)
class ImportedEpisode:
    """One episode of L rows at the control rate.

    `state` (L, 4) measured and `action` (L, 4) asked: x y z in metres, base frame, and gripper
    opening 0..1, both absolute. `objects` (L, K, 3) metres, `visible` (L, K). `fresh` (L,):
    something was observed; `hold` (L,): nothing was asked. `images` are (N, h, w, 3) RGB by camera,
    one per fresh row; empty if they were not asked for.
    """

    episode_id: str
    prompt: str
    outcome: EpisodeOutcome
    stamp_ns: IntArray
    state: FloatArray
    action: FloatArray
    object_names: tuple[str, ...]
    objects: Float32Array
    visible: BoolArray
    fresh: BoolArray
    hold: BoolArray
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


def stamps_at(rate_hz: float, count: int) -> IntArray:
    """Stamps of rows that came at a steady rate, ns from 0."""
    return np.round(np.arange(count) * NANOSECONDS / rate_hz).astype(np.int64)


def demonstration_of(episode: ImportedEpisode, gripper_max_width_m: float) -> Demonstration | None:
    """The episode as ours; None if nothing was asked for in it.

    A chunk holds the targets from an observation to the next, relative to what was measured then,
    like those that our demonstrator asks for; shorter ones repeat their last target.
    """
    begins = np.flatnonzero(episode.fresh)
    asked = np.flatnonzero(~episode.hold)
    ends = np.append(begins[1:], len(episode.state))
    steps = np.searchsorted(asked, ends) - np.searchsorted(asked, begins)
    kept = np.flatnonzero(steps)
    if not kept.size:
        return None
    begins, steps = begins[kept], steps[kept]
    horizon = int(steps.max())
    places = np.searchsorted(asked, begins)[:, None] + np.arange(horizon)
    places = np.minimum(places, (np.searchsorted(asked, begins) + steps - 1)[:, None])
    actions = episode.action[asked[places]].copy()
    actions[..., :3] -= episode.state[begins, None, :3]
    return Demonstration(
        episode_id=episode.episode_id,
        outcome=episode.outcome,
        prompt=episode.prompt,
        object_names=episode.object_names,
        sequence=np.arange(1, len(begins) + 1),
        state=_observed(episode.state[begins]),
        objects=episode.objects[begins].astype(np.float32),
        visible=episode.visible[begins],
        actions=actions.astype(np.float32),
        execute_steps=steps.astype(np.int64),
        trajectory=_trajectory(episode, asked, gripper_max_width_m),
        observations=_observations(episode, begins, kept, gripper_max_width_m),
    )


def _observed(state: FloatArray) -> Float32Array:
    """State as perception gives it: an opening a little outside 0..1 is at its end."""
    found = state.astype(np.float32)
    found[..., 3] = np.clip(found[..., 3], 0.0, 1.0)
    return found


def _trajectory(episode: ImportedEpisode, asked: IntArray, width_m: float) -> Trajectory:
    turned = np.array(TOOL_DOWN)
    return Trajectory(
        stamp_ns=episode.stamp_ns,
        ee_positions=episode.state[:, :3].astype(np.float64),
        ee_quaternions=np.tile(turned, (len(episode.state), 1)),
        gripper_width_m=episode.state[:, 3].astype(np.float64) * width_m,
        target_stamp_ns=episode.stamp_ns[asked],
        target_positions=episode.action[asked, :3].astype(np.float64),
        target_quaternions=np.tile(turned, (len(asked), 1)),
        target_gripper_width_m=episode.action[asked, 3].astype(np.float64) * width_m,
    )


def _observations(
    episode: ImportedEpisode, begins: IntArray, kept: IntArray, width_m: float
) -> tuple[RecordedObservation, ...]:
    """Observations with pictures; none where there are no pictures."""
    if not episode.images:
        return ()
    zero = np.zeros(7)
    return tuple(
        RecordedObservation(
            stamp_ns=int(episode.stamp_ns[begin]),
            sequence=number,
            episode_id=episode.episode_id,
            decision=number - 1,
            robot=RobotSample(
                stamp_ns=int(episode.stamp_ns[begin]),
                tick=int(begin),
                q=zero,
                dq=zero,
                tau=zero,
                ee_pose=Pose(episode.state[begin, :3].astype(np.float64), np.array(TOOL_DOWN)),
                ee_twist=np.zeros(6),
                wrench=np.zeros(6),
                gripper_width_m=float(episode.state[begin, 3]) * width_m,
            ),
            prompt=episode.prompt,
            state=_observed(episode.state[begin]),
            object_names=episode.object_names,
            object_positions=episode.objects[begin].astype(np.float32),
            object_visible=episode.visible[begin],
            object_age_s=np.zeros(len(episode.object_names)),
            images={name: pictures[place] for name, pictures in episode.images.items()},
        )
        for number, (begin, place) in enumerate(zip(begins, kept, strict=True), 1)
    )
