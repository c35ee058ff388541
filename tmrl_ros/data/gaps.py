"""Messages that were lost on the way, told by the numbers their publishers give them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tmrl_ros.data.items import Item


@dataclass
class GapCounter:
    """Counts by topic; a publisher that is started again begins with 1 and lost nothing."""

    _last: dict[str, int] = field(default_factory=dict)

    def take(self, item: Item) -> int:
        """How many messages were published between this one and the last one of its topic."""
        if not item.number or not item.topic.numbered:
            return 0
        last = self._last.get(item.topic.name, item.number)
        self._last[item.topic.name] = item.number
        return max(0, item.number - last - 1)
