"""Records every topic of the graph, as serialised, into one bag per episode.

Subscriptions are not served by the executor, which would build a wait set for every single message:
a thread empties all of them fifty times a second, and another one writes (`data/recording.py`).
Times in the bag are those at which the middleware received a message.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rosbags.interfaces import Qos
from std_msgs.msg import String

from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.load import config_hash
from tmrl_ros.data.bag_metadata import offered_qos
from tmrl_ros.data.items import EPISODE_TYPE, Item, Topic
from tmrl_ros.data.recording import RecorderStatus, Recording
from tmrl_ros.nodes.common import LATCHED, ConfiguredNode, run_node
from tmrl_ros.nodes.polling import NeverExecuted

POLL_S = 0.02
STATUS_S = 1.0
DEPTH = 256
IMAGE_DEPTH = 64
IMAGE_TYPE = "sensor_msgs/msg/Image"
# What the learner learns from: no episode starts before the recorder is connected to all of it.
NEEDED = (
    topics.EPISODE,
    topics.RESET_CHUNK,
    topics.OBSERVATION,
    topics.ACTION_CHUNK,
    topics.CHUNK_OUTCOME,
    topics.REWARD,
    topics.ROBOT_TARGET,
    topics.ROBOT_STATE,
)
# A publisher may learn of this node later than this node of the publisher: by seconds (the
# middleware asks again every three) when it takes the place of a killed one that counts as alive.
SETTLE_S = 1.0
SETTLE_AFTER_KILL_S = 6.0


def graph_topics(config: Config) -> list[Topic]:
    """Every topic worth recording, with relative names; those that say when a bag opens come last.

    Within one round of polling the topics are emptied in this order, so that a message that was
    sent after its episode's RESETTING never overtakes it.
    """
    found = [
        Topic(topics.CAMERA_TRIGGER, "std_msgs/msg/Header"),
        Topic(topics.OBSERVATION, "tmrl_msgs/msg/Observation"),
        Topic(topics.POINTS, "sensor_msgs/msg/PointCloud2"),
        Topic(topics.ACTION_CHUNK, "tmrl_msgs/msg/ActionChunk"),
        Topic(topics.RESET_CHUNK, "tmrl_msgs/msg/ActionChunk"),
        Topic(topics.CHUNK_OUTCOME, "tmrl_msgs/msg/ChunkOutcome"),
        Topic(topics.ROBOT_TARGET, "tmrl_msgs/msg/RobotTarget"),
        Topic(topics.ROBOT_STATE, "tmrl_msgs/msg/RobotState"),
        Topic(topics.JOINT_STATES, "sensor_msgs/msg/JointState"),
        Topic(topics.GROUND_TRUTH, "tmrl_msgs/msg/GroundTruth"),
        Topic(topics.SAFETY_STATE, "tmrl_msgs/msg/SafetyState", latched=True),
        Topic(topics.SAFETY_MARKERS, "visualization_msgs/msg/MarkerArray"),
        Topic(topics.REWARD, "tmrl_msgs/msg/RewardEstimate"),
        Topic(topics.POLICY_PARAMETERS, "tmrl_msgs/msg/PolicyParameters", latched=True),
        Topic(topics.LEARNER_STATUS, "tmrl_msgs/msg/LearnerStatus"),
        Topic("robot_description", "std_msgs/msg/String", latched=True),
        Topic("diagnostics", "diagnostic_msgs/msg/DiagnosticArray", numbered=False),
        Topic("/tf", "tf2_msgs/msg/TFMessage", numbered=False),
        Topic("/tf_static", "tf2_msgs/msg/TFMessage", latched=True, numbered=False),
        Topic("/clock", "rosgraph_msgs/msg/Clock"),
        Topic("/rosout", "rcl_interfaces/msg/Log", numbered=False),
    ]
    for camera in config.cameras.cameras:
        found.append(
            Topic(topics.camera_info(camera.name), "sensor_msgs/msg/CameraInfo", latched=True)
        )
        if config.recorder.cameras == "all":
            found.append(Topic(topics.color(camera.name), IMAGE_TYPE))
            found.append(Topic(topics.depth(camera.name), IMAGE_TYPE))
    return [*found, Topic(topics.EPISODE, EPISODE_TYPE, latched=True)]


@dataclass
class Tap:
    """A subscription that is polled."""

    topic: Topic
    kind: Any
    subscription: Subscription
    profile: QoSProfile
    offered: Qos | None = None


class Recorder(ConfiguredNode):
    """Shell around `Recording`: subscriptions in, `recorder/status` out."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Repair unfinished bags, subscribe to everything and start writing.

        Args:
            config: Resolved configuration; read from the parameter `config_file` by default.
        """
        super().__init__("recorder", config=config)
        self._status_publisher = self.create_publisher(String, topics.RECORDER_STATUS, LATCHED)
        self._published = RecorderStatus(ok=False)
        self._publish_at = 0.0
        self._recording: Recording | None = None
        self._started_ns = time.time_ns()
        self._connected_s: float | None = None
        self._stop = threading.Event()
        self._taps: list[Tap] = []
        self._poller = threading.Thread(target=self._poll, name="poller", daemon=True)
        if self.config.recorder.enabled:
            self._recording = Recording(
                self.session_dir,
                custom=_about(self.config, self.get_namespace()),
                compress=self.config.recorder.compression == "zstd",
                min_free_bytes=self.config.recorder.min_free_mb * 1e6,
                log=_logger(self),
            )
            self._recording.start()
            self._subscribe()
            self._poller.start()
        self.create_timer(0.1, self._publish_status)

    def close(self) -> None:
        """Take what has arrived, close the bags, say so."""
        self._stop.set()
        if self._poller.is_alive():
            self._poller.join(5.0)
        if self._recording is not None:
            self._recording.close()
            self._publish_at = 0.0
            self._publish_status()

    def _subscribe(self) -> None:
        group = NeverExecuted()
        for topic in graph_topics(self.config):
            package, _, name = topic.type_name.split("/")
            try:
                kind = getattr(importlib.import_module(f"{package}.msg"), name)
            except ImportError:
                self.get_logger().info(f"{topic.name} is not recorded: {package} is not installed.")
                continue
            absolute = self.resolve_topic_name(topic.name)
            topic = Topic(absolute, topic.type_name, topic.latched, topic.numbered)
            is_info = topic.type_name == "sensor_msgs/msg/CameraInfo"
            profile = QoSProfile(
                depth=IMAGE_DEPTH if topic.type_name == IMAGE_TYPE else DEPTH,
                history=HistoryPolicy.KEEP_LAST,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL
                if topic.latched and not is_info
                else DurabilityPolicy.VOLATILE,
            )
            subscription = self._listen(kind, absolute, profile, group)
            self._taps.append(Tap(topic, kind, subscription, profile))

    def _listen(
        self, kind: Any, name: str, profile: QoSProfile, group: CallbackGroup
    ) -> Subscription:
        return self.create_subscription(
            kind,
            name,
            _nothing,
            profile,
            callback_group=group,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            raw=True,
        )

    def _poll(self) -> None:
        adapt_at = time.monotonic() + STATUS_S
        while True:
            stopping = self._stop.wait(POLL_S)
            try:
                items = [item for tap in self._taps for item in self._empty(tap)]
                items.sort(key=lambda item: item.stamp_ns)
                if items and self._recording is not None:
                    self._recording.put(items)
                if time.monotonic() >= adapt_at:
                    adapt_at = time.monotonic() + STATUS_S
                    self._adapt()
            except Exception as error:  # what one topic does wrong must not end the recording
                self.get_logger().error(
                    f"Recording is disturbed: {error!r}", throttle_duration_sec=5.0
                )
            if stopping:
                return

    def _empty(self, tap: Tap) -> list[Item]:
        """Take every message a subscription holds; of a latched topic's past only the newest."""
        items: list[Item] = []
        with tap.subscription.handle:
            while (taken := tap.subscription.handle.take_message(tap.kind, True)) is not None:
                data, info = taken
                stamp_ns = info["received_timestamp"] or time.time_ns()
                sent_ns, number = info["source_timestamp"], info["publication_sequence_number"] or 0
                items.append(Item(tap.topic, data, stamp_ns, sent_ns, number, tap.offered))
        if items and tap.offered is None:
            tap.offered = self._offered(tap)
            old = [item for item in items if tap.topic.latched and item.sent_ns < self._started_ns]
            items = [item._replace(qos=tap.offered) for item in items[max(0, len(old) - 1) :]]
        return items

    def _offered(self, tap: Tap) -> Qos:
        """What the publisher offers, as discovery knows it (which does not tell the depth)."""
        found = self.get_publishers_info_by_topic(tap.topic.name)
        profiles = [info.qos_profile for info in found] or [tap.profile]
        latched = any(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
        return offered_qos(
            reliable=all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles),
            latched=latched,
            depth=1 if latched else 10,
        )

    def _adapt(self) -> None:
        """Listen on less demanding terms where a publisher offers less, as some drivers do."""
        for tap in self._taps:
            if tap.offered is not None:
                continue
            for info in self.get_publishers_info_by_topic(tap.topic.name):
                offer, wanted = info.qos_profile, tap.profile
                weaker = (
                    wanted.reliability == ReliabilityPolicy.RELIABLE
                    and offer.reliability == ReliabilityPolicy.BEST_EFFORT
                ) or (
                    wanted.durability == DurabilityPolicy.TRANSIENT_LOCAL
                    and offer.durability == DurabilityPolicy.VOLATILE
                )
                if weaker:
                    tap.profile = QoSProfile(
                        depth=wanted.depth,
                        history=HistoryPolicy.KEEP_LAST,
                        reliability=offer.reliability,
                        durability=offer.durability,
                    )
                    group = tap.subscription.callback_group
                    self.destroy_subscription(tap.subscription)
                    tap.subscription = self._listen(tap.kind, tap.topic.name, tap.profile, group)
                    break

    def _not_connected(self) -> list[str]:
        """Needed topics nobody is known to publish, or only since a moment ago."""
        needed = {self.resolve_topic_name(name): name for name in NEEDED}
        missing = [
            needed[tap.topic.name]
            for tap in self._taps
            if tap.topic.name in needed and not tap.subscription.get_publisher_count()
        ]
        now = time.monotonic()
        if missing or self._connected_s is None:
            self._connected_s = None if missing else now
        after_kill = self._recording is not None and self._recording.repaired
        settle_s = SETTLE_AFTER_KILL_S if after_kill else SETTLE_S
        settled = self._connected_s is not None and now - self._connected_s >= settle_s
        return missing or ([] if settled else ["everybody"])

    def _publish_status(self) -> None:
        """Publish at once what changed, else once a second."""
        if self._recording is None:
            status = RecorderStatus(message="recorder.enabled=false: nothing is recorded")
        else:
            status = self._recording.status
            missing = self._not_connected()
            if status.ok and missing:
                text = f"it is not connected to {', '.join(missing)} yet"
                status = replace(status, ok=False, message=text)
        before = self._published
        same = (status.ok, status.message, status.episode_id, status.dropped) == (
            before.ok,
            before.message,
            before.episode_id,
            before.dropped,
        )
        now = time.monotonic()
        if same and now < self._publish_at:
            return
        self._published, self._publish_at = status, now + STATUS_S
        self._status_publisher.publish(String(data=json.dumps(asdict(status))))


class _RosHandler(logging.Handler):
    """Passes the library's log records on to rosout."""

    def __init__(self, node: Recorder) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record at its level."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def _logger(node: Recorder) -> logging.Logger:
    logger = logging.Logger("recorder", logging.INFO)
    logger.addHandler(_RosHandler(node))
    return logger


def _about(config: Config, namespace: str) -> dict[str, str]:
    return {
        "session": config.session.dir.name,
        "session_seed": str(config.session.seed),
        "config_hash": config_hash(config),
        "robot": f"{config.robot.kind} {config.robot.model}",
        "namespace": namespace,
        "tmrl_ros": _version("tmrl_ros"),
        "tmrl_msgs": _version("ros-tmrl-msgs"),
        "rosbags": _version("rosbags"),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _nothing(_message: bytes) -> None:
    """Never called: the poller takes the messages."""


def main() -> int:
    """Run the recorder."""
    return run_node(Recorder)


if __name__ == "__main__":
    sys.exit(main())
