"""Whether the recorder hears everybody it must hear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# A publisher may learn of this node later than this node of the publisher: by seconds (the
# middleware asks again every three) when it takes the place of a killed one that counts as alive.
SETTLE_S = 1.0
SETTLE_AFTER_KILL_S = 6.0


@dataclass
class Connection:
    """Remembers since when every needed topic has had a publisher.

    Attributes:
        after_kill: The recorder before this one was killed, and may count as alive for a while.
    """

    after_kill: bool = False
    _since_s: float | None = None

    def missing(self, publishers: Mapping[str, int], now_s: float) -> list[str]:
        """Whom it is not connected to, or only since a moment ago.

        Args:
            publishers: How many publishers are known of each needed topic.
            now_s: Monotonic wall time.

        Returns:
            Names of topics, "everybody" while the connections settle, nothing once they have.
        """
        absent = [name for name, count in publishers.items() if not count]
        if absent:
            self._since_s = None
            return absent
        if self._since_s is None:
            self._since_s = now_s
        settle_s = SETTLE_AFTER_KILL_S if self.after_kill else SETTLE_S
        return [] if now_s - self._since_s >= settle_s else ["everybody"]
