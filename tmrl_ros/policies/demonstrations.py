"""From recorded demonstrations to training arrays: one chunk of targets per observation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.types import NANOSECONDS, Float32Array
from tmrl_ros.data.dataset import Demonstration, IntArray, Trajectory
from tmrl_ros.data.idle import PAUSE_S, BoolArray, idle_rows, kept_rows
from tmrl_ros.policies.context import ContextSpec
from tmrl_ros.policies.policy import encode_steps

MIN_STEP_STD = 1e-3  # m per row; what varies less is not worth resolving


@dataclass(frozen=True)
class TrainingData:
    """`context` (N, C) raw, `actions` (N, H, 4) in metres and opening 0..1, and a hash of both."""

    context: Float32Array
    actions: Float32Array
    demonstrations: int
    prompts: list[str]

    @property
    def sha256(self) -> str:
        """Hash of the arrays."""
        return hashlib.sha256(self.context.tobytes() + self.actions.tobytes()).hexdigest()


@dataclass(frozen=True)
class ControlSteps:
    """A demonstration by control steps, from its first observation to its last.

    `starts` (N,) steps at which something was observed; `states` (L, 4), `chunks` (L, H, 4);
    `kept` (L,) steps that are no idle part; `length` is how many of these there are up to the end
    of the last chunk, whose later steps lie after the last observation.
    """

    starts: IntArray
    states: Float32Array
    chunks: Float32Array
    kept: BoolArray
    length: int


def control_steps(
    episode: Demonstration, horizon: int, gripper_max_width_m: float
) -> ControlSteps | None:
    """State and following targets at every control step; None if targets are missing.

    What follows leaves idle parts out, as if they had not been (`data/idle.py`): all at the
    beginning, and what is longer than `PAUSE_S` of any later pause. Past the end of an episode its
    last target is repeated.
    """
    track = episode.trajectory
    openings = track.target_gripper_width_m[:, None] / gripper_max_width_m
    targets = np.concatenate([track.target_positions, openings], axis=1)
    starts = np.concatenate([[0], np.cumsum(episode.execute_steps)[:-1]])
    count = int(starts[-1]) + 1
    if len(targets) < count:
        return None
    measured = np.searchsorted(track.stamp_ns, track.target_stamp_ns)
    measured = np.minimum(measured, len(track.stamp_ns) - 1)
    widths_m = track.gripper_width_m[measured]
    idle = idle_rows(track.target_positions, track.target_gripper_width_m, widths_m)
    kept = kept_rows(idle, _pause_rows(track))
    padded = np.concatenate([targets[kept], np.repeat(targets[-1:], horizon, axis=0)])
    places: IntArray = np.cumsum(kept)[:count] - kept[:count]  # kept ones before a step
    widths = widths_m[:count, None] / gripper_max_width_m
    states = np.concatenate([track.ee_positions[measured[:count]], widths], axis=1)
    chunks = np.stack([padded[place : place + horizon] for place in places.tolist()])
    chunks[..., :3] -= states[:, None, :3]
    return ControlSteps(
        starts,
        states.astype(np.float32),
        chunks.astype(np.float32),
        kept[:count],
        int(kept[: int(episode.execute_steps.sum())].sum()),
    )


def _pause_rows(track: Trajectory) -> int:
    """Control periods of the longest pause that stays."""
    periods_ns = np.diff(track.target_stamp_ns)
    period_s = float(np.median(periods_ns)) / NANOSECONDS if len(periods_ns) else 0.0
    return round(PAUSE_S / period_s) if period_s > 0 else len(track.target_stamp_ns)


def training_data(
    demonstrations: Sequence[Demonstration],
    spec: ContextSpec,
    horizon: int,
    gripper_max_width_m: float,
) -> TrainingData:
    """Pair every control step with the targets that followed it.

    Between two observations object positions are interpolated, so that a demonstration gives a
    sample per control step (20 Hz) although pictures were taken more rarely.

    Targets come from the recorded stream at control rate, so chunks may be longer than the pieces
    the demonstrator worked in.

    Args:
        demonstrations: Episodes as `load_demonstrations` returns them.
        spec: Layout of the context.
        horizon: Rows per chunk, H.
        gripper_max_width_m: Width that counts as opening 1.

    Raises:
        ValueError: Nothing usable, or an object of the policy is missing in a recording.
    """
    contexts: list[Float32Array] = []
    chunks: list[Float32Array] = []
    used = 0
    for episode in demonstrations:
        steps = control_steps(episode, horizon, gripper_max_width_m)
        if steps is None:
            continue  # a stopped episode lost part of its targets: rows could not be matched
        used += 1
        for step in np.flatnonzero(steps.kept).tolist():
            seen = _objects_at(episode, steps.starts, step)
            objects = spec.select_objects(episode.object_names, seen)
            contexts.append(spec.context(episode.prompt, objects, steps.states[step]))
            chunks.append(steps.chunks[step])
    if not contexts:
        raise ValueError("there is no successful demonstration to learn from")
    prompts = sorted({episode.prompt for episode in demonstrations})
    return TrainingData(np.stack(contexts), np.stack(chunks), used, prompts)


def normalisation(
    data: TrainingData, spec: ContextSpec
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
    """Mean and standard deviation of contexts (C,), (C,) and encoded actions (H, 4), (H, 4).

    The prompt's part has one scale for all dimensions, measured over the distinct prompts and
    around their mean: what all prompts share says nothing, and unit noise must mean the same in
    each of them.
    """
    mean, std = data.context.mean(0), data.context.std(0)
    std = np.maximum(std, 0.01)
    if spec.prompt_size:
        part = spec.parts()["prompt"]
        distinct = np.unique(data.context[:, part], axis=0)
        mean[part] = distinct.mean(0)
        spread = float(np.sqrt(distinct.var(0).mean()))
        std[part] = spread if spread > 1e-3 else 1.0
    steps = encode_steps(data.actions)
    return mean, std, steps.mean(0), np.maximum(steps.std(0), MIN_STEP_STD)


def _objects_at(episode: Demonstration, starts: IntArray, step: int) -> Float32Array:
    """Object positions (K, 3) at a control step, between the observations before and after it."""
    after = int(np.searchsorted(starts, step))
    there: Float32Array = episode.objects[after]
    if starts[after] == step:
        return there
    share = (step - starts[after - 1]) / (starts[after] - starts[after - 1])
    between: Float32Array = (1 - share) * episode.objects[after - 1] + share * there
    return between
