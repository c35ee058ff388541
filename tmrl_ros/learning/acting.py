"""What the policy server does with an observation: choose (z, t), decode a chunk, remember why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.learning.networks import Actor
from tmrl_ros.policies.policy import ChunkPolicy

WARMUP, ACTOR, BASE = "warmup", "actor", "base"


@dataclass(frozen=True)
class Decision:
    """A chunk (H, A) and how it came about."""

    actions: FloatArray
    features: Float32Array
    z: Float32Array
    t_context: float
    actor: str
    parameters_version: int


@dataclass(frozen=True)
class Exploration:
    """How warm-up episodes choose their context timestep: Thompson sampling over a few levels.

    Attributes:
        levels: Context timesteps to choose from.
        successes: Successes at each level, prior included.
        failures: Failures at each level, prior included.
    """

    levels: tuple[float, ...]
    successes: tuple[float, ...]
    failures: tuple[float, ...]

    def choose(self, rng: np.random.Generator) -> float:
        """The level whose success rate, drawn from its Beta posterior, is the highest."""
        drawn = [rng.beta(a, b) for a, b in zip(self.successes, self.failures, strict=True)]
        return self.levels[int(np.argmax(drawn))]

    def to_json(self) -> dict[str, object]:
        """Plain values for `PolicyParameters.metadata_json`."""
        return {
            "levels": list(self.levels),
            "successes": list(self.successes),
            "failures": list(self.failures),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Exploration:
        """The reverse of `to_json`."""

        def numbers(key: str) -> tuple[float, ...]:
            found = values[key]
            if not isinstance(found, Sequence):
                raise ValueError(f"exploration {key} is {found!r}, not a list")
            return tuple(float(value) for value in found)

        return cls(numbers("levels"), numbers("successes"), numbers("failures"))


WARMUP_LEVELS = (0.0, 0.5, 1.0)


def prior() -> Exploration:
    """Before anything was tried: the level of precise imitation is favoured."""
    return Exploration(WARMUP_LEVELS, (2.0, 1.0, 1.0), (1.0, 1.0, 1.0))


class ActingPolicy:
    """A frozen policy with an optional actor on top; one per policy server."""

    def __init__(self, policy: ChunkPolicy, method: MethodConfig) -> None:
        """Starts without an actor: base policy, or warm-up when the method learns."""
        self.policy, self.method = policy, method
        self.version = 0
        self._actor: Actor | None = None
        self._exploration = prior()
        self._rng = np.random.default_rng(0)
        self._generator = torch.Generator()
        self._eps = np.zeros(policy.spec.context.size, np.float32)
        self._held = torch.zeros(policy.z_size + (method.first_t_context is not None))
        self._mode, self._deterministic, self._warmup_t = BASE, False, 0.0

    def install(self, weights: bytes, metadata_json: str, version: int) -> None:
        """Take new actor weights; call it between episodes.

        Raises:
            ValueError: The weights do not fit the policy.
        """
        metadata = json.loads(metadata_json)
        self._exploration = Exploration.from_json(metadata["exploration"])
        sizes = metadata["sizes"]
        actor = Actor(
            sizes["features"],
            sizes["z_size"],
            sizes["hidden"],
            sizes["z_bound"],
            self.method.first_t_context,
        )
        if sizes["z_size"] != self.policy.z_size:
            raise ValueError(
                f"actor weights are for z of size {sizes['z_size']}, "
                f"the policy has {self.policy.z_size}"
            )
        actor.load_state_dict(load(weights))
        self._actor = actor.eval().requires_grad_(False)
        self.version = version

    def begin_episode(self, *, index: int, seed: int, method: str, deterministic: bool) -> None:
        """Draw what stays the same over an episode: context noise, warm-up timestep, exploration.

        What is held keeps exploration coherent: context noise drawn anew at each chunk dithers
        between behaviours, and independent pushes of successive chunks cancel.
        """
        self._rng = np.random.default_rng(seed)
        self._generator.manual_seed(int(self._rng.integers(2**62)))
        self._eps = self._rng.standard_normal(self.policy.spec.context.size).astype(np.float32)
        self._held = torch.randn(self._held.shape, generator=self._generator)
        self._deterministic = deterministic
        if method == BASE:
            self._mode, self._warmup_t = BASE, 0.0
        elif self._actor is None or (index < self.method.warmup_episodes and not deterministic):
            t_context = self._exploration.choose(self._rng)
            self._mode = WARMUP
            self._warmup_t = 0.0 if self.method.first_t_context is None else t_context
        else:
            self._mode = ACTOR

    def features(self, context: Float32Array) -> Float32Array:
        """Features (F,) of a raw context (C,)."""
        return self.policy.features(context)

    def decide(self, context: Float32Array) -> Decision:
        """Choose (z, t) for a raw context (C,) and decode the chunk."""
        features = self.features(context)
        z, t = self._choose(features)
        noise = self._base_noise() if self._mode == BASE else z
        actions = self.policy.sample(
            context[None], noise[None], np.array([t], np.float32), self._eps[None]
        )[0]
        learned = self._mode == ACTOR
        actor, version = (self.method.name, self.version) if learned else (self._mode, 0)
        return Decision(actions, features, z, t, actor, version)

    def _base_noise(self) -> Float32Array:
        """Noise as in training, drawn anew for every row (H, A): the frozen policy as it is."""
        shape = (self.policy.spec.action.horizon, self.policy.z_size)
        return self._rng.standard_normal(shape).astype(np.float32)

    def _choose(self, features: Float32Array) -> tuple[Float32Array, float]:
        if self._mode != ACTOR or self._actor is None:
            z = self.method.warmup_z_std * self._rng.standard_normal(self.policy.z_size)
            return np.clip(z, -self.method.z_bound, self.method.z_bound).astype(
                np.float32
            ), self._warmup_t
        with torch.inference_mode():
            batch = torch.from_numpy(features)[None]
            if self._deterministic:
                z_tensor, t_tensor = self._actor.mode(batch)
            else:
                z_tensor, t_tensor, _ = self._actor.sample(
                    batch, self._generator, noise=self._exploration_noise()
                )
        return z_tensor[0].numpy(), float(t_tensor[0])

    def _exploration_noise(self) -> Tensor:
        """Unit noise for the actor (1, size), part of it the same for all of the episode."""
        share = self.method.held_exploration
        fresh = torch.randn(self._held.shape, generator=self._generator)
        return (math.sqrt(share) * self._held + math.sqrt(1 - share) * fresh)[None]


def pack_actor(
    tensors: dict[str, Tensor], sizes: dict[str, float], exploration: Exploration
) -> tuple[bytes, str]:
    """Weights as safetensors and metadata as JSON, for `PolicyParameters`."""
    return save(tensors), json.dumps({"sizes": sizes, "exploration": exploration.to_json()})
