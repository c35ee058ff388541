"""A whole Franka cell in one process, for tests: what a robot PC runs, cameras, and a person.

The arm is the simulated one and moves in real time. `cell/<word>` (std_srvs/Trigger) brings about
what is in `_words`; `cell/report` tells as JSON what reached the robot.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import rclpy
from franka_arm import Arm
from franka_nodes import (
    Broadcasters,
    CartesianController,
    ControllerManager,
    Describer,
    ErrorRecoveryServer,
    Hand,
)
from franka_person import Person
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from tmrl_ros.core import topics
from tmrl_ros.core.load import read_config
from tmrl_ros.core.types import NANOSECONDS
from tmrl_ros.nodes.common import IMAGES, LATCHED
from tmrl_ros.nodes.convert import image_to_msg
from tmrl_ros.nodes.driver_messages import camera_info_to_msg, optical_frame

STATES_HZ = 80.0
"""The real ones speak at up to 1 kHz, which is not for Python."""


class Cell:
    """Every node of the cell around one arm."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.config = config = read_config(args.config)
        self.arm = Arm(config)
        self.manager = ControllerManager(self.arm)
        self.controller = CartesianController(self.arm, args.error_clip, args.model)
        self.broadcasters = Broadcasters(self.arm)
        self.describer = Describer(args.model)
        self.recovery = ErrorRecoveryServer(self.arm, self.manager.report)
        self.hand = Hand(self.arm)
        self.person = Person(self.arm, resets=args.resets)
        self.node = node = rclpy.create_node("cell")
        self._period_ns = round(NANOSECONDS / config.robot.control_rate_hz)
        self._stamp_ns = node.get_clock().now().nanoseconds
        for word, act in self._words().items():
            node.create_service(Trigger, f"cell/{word}", self._service(act))
        node.create_service(Trigger, "cell/report", self._on_report)
        wall = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(1.0 / STATES_HZ, self._speak, clock=wall)
        if args.cameras:
            self._cameras = {
                camera.name: (
                    node.create_publisher(CameraInfo, topics.camera_info(camera.name), LATCHED),
                    node.create_publisher(Image, topics.color(camera.name), IMAGES),
                    node.create_publisher(Image, topics.depth(camera.name), IMAGES),
                )
                for camera in config.cameras.cameras
            }
            node.create_timer(1.0 / config.cameras.realtime_rate_hz, self._film, clock=wall)

    @property
    def nodes(self) -> list[object]:
        """All of them."""
        parts = (self.manager, self.controller, self.broadcasters, self.describer, self.recovery)
        return [part.node for part in (*parts, self.hand, self.person)] + [self.node]

    def _words(self) -> dict[str, Callable[[], None]]:
        arm, manager, broadcasters = self.arm, self.manager, self.broadcasters
        return {
            "reflex": arm.reflex,
            "reflex_in_motion": arm.reflex_in_motion,
            "press_stop": arm.press_stop,
            "press_stop_in_motion": arm.press_stop_in_motion,
            "release_stop": arm.release_stop,
            "unconfigure": arm.unconfigure,
            "guide": lambda: arm.guide(0.05),
            "silence": lambda: setattr(broadcasters, "silent", True),
            "speak": lambda: setattr(broadcasters, "silent", False),
            "refuse": lambda: setattr(manager, "refuse", True),
            "agree": lambda: setattr(manager, "refuse", False),
        }

    def _service(self, act: Callable[[], None]) -> Callable[..., Trigger.Response]:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            act()
            self.manager.report()
            response.success = True
            return response

        return answer

    def _on_report(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        arm = self.arm
        response.success = True
        response.message = json.dumps(
            {
                "position": arm.sample.ee_pose.position.tolist(),
                "received": self.controller.received,
                "ignored": self.controller.ignored,
                "finger_goals": arm.finger_goals,
                "overlapping": arm.overlapping,
                "width_m": arm.sample.gripper_width_m,
                "jump_m": arm.jump_m,
                "placed": arm.placed,
                "active": sorted(arm.active),
            }
        )
        return response

    def _speak(self) -> None:
        """Begin a control period when the last is over, and say how the arm is now."""
        now_ns = self.node.get_clock().now().nanoseconds
        while now_ns - self._stamp_ns >= self._period_ns:
            self.arm.advance()
            self._stamp_ns += self._period_ns
        sample = self.arm.sample_at((now_ns - self._stamp_ns) / self._period_ns)
        self.broadcasters.publish(sample, now_ns)
        self.hand.publish(sample, now_ns)

    def _film(self) -> None:
        """The physics is at the end of the period that now runs; so is what the cameras see."""
        stamp_ns = self._stamp_ns + self._period_ns
        for picture in self.arm.simulation.take_pictures():
            info, color, depth = self._cameras[picture.camera]
            frame_id = optical_frame(picture.camera)
            about = camera_info_to_msg(picture, frame_id)
            images = (
                image_to_msg(picture.color, "rgb8", stamp_ns, frame_id),
                image_to_msg(picture.depth_mm, "16UC1", stamp_ns, frame_id),
            )
            about.header = images[0].header
            info.publish(about)
            color.publish(images[0])
            depth.publish(images[1])


def main() -> int:
    """Run the cell until it is terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True, help="resolved config.yaml")
    parser.add_argument("--error-clip", type=float, default=0.05, help="m")
    parser.add_argument("--model", default="fr3")
    parser.add_argument("--cameras", action="store_true")
    parser.add_argument("--resets", action="store_true", help="a person also resets the stop")
    args = parser.parse_args()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    executor = SingleThreadedExecutor()
    cell = Cell(args)
    for node in cell.nodes:
        executor.add_node(node)
    with contextlib.suppress(KeyboardInterrupt):
        executor.spin()
    return 0


if __name__ == "__main__":
    sys.exit(main())
