"""Context smoothing of a VLA: its prefix embeddings are noised, and it is told how much.

    c~ = sqrt(1 - t^2) c / rms(c) + t eps        (policies/csp.py; t is the noise amplitude)

Every token is divided by its own root mean square first, so that noise outweighs images and text
alike (in the raw embeddings of PaliGemma the text outlives the images). The public CSP-pi0 hands
that to a frozen language model that has never seen tokens of such a size. Here the noised token is
given a size back: its own at t = 0, a constant of the model at t = 1, and between them
rms^(1 - t) constant^t. So t = 0 is the unmodified policy and t = 1 knows nothing of the size.

At t = 1 the number of words would still show in the mask: there all slots for images and text are
seen, and all of them are noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tmrl_ros.policies.csp import quantise, smooth_context
from tmrl_ros.policies.flow import sinusoidal
from tmrl_ros.vla.backbone import Kind, Prefix

TIME_SIZE = 256
RMS_EPS = 1e-6


@dataclass(frozen=True)
class Levels:
    """What n candidates see as the distinct things seen (u,), and which of them each sees.

    Attributes:
        distinct: (u,) context timesteps.
        whose: (u,) which noise goes with them.
        index: (n,) which of the u is a candidate's.
    """

    distinct: Tensor
    whose: Tensor
    index: Tensor

    @staticmethod
    def of(t_context: Tensor, whose: Tensor) -> Levels:
        """Quantise t_context (n,) to the steps of training and group it with the noise (n,)."""
        t = quantise(t_context)
        pairs = torch.stack([t.double(), torch.where(t == 0, 0, whose).double()])
        found, index = torch.unique(pairs, dim=1, return_inverse=True)
        return Levels(found[0].to(t.dtype), found[1].long(), index)


class ContextSmoothing(nn.Module):
    """Noises prefixes and embeds the context timestep.

    The embedding is added to that of the action's time. Its last layer starts at zero: before any
    training with smoothed contexts, the policy computes what it always did.
    """

    reference_rms: Tensor

    def __init__(self, time_width: int, *, smooth_state: bool = True) -> None:
        """`time_width` is the backbone's."""
        super().__init__()
        self.smooth_state = smooth_state
        self.embed = nn.Sequential(
            nn.Linear(TIME_SIZE, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
        )
        last = self.embed[2]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.register_buffer("reference_rms", torch.ones(len(Kind)))

    def context_time(self, t_context: Tensor) -> Tensor:
        """Embed timesteps (n,): (n, time_width)."""
        found: Tensor = self.embed(sinusoidal(quantise(t_context).float(), TIME_SIZE))
        return found

    @torch.no_grad()
    def calibrate(self, neutral: Prefix) -> None:
        """Take the sizes of tokens at t = 1 from a prefix that no observation had a part in."""
        sizes = _rms(neutral.embeddings)[..., 0]
        for kind in Kind:
            here = neutral.kinds == kind
            if here.any():
                self.reference_rms[kind] = sizes[:, here].mean()

    def smoothed(self, kinds: Tensor) -> Tensor:
        """Which tokens (S,) are noised."""
        noised = (kinds == Kind.IMAGE) | (kinds == Kind.TEXT)
        return noised | (kinds == Kind.STATE) if self.smooth_state else noised

    def forward(self, prefix: Prefix, t_context: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Noise a prefix.

        Args:
            prefix: Of one observation (1, S, D) for all timesteps, or one for each.
            t_context: (u,) in [0, 1].
            eps: (1, S, D) or (u, S, D) standard normal.

        Returns:
            Embeddings (u, S, D) and which tokens are seen, (u, S).
        """
        count = len(t_context)
        t = quantise(t_context)[:, None, None]
        clean = prefix.embeddings.expand(count, -1, -1)
        noised_tokens = self.smoothed(prefix.kinds)
        size = _rms(prefix.embeddings)
        unit = (prefix.embeddings.float() / size).expand(count, -1, -1)
        flat = smooth_context(
            unit.flatten(1),
            eps.float().expand(count, -1, -1).flatten(1),
            t[:, 0, 0],
            torch.ones_like(unit[0].flatten()),
        )
        reference = self.reference_rms[prefix.kinds][None, :, None]
        noised = flat.reshape(unit.shape) * size ** (1 - t) * reference**t
        keep = (t == 0) | ~noised_tokens[None, :, None]
        embeddings = torch.where(keep, clean.float(), noised).to(clean.dtype)
        seen = prefix.valid.expand(count, -1) | ((t[..., 0] == 1) & noised_tokens[None])
        return embeddings, seen


def context_noise(
    seed: int | None, shape: tuple[int, ...], device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal context noise of a seed, the same on every device; None: drawn anew."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device)


def _rms(embeddings: Tensor) -> Tensor:
    """Root mean square of every token, (B, S, 1) in float32."""
    squares = embeddings.float().square().mean(-1, keepdim=True)
    return squares.sqrt() + RMS_EPS
