"""Between a robot's units and the numbers a VLA sees: statistics, prompts, images.

Does what the processors in a LeRobot checkpoint say (`policy_preprocessor.json`), without
LeRobot's pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.core.types import ByteArray, Float32Array

STATE_BINS = 256
EPS = 1e-8
MODES = ("IDENTITY", "MEAN_STD", "MIN_MAX", "QUANTILES")


@dataclass(frozen=True)
class Statistics:
    """Statistics of one vector, each (D,) float32, as LeRobot names them."""

    mean: Tensor
    std: Tensor
    min: Tensor
    max: Tensor
    q01: Tensor
    q99: Tensor

    @staticmethod
    def of(rows: Float32Array) -> Statistics:
        """Statistics of rows (N, D)."""
        values = torch.from_numpy(np.asarray(rows, np.float32))
        low, high = torch.quantile(values, torch.tensor([0.01, 0.99]), dim=0)
        std = values.std(0, correction=0).clamp_min(1e-3)
        # What does not vary keeps its place in the middle of a unit range.
        still = high - low < 1e-3
        low, high = torch.where(still, low - 0.5, low), torch.where(still, high + 0.5, high)
        return Statistics(values.mean(0), std, values.amin(0), values.amax(0), low, high)

    @staticmethod
    def random(size: int, seed: int) -> Statistics:
        """Some statistics of a vector, for tiny checkpoints."""
        rows = np.random.default_rng(seed).normal(0.3, 0.7, (64, size)).astype(np.float32)
        return Statistics.of(rows)


@dataclass(frozen=True)
class Scale:
    """normalised = (value - offset) / scale; (D,) each."""

    offset: Tensor
    scale: Tensor

    @staticmethod
    def from_statistics(mode: str, statistics: dict[str, Tensor], size: int) -> Scale:
        """What a mode of LeRobot's normaliser does.

        Raises:
            KeyError: A statistic is missing.
            ValueError: The mode is unknown.
        """
        if mode == "IDENTITY":
            return Scale(torch.zeros(size), torch.ones(size))
        if mode == "MEAN_STD":
            return Scale(statistics["mean"], statistics["std"] + EPS)
        if mode not in MODES:
            raise ValueError(f"normalisation {mode} is not one of {MODES}")
        low, high = ("min", "max") if mode == "MIN_MAX" else ("q01", "q99")
        span = statistics[high] - statistics[low]
        half = torch.where(span == 0, EPS, span) / 2
        return Scale(statistics[low] + half, half)

    def apply(self, values: Tensor) -> Tensor:
        """Robot units to normalised, over the last dimension."""
        return (values - self.offset.to(values)) / self.scale.to(values)

    def undo(self, values: Tensor) -> Tensor:
        """Normalised to robot units, over the last dimension."""
        return values * self.scale.to(values) + self.offset.to(values)


def prompt_text(kind: str, prompt: str, normalised_state: Tensor) -> str:
    """What the language model reads: pi0.5 has the state in its prompt, in 256 steps of -1..1."""
    if kind == "pi05":
        words = prompt.strip().replace("_", " ").replace("\n", " ")
        bins = np.linspace(-1, 1, STATE_BINS + 1)[:-1]
        numbers = np.digitize(normalised_state.cpu().numpy(), bins=bins) - 1
        return f"Task: {words}, State: {' '.join(map(str, numbers))};\nAction: "
    return prompt if prompt.endswith("\n") else f"{prompt}\n"


def tokenise(tokenizer: Any, texts: list[str], slots: int) -> tuple[Tensor, Tensor]:
    """Tokens and which of them are words: (B, slots) int64 and (B, slots) bool.

    Always padded to all slots, so that shapes stay the same and the length of a prompt does not
    show where the context is noise.
    """
    found = tokenizer(
        texts,
        max_length=slots,
        padding="max_length",
        truncation=True,
        padding_side="right",
        return_tensors="pt",
    )
    return found["input_ids"], found["attention_mask"].bool()


def image_batch(images: list[ByteArray]) -> Tensor:
    """Pictures (h, w, 3) of one camera as (B, 3, h, w) in 0..1."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255.0
