"""From recorded demonstrations to training arrays: one chunk of targets per observation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.types import Float32Array
from tmrl_ros.data.dataset import Demonstration
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


def training_data(
    demonstrations: Sequence[Demonstration],
    spec: ContextSpec,
    horizon: int,
    gripper_max_width_m: float,
) -> TrainingData:
    """Pair every observation with the targets that followed it.

    Targets come from the recorded stream at control rate, so chunks may be longer than the pieces
    the demonstrator worked in. Past the end of an episode its last target is repeated.

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
        targets = np.concatenate(
            [
                episode.trajectory.target_positions,
                episode.trajectory.target_gripper_width_m[:, None] / gripper_max_width_m,
            ],
            axis=1,
        )
        starts = np.concatenate([[0], np.cumsum(episode.execute_steps)[:-1]])
        if len(targets) < starts[-1] + 1:
            continue  # a stopped episode lost part of its targets: rows could not be matched
        used += 1
        padded = np.concatenate([targets, np.repeat(targets[-1:], horizon, axis=0)])
        for row, start in enumerate(starts):
            chunk = padded[start : start + horizon].copy()
            chunk[:, :3] -= episode.state[row, :3]
            objects = spec.select_objects(episode.object_names, episode.objects[row])
            contexts.append(spec.context(episode.prompt, objects, episode.state[row]))
            chunks.append(chunk.astype(np.float32))
    if not contexts:
        raise ValueError("there is no successful demonstration to learn from")
    prompts = sorted({episode.prompt for episode in demonstrations})
    return TrainingData(np.stack(contexts), np.stack(chunks), used, prompts)


def normalisation(
    data: TrainingData, spec: ContextSpec
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
    """Mean and standard deviation of contexts (C,), (C,) and encoded actions (H, 4), (H, 4).

    The prompt's part has one scale for all dimensions, measured over the distinct prompts and around
    their mean: what all prompts share says nothing, and unit noise must mean the same in each of them.
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
