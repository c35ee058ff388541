"""TMRL here: critics choose among chunks that a frozen policy makes of several (z, t).

One decision per action chunk. Candidates (`learning/choosing/candidates.py`) are the policy's own
chunks, from precise imitation (t near 0) to the marginal (t = 1); an ensemble of critics over the
planned motion says which of them is executed. The reward is 1 on success and 0 otherwise, so values
are probabilities of success discounted by the decisions still needed, and targets are kept in
[0, 1].

Against the paper (arXiv 2605.12236): its actor outputs (z, t) and its critics judge (z, t). Critics
that judge the motion itself learn the same from every way to it, and need no actor to follow them;
the choice is the maximum over candidates, as in EXPO (arXiv 2507.07986) and V-GPS. Every batch is
seen at random places of the table: what succeeded at one place is then expected at all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import FloatArray
from tmrl_ros.data.plans import KEPT_CANDIDATES
from tmrl_ros.data.transitions import Transition
from tmrl_ros.learning.learners.goals import goal
from tmrl_ros.learning.learners.learner import Parts, column, critic_figures, descend, follow
from tmrl_ros.learning.learners.networks import PlanCritics
from tmrl_ros.learning.replay import Batch, Replay
from tmrl_ros.policies.context import move_scene

TARGET_CANDIDATES = 8
"""Plans of the next decision, of those kept, over which a target's maximum is taken."""


class TmrlLearner:
    """Critics over plans, their optimiser and random state; `update` is one gradient step."""

    def __init__(self, method: MethodConfig, features: int, seed: int) -> None:
        """Everything random in it comes from `seed`."""
        self.method = method
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.rng = np.random.default_rng(seed + 2)
        self.critics = PlanCritics(features, method.hidden, method.critics)
        self.target = copy.deepcopy(self.critics).requires_grad_(False)
        self.optimiser = torch.optim.Adam(
            self.critics.parameters(), method.learning_rate, fused=True
        )
        self.updates = 0
        self.metrics: dict[str, float] = {}

    def update(self, replay: Replay) -> None:
        """One step of all critics on a batch."""
        self._step(replay)

    def _step(self, replay: Replay) -> Batch:
        batch = replay.sample(self.method.batch_size, self.method.success_fraction, self.rng)
        batch = self._moved(batch)
        wanted = self._goal(batch)
        values = self.critics(batch.features, batch.plan)
        loss = ((values - wanted) ** 2).mean(1).sum()
        descend(loss, self.optimiser)
        follow(self.target, self.critics, self.method.target_tau)
        self.updates += 1
        if self.updates % 50 == 0:
            self.metrics.update(critic_figures(loss, values))
        return batch

    def _moved(self, batch: Batch) -> Batch:
        """The batch with every scene moved over the table, as if it were the same everywhere."""
        reach = self.method.shift_m
        if reach == 0:
            return batch
        draw = torch.rand(len(batch.reward), 2, generator=self.generator)
        shift_m = reach * (2 * draw - 1)
        return replace(
            batch,
            features=move_scene(batch.features, shift_m),
            next_features=move_scene(batch.next_features, shift_m),
        )

    @torch.no_grad()
    def _goal(self, batch: Batch) -> Tensor:
        """Reward and the discounted value of the best known next plan, (B,).

        A plan counts by mean minus spread of the critics, so that the maximum does not pick what
        none of them has seen.
        """
        plans = self._choices(batch)
        count = plans.shape[1]
        features = batch.next_features.repeat_interleave(count, 0)
        values = self.target(features, plans.flatten(0, 1))
        sure = values.mean(0) - self.method.pessimism * values.std(0)
        return goal(batch, sure.reshape(-1, count).amax(1), self.method)

    def _choices(self, batch: Batch) -> Tensor:
        """Plans (B, N, P) that could have been chosen next: some of those kept."""
        drawn = torch.randint(
            KEPT_CANDIDATES,
            (len(batch.next_plans), TARGET_CANDIDATES),
            generator=self.generator,
        )
        return torch.take_along_dim(batch.next_plans, drawn[..., None], 1)

    def judge(self, rows: Sequence[Transition]) -> FloatArray:
        """What the critics expect of executed plans (n,)."""
        features = column(rows, "features")
        plans = column(rows, "plan")
        with torch.no_grad():
            values: Tensor = self.critics(features, plans).mean(0)
        return values.numpy().astype(np.float64)

    @property
    def acting(self) -> nn.Module:
        """What the policy server acts with."""
        return self.critics

    def parts(self) -> Parts:
        """What a checkpoint keeps."""
        return Parts(
            {"critics": self.critics, "target": self.target},
            {"critic_optimiser": self.optimiser},
            {},
        )
