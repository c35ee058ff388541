"""When success counts: threshold and k of n, measured on episodes the model was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.types import Float32Array
from tmrl_ros.rewards.debounce import Debounce
from tmrl_ros.rewards.learned.episodes import BoolArray
from tmrl_ros.rewards.model import Calibration

CANDIDATES = ((1, 1), (2, 2), (2, 3), (3, 3))
ENOUGH = 0.98
"""Share of what a rule can find that it must find for its threshold to be raised further."""
COST = 4.0
"""A rate of false positives weighs so many times a rate of misses: a miss is mostly found one
decision later, a false success ends the episode and is learned from. A threshold without any, set
by one odd episode, may lie where the model's probabilities saturate, and misses many successes."""


@dataclass(frozen=True)
class Scored:
    """One episode: success probability (T,) and whether the task is done (T,), per frame."""

    probability: Float32Array
    success: BoolArray


@dataclass(frozen=True)
class Count:
    """What a rule does on some episodes, each of which ends when the rule says success.

    One frame of tolerance: where the object passes the line, or leaves the hand, between two
    frames, pixels cannot say which side it is on. Such cases are found, and counted by themselves.

    Attributes:
        episodes: How many.
        successes: Those in which the task is done at some frame.
        found: Successes that the rule found, at most one frame early or late.
        false_positives: Episodes in which it said so, and the task was done neither at that frame
            nor at one of its neighbours.
        early: Of those found, one frame before the task was done.
        late: Of those found, one frame after the task was done no longer.
        delay: Mean number of frames from the first success to its being found.
    """

    episodes: int
    successes: int
    found: int
    false_positives: int
    early: int
    late: int
    delay: float


def fires_at(probability: Float32Array, rule: Calibration) -> int | None:
    """First frame at which k of the last n probabilities reach the threshold."""
    votes = Debounce(rule.k, rule.n)
    for frame, says_yes in enumerate(probability >= np.float32(rule.threshold)):
        if votes.update(bool(says_yes)):
            return frame
    return None


def count(episodes: Sequence[Scored], rule: Calibration) -> Count:
    """Apply a rule to episodes."""
    successes = found = wrong = early = late = 0
    delays = []
    for item in episodes:
        successes += bool(item.success.any())
        frame = fires_at(item.probability, rule)
        if frame is None:
            continue
        before, now, after = (frame + d for d in (-1, 0, 1))
        if not item.success[max(before, 0) : after + 1].any():
            wrong += 1
            continue
        found += 1
        delays.append(frame - int(np.argmax(item.success)))
        if not item.success[now]:
            is_late = before >= 0 and bool(item.success[before])
            late, early = late + is_late, early + (not is_late)
    mean = float(np.mean(delays)) if delays else 0.0
    return Count(len(episodes), successes, found, wrong, early, late, mean)


def calibrate(
    episodes: Sequence[Scored], candidates: Sequence[tuple[int, int]] = CANDIDATES
) -> tuple[Calibration, Count]:
    """The rule with the highest rate found less `COST` times the false rate; the quicker on ties.

    For each k of n the threshold is put into the middle (of the log odds) between the lowest one
    with no more false positives and the highest one that still finds nearly as much.
    """
    best: tuple[tuple[float, ...], Calibration, Count] | None = None
    for k, n in candidates:
        rule = _threshold(episodes, k, n)
        result = count(episodes, rule)
        order = (_worth(result), -result.delay)
        if best is None or order > best[0]:
            best = (order, rule, result)
    assert best is not None
    return best[1], best[2]


def _worth(result: Count) -> float:
    """Youden's J with a weight: rate of successes found less `COST` times that of false ones."""
    failures = max(result.episodes - result.successes, 1)
    return result.found / max(result.successes, 1) - COST * result.false_positives / failures


def _threshold(episodes: Sequence[Scored], k: int, n: int) -> Calibration:
    """See `calibrate`."""
    values = np.concatenate([item.probability for item in episodes]).astype(np.float64)
    odds = np.log(values.clip(1e-6, 1 - 1e-6) / (1 - values.clip(1e-6, 1 - 1e-6)))
    grid = np.linspace(odds.min(), odds.max() + 0.1, 201)
    results = [count(episodes, Calibration(_probability(g), k, n)) for g in grid]
    lowest = max(range(len(grid)), key=lambda i: _worth(results[i]))
    allowed, found = results[lowest].false_positives, results[lowest].found
    while lowest > 0 and results[lowest - 1].false_positives <= allowed:
        lowest -= 1
    highest = max(i for i in range(lowest, len(grid)) if results[i].found >= ENOUGH * found)
    return Calibration(_probability((grid[lowest] + grid[highest]) / 2), k, n)


def _probability(log_odds: float) -> float:
    return float(1.0 / (1.0 + np.exp(-log_odds)))
