"""One end of the cable between robot PC and GPU PC: same configuration, clocks, who is silent.

Runs on both where `session.host` is not `all`. A configuration that differs from the other
computer's ends the process with exit code 2 and a sentence, and so the run. With `--look` it prints
what it sees of the other computer as findings of `tmrl doctor`, and ends.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path

import rclpy
from rclpy.clock import Clock, ClockType
from std_msgs.msg import String

from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.hosts import Announcement, Link
from tmrl_ros.core.load import read_config
from tmrl_ros.doctor.hosts import hosts
from tmrl_ros.nodes.common import RELIABLE, ConfiguredNode, run_node

PERIOD_S = 0.5
LAST_WORDS = 6
SAY_AGAIN_S = 30.0
LOOK_S = 15.0
TRIPS_S = 3.0


class HostLink(ConfiguredNode):
    """Announces this computer, and listens to the other."""

    def __init__(self, *, config: Config | None = None, name: str = "host_link") -> None:
        """Begin to speak."""
        super().__init__(name, config=config)
        self.link = Link(self.config, uuid.uuid4().hex)
        self._out = self.create_publisher(String, topics.HOSTS, RELIABLE)
        self.create_subscription(String, topics.HOSTS, self._on_announcement, RELIABLE)
        self._said, self._said_s = "", float("-inf")
        self.mismatch: ConfigurationError | None = None
        self._last_words = LAST_WORDS
        self.create_timer(PERIOD_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_announcement(self, msg: String) -> None:
        said = Announcement.from_json(msg.data)
        if said is None or self.mismatch is not None:
            return
        try:
            self.link.hear(said, time.time(), time.monotonic())
        except ConfigurationError as error:
            self.mismatch = error

    def _on_timer(self) -> None:
        self._out.publish(String(data=self.link.announce(time.time()).to_json()))
        if self.mismatch is not None:
            self._last_words -= 1  # the other end must hear it too
            if not self._last_words:
                raise self.mismatch
            return
        trouble, now_s = self.link.trouble(time.monotonic()), time.monotonic()
        if trouble and (not self._said or now_s - self._said_s > SAY_AGAIN_S):
            self.get_logger().warning(trouble)
            self._said, self._said_s = trouble, now_s
        elif self._said and not trouble:
            self.get_logger().info("The other PC is there, with the same configuration and time.")
            self._said = ""


def look(config: Config) -> int:
    """Print as JSON what is seen of the other computer."""
    rclpy.init(args=[])
    node = HostLink(config=config, name=f"host_look_{config.session.host}")
    heard, until_s = False, time.monotonic() + LOOK_S
    try:
        while time.monotonic() < until_s and node.mismatch is None:
            rclpy.spin_once(node, timeout_sec=0.1)
            if node.link.clock is not None and not heard:
                heard, until_s = True, time.monotonic() + TRIPS_S  # the quickest trip is the truest
    finally:
        found = hosts(node.link, str(node.mismatch or ""))
        node.destroy_node()
        rclpy.try_shutdown()
    print(json.dumps([asdict(item) for item in found]))
    return 0


def main() -> int:
    """Run the node, or with `--look` look once."""
    if "--look" in sys.argv:
        return look(read_config(Path(sys.argv[1])))
    return run_node(HostLink)


if __name__ == "__main__":
    sys.exit(main())
