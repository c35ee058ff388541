"""Pages that watch: a stop can be pressed when the last of them is lost."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Lifeline:
    """Counts the pages that say something, and tells when there is none left.

    Attributes:
        patience_s: Wall time without a word of any page after which the stop is pressed; 0 turns
            this off. Nothing happens before the first page has been there.
    """

    patience_s: float
    _heard_s: dict[int, float] = field(default_factory=dict)
    _last_s: float | None = None
    _counter: int = 0

    def join(self, now_s: float) -> int:
        """A page has connected; returns its number."""
        self._counter += 1
        self.hear(self._counter, now_s)
        return self._counter

    def hear(self, page: int, now_s: float) -> None:
        """A page has said something."""
        self._heard_s[page] = now_s
        self._last_s = now_s

    def leave(self, page: int) -> None:
        """The connection to a page has ended, however it ended."""
        self._heard_s.pop(page, None)

    @property
    def pages(self) -> int:
        """Pages that are connected."""
        return len(self._heard_s)

    def is_lost(self, now_s: float) -> bool:
        """Whether the stop is to be pressed now: true once per loss."""
        if not self.patience_s or self._last_s is None:
            return False
        if now_s - self._last_s < self.patience_s:
            return False
        self._last_s = None
        return True
