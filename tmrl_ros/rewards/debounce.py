"""Several estimates must agree before an episode ends: k of the last n."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Debounce:
    """Says yes once at least `k` of the last `n` known estimates of one episode said so.

    An estimate that is not known is not counted and does not push an older one out.
    """

    k: int
    n: int
    _recent: deque[bool] = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n:
            raise ValueError(f"k={self.k} of n={self.n} cannot be: 1 <= k <= n")
        self._recent = deque(maxlen=self.n)

    def update(self, said_yes: bool) -> bool:
        """Take one estimate; True when k of the last n said yes."""
        self._recent.append(said_yes)
        return sum(self._recent) >= self.k

    def clear(self) -> None:
        """Forget everything: a new episode begins."""
        self._recent.clear()
