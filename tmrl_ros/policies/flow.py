"""A flow-matching policy over action chunks that knows two times: the action's and the context's.

A transformer over the steps of the chunk with adaptive layer norm (DiT, arXiv 2212.09748). It
predicts the clean chunk a; on the straight path x_t = (1 - t) a + t eps (rectified flow) the
velocity is (x_t - a) / t. Predicting a rather than the velocity is what made a small network use
the prompt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tmrl_ros.policies.csp import quantise, smooth_context
from tmrl_ros.policies.keypoints import KeypointEncoder

MAX_PULL = 5.0
"""Largest weight of the guidance to committed rows, as published."""
PRECISE_FRACTION = 0.25  # of training rows whose context is not noised


@dataclass(frozen=True)
class FlowSize:
    """Sizes of the network; they are part of a bundle."""

    horizon: int
    action_dim: int
    context_dim: int
    width: int = 96
    blocks: int = 3
    heads: int = 4
    context_hidden: int = 256
    patch: int = 4

    @property
    def tokens(self) -> int:
        """Number of tokens: each stands for `patch` steps of the chunk."""
        return self.horizon // self.patch


def sinusoidal(t: Tensor, size: int) -> Tensor:
    """Sinusoidal embedding of times in [0, 1]: (B,) -> (B, size)."""
    half = size // 2
    frequency = torch.exp(torch.arange(half, device=t.device) * (-math.log(1000.0) / (half - 1)))
    angle = 1000.0 * t[:, None] * frequency[None] / 16.0
    return torch.cat([torch.sin(angle), torch.cos(angle)], -1)


class Block(nn.Module):
    """Attention and MLP, both scaled, shifted and gated by the condition (adaLN-zero)."""

    def __init__(self, width: int, heads: int) -> None:
        """Gates start at zero, so that the block starts as the identity."""
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """(B, H, W), (B, 6 W) -> (B, H, W)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation[:, None].chunk(6, -1)
        batch, horizon, width = x.shape
        h = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = (
            self.qkv(h)
            .view(batch, horizon, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        h = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + gate1 * self.out(h.transpose(1, 2).reshape(batch, horizon, width))
        h = self.norm2(x) * (1 + scale2) + shift2
        result: Tensor = x + gate2 * self.mlp(h)
        return result


class FlowPolicy(nn.Module):
    """p(a | c~, t_context) as a flow from noise to a chunk of normalised actions."""

    smoothed: Tensor

    def __init__(
        self, size: FlowSize, smoothed: Tensor, encoder: KeypointEncoder | None = None
    ) -> None:
        """`smoothed` is the (context_dim,) mask of what context smoothing noises.

        `encoder` makes what the context has in the place of objects; it is kept here so that one
        file holds all weights, and takes no part in what this network computes.
        """
        super().__init__()
        self.size, self.encoder = size, encoder
        width = size.width
        self.register_buffer("smoothed", smoothed.float(), persistent=False)
        if size.horizon % size.patch:
            raise ValueError(f"horizon {size.horizon} is not a multiple of patch {size.patch}")
        self.embed_action = nn.Linear(size.patch * size.action_dim, width)
        self.position = nn.Parameter(0.02 * torch.randn(size.tokens, width))
        self.embed_times = nn.Sequential(nn.Linear(128, width), nn.SiLU(), nn.Linear(width, width))
        self.embed_context = nn.Sequential(
            nn.Linear(size.context_dim, size.context_hidden),
            nn.SiLU(),
            nn.Linear(size.context_hidden, size.context_hidden),
            nn.SiLU(),
            nn.Linear(size.context_hidden, width),
        )
        self.blocks = nn.ModuleList(Block(width, size.heads) for _ in range(size.blocks))
        self.final_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.final_modulation = nn.Linear(width, 2 * width)
        self.final = nn.Linear(width, size.patch * size.action_dim)

    def forward(self, x: Tensor, t_action: Tensor, context: Tensor, t_context: Tensor) -> Tensor:
        """Predict the clean chunk.

        Args:
            x: (B, H, A) chunk on the path, normalised.
            t_action: (B,) in [0, 1], 1 = noise.
            context: (B, C), normalised and already smoothed at `t_context`.
            t_context: (B,) in [0, 1].

        Returns:
            (B, H, A).
        """
        times = torch.cat([sinusoidal(t_context, 64), sinusoidal(t_action, 64)], -1)
        return self._predict(x, self._modulations(times, self.embed_context(context)))

    def _modulations(self, times: Tensor, context: Tensor) -> list[Tensor]:
        """What every block, and last the end, are modulated by.

        Args:
            times: (..., B, 128) both times, embedded.
            context: (B, W), embedded.
        """
        condition = nn.functional.silu(self.embed_times(times) + context)
        blocks = (block for block in self.blocks if isinstance(block, Block))
        layers = [*(block.modulation for block in blocks), self.final_modulation]
        return [layer(condition) for layer in layers]

    def _predict(self, x: Tensor, modulations: list[Tensor]) -> Tensor:
        """The clean chunk (B, H, A), of one on the path."""
        h = self.embed_action(x.reshape(x.shape[0], self.size.tokens, -1)) + self.position
        for block, modulation in zip(self.blocks, modulations[:-1], strict=True):
            h = block(h, modulation)
        shift, scale = modulations[-1][:, None].chunk(2, -1)
        chunk: Tensor = self.final(self.final_norm(h) * (1 + scale) + shift)
        return chunk.reshape(x.shape)

    def loss(self, actions: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        """Mean square error of the predicted chunk; both times are drawn independently.

        The action time is U[0, 1]. The context timestep is 0 for a quarter of the rows, so that
        precise imitation does not pay for the smoothing, and U[0, 1] for the others.

        Args:
            actions: (B, H, A), normalised.
            context: (B, C), normalised.
            generator: Source of all noise.
        """
        batch = actions.shape[0]

        def uniform() -> Tensor:
            return torch.rand(batch, generator=generator)

        t_context = quantise(torch.where(uniform() < PRECISE_FRACTION, 0.0, uniform()))
        eps_context = torch.randn(context.shape, generator=generator)
        noised = smooth_context(context, eps_context, t_context, self.smoothed)
        t_action = uniform()[:, None, None]
        eps = torch.randn(actions.shape, generator=generator)
        x = (1 - t_action) * actions + t_action * eps
        prediction = self(x, t_action[:, 0, 0], noised, t_context)
        return nn.functional.mse_loss(prediction, actions)

    @torch.no_grad()
    def sample(
        self,
        noise: Tensor,
        context: Tensor,
        t_context: Tensor,
        eps_context: Tensor,
        steps: int,
        committed: Tensor | None = None,
    ) -> Tensor:
        """Integrate the flow from noise to chunks (Euler, deterministic given its arguments).

        Args:
            noise: (B, H, A) starting points.
            context: (B, C), normalised, not yet smoothed.
            t_context: (B,) in [0, 1].
            eps_context: (B, C) noise of the context.
            steps: Number of network evaluations.
            committed: (R, A) first rows that the chunk must have, normalised. The others go on
                from them: real-time chunking (arXiv 2506.07339, algorithm 1), with a hard mask.
                Tensors must not come from `torch.inference_mode`, for it needs gradients.

        Returns:
            (B, H, A), normalised.
        """
        t_context = quantise(t_context)
        context = self.embed_context(smooth_context(context, eps_context, t_context, self.smoothed))
        t_action = sinusoidal(torch.arange(steps, 0, -1) / steps, 64)  # steps x 64
        times = [
            sinusoidal(t_context, 64).expand(steps, -1, -1),
            t_action[:, None].expand(-1, context.shape[0], -1),
        ]
        # No condition depends on x: those of all steps are made by one product each.
        modulations = self._modulations(torch.cat(times, -1), context)
        x = noise
        for step in range(steps, 0, -1):
            at = [item[steps - step] for item in modulations]
            # x - dt * (x - prediction) / t with dt = 1 / steps and t = step / steps
            if committed is None:
                x = x + (self._predict(x, at) - x) / step
            else:
                prediction, pull = self._pulled(x, at, committed, step / steps)
                x = x + (prediction - x) / step + pull / steps
        if committed is not None:
            x = torch.cat([committed.expand(len(x), -1, -1), x[:, len(committed) :]], 1)
        return x

    def _pulled(
        self, x: Tensor, modulations: list[Tensor], committed: Tensor, t: float
    ) -> tuple[Tensor, Tensor]:
        """The clean chunk of one at time t, and what draws its first rows to the committed ones.

        Pseudoinverse guidance, with r^2 = t^2 / (t^2 + (1 - t)^2) of a unit prior:
        min(MAX_PULL, t / ((1 - t) r^2)) (committed - prediction) d prediction / d x.

        Returns:
            (B, H, A) each, the second to be added to the velocity towards the chunk.
        """
        with torch.enable_grad():
            point = x.detach().requires_grad_(True)
            prediction = self._predict(point, modulations)
            missing = torch.zeros_like(prediction)
            missing[:, : len(committed)] = committed - prediction[:, : len(committed)].detach()
            (pull,) = torch.autograd.grad(prediction, point, missing)
        weight = (t * t + (1 - t) * (1 - t)) / (t * max(1 - t, 1e-6))
        return prediction.detach(), min(MAX_PULL, weight) * pull
