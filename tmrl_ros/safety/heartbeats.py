"""Latch on a silent policy, reward or learner where that is configured; by default nobody asks.

The arm holds without them anyway. This is for cells in which a graph that has lost a part should
not go on before a person has looked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tmrl_ros.safety.causes import Cause, Code, cause


class Part(StrEnum):
    """Whose word is waited for."""

    POLICY = "policy"
    REWARD = "reward"
    LEARNER = "learner"


CODES = {
    Part.POLICY: Code.POLICY_TIMEOUT,
    Part.REWARD: Code.REWARD_TIMEOUT,
    Part.LEARNER: Code.LEARNER_TIMEOUT,
}


@dataclass(slots=True)
class Heartbeats:
    """Times are monotonic wall seconds; only while an episode runs is anybody expected to speak.

    Attributes:
        patience_s: Seconds of silence after which a part is overdue; 0 = never.
    """

    patience_s: dict[Part, float]
    _heard_s: dict[Part, float] = field(default_factory=dict)
    _running: bool = False

    @property
    def watched(self) -> list[Part]:
        """Parts that are waited for at all."""
        return [part for part, seconds in self.patience_s.items() if seconds > 0.0]

    def on_episode(self, running: bool, wall_s: float) -> None:
        """An episode begins to run, goes on or ends; the patience begins with it."""
        if running and not self._running:
            self._heard_s = dict.fromkeys(self.watched, wall_s)
        self._running = running

    def on_word(self, part: Part, wall_s: float) -> None:
        """A part was heard."""
        self._heard_s[part] = wall_s

    def overdue(self, wall_s: float) -> Cause | None:
        """The first part that has been silent for too long."""
        if not self._running:
            return None
        for part in self.watched:
            silent_s = wall_s - self._heard_s.get(part, wall_s)
            if silent_s > self.patience_s[part]:
                what = f"Nothing was heard of the {part.value} for {silent_s:.1f} s."
                return cause(CODES[part], what, f"{silent_s:.1f} s")
        return None
