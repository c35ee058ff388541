"""The range that a learner may steer in: followed while probes are run, decided once."""

from __future__ import annotations

from dataclasses import asdict

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Episode
from tmrl_ros.data.steering import FULL, Heard, Range
from tmrl_ros.learning.acting import narrow_actor
from tmrl_ros.learning.learners.learner import Learner
from tmrl_ros.learning.warmup import Counts, tried


class SteeringRange:
    """What probes and warm-up leave of a method's range (`data/steering.py`).

    Probes are heard before training and count at once. Before the first update, what warm-up has
    shown joins them; from then on the range stays, whatever a late label says.
    """

    def __init__(self, method: MethodConfig, z_size: int) -> None:
        """Begin with all of the range."""
        self._method, self._z_size = method, z_size
        self._heard = Heard()
        self._decided = False
        self.now = FULL

    def hear(self, event: Episode) -> None:
        """An episode of any phase has changed."""
        self._heard.add(event)

    def restore(self, decided: dict[str, float] | None, learner: Learner) -> None:
        """What a checkpoint says was decided, if anything; a learner without it kept it all."""
        if decided is not None or learner.updates:
            self.now, self._decided = Range(**(decided or {})), True
        else:
            self.now = self._heard.evidence().range()
        self._keep(learner)

    def decide(self, warmup: Counts, learner: Learner) -> dict[str, float]:
        """Before the first update: the range from now on, for the checkpoint."""
        if not self._decided:
            levels = tried(warmup) if self._method.steers_context else {}
            self.now, self._decided = self._heard.evidence(levels).range(), True
            self._keep(learner)
        return asdict(self.now)

    def follow(self, learner: Learner) -> bool:
        """Keep to what the probes allow so far; whether that has changed."""
        found = self.now if self._decided else self._heard.evidence().range()
        if found == self.now:
            return False
        self.now = found
        self._keep(learner)
        return True

    def _keep(self, learner: Learner) -> None:
        narrow_actor(learner.acting, self.now.narrowed(self._method), self._z_size)
