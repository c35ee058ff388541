"""Reinforcement learning over the action noise z, and maybe the context timestep t, of a policy.

An actor chooses (z, t) and critics judge (z, t), as in DSRL and in the paper on TMRL.

One decision per action chunk. The reward is 1 on success and 0 otherwise, so values are
probabilities of success discounted by the decisions still needed, and targets are kept in [0, 1].
Against the public code: no entropy in the target (kept), no context-noise head (its policy ignores
it), warm-up from the base policy (theirs: uniform noise), next features stored (theirs: the next
row, also at time-outs).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.learner import Parts
from tmrl_ros.learning.networks import Actor, LatentCritics
from tmrl_ros.learning.replay import Batch, Replay


class LatentLearner:
    """Actor, critics, their optimisers and random state; `update` is one gradient step."""

    def __init__(self, method: MethodConfig, features: int, z_size: int, seed: int) -> None:
        """Everything random in it comes from `seed`."""
        self.method = method
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.rng = np.random.default_rng(seed + 2)
        self.actor = Actor(features, z_size, method.hidden, method.z_bound, method.first_t_context)
        self.critics = LatentCritics(
            features, z_size, method.hidden, method.critics, method.z_bound
        )
        self.target = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_alpha = torch.tensor(float(np.log(method.initial_temperature)), requires_grad=True)
        self.actor_optimiser = torch.optim.Adam(
            self.actor.parameters(), method.actor_learning_rate, fused=True
        )
        self.critic_optimiser = torch.optim.Adam(
            self.critics.parameters(), method.learning_rate, fused=True
        )
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], method.actor_learning_rate)
        self.target_entropy = -float(self.actor.size)
        self.updates = 0
        self.metrics: dict[str, float] = {}

    def update(self, replay: Replay) -> None:
        """One critic step, and every `actor_every` of them one actor and temperature step."""
        batch = replay.sample(self.method.batch_size, self.method.success_fraction, self.rng)
        self._update_critics(batch)
        self.updates += 1
        if self.updates % self.method.actor_every == 0:
            self._update_actor(batch)

    def _update_critics(self, batch: Batch) -> None:
        with torch.no_grad():
            z, t, _ = self.actor.sample(batch.next_features, self.generator)
            following = self.target(batch.next_features, z, t)
            # Mean minus spread rather than the minimum: five critics' minimum is needlessly timid.
            value = following.mean(0) - following.std(0)
            goal = batch.reward + self.method.discount * (1 - batch.terminated) * value
            goal = goal.clamp(0.0, 1.0)
        values = self.critics(batch.features, batch.z, batch.t)
        loss = (
            nn.functional.mse_loss(values, goal.expand_as(values), reduction="none").mean(1).sum()
        )
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.critic_optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target.parameters()),
                list(self.critics.parameters()),
                self.method.target_tau,
            )
        if self.updates % 50 == 0:
            self.metrics["critic_loss"] = float(loss.detach()) / self.method.critics
            self.metrics["value_mean"] = float(values.detach().mean())

    def _update_actor(self, batch: Batch) -> None:
        self.critics.requires_grad_(False)
        z, t, log_prob = self.actor.sample(batch.features, self.generator)
        values = self.critics(batch.features, z, t)
        alpha = self.log_alpha.detach().exp()
        loss = (alpha * log_prob - values.mean(0)).mean()
        self.actor_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.actor_optimiser.step()
        self.critics.requires_grad_(True)
        alpha_loss = -self.log_alpha * float((log_prob.detach() + self.target_entropy).mean())
        self.alpha_optimiser.zero_grad(set_to_none=True)
        alpha_loss.backward()  # type: ignore[no-untyped-call]
        self.alpha_optimiser.step()
        if self.updates % 50 < self.method.actor_every:
            self.metrics["temperature"] = float(alpha.detach())
            self.metrics["entropy"] = float(-log_prob.detach().mean())
            self.metrics["t_context_mean"] = float(t.detach().mean())

    @property
    def acting(self) -> nn.Module:
        """What the policy server acts with."""
        return self.actor

    def parts(self) -> Parts:
        """What a checkpoint keeps."""
        return Parts(
            {"actor": self.actor, "critics": self.critics, "target": self.target},
            {
                "actor_optimiser": self.actor_optimiser,
                "critic_optimiser": self.critic_optimiser,
                "alpha_optimiser": self.alpha_optimiser,
            },
            {"log_alpha": self.log_alpha},
        )
