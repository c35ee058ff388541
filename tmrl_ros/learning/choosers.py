"""How each method chooses a chunk: what it offers, and what of that its networks prefer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.data.plans import KEPT_CANDIDATES
from tmrl_ros.learning.candidates import Z_LIMIT, Candidates, Workspace, draw, edited_along
from tmrl_ros.learning.expo import Editor
from tmrl_ros.learning.networks import Actor
from tmrl_ros.policies.policy import ChunkPolicy

NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Choice:
    """A chunk (H, A), how the policy was asked for it, and the plans it was chosen from, if any."""

    actions: FloatArray
    z: Float32Array
    t_context: float
    eps_context: Float32Array
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
    """

    rng: np.random.Generator
    generator: torch.Generator
    eps: Float32Array
    deterministic: bool
    warmup_t: float
    held: Tensor | None = None


class Chooser(Protocol):
    """Chooses a chunk for a raw context (C,)."""

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """Before there are weights."""

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """With what was learned."""


def chooser_for(policy: ChunkPolicy, method: MethodConfig, workspace: Workspace | None) -> Chooser:
    """The chooser of a method."""
    match method.name:
        case "tmrl":
            return CandidateChooser(policy, method, workspace)
        case "expo":
            return EditChooser(policy, method, workspace)
        case "tmrl_paper":
            return PaperChooser(policy, method)
    return NoiseChooser(policy, method)


@dataclass(frozen=True)
class CandidateChooser:
    """Candidates over z and t, of which critics choose; in warm-up the policy's plain answer.

    While training, what critics disagree about counts as promising, and some candidates are edited;
    in evaluations all are chunks of the policy's own.
    """

    policy: ChunkPolicy
    method: MethodConfig
    workspace: Workspace | None

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """The first candidate; the others are drawn to be remembered."""
        first = small_z(self.policy, self.method, episode.rng), episode.warmup_t
        return self._choice(episode, self._draw(episode, context, KEPT_CANDIDATES, first), 0)

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """The candidate that the critics value most."""
        drawn = self._draw(episode, context, self.method.candidates, self._plain())
        return self._choice(episode, drawn, self._best(episode, learned, features, drawn))

    def _plain(self) -> tuple[Float32Array, float]:
        return np.zeros(self.policy.z_size, np.float32), 0.0

    def _draw(
        self,
        episode: Episode,
        context: Float32Array,
        count: int,
        first: tuple[Float32Array, float],
    ) -> Candidates:
        return draw(
            self.policy,
            context,
            self.method,
            episode.rng,
            count=count,
            eps=episode.eps,
            first=first,
            workspace=self.workspace,
            edited=not episode.deterministic and self.method.name == "tmrl",
        )

    def _best(
        self, episode: Episode, critics: nn.Module, features: Float32Array, drawn: Candidates
    ) -> int:
        with torch.inference_mode():
            every = torch.from_numpy(features).expand(len(drawn.plans), -1)
            values = critics(every, torch.from_numpy(drawn.plans))
            bonus = 0.0 if episode.deterministic else self.method.optimism
            return int((values.mean(0) + bonus * values.std(0)).argmax())

    @staticmethod
    def _choice(episode: Episode, drawn: Candidates, best: int) -> Choice:
        return Choice(
            drawn.actions[best],
            drawn.z[best],
            float(drawn.t_context[best]),
            drawn.eps_context[best],
            drawn.edits[best],
            drawn.kept(best, episode.rng),
        )


class EditChooser(CandidateChooser):
    """Samples at t = 0 and learned edits of them, of which critics choose."""

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """The sample or edited sample that the critics value most."""
        assert isinstance(learned, Editor)
        drawn = self._draw(episode, context, self.method.candidates, self._plain())
        with torch.inference_mode():
            every = torch.from_numpy(features).expand(len(drawn.plans), -1)
            edits = learned.edits(every, torch.from_numpy(drawn.plans), episode.generator)
        both = edited_along(drawn, edits.numpy(), self.policy, context, self.workspace)
        best = self._best(episode, learned.critics, features, both)
        chosen = self._choice(episode, both, best)
        # Edits are made anew in targets: the plans to remember are the policy's.
        kept = np.concatenate([chosen.candidates[:1], drawn.plans])
        return Choice(
            chosen.actions, chosen.z, chosen.t_context, chosen.eps_context, chosen.edit, kept
        )


@dataclass(frozen=True)
class NoiseChooser:
    """An actor chooses z; t is 0."""

    policy: ChunkPolicy
    method: MethodConfig

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """A small z."""
        z = small_z(self.policy, self.method, episode.rng)
        return decoded(self.policy, context, z, 0.0, episode.eps)

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """What the actor says, or its mode."""
        (z,) = _acted(episode, learned, features, self.method.held_exploration)
        return decoded(self.policy, context, z, 0.0, episode.eps)


@dataclass(frozen=True)
class PaperChooser:
    """An actor chooses z, t and the context noise; all uniform in warm-up."""

    policy: ChunkPolicy
    method: MethodConfig

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """Anything within the bounds, anew at every chunk."""
        rng = episode.rng
        z = rng.uniform(-1, 1, self.policy.z_size).astype(np.float32) * self.method.z_bound
        eps = rng.uniform(-1, 1, len(context)).astype(np.float32)
        return decoded(self.policy, context, z, self.method.t_max * float(rng.random()), eps)

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """What the actor says, or its mode."""
        z, t, eps = _acted(episode, learned, features, 0.0)
        t_context = min(float(t[0] + 1) / 2, self.method.t_max)
        return decoded(self.policy, context, z, t_context, eps)


def decoded(
    policy: ChunkPolicy, context: Float32Array, z: Float32Array, t: float, eps: Float32Array
) -> Choice:
    """The chunk of one (z, t); z is (Z,), or (H, Z) for noise of its own in every row."""
    actions = policy.sample(context[None], z[None], np.array([t], np.float32), eps[None])[0]
    return Choice(actions, z if z.ndim == 1 else z[0], t, eps)


def small_z(policy: ChunkPolicy, method: MethodConfig, rng: np.random.Generator) -> Float32Array:
    """Action noise for warm-up."""
    z = method.warmup_z_std * rng.standard_normal(policy.z_size)
    return np.clip(z, -method.z_bound, method.z_bound).astype(np.float32)


def unlearned_z(
    policy: ChunkPolicy, method: MethodConfig, rng: np.random.Generator
) -> Float32Array:
    """Action noise as the method draws it before it has learned: all of its range."""
    if method.judges_noise:
        z = method.z_bound * rng.uniform(-1, 1, policy.z_size)
    else:
        spread = method.candidate_z_std * rng.standard_normal(policy.z_size)
        z = np.clip(spread, -Z_LIMIT, Z_LIMIT)
    return z.astype(np.float32)


def _acted(
    episode: Episode, actor: nn.Module, features: Float32Array, held_share: float
) -> list[Float32Array]:
    """What an actor says for features (F,); part of its exploration is held over the episode."""
    assert isinstance(actor, Actor)
    with torch.inference_mode():
        batch = torch.from_numpy(features)[None]
        if episode.deterministic:
            return [part[0].numpy() for part in actor.mode(batch)]
        noise = None
        if held_share:
            if episode.held is None:
                episode.held = torch.randn(actor.size, generator=episode.generator)
            fresh = torch.randn(actor.size, generator=episode.generator)
            noise = (math.sqrt(held_share) * episode.held + math.sqrt(1 - held_share) * fresh)[None]
        return [part[0].numpy() for part in actor.sample(batch, episode.generator, noise=noise)[0]]
