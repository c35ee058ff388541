"""What a reward model learns from: frames of an episode, an instruction, and how far it was met."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import Float32Array

Frames = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]

TRUTH_DEAD_ZONE = 0.95
"""Frames nearer to success than this, by a truth, are neither: pixels cannot tell them apart."""
OUTCOME_DEAD_ZONE = 0.5
"""The same where progress was only spread over time: half-way frames may be anything."""


@dataclass(frozen=True)
class Video:
    """What the cameras saw: `frames` (T, cameras, h, w, 3) RGB, one per decision.

    `kind` says what happened ("held_low", "policy", ...), for evaluations alone.
    """

    name: str
    kind: str
    frames: Frames

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class LabelledEpisode:
    """A video judged against one instruction.

    Attributes:
        video: What was seen; several episodes may share one.
        prompts: Texts that all mean this instruction.
        progress: (T,) in [0, 1], NaN where nobody knows.
        success: (T,) whether the task is done at that frame.
        dead_zone: Frames without success and with at least this progress are not used to learn
            success from.
    """

    video: Video
    prompts: tuple[str, ...]
    progress: Float32Array
    success: BoolArray
    dead_zone: float = TRUTH_DEAD_ZONE

    def __post_init__(self) -> None:
        length = len(self.video)
        if not self.prompts or self.progress.shape != (length,) or self.success.shape != (length,):
            raise ValueError(
                f"{self.video.name}: {length} frames, labels of shape {self.progress.shape} and "
                f"{self.success.shape}, {len(self.prompts)} prompts"
            )

    @property
    def succeeds(self) -> bool:
        """Whether the task is done at any frame."""
        return bool(self.success.any())

    @property
    def outcome(self) -> float:
        """How far the episode is at its last frame, in [0, 1]; a failure without progress is 0."""
        if self.success[-1]:
            return 1.0
        last = float(self.progress[-1])
        return 0.0 if np.isnan(last) else min(last, 0.99)

    @property
    def success_known(self) -> BoolArray:
        """(T,) frames from which success may be learned."""
        near = np.nan_to_num(self.progress, nan=0.0) >= self.dead_zone
        known: BoolArray = self.success | ~near
        return known

    def cut(self, length: int) -> LabelledEpisode:
        """Its first `length` frames."""
        return replace(
            self,
            video=replace(self.video, frames=self.video.frames[:length]),
            progress=self.progress[:length],
            success=self.success[:length],
        )


def from_outcome(video: Video, prompts: tuple[str, ...], succeeded: bool) -> LabelledEpisode:
    """Labels of an episode of which only the end is known, as a person says it.

    A success is trimmed at its end, and progress grows evenly up to it (Robometer, arXiv
    2603.02115, `absolute_first_frame`); how far a failure came is not known.
    """
    length = len(video)
    if not succeeded:
        progress = np.full(length, np.nan, np.float32)
    else:
        progress = np.linspace(1.0 if length == 1 else 0.0, 1.0, length, dtype=np.float32)
    success = np.zeros(length, np.bool_)
    success[-1] = succeeded
    return LabelledEpisode(video, prompts, progress, success, OUTCOME_DEAD_ZONE)


def of_another_task(episode: LabelledEpisode, prompts: tuple[str, ...]) -> LabelledEpisode:
    """The same video against an instruction that it does not meet: progress 0, no success."""
    length = len(episode.video)
    return LabelledEpisode(
        episode.video, prompts, np.zeros(length, np.float32), np.zeros(length, np.bool_)
    )


def data_hash(episodes: Sequence[LabelledEpisode]) -> str:
    """Hash of everything that training looks at."""
    total = hashlib.sha256()
    for episode in episodes:
        total.update("\n".join(episode.prompts).encode())
        for array in (episode.video.frames, episode.progress, episode.success):
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
