"""Choosers of the methods whose actor makes the choice: noise, or the motion itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.data.plans import chunk_of, plan_of
from tmrl_ros.learning.choosing.choice import NOTHING, Choice, Episode, base_noise, decoded, small_z
from tmrl_ros.learning.choosing.reach import Reach, kept_within
from tmrl_ros.learning.learners.networks import Actor, sinusoidal_t
from tmrl_ros.learning.learners.rerank import actor_and_critics, pick
from tmrl_ros.learning.learners.rlpd import PlanActor
from tmrl_ros.policies.policy import Policy


@dataclass(frozen=True)
class NoiseChooser:
    """An actor chooses z; t is 0."""

    policy: Policy
    method: MethodConfig
    reach: Reach

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """A small z."""
        z = small_z(self.policy, self.method, episode.rng)
        return decoded(self.policy, context, z, 0.0, episode.eps, episode.committed)

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """What the actor says, or its mode; re-ranked, the best of several."""
        actor, critics = actor_and_critics(learned)
        (z,) = _acted(episode, actor, features, self.method, self.method.held_exploration)
        best = 0
        if critics is not None:
            best = _best(critics, features, [z], self.method, episode.rng)
        chosen = z[best].numpy()
        return decoded(self.policy, context, chosen, 0.0, episode.eps, episode.committed)


@dataclass(frozen=True)
class PaperChooser:
    """An actor chooses z, t and the context noise; all uniform in warm-up."""

    policy: Policy
    method: MethodConfig
    reach: Reach

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """Anything within the bounds, anew at every chunk."""
        rng = episode.rng
        z = rng.uniform(-1, 1, self.policy.z_size).astype(np.float32) * self.method.z_bound
        eps = rng.uniform(-1, 1, len(context)).astype(np.float32)
        t = self.method.t_max * float(rng.random())
        return decoded(self.policy, context, z, t, eps, episode.committed)

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """What the actor says, or its mode; re-ranked, the best of several."""
        actor, critics = actor_and_critics(learned)
        z, t, eps = _acted(episode, actor, features, self.method, 0.0)
        best = 0
        if critics is not None:
            parts = [z, sinusoidal_t(t[:, 0]), eps]
            best = _best(critics, features, parts, self.method, episode.rng)
        timestep = min(float(t[best, 0].numpy() + 1) / 2, self.method.t_max)
        chosen, noise = z[best].numpy(), eps[best].numpy()
        return decoded(self.policy, context, chosen, timestep, noise, episode.committed)


@dataclass(frozen=True)
class PlanChooser:
    """An actor chooses the motion; the policy only acts in warm-up, as it is."""

    policy: Policy
    method: MethodConfig
    reach: Reach

    def warm_up(self, episode: Episode, context: Float32Array) -> Choice:
        """The frozen policy's own answer."""
        noise = base_noise(self.policy, episode.rng)
        return decoded(self.policy, context, noise, 0.0, episode.eps, episode.committed)

    def choose(
        self, episode: Episode, learned: nn.Module, context: Float32Array, features: Float32Array
    ) -> Choice:
        """What the actor says, or its mode, as far as the arm may go in the time."""
        actor, critics = actor_and_critics(learned)
        assert isinstance(actor, PlanActor)
        with torch.inference_mode():
            batch = torch.from_numpy(features)[None]
            count = max(1, self.method.rerank_samples)
            plans = actor.mode(batch)
            if not episode.deterministic or count > 1:
                drawn, _ = actor.sample(batch.expand(count, -1), episode.generator)
                plans = torch.cat([plans, drawn[1:]]) if episode.deterministic else drawn
        actions = self._chunks(plans.numpy(), context, episode.committed)
        best = 0
        if critics is not None:
            reached = torch.from_numpy(plan_of(actions))
            best = _best(critics, features, [reached], self.method, episode.rng)
        return Choice(actions[best], NOTHING, 0.0, NOTHING)

    def _chunks(
        self, plans: Float32Array, context: Float32Array, committed: FloatArray
    ) -> FloatArray:
        """Chunks (K, H, 4) of plans (K, P), within the workspace and slow enough.

        They begin with `committed` (R, 4), and go on from there towards the plan.
        """
        state = context[self.policy.spec.context.parts()["state"]]
        actions = chunk_of(plans, self.policy.spec.action.horizon, float(state[3]))
        held = len(committed)
        actions[:, :held] = committed
        begin = committed[-1, :3] if held else np.zeros(3)
        fresh = actions[:, held:, :3] - begin
        actions[:, held:, :3] = begin + slowed(fresh, self.reach.row_m)
        return kept_within(actions, self.policy, context, self.reach, held)


def slowed(positions: FloatArray, row_m: float) -> FloatArray:
    """Positions (..., H, 3) from 0, with moves from row to row no longer than `row_m`."""
    moves = np.diff(positions, axis=-2, prepend=0.0)
    length = np.linalg.norm(moves, axis=-1, keepdims=True)
    slower: FloatArray = np.cumsum(moves * np.minimum(1.0, row_m / np.maximum(length, 1e-9)), -2)
    return slower


def _best(
    critics: nn.Module,
    features: Float32Array,
    parts: list[Tensor],
    method: MethodConfig,
    rng: np.random.Generator,
) -> int:
    """Which of K choices, given as `parts` (K, ...) that critics see beside the features (F,)."""
    with torch.inference_mode():
        every = torch.from_numpy(features).expand(len(parts[0]), -1)
        return pick(critics(every, *parts).mean(0), method, rng)


def _acted(
    episode: Episode,
    actor: nn.Module,
    features: Float32Array,
    method: MethodConfig,
    held_share: float,
) -> list[Tensor]:
    """What an actor says for features (F,), every head's (K, size): K is 1 unless re-ranked.

    Part of its exploration is held over the episode. A deterministic episode has the mode first.
    """
    assert isinstance(actor, Actor)
    count = max(1, method.rerank_samples)
    with torch.inference_mode():
        batch = torch.from_numpy(features)[None]
        mode = actor.mode(batch)
        if episode.deterministic and count == 1:
            return mode
        noise = None
        if held_share:
            if episode.held is None:
                episode.held = torch.randn(actor.size, generator=episode.generator)
            fresh = torch.randn((count, actor.size), generator=episode.generator)
            noise = math.sqrt(held_share) * episode.held + math.sqrt(1 - held_share) * fresh
        drawn, _ = actor.sample(batch.expand(count, -1), episode.generator, noise=noise)
        if episode.deterministic:
            return [torch.cat([first, rest[1:]]) for first, rest in zip(mode, drawn, strict=True)]
        return drawn
