"""DSRL: an actor chooses the action noise z of a frozen policy, critics judge z (arXiv 2506.15799).

The noise-space soft actor-critic, with what TMRL here has learned from others' faults: reward 1 on
success and targets in [0, 1], mean minus spread of the critics instead of their minimum, no entropy
in the target, next features stored, warm-up from the base policy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import FloatArray
from tmrl_ros.data.transitions import Transition
from tmrl_ros.learning.learners.actor_critic import NoiseLearner
from tmrl_ros.learning.learners.goals import goal
from tmrl_ros.learning.learners.learner import adjust_temperature, column, descend, follow
from tmrl_ros.learning.learners.networks import Actor, NoiseCritics
from tmrl_ros.learning.replay import Batch, Replay


class DsrlLearner(NoiseLearner):
    """Actor, critics, their optimisers and random state; `update` is one gradient step."""

    def __init__(self, method: MethodConfig, features: int, z_size: int, seed: int) -> None:
        """Everything random in it comes from `seed`."""

        def networks() -> tuple[Actor, NoiseCritics]:
            return (
                Actor(features, [(z_size, method.z_bound)], method.hidden),
                NoiseCritics(features + z_size, method.hidden, method.critics),
            )

        super().__init__(method, networks, (), seed)
        self.target_entropy = -float(z_size)

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
        self.fit(values, wanted)
        follow(self.target, self.critics, self.method.target_tau)

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
