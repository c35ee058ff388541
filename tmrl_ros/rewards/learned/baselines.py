"""Judges that know nothing of success, to expose metrics that are too easy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tmrl_ros.core.types import Float32Array
from tmrl_ros.rewards.learned.episodes import Frames
from tmrl_ros.rewards.learned.judge import judge_frames
from tmrl_ros.rewards.learned.model import RewardNetwork

Judged = tuple[Float32Array, Float32Array]
"""Progress (T,) and success score (T,) of one video under one instruction."""
Judge = Callable[[Frames, Sequence[str]], list[Judged]]
"""Judges a video (T, cameras, h, w, 3) against several instructions."""


def model(network: RewardNetwork) -> Judge:
    """The model itself."""
    return lambda frames, prompts: judge_frames(network, frames, prompts)


def time_index(longest: int) -> Judge:
    """Later is better, whatever is seen. `longest` is the length that counts as progress 1."""

    def judge(frames: Frames, prompts: Sequence[str]) -> list[Judged]:
        later = np.linspace(0, (len(frames) - 1) / (longest - 1), len(frames), dtype=np.float32)
        return [(later, later)] * len(prompts)

    return judge


def progress_only(network: RewardNetwork) -> Judge:
    """A model's progress, taken for its success probability as well."""

    def judge(frames: Frames, prompts: Sequence[str]) -> list[Judged]:
        return [(found, found) for found, _ in judge_frames(network, frames, prompts)]

    return judge
