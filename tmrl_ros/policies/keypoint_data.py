"""From demonstrations with pictures to a trained encoder, and to demonstrations with keypoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import Float32Array
from tmrl_ros.data.dataset import Demonstration
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.policies.context import ContextSpec
from tmrl_ros.policies.demonstrations import MIN_STEP_STD, control_steps
from tmrl_ros.policies.encoder_training import (
    Encoder,
    EncoderData,
    EncoderSettings,
    gripper_acts,
    train_encoder,
)
from tmrl_ros.policies.keypoints import KeypointEncoder, keypoint_names
from tmrl_ros.policies.policy import encode_steps

MIN_KNOWN_STD = 0.01


def learn_keypoints(
    demonstrations: Sequence[Demonstration],
    encoder: Encoder,
    config: Config,
    settings: EncoderSettings,
    progress: Callable[[int, float], None] | None = None,
) -> Encoder:
    """Train an encoder on demonstrations that were loaded with pictures.

    Raises:
        ValueError: Nothing usable, or observations lack what the encoder takes.
    """
    data = encoder_data(demonstrations, encoder, config)
    if not bool(data.did_act.any()):
        print("The gripper never closes in these demonstrations: keypoints may miss the objects.")
    return train_encoder(encoder, data, settings, progress)


def encoder_data(
    demonstrations: Sequence[Demonstration], encoder: KeypointEncoder, config: Config
) -> EncoderData:
    """One row per observation of the demonstrations.

    Raises:
        ValueError: Nothing usable, or observations lack what the encoder takes.
    """
    choice = config.task.pretraining
    rest = ContextSpec((), choice.prompt_size, ())
    known: list[Float32Array] = []
    chunks, acts, coming = [], [], []
    seen: list[RecordedObservation] = []
    for episode in demonstrations:
        steps = control_steps(episode, choice.horizon, config.robot.gripper_max_width_m)
        if steps is None:
            continue
        nothing = np.zeros((0, 3), np.float32)
        states = steps.states[steps.starts]
        known += [rest.context(episode.prompt, nothing, state) for state in states]
        chunks.append(steps.chunks[steps.starts])
        at, to_come = gripper_acts(steps)
        acts.append(at)
        coming.append(to_come)
        seen += episode.observations
    if not seen:
        raise ValueError("there is no successful demonstration with pictures to learn from")
    return EncoderData(
        encoder.looks(seen),
        _normal(np.stack(known), MIN_KNOWN_STD),
        _normal(encode_steps(np.concatenate(chunks)), MIN_STEP_STD),
        torch.from_numpy(np.concatenate(acts)),
        torch.from_numpy(np.concatenate(coming)),
    )


def with_keypoints(episode: Demonstration, encoder: KeypointEncoder) -> Demonstration:
    """The same demonstration with keypoints in the place of named objects."""
    names = keypoint_names(encoder.keypoints)
    found = encoder.keypoints_of(episode.observations)
    visible = np.ones(found.shape[:2], bool)
    return replace(episode, object_names=names, objects=found, visible=visible, observations=())


def _normal(values: Float32Array, smallest: float) -> Tensor:
    """Values (N, ...) of zero mean and unit deviation over the rows."""
    deviation = np.maximum(values.std(0), smallest)
    return torch.from_numpy((values - values.mean(0)) / deviation).float()
