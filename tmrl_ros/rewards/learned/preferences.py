"""Pairs of clips of which one shows a better attempt at the same instruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tmrl_ros.rewards.learned.clips import IntArray, rewound, spread
from tmrl_ros.rewards.learned.episodes import LabelledEpisode

KINDS = ("failure", "rewind", "reverse", "wrong_task", "graded")
MARGIN = 0.2
"""Outcomes nearer than this are not compared (upstream's rule for graded data sets)."""


@dataclass(frozen=True)
class Side:
    """One clip of a pair: an episode by its number, and which frames of it."""

    episode: int
    frames: IntArray


@dataclass(frozen=True)
class Pair:
    """`better` is the better attempt at `prompt`."""

    kind: str
    better: Side
    worse: Side
    prompt: str


class PairSampler:
    """Draws pairs among some episodes, as often of each kind as there is material for it.

    Graded outcomes are not in Robometer's own pairs: without them the order among failures is never
    learned, and a learner needs exactly that order.
    """

    def __init__(
        self, episodes: Sequence[LabelledEpisode], most: int, rng: np.random.Generator
    ) -> None:
        self._episodes, self._most, self._rng = episodes, most, rng
        self._outcomes = np.array([item.outcome for item in episodes])
        self._meanings: dict[tuple[str, ...], list[int]] = {}
        for number, item in enumerate(episodes):
            self._meanings.setdefault(item.prompts, []).append(number)
        self._done = [n for n, outcome in enumerate(self._outcomes) if outcome == 1.0]

    def draw(self, count: int) -> list[Pair]:
        """At most `count` pairs; fewer if there is nothing to compare."""
        if not self._done:
            return []
        makers: dict[str, Callable[[int], tuple[Side, Side] | None]] = {
            "failure": self._failure,
            "rewind": self._rewind,
            "reverse": self._reverse,
            "wrong_task": self._wrong_task,
            "graded": self._graded,
        }
        pairs = []
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            chosen = int(self._rng.choice(self._done))
            sides = makers[kind](chosen)
            if sides is not None:
                prompt = str(self._rng.choice(self._episodes[sides[0].episode].prompts))
                pairs.append(Pair(kind, *sides, prompt))
        return pairs

    def _whole(self, number: int) -> Side:
        return Side(number, spread(range(len(self._episodes[number].video)), self._most))

    def _until_done(self, number: int) -> int:
        """Frames up to the first success."""
        return int(np.argmax(self._episodes[number].success)) + 1

    def _others(self, number: int) -> IntArray:
        return np.array(self._meanings[self._episodes[number].prompts], np.int64)

    def _failure(self, chosen: int) -> tuple[Side, Side] | None:
        others = self._others(chosen)
        return self._against(chosen, others[self._outcomes[others] < 1.0 - MARGIN / 2])

    def _rewind(self, chosen: int) -> tuple[Side, Side] | None:
        length = self._until_done(chosen)
        if length < 3:
            return None
        frames = rewound(length, self._most, self._rng)
        return Side(chosen, spread(range(length), self._most)), Side(chosen, frames)

    def _reverse(self, chosen: int) -> tuple[Side, Side] | None:
        frames = spread(range(self._until_done(chosen)), self._most)
        return (
            (Side(chosen, frames), Side(chosen, frames[::-1].copy())) if len(frames) > 2 else None
        )

    def _wrong_task(self, chosen: int) -> tuple[Side, Side] | None:
        """Against a video in which something else was done."""
        done_elsewhere = {
            id(self._episodes[n].video)
            for n in self._done
            if self._episodes[n].prompts != self._episodes[chosen].prompts
        }
        others = [
            n
            for n in self._others(chosen)
            if self._outcomes[n] < 1.0 and id(self._episodes[n].video) in done_elsewhere
        ]
        return self._against(chosen, np.array(others, np.int64))

    def _graded(self, _: int) -> tuple[Side, Side] | None:
        """Two failures of which one came further."""
        one = int(self._rng.integers(len(self._episodes)))
        others = self._others(one)
        apart = np.abs(self._outcomes[others] - self._outcomes[one]) >= MARGIN
        others = others[apart & (self._outcomes[others] < 1.0)]
        if self._outcomes[one] == 1.0 or not len(others):
            return None
        two = int(self._rng.choice(others))
        better, worse = (one, two) if self._outcomes[one] > self._outcomes[two] else (two, one)
        return self._whole(better), self._whole(worse)

    def _against(self, chosen: int, others: IntArray) -> tuple[Side, Side] | None:
        if not len(others):
            return None
        return self._whole(chosen), self._whole(int(self._rng.choice(others)))
