"""Behaviour cloning with context smoothing: train a `FlowPolicy` on arrays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tmrl_ros.policies.flow import FlowPolicy, FlowSize


@dataclass(frozen=True)
class TrainingSettings:
    """Optimiser settings; the seed decides initial weights, batches and noise."""

    iterations: int = 5000
    batch_size: int = 160
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    ema_decay: float = 0.998
    seed: int = 0


def train_flow(
    size: FlowSize,
    smoothed: Tensor,
    actions: Tensor,
    context: Tensor,
    settings: TrainingSettings,
    progress: Callable[[int, float], None] | None = None,
) -> FlowPolicy:
    """Train from scratch and return the exponential moving average of the weights.

    Args:
        size: Sizes of the network.
        smoothed: (C,) mask of what is noised.
        actions: (N, H, A) normalised chunks.
        context: (N, C) normalised contexts.
        settings: Optimiser settings.
        progress: Called with (iteration, smoothed loss) every hundred iterations.
    """
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed + 1)
    policy = FlowPolicy(size, smoothed)
    average = copy.deepcopy(policy).requires_grad_(False)
    optimiser = torch.optim.AdamW(
        policy.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=(0.95, 0.999),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.iterations, pct_start=0.05
    )
    running = 0.0
    for iteration in range(1, settings.iterations + 1):
        rows = torch.randint(len(actions), (settings.batch_size,), generator=generator)
        loss = policy.loss(actions[rows], context[rows], generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        decay = min(settings.ema_decay, (1 + iteration) / (10 + iteration))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(policy.parameters()), 1 - decay)
        running = loss.item() if iteration == 1 else 0.98 * running + 0.02 * loss.item()
        if progress and (iteration % 100 == 0 or iteration == settings.iterations):
            progress(iteration, running)
    return average.eval()
