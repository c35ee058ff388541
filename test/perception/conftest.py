"""A simulated cell, and what perception makes of it without any ROS between."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import NANOSECONDS, Pose, RobotSample
from tmrl_ros.perception.perceiver import Perceiver
from tmrl_ros.perception.synchroniser import Bundle, Frame
from tmrl_ros.sim import SimulatedCell

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
CAMERAS = ("exterior", "wrist")


def bundle_of(cell, cameras=CAMERAS):
    """Frames and state of now; cameras that are left out see nothing."""
    state = cell.state()
    stamp_ns = round(state.stamp_s * NANOSECONDS)
    pose = Pose(state.ee_position_m, state.ee_quaternion_xyzw)
    robot = RobotSample(
        stamp_ns, 0, state.q, state.dq, state.tau, pose, state.ee_twist, state.external_wrench,
        state.gripper_width_m,
    )  # fmt: skip
    frames = {}
    for name in CAMERAS:
        picture = cell.render(name)
        depth_mm = picture.depth_mm if name in cameras else np.zeros_like(picture.depth_mm)
        frames[name] = Frame(stamp_ns, picture.color, depth_mm, cell.camera(name).K, pose)
    return Bundle(robot, frames)


@pytest.fixture(scope="session")
def look():
    """Bundle of a cell now, as a perfect synchroniser would deliver it."""
    return bundle_of


@pytest.fixture(scope="session")
def config():
    return load_config(["task=pick_named"])


@pytest.fixture(scope="session")
def cell():
    with SimulatedCell("pick_named") as cell:
        yield cell


@pytest.fixture
def perceiver(config):
    return Perceiver(config)
