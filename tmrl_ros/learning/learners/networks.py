"""The small networks of fine-tuning: ensembles of critics, and a tanh-Gaussian actor.

Critics are computed together with batched matrix products: one kernel per layer for all members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tmrl_ros.data.plans import PLAN_ROWS, PLAN_SCALE_M, PLAN_SIZE
from tmrl_ros.policies.context import RELATIVE_SCALE_M, STATE_SIZE, relative_objects

CLOSE_M = 0.03  # distances below this are seen linearly, above it logarithmically
CACHE_NUMBERS = 2**17  # of float32 that a core's second-level cache holds beside the weights
LOG_STD_MIN, LOG_STD_MAX, LOG_STD_START = -5.0, 1.0, -1.0


def sinusoidal_t(t: Tensor) -> Tensor:
    """Timestep (B,) in [-1, 1] as 64 numbers (B, 64): an embedding of the index 0..100."""
    frequency = torch.exp(torch.arange(32) * (-math.log(10_000.0) / 31))
    angle = 50.0 * (t[:, None] + 1) * frequency
    return torch.cat([torch.sin(angle), torch.cos(angle)], -1)


class Actor(nn.Module):
    """Squashed Gaussians on one trunk: each head has a size and a bound."""

    bounds: Tensor

    def __init__(
        self, inputs: int, heads: Sequence[tuple[int, float]], hidden: int, layers: int = 2
    ) -> None:
        """Starts around 0 with a standard deviation of exp(-1) before squashing."""
        super().__init__()
        self.sizes = [size for size, _ in heads]
        self.size = sum(self.sizes)
        bounds = torch.cat([torch.full((size,), bound) for size, bound in heads])
        self.register_buffer("bounds", bounds, persistent=False)
        blocks: list[nn.Module] = [nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.SiLU()]
        for _ in range(layers - 1):
            blocks += [nn.Linear(hidden, hidden), nn.SiLU()]
        self.trunk = nn.Sequential(*blocks)
        self.head = nn.Linear(hidden, 2 * self.size)
        nn.init.uniform_(self.head.weight, -1e-3, 1e-3)
        nn.init.zeros_(self.head.bias)

    def distribution(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before squashing, (B, `size`) each."""
        mean, log_std = self.head(self.trunk(inputs)).chunk(2, -1)
        middle, half = (LOG_STD_MAX + LOG_STD_MIN) / 2, (LOG_STD_MAX - LOG_STD_MIN) / 2
        start = math.atanh((LOG_STD_START - middle) / half)
        return mean, middle + half * torch.tanh(log_std + start)

    def sample(
        self, inputs: Tensor, generator: torch.Generator, *, noise: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Draw every head's values (B, size) and log probabilities (B,), differentiably.

        `noise` (B, `size`), unit normal, is used instead of a draw from the generator.
        """
        mean, log_std = self.distribution(inputs)
        if noise is None:
            noise = torch.randn(mean.shape, generator=generator)
        raw = mean + log_std.exp() * noise
        log_prob = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
        # log |d tanh(x) / dx| without overflow
        log_prob = log_prob - 2 * (math.log(2) - raw - nn.functional.softplus(-2 * raw))
        return self._split(raw), [part.sum(-1) for part in torch.split(log_prob, self.sizes, -1)]

    def mode(self, inputs: Tensor) -> list[Tensor]:
        """The squashed mean of every head (B, size)."""
        return self._split(self.distribution(inputs)[0])

    def _split(self, raw: Tensor) -> list[Tensor]:
        return list(torch.split(self.bounds * torch.tanh(raw), self.sizes, -1))


class Ensemble(nn.Module):
    """E networks of hidden layers with layer norm and one output, computed as one."""

    def __init__(self, inputs: int, hidden: int, members: int, layers: int = 2) -> None:
        """Initial values are close to 0."""
        super().__init__()
        self.members, self.layers = members, layers
        sizes = [inputs, *[hidden] * layers, 1]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inside, outside in zip(sizes[:-1], sizes[1:], strict=True):
            bound = 1 / math.sqrt(inside)
            self.weights.append(
                nn.Parameter(torch.empty(members, inside, outside).uniform_(-bound, bound))
            )
            self.biases.append(nn.Parameter(torch.zeros(members, 1, outside)))
        self.scales = nn.ParameterList(
            nn.Parameter(torch.ones(members, 1, hidden)) for _ in range(layers)
        )
        self.shifts = nn.ParameterList(
            nn.Parameter(torch.zeros(members, 1, hidden)) for _ in range(layers)
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (E, B)."""
        if not torch.is_grad_enabled():
            return self._judged(x)
        h = x.expand(self.members, *x.shape)
        for layer in range(self.layers):
            h = torch.baddbmm(self.biases[layer], h, self.weights[layer])
            h = nn.functional.layer_norm(h, h.shape[-1:])
            h = nn.functional.silu(torch.addcmul(self.shifts[layer], h, self.scales[layer]))
        return torch.baddbmm(self.biases[-1], h, self.weights[-1]).squeeze(-1)

    def _judged(self, x: Tensor) -> Tensor:
        """The same without gradients, in pieces that stay in a core's cache.

        Many more rows are judged for targets than learned from; all members at once would move
        every layer through main memory, which takes longer than the products.
        """
        found = x.new_empty(self.members, len(x))
        hidden = self.weights[0].shape[-1]
        for member in range(self.members):
            weights = [item[member] for item in self.weights]
            biases = [item[member, 0] for item in self.biases]
            scales = [item[member, 0] for item in self.scales]
            shifts = [item[member, 0] for item in self.shifts]
            done = 0
            for h in torch.split(x, max(1, CACHE_NUMBERS // hidden)):
                rows = len(h)
                for layer in range(self.layers):
                    h = torch.addmm(biases[layer], h, weights[layer])
                    h = nn.functional.layer_norm(h, (hidden,), scales[layer], shifts[layer])
                    h = nn.functional.silu(h, inplace=True)
                found[member, done : done + rows] = torch.addmm(biases[-1], h, weights[-1])[:, 0]
                done += rows
        return found


class NoiseCritics(Ensemble):
    """Q_j(features, noise, ...): what a choice of noise is worth."""

    def forward(self, *parts: Tensor) -> Tensor:
        """(B, ...) each, `inputs` in all -> (E, B)."""
        return self.values(torch.cat(parts, -1))


class PlanCritics(Ensemble):
    """Q_j(features, plan): what the motion of a chunk is worth, whoever made it.

    Beside both, the networks see where the plan's rows lie from every object, on a logarithmic
    scale: whether a grasp succeeds is decided in the last centimetres.
    """

    def __init__(self, features: int, hidden: int, members: int) -> None:
        objects = (features - STATE_SIZE) // 6
        super().__init__(features + PLAN_SIZE + 3 * PLAN_ROWS * objects, hidden, members)

    def forward(self, features: Tensor, plans: Tensor) -> Tensor:
        """(B, F), (B, P) -> (E, B)."""
        relative = relative_objects(features)[:, :, None]  # (B, K, 1, 3)
        rows = plans.reshape(len(plans), 1, PLAN_ROWS, -1)[..., :3]  # (B, 1, R, 3)
        apart = (RELATIVE_SCALE_M * relative - PLAN_SCALE_M * rows) / CLOSE_M
        apart = torch.sign(apart) * torch.log1p(apart.abs())
        return self.values(torch.cat([features, plans, apart.flatten(1)], -1))
