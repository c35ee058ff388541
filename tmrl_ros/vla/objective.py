"""The loss of a VLA with context smoothing.

Flow matching as in pi0 and SmolVLA: x_t = t eps + (1 - t) a, target eps - a, t ~ Beta(1.5, 1), and
the prefix noised at a context timestep of its own. TMRL draws that uniformly from [0, 1]; here a
part of the samples has exactly 0, so that precise imitation does not pay for the smoothing, and a
small part exactly 1, where padding is seen too (`csp.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tmrl_ros.core.vla_config import VlaTrainingConfig
from tmrl_ros.policies.csp import quantise
from tmrl_ros.vla.backbone import Backbone
from tmrl_ros.vla.csp import ContextSmoothing


class CspObjective(nn.Module):
    """Policy and smoothing as one module, whose forward is the loss."""

    def __init__(
        self, policy: Any, backbone: Backbone, smoothing: ContextSmoothing, action_dim: int
    ) -> None:
        """`action_dim` is the robot's; the loss leaves padding out."""
        super().__init__()
        self.policy, self.smoothing = policy, smoothing
        self._backbone, self._action_dim = backbone, action_dim

    def forward(
        self, batch: dict[str, Tensor], actions: Tensor, t_context: Tensor, generator: Any
    ) -> Tensor:
        """Mean square error of the velocity.

        Args:
            batch: Observations as LeRobot's batch.
            actions: (B, H, A), normalised.
            t_context: (B,).
            generator: `torch.Generator` of the CPU, source of all noise.
        """
        backbone = self._backbone
        prefix = backbone.embed(batch)
        eps_context = _normal(prefix.embeddings.shape, generator, actions.device)
        embeddings, seen = self.smoothing(prefix, t_context, eps_context)
        cache = backbone.prefill(embeddings, seen, prefix.blocks)
        missing = backbone.padded_action - actions.shape[-1]
        clean = nn.functional.pad(actions, (0, missing))
        eps = _normal(clean.shape, generator, actions.device)
        time = _beta(len(actions), generator).to(actions.device)
        x = time[:, None, None] * eps + (1 - time[:, None, None]) * clean
        velocity = backbone.velocity(
            x,
            time,
            cache,
            backbone.padded_state(batch),
            self.smoothing.context_time(t_context),
        )
        wanted = eps - clean
        size = self._action_dim
        return nn.functional.mse_loss(velocity[..., :size], wanted[..., :size])


def draw_timesteps(count: int, settings: VlaTrainingConfig, generator: torch.Generator) -> Tensor:
    """Context timesteps (count,) of training."""
    choice = torch.rand(count, generator=generator)
    t = torch.rand(count, generator=generator)
    t = torch.where(choice < settings.precise_fraction, 0.0, t)
    return quantise(torch.where(choice > 1 - settings.marginal_fraction, 1.0, t))


def _beta(count: int, generator: torch.Generator) -> Tensor:
    """0.999 Beta(1.5, 1) + 0.001: the inverse of its distribution function u^(1 / 1.5)."""
    return 0.999 * torch.rand(count, generator=generator) ** (1 / 1.5) + 0.001


def _normal(shape: Any, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn(shape, generator=generator).to(device)
