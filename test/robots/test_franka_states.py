"""Separate topics become one state per control period, and targets become poses of now."""

from dataclasses import replace

import numpy as np
import pytest

from tmrl_ros.core.types import Pose, RobotMode, Target
from tmrl_ros.robots.franka.faults import Report
from tmrl_ros.robots.franka.model import joint_names
from tmrl_ros.robots.franka.readings import JointReading, PoseReading, Readings, Source, twist
from tmrl_ros.robots.franka.targets import TargetFilter

NAMES = joint_names("fr3")
MOVES = Report(RobotMode.MOVE)
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
SECOND = 1_000_000_000


def pose(x=0.5, stamp_s=1.0, quaternion=DOWN):
    return PoseReading(round(stamp_s * SECOND), "base", Pose(np.array([x, 0.0, 0.2]), quaternion))


def fill(readings, now_s=0.0, **at):
    readings.on_pose(pose(**at), now_s)
    order = (*reversed(NAMES), "fr3_finger_joint1")
    values = np.arange(8.0)
    readings.on_joints(JointReading(order, values, values, values), now_s)
    readings.on_wrench(np.ones(6), now_s)
    readings.on_fingers(np.array([0.02, 0.02]), now_s)


@pytest.fixture
def readings():
    return Readings(NAMES, silence_s=0.2)


def test_there_is_no_state_before_every_part_of_it(readings):
    readings.on_pose(pose(), 0.0)
    assert readings.sample(MOVES, "fr3_link0") is None
    fill(readings)
    sample = readings.sample(MOVES, "fr3_link0")
    assert sample.q.tolist() == [6, 5, 4, 3, 2, 1, 0]  # in our order, without fingers
    assert sample.joint_names == NAMES
    assert sample.gripper_width_m == pytest.approx(0.04)
    assert sample.frame_id == "fr3_link0"


def test_joints_of_another_arm_are_no_joints(readings):
    other = JointReading(joint_names("panda"), np.zeros(7), np.zeros(7), np.zeros(7))
    readings.on_joints(other, 0.0)
    assert readings.is_stale(Source.JOINTS, 0.0)


def test_the_tick_advances_with_the_robots_stamp_alone(readings):
    fill(readings)
    assert [readings.sample(MOVES, "").tick for _ in range(3)] == [1, 1, 1]
    fill(readings, stamp_s=1.05)
    assert readings.sample(MOVES, "").tick == 2
    assert readings.sample(MOVES, "").stamp_ns == 1_050_000_000


def test_a_repeated_pose_is_no_sign_of_life(readings):
    readings.on_pose(pose(), 0.0)
    readings.on_pose(pose(), 1.0)
    assert readings.is_stale(Source.POSE, 1.0)
    readings.on_pose(pose(stamp_s=2.0), 1.0)
    assert not readings.is_stale(Source.POSE, 1.0)


def test_velocity_is_how_the_tool_has_moved():
    half = np.radians(3.0) / 2
    turned = np.array([np.cos(half), np.sin(half), 0.0, 0.0])  # DOWN, turned about z
    moved = twist(pose(), pose(0.51, 1.05, turned))
    assert moved[:3] == pytest.approx([0.2, 0.0, 0.0])
    assert moved[3:] == pytest.approx([0.0, 0.0, np.radians(3.0) / 0.05])
    # A quaternion and its negative are the same orientation.
    assert twist(pose(), pose(0.51, 1.05, -turned)) == pytest.approx(moved)
    assert not twist(pose(), pose(0.6)).any()


def target(**changes):
    values = {
        "stamp_ns": SECOND,
        "sequence": 7,
        "hold": False,
        "pose": Pose(np.array([0.52, 0.0, 0.2]), DOWN),
        "gripper_width_m": 0.08,
        "frame_id": "fr3_link0",
    }
    return Target(**{**values, **changes})


def through(wanted, measured=None, *, may_hold=True, may_move=True):
    found = TargetFilter("fr3_link0").pose_for(
        wanted, measured or pose(), may_hold=may_hold, may_move=may_move
    )
    return None if found is None else found.position[0]


def test_a_target_goes_on_once():
    passes = TargetFilter("fr3_link0")
    found = [passes.pose_for(target(), pose(), may_hold=True, may_move=True) for _ in range(2)]
    assert found[0].position[0] == 0.52 and found[1] is None


def test_a_hold_is_the_pose_measured_now():
    assert through(target(hold=True)) == 0.5
    passes = TargetFilter("fr3_link0")
    blind = passes.pose_for(target(hold=True), None, may_hold=True, may_move=True)
    assert blind.position[0] == 0.52  # what the supervisor measured last


def test_a_fault_stops_targets_and_lets_a_hold_through():
    assert through(target(), may_move=False) is None
    assert through(target(hold=True), may_move=False) == 0.5


def test_an_inactive_controller_is_sent_nothing_that_it_could_remember():
    assert through(target(hold=True), may_hold=False, may_move=False) is None


def test_a_target_that_was_held_up_is_dropped():
    assert through(target(), pose(stamp_s=1.25)) == 0.52
    assert through(target(), pose(stamp_s=1.35)) is None
    assert through(target(hold=True), pose(stamp_s=9.0)) == 0.5


def test_a_target_goes_nowhere_without_a_pose_of_now():
    passes = TargetFilter("fr3_link0")
    assert passes.pose_for(target(), None, may_hold=True, may_move=True) is None


def test_a_nearly_unit_quaternion_is_normalised():
    bent = target(pose=Pose(np.array([0.5, 0, 0.2]), DOWN * 1.004))
    found = TargetFilter("fr3_link0").pose_for(bent, pose(), may_hold=True, may_move=True)
    assert np.linalg.norm(found.quaternion) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pose": Pose(np.array([np.nan, 0, 0]), DOWN)},
        {"pose": Pose(np.zeros(3), np.zeros(4))},
        {"gripper_width_m": np.inf},
        {"frame_id": "camera"},
    ],
)
def test_no_pose_is_refused_also_as_a_hold(wrong):
    for hold in (False, True):
        with pytest.raises(ValueError, match="Target 7 is ignored"):
            through(replace(target(hold=hold), **wrong))
