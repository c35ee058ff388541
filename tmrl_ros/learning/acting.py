"""What the policy server does with an observation: choose a chunk, and remember how and why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.data.plans import KEPT_CANDIDATES
from tmrl_ros.learning.candidates import Workspace, draw
from tmrl_ros.learning.methods import acting_module
from tmrl_ros.learning.networks import Actor
from tmrl_ros.policies.policy import ChunkPolicy

WARMUP, LEARNED, BASE = "warmup", "learned", "base"
NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Decision:
    """A chunk (H, A), how it came about, and the plans (N, P) it was chosen from, if it was."""

    actions: FloatArray
    features: Float32Array
    z: Float32Array
    t_context: float
    actor: str
    parameters_version: int
    edit: Float32Array = field(default_factory=lambda: NOTHING)
    candidates: Float32Array = field(default_factory=lambda: NOTHING)


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
    """A frozen policy with what was learned on top; one per policy server."""

    def __init__(
        self, policy: ChunkPolicy, method: MethodConfig, workspace: Workspace | None = None
    ) -> None:
        """Starts without weights: base policy, or warm-up when the method learns.

        Args:
            policy: The frozen policy.
            method: How it is fine-tuned.
            workspace: Lowest and highest tool position (m, base frame); candidates keep within.
        """
        self.policy, self.method = policy, method
        self.version = 0
        self._workspace = workspace
        self._learned: nn.Module | None = None
        self._exploration = prior()
        self._rng = np.random.default_rng(0)
        self._generator = torch.Generator()
        self._eps = np.zeros(policy.spec.context.size, np.float32)
        self._held: Tensor | None = None
        self._mode, self._deterministic, self._warmup_t = BASE, False, 0.0

    def install(self, weights: bytes, metadata_json: str, version: int) -> None:
        """Take new weights; call it between episodes.

        Raises:
            ValueError: The weights do not fit the policy.
        """
        metadata = json.loads(metadata_json)
        sizes = metadata["sizes"]
        if sizes["z_size"] != self.policy.z_size:
            raise ValueError(
                f"the weights are for z of size {sizes['z_size']}, "
                f"the policy has {self.policy.z_size}"
            )
        module = acting_module(self.method, sizes)
        try:
            module.load_state_dict(load(weights))
        except RuntimeError as error:
            raise ValueError(f"the weights are not those of {self.method.name}: {error}") from None
        self._exploration = Exploration.from_json(metadata["exploration"])
        self._learned = module.eval().requires_grad_(False)
        self.version = version

    def begin_episode(self, *, index: int, seed: int, method: str, deterministic: bool) -> None:
        """Draw what stays the same over an episode: context noise, warm-up timestep, exploration.

        What is held keeps exploration coherent: context noise drawn anew at each chunk dithers
        between behaviours, and independent pushes of successive chunks cancel.
        """
        self._rng = np.random.default_rng(seed)
        self._generator.manual_seed(int(self._rng.integers(2**62)))
        self._eps = self._rng.standard_normal(self.policy.spec.context.size).astype(np.float32)
        self._held = None
        self._deterministic = deterministic
        if method == BASE:
            self._mode, self._warmup_t = BASE, 0.0
        elif self._learned is None or (index < self.method.warmup_episodes and not deterministic):
            t_context = self._exploration.choose(self._rng)
            self._mode = WARMUP
            self._warmup_t = t_context if self.method.steers_context else 0.0
        else:
            self._mode = LEARNED

    def features(self, context: Float32Array) -> Float32Array:
        """Features (F,) of a raw context (C,)."""
        return self.policy.features(context)

    def decide(self, context: Float32Array) -> Decision:
        """Choose a chunk for a raw context (C,)."""
        features = self.features(context)
        if self._mode == BASE:
            return self._decoded(context, features, self._small_z(), 0.0)
        if self.method.name == "tmrl":
            return self._best_candidate(context, features)
        z, t = self._latent(features) if self._mode == LEARNED else self._warmup()
        return self._decoded(context, features, z, t)

    def _decoded(
        self, context: Float32Array, features: Float32Array, z: Float32Array, t: float
    ) -> Decision:
        """The chunk of one (z, t); the frozen policy as it is has its own noise."""
        noise = self._base_noise() if self._mode == BASE else z
        actions = self.policy.sample(
            context[None], noise[None], np.array([t], np.float32), self._eps[None]
        )[0]
        actor, version = self._by()
        return Decision(actions, features, z, t, actor, version)

    def _best_candidate(self, context: Float32Array, features: Float32Array) -> Decision:
        """The candidate that the critics value most; in warm-up the policy's plain answer.

        While training, what critics disagree about counts as promising, and some candidates are
        edited; in evaluations all are chunks of the policy's own.
        """
        learned = self._learned if self._mode == LEARNED else None
        drawn = draw(
            self.policy,
            context,
            self.method,
            self._rng,
            count=KEPT_CANDIDATES if learned is None else self.method.candidates,
            eps=self._eps,
            first=self._warmup() if learned is None else (self._no_noise(), 0.0),
            workspace=self._workspace,
            edited=not self._deterministic,
        )
        best = 0
        if learned is not None:
            best = self._most_valued(learned, features, drawn.plans)
        actor, version = self._by()
        return Decision(
            drawn.actions[best],
            features,
            drawn.z[best],
            float(drawn.t_context[best]),
            actor,
            version,
            edit=drawn.edits[best],
            candidates=drawn.kept(best, self._rng),
        )

    def _most_valued(self, critics: nn.Module, features: Float32Array, plans: Float32Array) -> int:
        with torch.inference_mode():
            every = torch.from_numpy(features).expand(len(plans), -1)
            values = critics(every, torch.from_numpy(plans))
            bonus = 0.0 if self._deterministic else self.method.optimism
            return int((values.mean(0) + bonus * values.std(0)).argmax())

    def _by(self) -> tuple[str, int]:
        """Name of what acts, and the version of its weights."""
        learned = self._mode == LEARNED
        return (self.method.name, self.version) if learned else (self._mode, 0)

    def _base_noise(self) -> Float32Array:
        """Noise as in training, drawn anew for every row (H, A): the frozen policy as it is."""
        shape = (self.policy.spec.action.horizon, self.policy.z_size)
        return self._rng.standard_normal(shape).astype(np.float32)

    def _warmup(self) -> tuple[Float32Array, float]:
        return self._small_z(), self._warmup_t

    def _no_noise(self) -> Float32Array:
        return np.zeros(self.policy.z_size, np.float32)

    def _small_z(self) -> Float32Array:
        z = self.method.warmup_z_std * self._rng.standard_normal(self.policy.z_size)
        return np.clip(z, -self.method.z_bound, self.method.z_bound).astype(np.float32)

    def _latent(self, features: Float32Array) -> tuple[Float32Array, float]:
        """What the actor chooses."""
        assert isinstance(self._learned, Actor)
        with torch.inference_mode():
            batch = torch.from_numpy(features)[None]
            if self._deterministic:
                z, t = self._learned.mode(batch)
            else:
                noise = self._exploration_noise(self._learned.size)
                z, t, _ = self._learned.sample(batch, self._generator, noise=noise)
        return z[0].numpy(), float(t[0])

    def _exploration_noise(self, size: int) -> Tensor | None:
        """Unit noise for the actor (1, size), part of it the same for all of the episode."""
        share = self.method.held_exploration
        if share == 0:
            return None
        if self._held is None:
            self._held = torch.randn(size, generator=self._generator)
        fresh = torch.randn(size, generator=self._generator)
        return (math.sqrt(share) * self._held + math.sqrt(1 - share) * fresh)[None]


def pack_weights(
    acting: nn.Module, sizes: dict[str, float], exploration: Exploration
) -> tuple[bytes, str]:
    """Weights as safetensors and metadata as JSON, for `PolicyParameters`."""
    tensors = {name: value.detach().clone() for name, value in acting.state_dict().items()}
    return save(tensors), json.dumps({"sizes": sizes, "exploration": exploration.to_json()})
