"""The reward a simulator knows: ground truth of the observation's very instant, or no answer."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from tmrl_ros.core.types import NANOSECONDS, Reward
from tmrl_ros.rewards.answers import Question, unknown
from tmrl_ros.rewards.debounce import Debounce

MODEL = "simulator"


@dataclass(frozen=True)
class Truth:
    """What the simulator says of one instant; `progress` in [0, 1]."""

    stamp_ns: int
    success: bool
    failure: bool
    progress: float


class SimulatorReward:
    """Answers every question exactly once, in the order in which the answers become known.

    Args:
        k, n: An end counts when k of the last n estimates of the episode said so.
        patience_s: Wall time a question waits for the ground truth of its stamp.
        ring: Ground truths kept.
    """

    def __init__(self, k: int, n: int, *, patience_s: float = 1.0, ring: int = 512) -> None:
        self._success = Debounce(k, n)
        self._failure = Debounce(k, n)
        self._patience_s = patience_s
        self._ring = ring
        self._truths: OrderedDict[int, Truth] = OrderedDict()
        self._open: list[Question] = []
        self._episode_id = ""

    def on_truth(self, truth: Truth, now_s: float) -> list[Reward]:
        """Keep a ground truth; answer the questions that waited for it."""
        self._truths[truth.stamp_ns] = truth
        self._truths.move_to_end(truth.stamp_ns)
        while len(self._truths) > self._ring:
            self._truths.popitem(last=False)
        return self._answer_known(now_s)

    def on_question(self, question: Question, now_s: float) -> list[Reward]:
        """Take an observation; answer it at once when its ground truth is there."""
        self._open.append(question)
        return self._answer_known(now_s)

    def on_time(self, now_s: float) -> list[Reward]:
        """Answer "don't know" to questions that waited too long."""
        late = [q for q in self._open if now_s - q.asked_s >= self._patience_s]
        self._open = [q for q in self._open if q not in late]
        return [self._unknown(question, now_s) for question in late]

    def _answer_known(self, now_s: float) -> list[Reward]:
        known = [q for q in self._open if q.stamp_ns in self._truths]
        self._open = [q for q in self._open if q.stamp_ns not in self._truths]
        return [self._judge(question, self._truths[question.stamp_ns], now_s) for question in known]

    def _judge(self, question: Question, truth: Truth, now_s: float) -> Reward:
        if not math.isfinite(truth.progress):
            return self._unknown(question, now_s, f"the simulator's progress is {truth.progress}")
        if question.episode_id != self._episode_id or question.decision == 0:
            self._episode_id = question.episode_id
            self._success.clear()
            self._failure.clear()
        success = self._success.update(truth.success)
        failure = self._failure.update(truth.failure) and not success
        return Reward(
            stamp_ns=question.stamp_ns,
            sequence=question.sequence,
            episode_id=question.episode_id,
            decision=question.decision,
            valid=True,
            progress=min(max(truth.progress, 0.0), 1.0),
            success_probability=1.0 if truth.success else 0.0,
            success=success,
            failure=failure,
            model=MODEL,
            latency_ms=(now_s - question.asked_s) * 1e3,
        )

    def _unknown(self, question: Question, now_s: float, why: str = "") -> Reward:
        waited_s = now_s - question.asked_s
        why = why or (
            f"no ground truth of {question.stamp_ns / NANOSECONDS:.3f} s, the stamp of observation "
            f"{question.sequence}, came within {waited_s:.1f} s; check that sim_franka runs"
        )
        return unknown(question, why, now_s, model=MODEL)
