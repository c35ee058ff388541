"""Re-ranking: of several choices that a method could make, one is drawn by its value.

V-GPS (arXiv 2410.13816): K samples, the index drawn from softmax(Q / beta); with beta = 0 the best.
It composes with any method: whatever makes its choices makes K of them, and its own critics judge
what they are used to judge, the motion or the noise.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.config import MethodConfig


class Judged(nn.Module):
    """An actor with the critics of what it chooses: both travel when choices are re-ranked."""

    def __init__(self, actor: nn.Module, critics: nn.Module) -> None:
        super().__init__()
        self.actor, self.critics = actor, critics


def acting_of(method: MethodConfig, actor: nn.Module, critics: nn.Module) -> nn.Module:
    """What acts: the actor alone, or with its critics when its choices are re-ranked."""
    return Judged(actor, critics) if method.rerank_samples else actor


def actor_and_critics(learned: nn.Module) -> tuple[nn.Module, nn.Module | None]:
    """The reverse of `acting_of`."""
    return (learned.actor, learned.critics) if isinstance(learned, Judged) else (learned, None)


def pick(scores: Tensor, method: MethodConfig, rng: np.random.Generator) -> int:
    """Index of the choice to make, of scores (K,); `rng` is used only when a temperature is set."""
    if not method.rerank_samples or method.rerank_temperature == 0:
        return int(scores.argmax())
    shares = torch.softmax(scores.double() / method.rerank_temperature, 0).numpy()
    return int(rng.choice(len(shares), p=shares / shares.sum()))
