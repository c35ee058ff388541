"""A loaded policy: from raw contexts, action noise and context timesteps to chunks in metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.policies.bundle import PolicySpec
from tmrl_ros.policies.context import actor_features
from tmrl_ros.policies.flow import FlowPolicy

AnyFloat = TypeVar("AnyFloat", np.float32, np.float64)


class Flow(Protocol):
    """Samples normalised chunks."""

    def __call__(
        self, noise: Tensor, context: Tensor, t_context: Tensor, eps_context: Tensor
    ) -> Tensor:
        """(B, H, A), (B, C), (B,), (B, C) float32 -> (B, H, A); contexts are not smoothed yet."""


class Policy(Protocol):
    """A frozen policy to those who choose noise for it; where it is computed is its own matter."""

    spec: PolicySpec

    @property
    def z_size(self) -> int:
        """Length of the action noise z."""

    @property
    def needs_pictures(self) -> bool:
        """Whether observations must come with their images and points."""

    def prepare(self) -> None:
        """An episode is about to begin: be ready to answer.

        Raises:
            OperatorError: Whoever computes the policy is not there.
        """

    def raw_context(self, observation: RecordedObservation) -> Float32Array:
        """Raw context (C,) of an observation."""

    def features(self, context: Float32Array) -> Float32Array:
        """What actor and critics see of one raw context (C,)."""

    def sample(
        self,
        contexts: Float32Array,
        z: Float32Array,
        t_context: Float32Array,
        eps_context: Float32Array,
        committed: FloatArray | None = None,
    ) -> FloatArray:
        """Chunks (B, H, A) for a batch of decisions; see `ChunkPolicy.sample`."""


@dataclass(frozen=True)
class TorchFlow:
    """Samples with the network itself."""

    network: FlowPolicy
    steps: int

    def __call__(
        self,
        noise: Tensor,
        context: Tensor,
        t_context: Tensor,
        eps_context: Tensor,
        committed: Tensor | None = None,
    ) -> Tensor:
        """As `FlowPolicy.sample`."""
        return self.network.sample(noise, context, t_context, eps_context, self.steps, committed)


@dataclass
class ChunkPolicy:
    """Normalises, samples and denormalises; knows no ROS.

    The action noise of a decision is one vector z (action_dim,), repeated over the chunk. The
    network predicts moves from row to row, so a repeated z pushes all of them the same way: that is
    what gives it leverage on where the arm goes.
    """

    spec: PolicySpec
    network: FlowPolicy
    flow: Flow | None = None

    def __post_init__(self) -> None:
        """Keep the normalisation as tensors."""
        # Other backends' graphs have no place for rows that are held.
        self._held_flow = TorchFlow(self.network, self.spec.network.flow_steps)
        self._flow = self.flow or self._held_flow
        observation, action = self.spec.observation, self.spec.action
        self._mean, self._std = torch.tensor(observation.mean), torch.tensor(observation.std)
        self._action_mean, self._action_std = torch.tensor(action.mean), torch.tensor(action.std)

    @property
    def z_size(self) -> int:
        """Length of the action noise z."""
        return self.spec.action.size

    @property
    def needs_pictures(self) -> bool:
        """Whether observations must come with their images and points."""
        return self.network.encoder is not None

    def prepare(self) -> None:
        """Nothing is needed: it is in this process."""

    def raw_context(self, observation: RecordedObservation) -> Float32Array:
        """Raw context (C,) of an observation.

        Raises:
            ValueError: The observation lacks what the policy looks at, or a number is not finite.
        """
        spec, encoder = self.spec.context, self.network.encoder
        if encoder is None:
            names, positions = observation.object_names, observation.object_positions
            objects = spec.select_objects(names, positions)
        else:
            objects = encoder.keypoints_of([observation])[0]
        context = spec.context(observation.prompt, objects, observation.state)
        if not np.isfinite(context).all():
            raise ValueError("it has a number that is not finite")
        return context

    def normalise(self, context: Float32Array) -> Tensor:
        """(..., C) raw context -> normalised tensor."""
        return (torch.as_tensor(context) - self._mean) / self._std

    def features(self, context: Float32Array) -> Float32Array:
        """What actor and critics see of one raw context (C,)."""
        return actor_features(context, self.spec.context)

    def sample(
        self,
        contexts: Float32Array,
        z: Float32Array,
        t_context: Float32Array,
        eps_context: Float32Array,
        committed: FloatArray | None = None,
    ) -> FloatArray:
        """Chunks for a batch of decisions, deterministic given the arguments.

        Args:
            contexts: (B, C) raw contexts.
            z: (B, A) action noise, repeated over the chunk, or (B, H, A).
            t_context: (B,) in [0, 1].
            eps_context: (B, C) noise of the context.
            committed: (R, A), R < H, in metres and openings as the answer: rows that every chunk
                begins with, for they are being carried out (capability `committed`).

        Returns:
            (B, H, A) metres and gripper opening clipped to [0, 1].
        """
        noise = torch.as_tensor(z, dtype=torch.float32)
        if noise.ndim == 2:
            noise = noise[:, None].expand(-1, self.spec.action.horizon, -1)
        inputs = (
            noise,
            self.normalise(contexts),
            torch.as_tensor(t_context, dtype=torch.float32),
            torch.as_tensor(eps_context, dtype=torch.float32),
        )
        if committed is None or not len(committed):
            with torch.inference_mode():
                chunk = self._flow(*inputs)
        else:
            with torch.no_grad():
                chunk = self._held_flow(*inputs, self._normalised_rows(committed))
        with torch.inference_mode():
            chunk = chunk * self._action_std + self._action_mean
        actions = decode_steps(chunk.numpy().astype(np.float64))
        if committed is not None:
            actions[:, : len(committed)] = committed
        return actions

    def _normalised_rows(self, committed: FloatArray) -> Tensor:
        """The first rows (R, A) of a chunk as the network has them."""
        rows = len(committed)
        steps = torch.from_numpy(encode_steps(committed)).float()
        return (steps - self._action_mean[:rows]) / self._action_std[:rows]


def encode_steps(actions: NDArray[AnyFloat]) -> NDArray[AnyFloat]:
    """Chunks (..., H, 4) relative to the measured pose -> moves from row to row; openings stay."""
    steps = actions.copy()
    steps[..., 1:, :3] -= actions[..., :-1, :3]
    return steps


def decode_steps(steps: FloatArray) -> FloatArray:
    """The reverse of `encode_steps`; openings are clipped to [0, 1]."""
    actions = steps.copy()
    actions[..., :3] = np.cumsum(steps[..., :3], axis=-2)
    actions[..., 3] = np.clip(actions[..., 3], 0.0, 1.0)
    return actions
