"""DSRL: an actor chooses the action noise z of a frozen policy, critics judge z (arXiv 2506.15799).

The noise-space soft actor-critic, with what TMRL here has learned from others' faults: reward 1 on
success and targets in [0, 1], mean minus spread of the critics instead of their minimum, no entropy
in the target, next features stored, warm-up from the base policy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import FloatArray
from tmrl_ros.data.transitions import Transition
from tmrl_ros.learning.goals import goal
from tmrl_ros.learning.learner import Parts, adjust_temperature, column, descend, follow
from tmrl_ros.learning.networks import Actor, NoiseCritics
from tmrl_ros.learning.replay import Batch, Replay
from tmrl_ros.learning.rerank import acting_of


class DsrlLearner:
    """Actor, critics, their optimisers and random state; `update` is one gradient step."""

    def __init__(self, method: MethodConfig, features: int, z_size: int, seed: int) -> None:
        """Everything random in it comes from `seed`."""
        self.method = method
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.rng = np.random.default_rng(seed + 2)
        self.actor = Actor(features, [(z_size, method.z_bound)], method.hidden)
        self.critics = NoiseCritics(features + z_size, method.hidden, method.critics)
        self.target = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_alpha = torch.tensor(float(np.log(method.initial_temperature)), requires_grad=True)
        self.actor_optimiser = torch.optim.Adam(
            self.actor.parameters(), method.actor_learning_rate, fused=True
        )
        self.critic_optimiser = torch.optim.Adam(
            self.critics.parameters(), method.learning_rate, fused=True
        )
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], method.actor_learning_rate)
        self.target_entropy = -float(z_size)
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
            (z,), _ = self.actor.sample(batch.next_features, self.generator)
            following = self.target(batch.next_features, z)
            value = following.mean(0) - self.method.pessimism * following.std(0)
            wanted = goal(batch, value, self.method)
        values = self.critics(batch.features, batch.z)
        loss = ((values - wanted) ** 2).mean(1).sum()
        descend(loss, self.critic_optimiser)
        follow(self.target, self.critics, self.method.target_tau)
        if self.updates % 50 == 0:
            self.metrics["critic_loss"] = float(loss.detach()) / self.method.critics
            self.metrics["value_mean"] = float(values.detach().mean())
            self.metrics["disagreement"] = float(values.detach().std(0).mean())

    def _update_actor(self, batch: Batch) -> None:
        self.critics.requires_grad_(False)
        (z,), (log_prob,) = self.actor.sample(batch.features, self.generator)
        values = self.critics(batch.features, z)
        alpha = self.log_alpha.detach().exp()
        loss = (alpha * log_prob - values.mean(0)).mean()
        descend(loss, self.actor_optimiser)
        self.critics.requires_grad_(True)
        excess = (log_prob + self.target_entropy).mean()
        adjust_temperature(self.log_alpha, self.alpha_optimiser, excess)
        if self.updates % 50 < self.method.actor_every:
            self.metrics["temperature"] = float(alpha.detach())
            self.metrics["entropy"] = float(-log_prob.detach().mean())

    def judge(self, rows: Sequence[Transition]) -> FloatArray:
        """What the critics expect of the noise that was used (n,)."""
        features = column(rows, "features")
        z = column(rows, "z")
        with torch.no_grad():
            values: Tensor = self.critics(features, z).mean(0)
        return values.numpy().astype(np.float64)

    @property
    def acting(self) -> nn.Module:
        """What the policy server acts with."""
        return acting_of(self.method, self.actor, self.critics)

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
