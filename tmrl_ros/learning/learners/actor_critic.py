"""What learners of action noise share: an actor, critics of its choices, and temperatures."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.learners.learner import Parts, critic_figures, descend
from tmrl_ros.learning.learners.networks import Actor, NoiseCritics
from tmrl_ros.learning.learners.rerank import acting_of


class NoiseLearner:
    """Actor, critics, their targets, temperatures, optimisers and random state.

    Args:
        method: How to learn.
        networks: Makes the actor and the critics; called once the random state is set.
        temperatures: Shape of the log temperatures.
        seed: Of everything random.
    """

    def __init__(
        self,
        method: MethodConfig,
        networks: Callable[[], tuple[Actor, NoiseCritics]],
        temperatures: tuple[int, ...],
        seed: int,
    ) -> None:
        self.method = method
        torch.manual_seed(seed)
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.rng = np.random.default_rng(seed + 2)
        self.actor, self.critics = networks()
        self.target = copy.deepcopy(self.critics).requires_grad_(False)
        start = float(np.log(method.initial_temperature))
        self.log_alpha = torch.full(temperatures, start, requires_grad=True)
        self.actor_optimiser = torch.optim.Adam(
            self.actor.parameters(), method.actor_learning_rate, fused=True
        )
        self.critic_optimiser = torch.optim.Adam(
            self.critics.parameters(), method.learning_rate, fused=True
        )
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], method.actor_learning_rate)
        self.updates = 0
        self.metrics: dict[str, float] = {}

    def fit(self, values: Tensor, wanted: Tensor) -> None:
        """One critic step: values (E, B) towards what is wanted (B,)."""
        loss = ((values - wanted) ** 2).mean(1).sum()
        descend(loss, self.critic_optimiser)
        if self.updates % 50 == 0:
            self.metrics.update(critic_figures(loss, values))

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
