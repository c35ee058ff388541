"""The hold-to-run button of a page: a word of it counts only if it comes when it was said.

A connection that was interrupted delivers what had queued up all at once. A person may have let go
long before.
"""

from __future__ import annotations

import math

LATE_S = 0.25


class HoldLink:
    """Follows one page, whose clock has nothing to do with ours but runs as fast."""

    def __init__(self) -> None:
        """Begin with a page that has said nothing."""
        self._least_lag_s = math.inf

    def hear(self, words: str, now_s: float) -> bool:
        """Whether the person holds the button.

        Args:
            words: `1` or `0`, and the page's clock in milliseconds.
            now_s: When it came, by our clock.

        Raises:
            ValueError: The words are others.
        """
        held, _, page_ms = words.partition(" ")
        said_s = float(page_ms) / 1e3
        if held not in ("0", "1") or not math.isfinite(said_s):
            raise ValueError(f"{words!r} is not a word of the hold-to-run button")
        lag_s = now_s - said_s
        self._least_lag_s = min(self._least_lag_s, lag_s)
        return held == "1" and lag_s - self._least_lag_s <= LATE_S
