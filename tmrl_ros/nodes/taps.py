"""Subscriptions of the recorder: serialised, polled, on the terms that each publisher offers."""

from __future__ import annotations

import importlib
import time
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Qos

from tmrl_ros.data.bag_metadata import offered_qos
from tmrl_ros.data.items import Item, Topic
from tmrl_ros.data.recorded_topics import CAMERA_INFO_TYPE, IMAGE_TYPE

DEPTH = 256
IMAGE_DEPTH = 64


class Tap:
    """One topic. Asks for reliable messages, and for less where a driver offers less.

    Args:
        node: The recorder.
        topic: What to listen to, by its absolute name.
        group: Callback group that is never executed.
        started_ns: Wall clock when the recorder started; what was sent before is the past.

    Raises:
        ImportError: The message's package is not installed.
    """

    def __init__(self, node: Node, topic: Topic, group: CallbackGroup, started_ns: int) -> None:
        package, _, name = topic.type_name.split("/")
        self.topic = topic
        self._kind: Any = getattr(importlib.import_module(f"{package}.msg"), name)
        self._node = node
        self._group = group
        self._started_ns = started_ns
        self._offered: Qos | None = None
        self._listen(_wanted(topic))

    @property
    def publishers(self) -> int:
        """How many publishers are connected."""
        return int(self._subscription.get_publisher_count())

    def take(self) -> list[Item]:
        """Take every message that has come; of a latched topic's past only the newest."""
        items: list[Item] = []
        handle = self._subscription.handle
        with handle:
            while (taken := handle.take_message(self._kind, True)) is not None:
                data, info = taken
                stamp_ns = info["received_timestamp"] or time.time_ns()
                sent_ns, number = info["source_timestamp"], info["publication_sequence_number"] or 0
                items.append(Item(self.topic, data, stamp_ns, sent_ns, number, self._offered))
        if items and self._offered is None:
            self._offered = self._find_offer()
            old = [item for item in items if self.topic.latched and item.sent_ns < self._started_ns]
            items = [item._replace(qos=self._offered) for item in items[max(0, len(old) - 1) :]]
        return items

    def adapt(self) -> None:
        """Listen on less demanding terms where a publisher offers less, as some drivers do."""
        if self._offered is not None:
            return
        for info in self._node.get_publishers_info_by_topic(self.topic.name):
            if _is_weaker(info.qos_profile, self._profile):
                self._node.destroy_subscription(self._subscription)
                self._listen(
                    QoSProfile(
                        depth=self._profile.depth,
                        history=HistoryPolicy.KEEP_LAST,
                        reliability=info.qos_profile.reliability,
                        durability=info.qos_profile.durability,
                    )
                )
                return

    def _listen(self, profile: QoSProfile) -> None:
        self._profile = profile
        self._subscription = self._node.create_subscription(
            self._kind,
            self.topic.name,
            _nothing,
            profile,
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            raw=True,
        )

    def _find_offer(self) -> Qos:
        """What the publisher offers, as discovery knows it (which does not tell the depth)."""
        found = self._node.get_publishers_info_by_topic(self.topic.name)
        profiles = [info.qos_profile for info in found] or [self._profile]
        latched = any(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
        return offered_qos(
            reliable=all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles),
            latched=latched,
            depth=1 if latched else 10,
        )


def _wanted(topic: Topic) -> QoSProfile:
    """Quality of service to ask for at first."""
    past = topic.latched and topic.type_name != CAMERA_INFO_TYPE
    return QoSProfile(
        depth=IMAGE_DEPTH if topic.type_name == IMAGE_TYPE else DEPTH,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if past else DurabilityPolicy.VOLATILE,
    )


def _is_weaker(offer: QoSProfile, wanted: QoSProfile) -> bool:
    """Whether a publisher's offer is too little for what is wanted, so that nothing would come."""
    return (
        wanted.reliability == ReliabilityPolicy.RELIABLE
        and offer.reliability == ReliabilityPolicy.BEST_EFFORT
    ) or (
        wanted.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and offer.durability == DurabilityPolicy.VOLATILE
    )


def _nothing(_message: bytes) -> None:
    """Never called: messages are taken."""
