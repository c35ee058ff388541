"""The frames of one attempt at a task, and what is asked about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tmrl_ros.core.types import Reward
from tmrl_ros.rewards.answers import Question, unknown
from tmrl_ros.rewards.model import Calibration, Image, Judgement


@dataclass(eq=False)
class Attempt:
    """One run of an episode; a repeated one is another. `frames[k]` belong to decision k."""

    episode_id: str
    prompt: str
    frames: dict[int, list[Image]] = field(default_factory=dict)
    _says_yes: dict[int, bool] = field(default_factory=dict)

    def succeeded(self, decision: int, says_yes: bool, k: int, n: int) -> bool:
        """Note one estimate; whether k of the last n known ones up to it said yes.

        Estimates may come late and in any order.
        """
        self._says_yes[decision] = says_yes
        known = sorted(key for key in self._says_yes if key <= decision)
        return sum(self._says_yes[key] for key in known[-n:]) >= k


@dataclass(frozen=True, eq=False)
class Case:
    """A question, with every frame of its attempt up to the one that is asked about.

    Attributes:
        frames: One list of images (one per camera) per decision; the last is the newest.
        whole: Whether the attempt's first frame is among them.
    """

    question: Question
    attempt: Attempt
    frames: tuple[list[Image], ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is missing at the beginning."""
        return 0 in self.attempt.frames


class Attempts:
    """Sorts observations into attempts; keeps the frames of the present one."""

    def __init__(self) -> None:
        self._current: Attempt | None = None

    def take(self, question: Question, prompt: str, images: list[Image]) -> Case:
        """Add an observation's images and make its case."""
        attempt = self._current
        if attempt is None or attempt.episode_id != question.episode_id or question.decision == 0:
            attempt = self._current = Attempt(question.episode_id, prompt)
        attempt.frames[question.decision] = images
        prefix = sorted(key for key in attempt.frames if key <= question.decision)
        return Case(question, attempt, tuple(attempt.frames[key] for key in prefix))


@dataclass(frozen=True)
class Answer:
    """What a model said about a case, or why it said nothing."""

    case: Case
    judgement: Judgement | None
    error: str
    model: str
    model_hash: str

    def reward(self, rule: Calibration, now_s: float) -> Reward:
        """The estimate; success is debounced over the attempt."""
        question, judgement = self.case.question, self.judgement
        blank = unknown(question, self.error, now_s, model=self.model, model_hash=self.model_hash)
        if judgement is None:
            return blank
        # A message carries 32 bits; a threshold must not depend on whether it was one already.
        probability = float(np.float32(judgement.success_probability))
        says_yes = probability >= float(np.float32(rule.threshold))
        success = self.case.attempt.succeeded(question.decision, says_yes, rule.k, rule.n)
        return replace(
            blank,
            valid=True,
            progress=judgement.progress,
            success_probability=probability,
            success=success,
        )


def pick(names: Sequence[str], images: Sequence[Image], wanted: Sequence[str]) -> list[Image]:
    """Images of the wanted cameras in their order; all of them if none is named.

    Raises:
        KeyError: A wanted camera is not there.
    """
    by_name = dict(zip(names, images, strict=True))
    return [by_name[name] for name in wanted] if wanted else list(images)
