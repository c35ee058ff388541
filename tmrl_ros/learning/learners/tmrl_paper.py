"""TMRL with the settings its authors published for robots (arXiv 2605.12236), for comparison.

An actor with three heads chooses action noise z, context timestep t and context noise eps; critics
judge (z, t, eps). Per decision 20 critic steps, then one step of target, actor and temperatures.
Reward -1 per decision and 0 on success; minimum over five critics; no entropy in the target;
batches half from successful and half from failed episodes; z, t and eps uniform in warm-up.

Faults of the public code that are not repeated: next features are stored (theirs: the next row,
also at time-outs), the timestep reaches the marginal (theirs stops at 60 % of the signal in small
policies), the policy uses eps (one of theirs ignores it), contexts are normalised before noising,
and resume keeps the replay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import FloatArray
from tmrl_ros.data.transitions import Transition
from tmrl_ros.learning.learners.actor_critic import NoiseLearner
from tmrl_ros.learning.learners.learner import adjust_temperature, column, descend, follow
from tmrl_ros.learning.learners.networks import Actor, NoiseCritics, sinusoidal_t
from tmrl_ros.learning.replay import Batch, Replay


class TmrlPaperLearner(NoiseLearner):
    """Actor, critics, temperatures, their optimisers and random state."""

    def __init__(
        self, method: MethodConfig, features: int, z_size: int, context: int, seed: int
    ) -> None:
        """Everything random in it comes from `seed`."""

        def networks() -> tuple[Actor, NoiseCritics]:
            sizes = features, z_size, context
            return paper_actor(*sizes, method), paper_critics(*sizes, method)

        super().__init__(method, networks, (3,), seed)
        self.target_entropies = -torch.tensor([z_size, 1.0, context])

    def update(self, replay: Replay) -> None:
        """One critic step; after `actor_every` of them one of everything else."""
        method = self.method
        batch = replay.sample(method.batch_size, method.success_fraction, self.rng, apart=True)
        self._update_critics(batch)
        self.updates += 1
        if self.updates % method.actor_every == 0:
            follow(self.target, self.critics, method.target_tau)
            self._update_actor(batch)

    def _values(self, critics: nn.Module, features: Tensor, chosen: list[Tensor]) -> Tensor:
        z, t, eps = chosen
        values: Tensor = critics(features, z, sinusoidal_t(t[:, 0]), eps)
        return values

    def _update_critics(self, batch: Batch) -> None:
        with torch.no_grad():
            chosen, _ = self.actor.sample(batch.next_features, self.generator)
            following = self._values(self.target, batch.next_features, chosen).amin(0)
            goal = batch.reward - 1 + self.method.discount * (1 - batch.terminated) * following
        done = [batch.z, 2 * batch.t[:, None] - 1, batch.eps]
        values = self._values(self.critics, batch.features, done)
        self.fit(values, goal)

    def _update_actor(self, batch: Batch) -> None:
        self.critics.requires_grad_(False)
        chosen, log_probs = self.actor.sample(batch.features, self.generator)
        least = self._values(self.critics, batch.features, chosen).amin(0)
        logs = torch.stack(log_probs, -1)
        alphas = self.log_alpha.detach().exp()
        loss = ((alphas * logs).sum(-1) - least).mean()
        descend(loss, self.actor_optimiser)
        self.critics.requires_grad_(True)
        excess = (logs + self.target_entropies).mean(0)
        adjust_temperature(self.log_alpha, self.alpha_optimiser, excess)
        self.metrics["temperature_z"] = float(alphas[0])
        self.metrics["t_context_mean"] = float((chosen[1].detach().mean() + 1) / 2)

    def judge(self, rows: Sequence[Transition]) -> FloatArray:
        """What the critics expect (n,), from cost per decision to discounted success.

        With -1 per decision and 0 on success, n decisions cost (1 - g^(n-1)) / (1 - g); discounted
        success is g^(n-1).
        """
        features = column(rows, "features")
        chosen = [
            column(rows, "z"),
            torch.tensor([[2 * row.t_context - 1] for row in rows], dtype=torch.float32),
            column(rows, "eps_context"),
        ]
        with torch.no_grad():
            cost = -self._values(self.critics, features, chosen).mean(0)
        success = 1 - (1 - self.method.discount) * cost
        return success.clamp(0.0, 1.0).numpy().astype(np.float64)


def paper_actor(features: int, z_size: int, context: int, method: MethodConfig) -> Actor:
    """Heads for z, t and eps; t comes as [-1, 1] and means (t + 1) / 2."""
    heads = [(z_size, method.z_bound), (1, 1.0), (context, 1.0)]
    return Actor(features, heads, method.hidden, layers=3)


def paper_critics(features: int, z_size: int, context: int, method: MethodConfig) -> NoiseCritics:
    """Q_j(features, z, t as 64 numbers, eps)."""
    inputs = features + z_size + 64 + context
    return NoiseCritics(inputs, method.hidden, method.critics, layers=3)
