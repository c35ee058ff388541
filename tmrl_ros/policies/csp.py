"""Context smoothing: the forward diffusion of a policy's context, with its own timestep.

    c~ = sqrt(ab_t) c + sqrt(1 - ab_t) eps        (TMRL, arXiv 2605.12236)

At `t_context` = 0 the policy imitates p(a | c); at 1 it draws from the marginal over what was
smoothed. The public code runs 100 steps for small policies and never reaches the marginal
(sqrt(ab) = .60 there), and with its linear betas most of [0, 1] is near-marginal (ab = .08 at
t = .5 with 1000 steps). Here t has 1000 steps and is uniform in the noise amplitude sqrt(1 - ab),
from exactly 0 to exactly 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 1000


def quantise(t_context: Tensor) -> Tensor:
    """Round context timesteps to the T = 1000 steps of training, clipped to [0, 1]."""
    return torch.round(torch.clamp(t_context, 0.0, 1.0) * STEPS) / STEPS


def smooth_context(context: Tensor, eps: Tensor, t_context: Tensor, mask: Tensor) -> Tensor:
    """Noise the masked part of a context.

    Args:
        context: (B, C), normalised.
        eps: (B, C) standard normal.
        t_context: (B,) in [0, 1]: the noise amplitude sqrt(1 - ab); the signal is sqrt(ab).
        mask: (C,) with 1 where the context is smoothed.

    Returns:
        (B, C).
    """
    amplitude = t_context[:, None]
    signal = torch.sqrt(torch.clamp(1.0 - amplitude**2, min=0.0))
    return torch.where(mask > 0, signal * context + amplitude * eps, context)
