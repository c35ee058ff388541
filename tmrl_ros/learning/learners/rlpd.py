"""RLPD: an actor learns the motion itself, from prior data and its own (arXiv 2302.02948).

A soft actor-critic without the base policy in the loop. The actor outputs a plan
(`data/plans.py`): moves of the tool over each quarter of the chunk, and the gripper's opening.
As in the paper: half of every batch is prior data (demonstrations and warm-up, whatever was made
before this session's weights), an ensemble of layer-norm critics, the minimum over a random subset
of their targets, many critic steps per row and one actor step after a block of them; no entropy in
the target (their setting for sparse rewards).

Against it: reward 1 on success with targets in [0, 1], next features stored, batches moved over the
table as for the other critics of plans here, and prior data from the base policy where there are no
demonstrations.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.data.plans import PLAN_ROWS, PLAN_SCALE_M, PLAN_SIZE
from tmrl_ros.learning.learners.goals import goal
from tmrl_ros.learning.learners.learner import (
    Parts,
    adjust_temperature,
    critic_figures,
    descend,
    follow,
)
from tmrl_ros.learning.learners.networks import CLOSE_M, Actor
from tmrl_ros.learning.learners.rerank import acting_of
from tmrl_ros.learning.learners.tmrl import TmrlLearner
from tmrl_ros.learning.replay import Batch, Replay
from tmrl_ros.policies.context import RELATIVE_SCALE_M, STATE_SIZE, relative_objects


class PlanActor(nn.Module):
    """A tanh-Gaussian over moves and openings, seen as plans.

    Beside the features it sees where the objects are on a logarithmic scale, as the critics do.
    """

    def __init__(self, features: int, method: MethodConfig) -> None:
        """Moves are at most `method.step_m` along an axis in a quarter of the chunk."""
        super().__init__()
        objects = (features - STATE_SIZE) // 6
        heads = [(3 * PLAN_ROWS, method.step_m / PLAN_SCALE_M), (PLAN_ROWS, 1.0)]
        self.gaussian = Actor(features + 3 * objects, heads, method.hidden)

    def sample(self, features: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Plans (B, P) for features (B, F), differentiably, and their log probabilities (B,).

        Probabilities are those of the moves before they are scaled: a constant apart.
        """
        (moves, openings), logs = self.gaussian.sample(self._inputs(features), generator)
        return self._plans(moves, openings), torch.stack(logs).sum(0)

    def mode(self, features: Tensor) -> Tensor:
        """The plan (B, P) of the Gaussian's mean."""
        return self._plans(*self.gaussian.mode(self._inputs(features)))

    @staticmethod
    def _inputs(features: Tensor) -> Tensor:
        apart = relative_objects(features).flatten(-2) * (RELATIVE_SCALE_M / CLOSE_M)
        return torch.cat([features, torch.sign(apart) * torch.log1p(apart.abs())], -1)

    @staticmethod
    def _plans(moves: Tensor, openings: Tensor) -> Tensor:
        positions = moves.reshape(-1, PLAN_ROWS, 3).cumsum(1)
        return torch.cat([positions, openings[..., None]], -1).flatten(1)


class RlpdLearner(TmrlLearner):
    """Critics over plans, the actor whose plans they judge, and its temperature."""

    def __init__(self, method: MethodConfig, features: int, seed: int) -> None:
        """Everything random in it comes from `seed`."""
        super().__init__(method, features, seed)
        self.actor = PlanActor(features, method)
        self.log_alpha = torch.tensor(float(np.log(method.initial_temperature)), requires_grad=True)
        self.actor_optimiser = torch.optim.Adam(
            self.actor.parameters(), method.actor_learning_rate, fused=True
        )
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], method.actor_learning_rate)

    def update(self, replay: Replay) -> None:
        """One critic step, and every `actor_every` of them one of actor and temperature."""
        method = self.method
        batch = self._moved(replay.sample_mixed(method.batch_size, method.prior_fraction, self.rng))
        values = self.critics(batch.features, batch.plan)
        loss = ((values - self._goal(batch)) ** 2).mean(1).sum()
        descend(loss, self.optimiser)
        follow(self.target, self.critics, method.target_tau)
        self.updates += 1
        if self.updates % 50 == 0:
            self.metrics.update(critic_figures(loss, values))
        if self.updates % method.actor_every == 0:
            self._update_actor(batch)

    @torch.no_grad()
    def _goal(self, batch: Batch) -> Tensor:
        """Reward and the discounted value of the actor's next plan, (B,)."""
        plans, _ = self.actor.sample(batch.next_features, self.generator)
        values = self.target(batch.next_features, plans)
        chosen = torch.randperm(len(values), generator=self.generator)[: self.method.target_critics]
        return goal(batch, values[chosen].amin(0), self.method)

    def _update_actor(self, batch: Batch) -> None:
        self.critics.requires_grad_(False)
        plans, log_prob = self.actor.sample(batch.features, self.generator)
        values = self.critics(batch.features, plans)
        alpha = self.log_alpha.detach().exp()
        loss = (alpha * log_prob - values.mean(0)).mean()
        descend(loss, self.actor_optimiser)
        self.critics.requires_grad_(True)
        excess = (log_prob - PLAN_SIZE / 2).mean()  # their target entropy: minus half the size
        adjust_temperature(self.log_alpha, self.alpha_optimiser, excess)
        self.metrics["temperature"] = float(alpha)
        self.metrics["entropy"] = float(-log_prob.detach().mean())

    @property
    def acting(self) -> nn.Module:
        """What the policy server acts with."""
        return acting_of(self.method, self.actor, self.critics)

    def parts(self) -> Parts:
        """What a checkpoint keeps."""
        parts = super().parts()
        return Parts(
            {**parts.modules, "actor": self.actor},
            {
                **parts.optimisers,
                "actor_optimiser": self.actor_optimiser,
                "alpha_optimiser": self.alpha_optimiser,
            },
            {"log_alpha": self.log_alpha},
        )
