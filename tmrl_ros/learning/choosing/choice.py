"""One decision of a method: what a chooser is given, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.policies.ahead import NO_ROWS
from tmrl_ros.policies.policy import Policy

NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Choice:
    """A chunk (H, A), how the policy was asked for it, and the plans it was chosen from, if any.

    `z` is empty where no single vector made the chunk: every row had noise of its own, or the
    policy was not asked.
    """

    actions: FloatArray
    z: Float32Array = field(default_factory=lambda: NOTHING)
    t_context: float = 0.0
    eps_context: Float32Array = field(default_factory=lambda: NOTHING)
    edit: Float32Array = field(default_factory=lambda: NOTHING)
    candidates: Float32Array = field(default_factory=lambda: NOTHING)


@dataclass
class Episode:
    """What stays the same over an episode, and its random state.

    Attributes:
        rng: Source of everything random.
        generator: The same for torch.
        eps: Context noise (C,) of the episode.
        deterministic: Nothing for exploration's sake.
        warmup_t: Context timestep while there are no weights.
        held: Exploration that is held, once it was drawn.
        committed: First rows (R, A) of the next chunk, which are being carried out; anew at every
            decision.
    """

    rng: np.random.Generator
    generator: torch.Generator
    eps: Float32Array
    deterministic: bool
    warmup_t: float
    held: Tensor | None = None
    committed: FloatArray = field(default_factory=lambda: NO_ROWS)


class Chooser(Protocol):
    """Chooses a chunk for a raw context (C,)."""

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """Before there are weights."""

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """With what was learned."""


def base_noise(policy: Policy, rng: np.random.Generator) -> Float32Array:
    """Noise as in training, drawn anew for every row (H, A): the frozen policy as it is."""
    shape = (policy.spec.action.horizon, policy.z_size)
    return rng.standard_normal(shape).astype(np.float32)


def decoded(
    policy: Policy,
    context: Float32Array,
    z: Float32Array,
    t: float,
    eps: Float32Array,
    committed: FloatArray = NO_ROWS,
) -> Choice:
    """The chunk of one (z, t) that begins with `committed` (R, A).

    z is (Z,), or (H, Z) for noise of its own in every row.
    """
    times = np.array([t], np.float32)
    actions = policy.sample(context[None], z[None], times, eps[None], committed)[0]
    return Choice(actions, z if z.ndim == 1 else NOTHING, t, eps)


def unlearned_z(policy: Policy, method: MethodConfig, rng: np.random.Generator) -> Float32Array:
    """Action noise from all of an actor's range, as one that has learned nothing could choose."""
    return (method.z_bound * rng.uniform(-1, 1, policy.z_size)).astype(np.float32)


def small_z(policy: Policy, method: MethodConfig, rng: np.random.Generator) -> Float32Array:
    """Action noise for warm-up."""
    z = method.warmup_z_std * rng.standard_normal(policy.z_size)
    return np.clip(z, -method.z_bound, method.z_bound).astype(np.float32)
