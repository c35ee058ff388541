"""EXPO: the best of a frozen policy's samples and of learned edits of them (arXiv 2507.07986).

Critics over plans choose, as in TMRL here; the candidates are samples of the base policy at t = 0,
and each of them once more with an edit that a small actor makes, within a bound. The maximum over
both is taken to act and in the target. Against the paper: the base policy stays frozen, the reward
is 1 on success with targets in [0, 1], and a plan counts by mean minus spread of the critics.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.data.plans import PLAN_SIZE
from tmrl_ros.learning.learners.learner import Parts, adjust_temperature, descend
from tmrl_ros.learning.learners.networks import Actor, PlanCritics
from tmrl_ros.learning.learners.tmrl import TARGET_CANDIDATES, TmrlLearner
from tmrl_ros.learning.replay import Batch, Replay

EDIT_BOUND = 0.2
"""Of every number of a plan: 2 cm, and a tenth of the gripper's opening."""


class Editor(nn.Module):
    """What acts: critics over plans, and the actor that edits plans."""

    def __init__(self, features: int, method: MethodConfig) -> None:
        super().__init__()
        self.critics = PlanCritics(features, method.hidden, method.critics)
        self.actor = Actor(features + PLAN_SIZE, [(PLAN_SIZE, EDIT_BOUND)], method.hidden)

    def edits(self, features: Tensor, plans: Tensor, generator: torch.Generator) -> Tensor:
        """(B, F), (B, P) -> edits (B, P) to be added to the plans."""
        (edits,), _ = self.actor.sample(torch.cat([features, plans], -1), generator)
        return edits


class ExpoLearner(TmrlLearner):
    """TMRL's critics, with an actor whose edits are among the candidates."""

    def __init__(self, method: MethodConfig, features: int, seed: int) -> None:
        """Everything random in it comes from `seed`."""
        super().__init__(method, features, seed)
        self.editor = Editor(features, method)
        self.editor.critics = self.critics
        self.log_alpha = torch.tensor(float(np.log(method.initial_temperature)), requires_grad=True)
        self.actor_optimiser = torch.optim.Adam(
            self.editor.actor.parameters(), method.actor_learning_rate, fused=True
        )
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], method.actor_learning_rate)

    def update(self, replay: Replay) -> None:
        """One critic step, and every `actor_every` of them one of the editing actor."""
        batch = self._step(replay)
        if self.updates % self.method.actor_every == 0:
            self._update_actor(batch)

    def _choices(self, batch: Batch) -> Tensor:
        """Plans (B, 2 N, P): some that the policy made, and the same ones edited."""
        plans = super()._choices(batch)
        features = batch.next_features.repeat_interleave(TARGET_CANDIDATES, 0)
        flat = plans.flatten(0, 1)
        edited = flat + self.editor.edits(features, flat, self.generator)
        return torch.cat([plans, edited.reshape(plans.shape)], 1)

    def _update_actor(self, batch: Batch) -> None:
        """Edit what the policy offers at the next decision, towards more value."""
        features, plans = batch.next_features, batch.next_plans[:, 0]
        self.critics.requires_grad_(False)
        (edits,), (log_prob,) = self.editor.actor.sample(
            torch.cat([features, plans], -1), self.generator
        )
        values = self.critics(features, plans + edits)
        alpha = self.log_alpha.detach().exp()
        loss = (alpha * log_prob - values.mean(0)).mean()
        descend(loss, self.actor_optimiser)
        self.critics.requires_grad_(True)
        excess = (log_prob - PLAN_SIZE).mean()
        adjust_temperature(self.log_alpha, self.alpha_optimiser, excess)

    @property
    def acting(self) -> nn.Module:
        """What the policy server acts with."""
        return self.editor

    def parts(self) -> Parts:
        """What a checkpoint keeps."""
        parts = super().parts()
        return Parts(
            {**parts.modules, "actor": self.editor.actor},
            {
                **parts.optimisers,
                "actor_optimiser": self.actor_optimiser,
                "alpha_optimiser": self.alpha_optimiser,
            },
            {"log_alpha": self.log_alpha},
        )
