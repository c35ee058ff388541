"""Do the critics' values come true? What they expect of decisions, and what came of those."""

from __future__ import annotations

from collections import deque

import numpy as np

from tmrl_ros.core.types import FloatArray

EPISODES = 20


class ValueCheck:
    """Values against returns over the last `EPISODES` episodes."""

    def __init__(self) -> None:
        self._seen: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=EPISODES)

    def add(self, values: FloatArray, came_of_it: FloatArray) -> None:
        """One episode: what the critics expected (n,), before learning from it, and its returns."""
        if len(values):
            self._seen.append((values, came_of_it))

    def metrics(self) -> dict[str, float]:
        """Mean value and mean return of executed decisions; empty before the first episode.

        A mean value above the mean return is optimism. A time-out counts as a return of 0, although
        it might have succeeded later, so that some of it is expected.
        """
        if not self._seen:
            return {}
        values = np.concatenate([item[0] for item in self._seen])
        came_of_it = np.concatenate([item[1] for item in self._seen])
        return {"value_expected": float(values.mean()), "return_seen": float(came_of_it.mean())}
