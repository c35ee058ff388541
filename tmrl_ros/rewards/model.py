"""What a reward model is to the rest of the stack: frames of one episode in, one judgement each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (h, w, 3), RGB


class JudgementError(Exception):
    """A model could not judge; the text says why. Nothing is ever judged 0 instead."""


@dataclass(frozen=True)
class Judgement:
    """A model's word on the newest frame, given all frames of the episode before it.

    Attributes:
        progress: Share of the task that is done, in [0, 1].
        success_probability: That the task is done at this frame, in [0, 1].
        latency_ms: Wall time that the judgement took.

    Raises:
        JudgementError: A number is not finite or lies outside [0, 1].
    """

    progress: float
    success_probability: float
    latency_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("progress", "success_probability"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0.0 <= value <= 1.0):
                raise JudgementError(f"the model's {name} is {value}, which is not in 0..1")


@dataclass(frozen=True)
class Calibration:
    """When success counts: `k` of the last `n` success probabilities are at least `threshold`.

    It is measured on episodes that the model was not trained on, and holds for one task.
    """

    threshold: float
    k: int
    n: int


class RewardModel(Protocol):
    """A model that judges an episode frame by frame. It is used by one thread."""

    @property
    def name(self) -> str:
        """What estimates and reports call it, e.g. `learned`."""

    @property
    def hash(self) -> str:
        """Hash of its weights: estimates with equal hashes can be compared."""

    @property
    def cameras(self) -> Sequence[str]:
        """Cameras whose images it wants, in that order; empty takes every camera there is."""

    @property
    def calibration(self) -> Calibration | None:
        """Its own measured rule for success, None if it has none."""

    def begin_episode(self, prompt: str) -> None:
        """Forget all frames; what follows is an attempt at `prompt`."""

    def observe(self, images: list[Image]) -> Judgement:
        """Add the next frame and judge it.

        Args:
            images: One (h, w, 3) uint8 RGB image per camera, in the order of `cameras`.

        Raises:
            JudgementError: It cannot judge this frame; the next one may be judged again.
        """


class CalibratedModel(RewardModel, Protocol):
    """A reward model that knows when success counts."""

    @property
    def calibration(self) -> Calibration:
        """What counts as success."""
