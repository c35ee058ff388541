"""What every observation encoder is: from what cameras saw to K points in the base frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from tmrl_ros.core.types import Float32Array
from tmrl_ros.data.decode import RecordedObservation

BATCH = 64


class Looks(Protocol):
    """What was observed, in arrays; one row per observation."""

    def look(self, rows: Tensor, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """Inputs of an encoder for some rows (B,), augmented where there is a generator."""


class KeypointEncoder(nn.Module, ABC):
    """A network from what `looks` gives to keypoints (B, K, 3), m, base frame."""

    keypoints: int

    @abstractmethod
    def looks(self, observations: Sequence[RecordedObservation]) -> Looks:
        """What the encoder takes of some observations.

        Raises:
            ValueError: One of them lacks it.
        """

    @torch.inference_mode()
    def keypoints_of(self, observations: Sequence[RecordedObservation]) -> Float32Array:
        """Keypoints (N, K, 3) of observations read with their images and points, m.

        Raises:
            ValueError: One of them lacks what the encoder takes.
        """
        looks = self.looks(observations)
        rows = torch.split(torch.arange(len(observations)), BATCH)
        found: Float32Array = torch.cat([self(*looks.look(part, None)) for part in rows]).numpy()
        return found


def keypoint_names(count: int) -> tuple[str, ...]:
    """Names of keypoints, where a context has those of objects."""
    return tuple(f"keypoint_{k}" for k in range(count))


def relit(colors: Tensor, brightness: float, noise: float, generator: torch.Generator) -> Tensor:
    """Colours (B, ...) in [0, 1], each row brighter or darker by up to a share, and noisy."""
    shape = (len(colors), *[1] * (colors.ndim - 1))
    light = 1.0 + brightness * (2 * torch.rand(shape, generator=generator) - 1)
    return torch.clamp(
        light * colors + noise * torch.randn(colors.shape, generator=generator), 0.0, 1.0
    )
