"""The small networks of fine-tuning: ensembles of critics, and a tanh-Gaussian actor over (z, t).

Critics are computed together with batched matrix products: one kernel per layer for all members.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tmrl_ros.data.plans import PLAN_ROWS, PLAN_SCALE_M, PLAN_SIZE
from tmrl_ros.policies.context import RELATIVE_SCALE_M, STATE_SIZE, relative_objects

CLOSE_M = 0.03  # distances below this are seen linearly, above it logarithmically
LOG_STD_MIN, LOG_STD_MAX, LOG_STD_START = -5.0, 1.0, -1.0


def embed_t_context(t: Tensor) -> Tensor:
    """Context timestep (..., ) in [0, 1] as 4 smooth numbers (..., 4) in [-1, 1]."""
    return torch.stack([2 * t - 1, *(torch.cos(k * math.pi * t) for k in (1, 2, 4))], -1)


class Actor(nn.Module):
    """pi(z, t | features): squashed Gaussians, z in [-bound, bound], t in [0, 1] or always 0."""

    def __init__(
        self, features: int, z_size: int, hidden: int, z_bound: float, initial_t: float | None
    ) -> None:
        """`initial_t` is the median of t before learning, near 0 means precise imitation.

        With None there is no choice of t: it is 0 (latent-noise steering).
        """
        super().__init__()
        self.z_size, self.z_bound = z_size, z_bound
        self.size = z_size if initial_t is None else z_size + 1
        self.trunk = nn.Sequential(
            nn.Linear(features, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )
        self.head = nn.Linear(hidden, 2 * self.size)
        nn.init.uniform_(self.head.weight, -1e-3, 1e-3)
        with torch.no_grad():
            self.head.bias.zero_()
            if initial_t is not None:
                self.head.bias[z_size] = math.atanh(2 * initial_t - 1)

    def distribution(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before squashing, (B, `size`) each."""
        mean, log_std = self.head(self.trunk(features)).chunk(2, -1)
        middle, half = (LOG_STD_MAX + LOG_STD_MIN) / 2, (LOG_STD_MAX - LOG_STD_MIN) / 2
        start = math.atanh((LOG_STD_START - middle) / half)
        return mean, middle + half * torch.tanh(log_std + start)

    def sample(
        self, features: Tensor, generator: torch.Generator, *, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw z (B, Z), t (B,) and the log probability (B,), differentiably.

        `noise` (B, `size`), unit normal, is used instead of a draw from the generator.
        """
        mean, log_std = self.distribution(features)
        if noise is None:
            noise = torch.randn(mean.shape, generator=generator)
        raw = mean + log_std.exp() * noise
        log_prob = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
        # log |d tanh(x) / dx| without overflow
        log_prob = log_prob - 2 * (math.log(2) - raw - nn.functional.softplus(-2 * raw))
        z, t = self._squash(raw)
        return z, t, log_prob.sum(-1)

    def mode(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The squashed mean: z (B, Z), t (B,)."""
        return self._squash(self.distribution(features)[0])

    def _squash(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        squashed = torch.tanh(raw)
        z = self.z_bound * squashed[:, : self.z_size]
        if self.size == self.z_size:
            return z, torch.zeros_like(z[:, 0])
        return z, (squashed[:, self.z_size] + 1) / 2


class Ensemble(nn.Module):
    """E networks of two hidden layers with layer norm and one output, computed as one."""

    def __init__(self, inputs: int, hidden: int, members: int) -> None:
        """Initial values are close to 0."""
        super().__init__()
        self.members = members
        sizes = [inputs, hidden, hidden, 1]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inside, outside in zip(sizes[:-1], sizes[1:], strict=True):
            bound = 1 / math.sqrt(inside)
            self.weights.append(
                nn.Parameter(torch.empty(members, inside, outside).uniform_(-bound, bound))
            )
            self.biases.append(nn.Parameter(torch.zeros(members, 1, outside)))
        self.scales = nn.ParameterList(
            nn.Parameter(torch.ones(members, 1, hidden)) for _ in range(2)
        )
        self.shifts = nn.ParameterList(
            nn.Parameter(torch.zeros(members, 1, hidden)) for _ in range(2)
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (E, B)."""
        h = x.expand(self.members, *x.shape)
        for layer in range(2):
            h = torch.baddbmm(self.biases[layer], h, self.weights[layer])
            h = nn.functional.layer_norm(h, h.shape[-1:])
            h = nn.functional.silu(torch.addcmul(self.shifts[layer], h, self.scales[layer]))
        return torch.baddbmm(self.biases[2], h, self.weights[2]).squeeze(-1)


class LatentCritics(Ensemble):
    """Q_j(features, z, t): what the action noise and the context timestep are worth."""

    def __init__(
        self, features: int, z_size: int, hidden: int, members: int, z_bound: float
    ) -> None:
        super().__init__(features + z_size + 4, hidden, members)
        self.z_bound = z_bound

    def forward(self, features: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """(B, F), (B, Z), (B,) -> (E, B)."""
        return self.values(torch.cat([features, z / self.z_bound, embed_t_context(t)], -1))


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
