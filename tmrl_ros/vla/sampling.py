"""Chunks from a VLA: one prefix, any number of candidates (z, t_context).

The vision tower runs once per observation. Candidates of the same context timestep and context
noise share their noised prefix, and so one pass of the language model and one set of keys and
values (at t = 0 noise makes no difference); distinct ones go through it as one batch. The flow of
all candidates is integrated as one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tmrl_ros.vla.backbone import Backbone, Cache, Prefix
from tmrl_ros.vla.csp import ContextSmoothing, Levels

Compile = Literal["off", "default", "cuda_graphs"]
MODES = {"default": "default", "cuda_graphs": "reduce-overhead"}
Velocity = Callable[[Tensor, Tensor, Cache, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Contexts:
    """What candidates see: keys and values of the distinct timesteps, and which is whose."""

    cache: Cache
    index: Tensor
    time: Tensor


class Sampler:
    """Samples chunks of normalised actions."""

    def __init__(
        self, backbone: Backbone, smoothing: ContextSmoothing, compile_mode: Compile = "off"
    ) -> None:
        """`compile_mode` applies to one step of the flow, which runs most often."""
        self.backbone, self.smoothing = backbone, smoothing
        self._velocity: Velocity = backbone.velocity
        if compile_mode != "off":
            self._velocity = torch.compile(backbone.velocity, mode=MODES[compile_mode])

    @torch.inference_mode()
    def contexts(
        self, prefix: Prefix, t_context: Tensor, eps: Tensor, whose: Tensor | None = None
    ) -> Contexts:
        """Noise a prefix for candidates (n,) and run the language model once per distinct one.

        Args:
            prefix: (1, S, D).
            t_context: (n,).
            eps: (k, S, D), standard normal.
            whose: (n,) which of them every candidate has; None: the first.
        """
        whose = torch.zeros_like(t_context, dtype=torch.int64) if whose is None else whose
        levels = Levels.of(t_context, whose)
        eps = eps[levels.whose]
        embeddings, seen = self.smoothing(prefix, levels.distinct, eps)
        blocks = prefix.blocks.expand(len(levels.distinct), -1)
        cache = self.backbone.prefill(embeddings, seen, blocks)
        return Contexts(cache, levels.index, self.smoothing.context_time(t_context))

    @torch.inference_mode()
    def chunks(
        self, contexts: Contexts, state: Tensor, noise: Tensor, committed: Tensor | None = None
    ) -> Tensor:
        """Integrate the flow from noise at time 1 to chunks at time 0 (Euler).

        Committed rows are inpainted: before every step they are put where the straight path from
        their noise to them is at that time, so that the free rows are denoised beside them, as in
        the hard-masked variant of real-time chunking (arXiv 2506.07339); no gradient is needed.

        Args:
            contexts: What n candidates see.
            state: (1, padded S), normalised.
            noise: (n, H, padded A).
            committed: (c, padded A), normalised: rows that the chunk begins with.

        Returns:
            (n, H, padded A), normalised.
        """
        count, steps = len(noise), self.backbone.steps
        cache, states = contexts.cache.rows(contexts.index), state.expand(count, -1)
        x, rows = noise, 0 if committed is None else len(committed)
        for step in range(steps):
            now = 1.0 - step / steps
            if committed is not None:
                x = torch.cat([now * noise[:, :rows] + (1 - now) * committed, x[:, rows:]], dim=1)
            time = torch.full((count,), now, dtype=torch.float32, device=x.device)
            x = x + (-1.0 / steps) * self._velocity(x, time, cache, states, contexts.time)
        if committed is not None:
            x = torch.cat([committed.expand(count, -1, -1), x[:, rows:]], dim=1)
        return x
