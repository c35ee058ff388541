"""One real camera: its pictures, intrinsics, place and diagnostics.

A thread reads the camera and publishes; the node's own thread says once a second how it is doing.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CameraInfo, Image

from tmrl_ros.cameras.bag import BagSource
from tmrl_ros.cameras.health import Health, Report
from tmrl_ros.cameras.loop import CameraLoop, now_ns
from tmrl_ros.cameras.realsense import Devices, RealSenseSource
from tmrl_ros.cameras.source import CameraFrame, CameraSource
from tmrl_ros.core import topics
from tmrl_ros.core.camera_config import CameraConfig
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.types import Pose
from tmrl_ros.nodes.common import IMAGES, LATCHED, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import header, image_to_msg
from tmrl_ros.nodes.driver_messages import (
    intrinsics_to_msg,
    optical_frame,
    transform_to_msg,
)

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

REPORT_S = 1.0
JOIN_S = 3.0


class CameraNode(ConfiguredNode):
    """Shell around `cameras.loop.CameraLoop`; its parameter `camera` says which camera it is."""

    def __init__(self, *, config: Config | None = None, devices: Devices | None = None) -> None:
        """Open the camera in a thread of its own.

        Args:
            config: Instead of the parameter's file (tests).
            devices: Lists librealsense's devices (tests give software devices).
        """
        super().__init__("camera", config=config)
        about = ParameterDescriptor(description="name of the camera", read_only=True)
        name = str(self.declare_parameter("camera", "", about).value)
        self._camera = _named(self.config, name)
        self._failed: Exception | None = None
        self._frame_id = optical_frame(name)
        self._infos = self.create_publisher(CameraInfo, topics.camera_info(name), LATCHED)
        self._colors = self.create_publisher(Image, topics.color(name), IMAGES)
        self._depths = self.create_publisher(Image, topics.depth(name), IMAGES)
        self._reports = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        self._publish_place()
        health = Health(self._camera.rate_hz, self._camera.max_age_s, self._camera.timeout_s)
        source = _source(self.config, self._camera, devices)
        self._loop = CameraLoop(source, health, self._on_frame, self._on_change)
        self._thread = threading.Thread(target=self._read, name=f"camera {name}", daemon=True)
        self._thread.start()
        wall = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(REPORT_S, self._report, clock=wall)

    def close(self) -> None:
        """Stop the camera."""
        self._loop.stop()
        self._thread.join(JOIN_S)

    def _read(self) -> None:
        try:
            self._loop.run()
        except Exception as error:
            self._failed = error

    def _on_frame(self, frame: CameraFrame) -> None:
        stamp_ns, frame_id = frame.stamp_ns, self._frame_id
        height, width = frame.depth_mm.shape
        self._infos.publish(
            intrinsics_to_msg(
                frame.intrinsics, frame.distortion, (width, height), stamp_ns, frame_id
            )
        )
        self._colors.publish(image_to_msg(frame.color, "rgb8", stamp_ns, frame_id))
        self._depths.publish(image_to_msg(frame.depth_mm, "16UC1", stamp_ns, frame_id))

    def _on_change(self, came: bool, text: str) -> None:
        if came:
            self.get_logger().info(text)
        else:
            self.get_logger().warning(text)

    def _report(self) -> None:
        """Say how it is doing; end with what ended the other thread."""
        if self._failed is not None:
            raise self._failed
        now = now_ns()
        report = self._loop.health.report(now)
        self._reports.publish(diagnostics_to_msg(f"camera {self._camera.name}", report, now))

    def _publish_place(self) -> None:
        """Where the camera is, as the configuration says."""
        if TFMessage is None:
            return
        robot, camera = self.config.robot, self._camera
        parent = robot.base_frame if camera.mount == "base" else robot.ee_frame
        place = Pose(np.array(camera.position_m), np.array(camera.quaternion_xyzw))
        at = transform_to_msg(parent, self._frame_id, place, now_ns())
        self._tf_static = self.create_publisher(TFMessage, "/tf_static", LATCHED)
        self._tf_static.publish(TFMessage(transforms=[at]))


def diagnostics_to_msg(name: str, report: Report, stamp_ns: int) -> DiagnosticArray:
    """What tools such as rqt_robot_monitor show."""
    status = DiagnosticStatus(
        level=bytes([report.level]),
        name=name,
        message=report.message,
        hardware_id=report.values.get("serial", ""),
        values=[KeyValue(key=key, value=value) for key, value in report.values.items()],
    )
    return DiagnosticArray(header=header(stamp_ns, ""), status=[status])


def _named(config: Config, name: str) -> CameraConfig:
    found = {camera.name: camera for camera in config.cameras.cameras}
    if name not in found:
        raise ConfigurationError(
            f"Parameter camera={name!r} names no camera; there are {', '.join(found)}."
        )
    return found[name]


def _source(config: Config, camera: CameraConfig, devices: Devices | None) -> CameraSource:
    if config.camera_driver != "bag":
        return RealSenseSource(camera, devices)
    bag = Path(str(config.cameras.bag).replace("{camera}", camera.name))
    if bag.suffix in (".db3", ".bag"):
        return RealSenseSource(camera, recording=bag)
    return BagSource(camera, bag)


def main() -> int:
    """Run the node; return the exit code."""
    return run_node(CameraNode)


if __name__ == "__main__":
    sys.exit(main())
