"""Is one success rate below another, or is it chance?"""

from __future__ import annotations

from functools import lru_cache
from math import comb


@lru_cache(maxsize=65536)
def below(successes: int, n: int, base_successes: int, base_n: int) -> float:
    """P value of "the first rate is not below the base's": Fisher's exact test, one-sided.

    Given how many of all n + base_n episodes succeeded, the chance that as few as `successes` of
    them fall among the n, if both rates are the same (R. A. Fisher, 1935; the hypergeometric
    distribution's lower tail). Exact for few episodes and rates near 0 and 1, and conservative.

    Args:
        successes: Of the n episodes under test, 0 to n.
        n: Episodes under test.
        base_successes: Of the base's episodes, 0 to base_n.
        base_n: Episodes of the base.

    Raises:
        ValueError: A count is negative or above its number of episodes.
    """
    if not (0 <= successes <= n and 0 <= base_successes <= base_n):
        raise ValueError(f"{successes} of {n} against {base_successes} of {base_n} cannot be")
    good = successes + base_successes
    lowest = max(0, good - base_n)
    ways = sum(comb(n, k) * comb(base_n, good - k) for k in range(lowest, successes + 1))
    return ways / comb(n + base_n, good)
