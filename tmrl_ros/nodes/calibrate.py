"""Take views of a calibration board from a running graph; moves nothing.

python -m tmrl_ros.nodes.calibrate config.yaml camera folder --views 20 --board '{...}'
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from tmrl_msgs.msg import RobotState
from tmrl_ros.calibration.board import Board
from tmrl_ros.calibration.collect import Collector, lens_from
from tmrl_ros.calibration.views import write_views
from tmrl_ros.core import topics
from tmrl_ros.core.calibration_file import BoardConfig
from tmrl_ros.core.config import Config
from tmrl_ros.core.load import read_config
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import IMAGES, RELIABLE

SAY_S = 3.0
TRIGGER_S = 0.5
WAITING = 10
"""Pictures kept until the arm's state has come; older ones are let go."""
EXIT_NOTHING = 1


class CalibrateNode(Node):  # type: ignore[misc]
    """Feeds a `Collector` with one camera's pictures and the arm's states."""

    def __init__(self, config: Config, camera: str, board: Board) -> None:
        super().__init__("tmrl_calibrate")
        self.collector = Collector(board)
        self.said = "waiting for pictures and states"
        self.serial = next(c.serial for c in config.cameras.cameras if c.name == camera)
        self._newest_ns = 0
        self._waiting: list[Image] = []
        self._camera = camera
        self._triggers = self.create_publisher(Header, topics.CAMERA_TRIGGER, RELIABLE)
        into = self.create_subscription
        into(RobotState, topics.ROBOT_STATE, self._on_state, RELIABLE)
        into(CameraInfo, topics.camera_info(camera), self._on_info, RELIABLE)
        into(Image, topics.color(camera), self._waiting.append, IMAGES)
        into(DiagnosticArray, topics.DIAGNOSTICS, self._on_report, RELIABLE)
        self.create_timer(TRIGGER_S, self._ask)

    def _on_state(self, msg: RobotState) -> None:
        sample = decode.robot(msg)
        self.collector.add_state(sample)
        self._newest_ns = max(self._newest_ns, sample.stamp_ns)

    def _on_info(self, msg: CameraInfo) -> None:
        self.collector.add_lens(lens_from(msg))

    def _on_report(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.name == f"camera {self._camera}" and status.hardware_id:
                self.serial = status.hardware_id

    def _ask(self) -> None:
        """Have a camera take a picture that takes them only when asked."""
        message = Header()
        message.stamp.sec, message.stamp.nanosec = divmod(self._newest_ns, 10**9)
        self._triggers.publish(message)

    def look(self) -> bool:
        """Offer the newest picture that has a state after it; True if it became a view."""
        del self._waiting[:-WAITING]
        due = [m for m in self._waiting if decode.to_ns(m.header.stamp) <= self._newest_ns]
        if not due:
            return False
        self._waiting[:] = [m for m in self._waiting if m not in due]
        heard = self.collector.add_picture(
            decode.to_ns(due[-1].header.stamp), decode.rgb_image(due[-1])
        )
        self.said = heard.text
        return heard.taken


def take_views(node: CalibrateNode, wanted: int) -> None:
    """Take views until there are enough, or Ctrl-C; say what to do next."""
    said_at = 0.0
    while len(node.collector.pictures) < wanted:
        rclpy.spin_once(node, timeout_sec=0.1)
        now = time.monotonic()
        if node.look():
            print(f"{node.said} ({wanted - len(node.collector.pictures)} to go)", flush=True)
            said_at = now
        elif now - said_at > SAY_S:
            print(f"... {node.said}", flush=True)
            said_at = now


def main() -> int:
    """Take views and write them into the folder."""
    parser = argparse.ArgumentParser(prog="python -m tmrl_ros.nodes.calibrate")
    parser.add_argument("config", type=Path)
    parser.add_argument("camera")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--board", default="{}")
    args = parser.parse_args()
    config, board = read_config(args.config), BoardConfig.model_validate_json(args.board)
    rclpy.init(args=[])
    node = CalibrateNode(config, args.camera, Board(board))
    try:
        take_views(node, args.views)
    except KeyboardInterrupt:
        print("No more views are taken.", flush=True)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    collector = node.collector
    if not collector.pictures or collector.lens is None:
        print("No view was taken.", file=sys.stderr)
        return EXIT_NOTHING
    mount = next(c.mount for c in config.cameras.cameras if c.name == args.camera)
    write_views(
        args.folder,
        collector.pictures,
        camera=args.camera,
        serial=node.serial,
        mount=mount,
        board=board,
        lens=collector.lens,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
