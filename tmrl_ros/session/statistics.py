"""Success rates with their uncertainty, and the few other figures a session reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Rate:
    """A success rate with its 95 % interval; `rate` is None while nothing was counted (n = 0)."""

    rate: float | None
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The same as JSON values."""
        return {"rate": self.rate, "low": self.low, "high": self.high, "n": self.n}

    def __str__(self) -> str:
        if self.rate is None:
            return "no episodes"
        return f"{self.rate:.0%} ({self.low:.0%} to {self.high:.0%}, n = {self.n})"


def wilson(successes: int, n: int, z: float = Z_95) -> Rate:
    """Success rate with the Wilson score interval (E. B. Wilson, JASA 1927).

    Unlike the normal interval it is right for few episodes and for rates near 0 and 1.

    Args:
        successes: Episodes that succeeded, 0 to n.
        n: Episodes that count.
        z: Quantile of the normal distribution; 1.96 gives 95 %.

    Raises:
        ValueError: `successes` is not between 0 and `n`.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} episodes cannot be")
    if n == 0:
        return Rate(None, 0.0, 1.0, 0)
    rate = successes / n
    shrink = 1.0 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / shrink
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Rate(rate, min(low, rate), max(high, rate), n)


def success_rate(outcomes: Sequence[bool], window: int | None = None) -> Rate:
    """Success rate of the outcomes, or of the last `window` of them."""
    counted = outcomes if window is None else outcomes[max(0, len(outcomes) - window) :]
    return wilson(sum(counted), len(counted))


def rolling(outcomes: Sequence[bool], window: int) -> list[Rate]:
    """For every episode, the success rate over the last `window` episodes up to it."""
    return [success_rate(outcomes[: end + 1], window) for end in range(len(outcomes))]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Linearly interpolated percentile, or None for no values.

    Args:
        values: Any order.
        percent: 0 to 100.
    """
    if not values:
        return None
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100.0
    lower = math.floor(position)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (ordered[upper] - ordered[lower]) * (position - lower)
