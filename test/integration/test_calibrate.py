"""`tmrl calibrate` on a running graph: a stand-in is guided from pose to pose before a board."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rendered_boards import LENS, Studio, at_the_tool
from sensor_msgs.msg import CameraInfo, Image

from tmrl_msgs.msg import RobotState
from tmrl_ros.calibration.geometry import pose_of
from tmrl_ros.core import topics
from tmrl_ros.core.calibration_file import read_calibration
from tmrl_ros.core.types import RobotMode, RobotSample
from tmrl_ros.nodes.common import IMAGES, LATCHED, RELIABLE
from tmrl_ros.nodes.convert import image_to_msg, robot_to_msg
from tmrl_ros.nodes.driver_messages import intrinsics_to_msg

PATIENCE_S = 240.0
VIEWS = 10


class Guided:
    """Publishes what an arm and its camera would; `go_on` guides it to the next pose."""

    def __init__(self, pictures):
        self._pictures, self._index = pictures, 0
        self.node = rclpy.create_node("guided")
        self._states = self.node.create_publisher(RobotState, topics.ROBOT_STATE, RELIABLE)
        self._infos = self.node.create_publisher(CameraInfo, topics.camera_info("wrist"), LATCHED)
        self._images = self.node.create_publisher(Image, topics.color("wrist"), IMAGES)
        self.node.create_timer(0.05, self._speak)
        self.node.create_timer(0.25, self._film)

    def go_on(self):
        self._index = min(self._index + 1, len(self._pictures) - 1)

    def _speak(self):
        pose, zero = pose_of(self._pictures[self._index].base_from_ee), np.zeros(7)
        sample = RobotSample(
            time.time_ns(), 0, zero, zero, zero, pose, np.zeros(6), np.zeros(6), 0.08,
            RobotMode.GUIDING, frame_id="panda_link0",
        )  # fmt: skip
        self._states.publish(robot_to_msg(sample))

    def _film(self):
        now, frame = time.time_ns(), "wrist_optical_frame"
        self._infos.publish(intrinsics_to_msg(LENS.k, LENS.distortion, (640, 480), now, frame))
        image = self._pictures[self._index].image
        self._images.publish(image_to_msg(image, "rgb8", now, frame))


@pytest.fixture
def guided():
    truth, pictures = at_the_tool(Studio(), np.random.default_rng(5), count=VIEWS)
    rclpy.init()
    guided, executor = Guided(pictures), SingleThreadedExecutor()
    executor.add_node(guided.node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield guided, truth
    executor.shutdown()
    thread.join(10.0)
    guided.node.destroy_node()
    rclpy.try_shutdown()


def test_a_guided_arm_calibrates_its_camera(guided, tmp_path: Path) -> None:
    stand_in, truth = guided
    words = ["calibrate", "wrist", "--views", str(VIEWS)]
    domain = f"session.domain_id={os.environ['ROS_DOMAIN_ID']}"
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "tmrl_ros.cli.main", *words, domain],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("view "):
                stand_in.go_on()
        code = process.wait(PATIENCE_S)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
    text = "".join(said)
    assert code == 0, text
    assert f"{VIEWS} of {VIEWS} views are used" in text, text
    found = read_calibration(tmp_path / "calibration" / "wrist.yaml")
    error_mm = 1e3 * np.linalg.norm(np.array(found.position_m) - truth.camera[:3, 3])
    assert error_mm < 2.0, text
    assert (tmp_path / "calibration" / "wrist_overlay.png").is_file()
