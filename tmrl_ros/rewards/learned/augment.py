"""Change how a whole episode looks: light, colour balance, sharpness, where the camera points."""

from __future__ import annotations

import torch
from torch import Tensor

GAIN, CHANNEL_GAIN, OFFSET, NOISE = 0.15, 0.08, 0.06, 0.02
SHIFT_PX = 1
"""About a centimetre on the table; more would blur the very height that success depends on."""


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """The same random change for all frames of one camera in one episode.

    Args:
        images: (T, 3, h, w) in [0, 1].
        generator: Source of the change.
    """

    def around(size: int, width: float) -> Tensor:
        return width * (2 * torch.rand(size, 1, 1, generator=generator) - 1)

    gain = 1 + around(1, GAIN) + around(3, CHANNEL_GAIN)
    noise = (
        NOISE * torch.rand(1, generator=generator) * torch.randn(images.shape, generator=generator)
    )
    changed = (images * gain + around(1, OFFSET) + noise).clamp(0, 1)
    dx, dy = torch.randint(-SHIFT_PX, SHIFT_PX + 1, (2,), generator=generator).tolist()
    padded = torch.nn.functional.pad(changed, (SHIFT_PX,) * 4, mode="replicate")
    height, width = images.shape[-2:]
    top, left = SHIFT_PX + dy, SHIFT_PX + dx
    return padded[..., top : top + height, left : left + width]
