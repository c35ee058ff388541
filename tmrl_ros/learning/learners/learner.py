"""What every learner can do, whichever method it follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import FloatArray
from tmrl_ros.data.transitions import Transition
from tmrl_ros.learning.replay import Replay


@dataclass(frozen=True)
class Parts:
    """What a checkpoint keeps of a learner, by name."""

    modules: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]
    scalars: dict[str, Tensor]


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, tau: float) -> None:
    """Move the weights of `slow` by a share `tau` towards those of `fast` (Polyak averaging)."""
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), tau)


def descend(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """One step of an optimiser down the gradient of a loss, and of nothing before it."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def critic_figures(loss: Tensor, values: Tensor) -> dict[str, float]:
    """What is shown of a critic step: its loss, summed over critics, and their values (E, B)."""
    values = values.detach()
    return {
        "critic_loss": float(loss.detach()) / len(values),
        "value_mean": float(values.mean()),
        "disagreement": float(values.std(0).mean()),
    }


def adjust_temperature(log_alpha: Tensor, optimiser: torch.optim.Optimizer, excess: Tensor) -> None:
    """One step on the log temperatures; `excess` is log probability plus target entropy, a mean."""
    loss = -(log_alpha * excess.detach()).sum()
    descend(loss, optimiser)


def column(rows: Sequence[Transition], name: str) -> Tensor:
    """One array of every row, such as `features`: (n, ...)."""
    return torch.from_numpy(np.stack([getattr(row, name) for row in rows]))


class Learner(Protocol):
    """Networks, optimisers and random state; `update` is one gradient step."""

    method: MethodConfig
    generator: torch.Generator
    rng: np.random.Generator
    updates: int
    metrics: dict[str, float]

    @property
    def acting(self) -> nn.Module:
        """What the policy server acts with."""

    def update(self, replay: Replay) -> None:
        """One gradient step on a batch of the replay."""

    def judge(self, rows: Sequence[Transition]) -> FloatArray:
        """What the critics expect of executed decisions (n,): discounted success in [0, 1]."""

    def parts(self) -> Parts:
        """What a checkpoint keeps."""
