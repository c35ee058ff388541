"""A subscription that is read when it is needed instead of whenever something comes.

An executor rebuilds its wait set for every message it hands out. Topics that say the same thing a
hundred times a second, of which a node needs the newest once in a while, are cheaper polled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile


class PolledSubscription:
    """Keeps the newest messages of a topic, as many as the QoS' depth, until they are taken.

    Args:
        node: Node it belongs to; only the node's own thread may take.
        kind: Message class.
        topic: Topic.
        qos: Quality of service.
    """

    def __init__(self, node: Node, kind: type, topic: str, qos: QoSProfile) -> None:
        self._node = node
        self._kind = kind
        self._subscription = node.create_subscription(
            kind, topic, _no_callback, qos, callback_group=NeverExecuted()
        )

    def take(self) -> Iterator[Any]:
        """The messages that came since the last time, oldest first."""
        handle = self._subscription.handle
        with handle:
            while (taken := handle.take_message(self._kind, False)) is not None:
                yield taken[0]

    def destroy(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)


class NeverExecuted(CallbackGroup):  # type: ignore[misc]
    """Keeps its subscriptions out of the executor's wait sets."""

    def can_execute(self, entity: object) -> bool:
        """Never."""
        return False

    def beginning_execution(self, entity: object) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: object) -> None:
        """Nothing to end."""


def _no_callback(_: object) -> None:
    """Never called: messages are taken."""
