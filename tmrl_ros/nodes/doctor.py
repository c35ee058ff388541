"""Look at a graph for a few seconds and print what was found, as JSON; moves nothing.

python -m tmrl_ros.nodes.doctor config.yaml node node ...
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from tmrl_msgs.msg import RobotState, SafetyState
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.load import read_config
from tmrl_ros.data import decode
from tmrl_ros.doctor.cameras import CameraReport, remember
from tmrl_ros.doctor.finding import Finding
from tmrl_ros.doctor.live import Picture, Seen, live, picture_of
from tmrl_ros.nodes.common import IMAGES, LATCHED, RELIABLE

STATES = {0: "LATCHED", 1: "READY", 2: "RUNNING"}
PICTURES = 2


class Doctor(Node):  # type: ignore[misc]
    """Listens to a graph; triggers pictures, which a free-running camera ignores."""

    def __init__(self, config: Config, expected: list[str]) -> None:
        super().__init__("tmrl_doctor")
        self._config = config
        self._began = time.monotonic()
        self.seen = Seen(expected)
        self._triggers = self.create_publisher(Header, topics.CAMERA_TRIGGER, RELIABLE)
        self.create_subscription(RobotState, topics.ROBOT_STATE, self._on_state, RELIABLE)
        self.create_subscription(SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED)
        self.create_subscription(String, topics.RECORDER_STATUS, self._on_recorder, LATCHED)
        for camera in config.cameras.cameras:
            heard = partial(self._on_image, camera.name)
            self.create_subscription(Image, topics.color(camera.name), heard, IMAGES)
        self.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_report, RELIABLE)
        self._newest: dict[str, Image] = {}

    @property
    def complete(self) -> bool:
        """Whether everything was seen that a healthy graph shows."""
        seen, cameras = self.seen, self._config.cameras.cameras
        return (
            set(seen.expected) <= set(self._names())
            and seen.robot is not None
            and seen.safety is not None
            and (bool((seen.recorder or {}).get("ok")) or not self._config.recorder.enabled)
            and all(len(seen.pictures.get(item.name, [])) >= PICTURES for item in cameras)
            and (not self._drives_cameras or all(item.name in seen.reports for item in cameras))
        )

    @property
    def _drives_cameras(self) -> bool:
        return self._config.camera_driver in ("realsense", "bag")

    def ask_for_pictures(self) -> None:
        """Have a lockstep simulation take pictures of this instant."""
        if self.seen.robot is not None:
            message = Header()
            message.stamp.sec, message.stamp.nanosec = divmod(self.seen.robot.stamp_ns, 10**9)
            self._triggers.publish(message)

    def finish(self) -> list[Finding]:
        """Ask the middleware about the rest, and judge."""
        seen = self.seen
        seen.seconds = time.monotonic() - self._began
        seen.nodes = self._names()
        target = self.resolve_topic_name(topics.ROBOT_TARGET)
        seen.movers = [item.node_name for item in self.get_publishers_info_by_topic(target)]
        seen.mismatches = self._mismatches()
        return live(seen, self._config)

    def _names(self) -> list[str]:
        return [name for name, _ in self.get_node_names_and_namespaces()]

    def _mismatches(self) -> list[str]:
        found = []
        for topic, _ in self.get_topic_names_and_types():
            for sender in self.get_publishers_info_by_topic(topic):
                for reader in self.get_subscriptions_info_by_topic(topic):
                    fit, why = qos_check_compatible(sender.qos_profile, reader.qos_profile)
                    if fit is QoSCompatibility.ERROR:
                        names = f"{sender.node_name} to {reader.node_name}"
                        found.append(f"{topic}, {names} ({why.strip().rstrip(';')})")
        return found

    def _on_state(self, msg: RobotState) -> None:
        self.seen.states += 1
        self.seen.robot, self.seen.frame = decode.robot(msg), msg.header.frame_id

    def _on_safety(self, msg: SafetyState) -> None:
        causes = tuple(msg.present_causes)
        self.seen.safety = STATES.get(msg.state, "unknown"), msg.code, msg.message, causes

    def _on_recorder(self, msg: String) -> None:
        self.seen.recorder = json.loads(msg.data)

    def remember(self) -> list[Finding]:
        """Keep the newest pictures as references."""
        pictures = {name: decode.rgb_image(msg) for name, msg in self._newest.items()}
        return list(remember(pictures, self._config))

    def _on_report(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            name = status.name.removeprefix("camera ")
            if name != status.name:
                values = {item.key: item.value for item in status.values}
                level = int.from_bytes(status.level, "big")
                self.seen.reports[name] = CameraReport(level, status.message, values)

    def _on_image(self, camera: str, msg: Image) -> None:
        pictures: list[Picture] = self.seen.pictures.setdefault(camera, [])
        self._newest[camera] = msg
        pictures.append(picture_of(decode.rgb_image(msg), decode.to_ns(msg.header.stamp)))


def main() -> int:
    """Look until all is seen or the time is up."""
    parser = argparse.ArgumentParser(prog="python -m tmrl_ros.nodes.doctor")
    parser.add_argument("config", type=Path)
    parser.add_argument("expected", nargs="+")
    parser.add_argument("--remember", action="store_true")
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    rclpy.init(args=[])
    doctor = Doctor(read_config(args.config), args.expected)
    try:
        deadline, ask = time.monotonic() + args.seconds, 0.0
        while time.monotonic() < deadline and not doctor.complete:
            if time.monotonic() >= ask:
                doctor.ask_for_pictures()
                ask = time.monotonic() + 0.5
            rclpy.spin_once(doctor, timeout_sec=0.05)
        kept = doctor.remember() if args.remember else []
        print(json.dumps([asdict(item) for item in [*kept, *doctor.finish()]]))
        return 0
    finally:
        doctor.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
