"""Subscriptions that cost nothing until somebody looks: the newest message, when it is asked for.

A topic at 1 kHz would wake Python a thousand times a second. These subscriptions belong to a node
that no executor spins: DDS keeps the last message of each in C++, and `take` reads it.
"""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

# Matches best-effort and reliable publishers.
LAST_ONLY = QoSProfile(
    depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT
)


class Newest:
    """The newest message of one topic.

    Args:
        node: A node that no executor spins.
        kind: Message class.
        topic: Name of the topic.
    """

    def __init__(self, node: Node, kind: Any, topic: str) -> None:
        self.topic = topic
        self._subscription = node.create_subscription(kind, topic, _never_called, LAST_ONLY)

    def take(self) -> Any | None:
        """The message that came last, or None when none has come since the last call."""
        subscription = self._subscription
        with subscription.handle:
            found = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        return None if found is None else found[0]


def _never_called(_: Any) -> None:
    raise AssertionError("the node of these subscriptions must not be spun")
