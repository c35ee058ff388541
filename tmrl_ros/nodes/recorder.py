"""Records every topic of the graph, as serialised, into one bag per episode.

Subscriptions are not served by the executor, which would build a wait set for every single message:
a thread empties all of them fifty times a second, and another one writes (`data/recording.py`).
Times in the bag are those at which the middleware received a message.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from std_msgs.msg import String

from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.load import config_hash
from tmrl_ros.data.connection import Connection
from tmrl_ros.data.recorded_topics import graph_topics, needed_topics
from tmrl_ros.data.recording import RecorderStatus, Recording
from tmrl_ros.nodes.common import LATCHED, ConfiguredNode, run_node
from tmrl_ros.nodes.polling import NeverExecuted
from tmrl_ros.nodes.taps import Tap
from tmrl_ros.session.origin import git_commit

POLL_S = 0.02
STATUS_S = 1.0


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
        self._connection = Connection()
        self._started_ns = time.time_ns()
        self._stop = threading.Event()
        self._taps: list[Tap] = []
        self._poller = threading.Thread(target=self._poll, name="poller", daemon=True)
        if self.config.recorder.enabled:
            self._recording = Recording(
                self.session_dir,
                custom=_about(self.config, self.get_namespace()),
                compress=self.config.recorder.compression == "zstd",
                min_free_bytes=self.config.recorder.min_free_mb * 1e6,
                warn_free_bytes=self.config.recorder.warn_free_mb * 1e6,
                split_bytes=self.config.recorder.split_mb * 1e6,
                stop_buffer_s=self.config.recorder.stop_buffer_s,
                stop_buffer_bytes=self.config.recorder.stop_buffer_mb * 1e6,
                jpeg_quality=self.config.recorder.jpeg_quality,
                log=_logger(self),
            )
            self._recording.start()
            self._connection.after_kill = self._recording.repaired
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
            absolute = replace(topic, name=self.resolve_topic_name(topic.name))
            try:
                self._taps.append(Tap(self, absolute, group, self._started_ns))
            except ImportError:
                package = topic.type_name.partition("/")[0]
                self.get_logger().info(f"{topic.name} is not recorded: {package} is not installed.")

    def _poll(self) -> None:
        adapt_at = time.monotonic() + STATUS_S
        while True:
            stopping = self._stop.wait(POLL_S)
            try:
                items = [item for tap in self._taps for item in tap.take()]
                items.sort(key=lambda item: item.stamp_ns)
                if items and self._recording is not None:
                    self._recording.put(items)
                if time.monotonic() >= adapt_at:
                    adapt_at = time.monotonic() + STATUS_S
                    for tap in self._taps:
                        tap.adapt()
            except Exception as error:  # what one topic does wrong must not end the recording
                self.get_logger().error(
                    f"Recording is disturbed: {error!r}", throttle_duration_sec=5.0
                )
            if stopping:
                return

    def _missing(self) -> list[str]:
        needed = {self.resolve_topic_name(name): name for name in needed_topics(self.config)}
        publishers = {
            needed[tap.topic.name]: tap.publishers for tap in self._taps if tap.topic.name in needed
        }
        return self._connection.missing(publishers, time.monotonic())

    def _publish_status(self) -> None:
        """Publish at once what changed, else once a second."""
        if self._recording is None:
            status = RecorderStatus(message="recorder.enabled=false: nothing is recorded")
        else:
            status = self._recording.status
            missing = self._missing()
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
        "reward": config.reward.backend,
        "operator": config.session.operator,
        "namespace": namespace,
        "git_commit": git_commit(Path(__file__).parent) or "unknown",
        "tmrl_ros": _version("tmrl_ros"),
        "tmrl_msgs": _version("ros-tmrl-msgs"),
        "rosbags": _version("rosbags"),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def main() -> int:
    """Run the recorder."""
    return run_node(Recorder)


if __name__ == "__main__":
    sys.exit(main())
