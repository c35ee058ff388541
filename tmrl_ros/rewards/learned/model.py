"""The network: a CNN per camera, an instruction, a causal transformer over frames, three heads.

A small Robometer (arXiv 2603.02115). What it keeps: progress in ten bins read at every frame, a
success logit at every frame, a preference over two clips in one causal sequence. What differs is
the size, and that features of a frame do not depend on the instruction, so they are computed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

BINS = 10
PATCH = 4
CHANNELS = (32, 48, 64)
"""Of the CNN's layers: the first sees patches of 4 x 4 pixels, the others halve the image."""


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a `RewardNetwork`; `clip` is the most frames it looks at in one clip."""

    cameras: int = 2
    image_height: int = 96
    image_width: int = 96
    prompt_size: int = 64
    clip: int = 8
    width: int = 128
    layers: int = 2
    heads: int = 4


class CameraEncoder(nn.Module):
    """(N, 3, h, w) in [0, 1] to (N, width)."""

    def __init__(self, height: int, width_px: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, height, width_px = CHANNELS[0], height // PATCH, width_px // PATCH
        layers += [nn.Conv2d(3, before, PATCH, PATCH), nn.ReLU()]
        for channels in CHANNELS[1:]:
            layers += [nn.Conv2d(before, channels, 3, 2, 1), nn.ReLU()]
            before, height, width_px = channels, (height + 1) // 2, (width_px + 1) // 2
        self.convolutions = nn.Sequential(*layers)
        self.out = nn.Linear(before * height * width_px, width)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        found: Tensor = self.out(self.convolutions(images - 0.5).flatten(1))
        return found


class Head(nn.Module):
    """Linear, LayerNorm, GELU, Dropout, Linear: the same for all heads, as upstream."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.LayerNorm(width // 2),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(width // 2, out),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., width) to (..., out)."""
        found: Tensor = self.layers(hidden)
        return found


class RewardNetwork(nn.Module):
    """See the module. Clips shorter than the longest of a batch are padded with anything."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.size = size
        d = size.width
        self.encoders = nn.ModuleList(
            CameraEncoder(size.image_height, size.image_width, d) for _ in range(size.cameras)
        )
        self.instruction = nn.Sequential(
            nn.Linear(size.prompt_size, d), nn.GELU(), nn.Linear(d, 3 * d)
        )
        self.mix = nn.Sequential(nn.Linear(size.cameras * d, d), nn.LayerNorm(d), nn.GELU())
        self.frame = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.Linear(d, d))
        self.position = nn.Parameter(0.1 * torch.randn(size.clip, d))
        self.which_clip = nn.Parameter(0.5 * torch.randn(2, d))
        self.preference_token = nn.Parameter(0.5 * torch.randn(d))
        layer = nn.TransformerEncoderLayer(
            d, size.heads, 4 * d, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.trunk = nn.TransformerEncoder(layer, size.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d)
        self.progress_head, self.success_head = Head(d, BINS), Head(d, 1)
        self.preference_head = Head(d, 1)

    def encode(self, images: Tensor) -> Tensor:
        """Features (N, cameras * width) of frames (N, cameras, 3, h, w) in [0, 1]."""
        return torch.cat([net(images[:, i]) for i, net in enumerate(self.encoders)], dim=1)

    def judge(self, features: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Progress logits (B, L, 10) and success logits (B, L) at every frame of clips.

        Args:
            features: (B, L, F) of `encode`, L at most `size.clip`.
            prompts: (B, prompt_size).
        """
        text, frames = self._tokens(features, prompts)
        hidden = self._run(torch.cat([text, frames + self.which_clip[0]], dim=1))[:, 1:]
        return self.progress_head(hidden), self.success_head(hidden).squeeze(-1)

    def prefer(
        self, first: Tensor, second: Tensor, unused: tuple[Tensor, Tensor], prompts: Tensor
    ) -> Tensor:
        """Logits (B,) that the first clip shows a better attempt than the second.

        Args:
            first: (B, L, F) features.
            second: (B, L, F) features.
            unused: (B, L) each, True where a clip has ended already.
            prompts: (B, prompt_size).
        """
        text, a = self._tokens(first, prompts)
        _, b = self._tokens(second, prompts)
        last = self.preference_token.expand(len(a), 1, -1)
        sequence = [text, a + self.which_clip[0], b + self.which_clip[1], last]
        off = torch.zeros(len(a), 1, dtype=torch.bool)
        hidden = self._run(torch.cat(sequence, dim=1), torch.cat([off, *unused, off], dim=1))
        found: Tensor = self.preference_head(hidden[:, -1]).squeeze(-1)
        return found

    def _tokens(self, features: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of the instruction (B, 1, d) and of the frames (B, L, d), which it modulates."""
        scale, shift, text = self.instruction(prompts)[:, None].chunk(3, dim=-1)
        frames = self.frame(self.mix(features) * (1.0 + scale) + shift)
        return text, frames + self.position[: features.shape[1]]

    def _run(self, tokens: Tensor, unused: Tensor | None = None) -> Tensor:
        length = tokens.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).triu(1)
        hidden: Tensor = self.norm(self.trunk(tokens, causal, unused))
        return hidden


def two_hot(progress: Tensor) -> Tensor:
    """Targets (..., 10) of progress in [0, 1]: mass on the two nearest bin centres (C51)."""
    place = progress.clamp(0, 1) * (BINS - 1)
    low = place.floor().clamp(max=BINS - 2)
    share = (place - low)[..., None]
    return (1 - share) * one_hot(low.long(), BINS) + share * one_hot(low.long() + 1, BINS)


def expected_progress(logits: Tensor) -> Tensor:
    """Progress (...) in [0, 1] of logits (..., 10): the mean over the bin centres."""
    return logits.softmax(-1) @ torch.linspace(0, 1, BINS)
