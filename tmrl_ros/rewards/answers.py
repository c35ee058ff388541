"""Questions about observations, and the answer "don't know"."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tmrl_ros.core.types import Reward


@dataclass(frozen=True)
class Question:
    """The observation that is to be judged, and when it was asked about (`asked_s`, wall time)."""

    stamp_ns: int
    sequence: int
    episode_id: str
    decision: int
    asked_s: float


def unknown(
    question: Question, why: str, now_s: float, *, model: str, model_hash: str = ""
) -> Reward:
    """The answer of a model that cannot judge: no number, and a sentence."""
    return Reward(
        stamp_ns=question.stamp_ns,
        sequence=question.sequence,
        episode_id=question.episode_id,
        decision=question.decision,
        valid=False,
        progress=math.nan,
        success_probability=math.nan,
        success=False,
        failure=False,
        error=why,
        model=model,
        model_hash=model_hash,
        latency_ms=(now_s - question.asked_s) * 1e3,
    )
