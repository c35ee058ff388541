"""Cameras as processes over real DDS: what perception makes of their pictures, and what they say.

librealsense is the real one; its devices are software devices.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image

from tmrl_msgs.msg import EpisodeEvent, Observation, RobotState
from tmrl_ros.core import topics
from tmrl_ros.core.graph import nodes_for
from tmrl_ros.core.load import config_folder, load_config, write_config
from tmrl_ros.core.types import EpisodeState, Pose, RobotMode, RobotSample
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, IMAGES, LATCHED, RELIABLE
from tmrl_ros.nodes.convert import robot_to_msg
from tmrl_ros.sim import SimulatedCell

PATIENCE_S = 60.0
DOUBLE = Path(__file__).parents[1] / "doubles" / "software_camera_node.py"
SERIALS = {"exterior": "1001", "wrist": "1002"}
OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"


class Bench:
    """Camera processes, perception, and a stand-in for arm and episode manager."""

    def __init__(self, folder):
        cameras = yaml.safe_load((config_folder() / "cameras" / "sim_two.yaml").read_text())
        cameras["driver"] = "realsense"
        for camera in cameras["cameras"]:
            camera |= {"serial": SERIALS[camera["name"]], "max_age_s": 5.0}
        (folder / "cameras.yaml").write_text(yaml.safe_dump(cameras))
        self.config = load_config(
            [
                *("robot=franka_fr3", "reward=learned", "task=pick_named", "safety=panda_table"),
                f"cameras={folder / 'cameras.yaml'}",
                f"session.domain_id={os.environ['ROS_DOMAIN_ID']}",
            ]
        )
        self.file = folder / "config.yaml"
        write_config(self.config, self.file)
        self.processes = {}
        self.node = rclpy.create_node("stand_in")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.images, self.infos, self.observations = {}, {}, []
        self.reports = {name: [] for name in SERIALS}
        self.states = self.node.create_publisher(RobotState, topics.ROBOT_STATE, RELIABLE)
        self.episodes = self.node.create_publisher(EpisodeEvent, topics.EPISODE, EVENTS)
        into = self.node.create_subscription
        into(Observation, topics.OBSERVATION, self.observations.append, RELIABLE)
        into(DiagnosticArray, topics.DIAGNOSTICS, self.on_report, RELIABLE)
        for name in SERIALS:
            seen = self.images.setdefault(name, [])
            into(Image, topics.color(name), seen.append, IMAGES)
            into(CameraInfo, topics.camera_info(name), self.on_info(name), LATCHED)
        with SimulatedCell("pick_named") as cell:
            self.arm = cell.state()
            self.truth = cell.ground_truth().object_positions
        self.node.create_timer(0.05, self.speak)

    def on_info(self, name):
        return lambda msg: self.infos.__setitem__(name, msg)

    def on_report(self, msg):
        for status in msg.status:
            self.reports[status.name.removeprefix("camera ")].append(status)

    def speak(self):
        """The arm stands still; its clock is the host's."""
        arm = self.arm
        sample = RobotSample(
            time.time_ns(), 0, arm.q, arm.dq, arm.tau,
            Pose(arm.ee_position_m, arm.ee_quaternion_xyzw), arm.ee_twist, arm.external_wrench,
            arm.gripper_width_m, RobotMode.MOVE, frame_id="fr3_link0",
        )  # fmt: skip
        self.states.publish(robot_to_msg(sample))

    def start(self, name, *words):
        argv = words or (sys.executable, "-m", f"tmrl_ros.nodes.{name}")
        parameters = ["--ros-args", "-p", f"config_file:={self.file}"]
        if name in SERIALS:
            argv = (sys.executable, str(DOUBLE), name, SERIALS[name])
            parameters += ["-p", f"camera:={name}", "-r", f"__node:=camera_{name}"]
        self.processes[name] = subprocess.Popen(
            [*argv, *parameters], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def tell(self, name, word):
        self.processes[name].stdin.write(f"{word}\n")
        self.processes[name].stdin.flush()

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}"
            self.executor.spin_once(timeout_sec=0.05)

    def report(self, name, level, word):
        """Wait for a report of this level that says this word."""
        self.reports[name].clear()
        found = []

        def there():
            found[:] = [r for r in self.reports[name] if r.level == level and word in r.message]
            return bool(found)

        self.until(there, f"{word!r} from camera {name}")
        return found[-1], {item.key: item.value for item in found[-1].values}

    def close(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    rclpy.init()
    bench = Bench(tmp_path_factory.mktemp("cameras"))
    try:
        for name in ("exterior", "wrist", "perception"):
            bench.start(name)
        bench.until(lambda: all(bench.images.values()), "pictures of both cameras")
        yield bench
    finally:
        bench.close()
        rclpy.try_shutdown()


def test_every_camera_is_a_process_of_its_own_in_the_graph(bench):
    nodes = {node.name: node for node in nodes_for(bench.config, bench.file)}
    assert {"camera_exterior", "camera_wrist"} < nodes.keys()
    words = nodes["camera_wrist"].arguments()
    assert "camera:=wrist" in words and "__node:=camera_wrist" in words
    assert nodes["camera_wrist"].module == "tmrl_ros.nodes.camera"
    assert nodes["camera_wrist"].executable == "camera"
    for name in ("camera_exterior", "camera_wrist"):
        bench.until(lambda name=name: name in bench.node.get_node_names(), name)


def test_pictures_carry_the_lens_the_frame_and_a_growing_stamp(bench):
    for name in SERIALS:
        bench.until(lambda name=name: len(bench.images[name]) > 5, "pictures")
        bench.until(lambda name=name: name in bench.infos, "intrinsics")
        stamps = [decode.to_ns(msg.header.stamp) for msg in bench.images[name]]
        assert stamps == sorted(set(stamps))
        msg, info = bench.images[name][-1], bench.infos[name]
        assert (msg.encoding, msg.header.frame_id) == ("rgb8", f"{name}_optical_frame")
        assert (info.width, info.height) == (msg.width, msg.height) == (424, 240)
        assert info.k[0] > 100.0 and info.header.frame_id == msg.header.frame_id


def test_perception_finds_the_objects_in_the_cameras_pictures(bench):
    event = EpisodeEvent(
        episode_id="train_000000", state=int(EpisodeState.RUNNING), max_decisions=10
    )
    bench.until(lambda: bench.episodes.get_subscription_count() > 0, "perception")
    bench.until(lambda: bench.states.get_subscription_count() > 0, "perception")
    bench.episodes.publish(event)
    bench.until(lambda: bench.observations, "an observation")
    msg = bench.observations[-1]
    found = dict(zip(msg.object_names, np.reshape(msg.object_positions, (-1, 3)), strict=True))
    for name, position in bench.truth.items():
        assert np.linalg.norm(found[name] - position) < 0.02, name
    assert all(0.0 <= age_s < 5.0 for age_s in msg.camera_age_s)


def test_diagnostics_tell_serial_usb_rate_age_and_lost_frames(bench):
    bench.until(lambda: bench.reports["wrist"], "diagnostics")
    status = bench.reports["wrist"][-1]
    values = {item.key: item.value for item in status.values}
    assert status.hardware_id == values["serial"] == "1002"
    assert values["usb"] == "3.2"
    assert float(values["rate_hz"]) > 1.0 and float(values["age_ms"]) >= 0.0
    lost = int(values["dropped"])
    bench.tell("wrist", "lose")
    _, values = bench.report("wrist", WARN, "lost")
    assert int(values["dropped"]) >= lost + 7


def test_a_camera_that_is_unplugged_says_so_and_comes_back(bench):
    bench.tell("exterior", "unplug")
    status, _ = bench.report("exterior", ERROR, "exterior")
    assert "unplugged" in status.message or "is not there" in status.message
    bench.images["exterior"].clear()
    bench.tell("exterior", "plug")
    bench.until(lambda: bench.images["exterior"], "pictures again")
    bench.until(lambda: bench.reports["exterior"][-1].level != ERROR, "a report that it is back")
    values = {item.key: item.value for item in bench.reports["exterior"][-1].values}
    assert values["reconnections"] == "1"


def test_a_camera_that_the_configuration_lacks_is_refused(bench):
    done = subprocess.run(
        [sys.executable, "-m", "tmrl_ros.nodes.camera", "--ros-args"]
        + ["-p", f"config_file:={bench.file}", "-p", "camera:=ceiling"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2
    assert "names no camera; there are exterior, wrist." in done.stderr
