"""The joints behind a target: kinematics, limits per arm, and no pose that breaks one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safety_cell import ELBOW_UP, HOME, LIMITS, ROBOT, SAFETY, chunk, pose, ready_gate, rows, sample

from tmrl_ros.core.arm_models import FR3, MODELS, PANDA
from tmrl_ros.core.types import Target
from tmrl_ros.safety.causes import Cause
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.geometry import angle_between
from tmrl_ros.safety.joint_rules import end_cause, joint_motion, kept_slow, slowed_share
from tmrl_ros.safety.kinematics import posture, reach
from tmrl_ros.sim.kinematics import ArmKinematics

TOOL = LIMITS.joints.tool
NAMES = {name: tuple(f"{name}_joint{number}" for number in range(1, 8)) for name in MODELS}


def postures(model):
    return st.tuples(*(st.floats(a, b) for a, b in zip(model.low, model.high, strict=True)))


@pytest.fixture(scope="module")
def simulated():
    return ArmKinematics()


@given(postures(PANDA))
@settings(max_examples=100, deadline=None)
def test_forward_kinematics_are_those_of_the_simulated_arm(simulated, q):
    found, wanted = posture(q, TOOL), simulated.forward(np.array(q))
    assert math.dist(found.position, wanted.position_m) < 1e-4
    assert angle_between(found.quaternion, tuple(wanted.quaternion_xyzw)) < 1e-3


@given(postures(PANDA))
@settings(max_examples=50, deadline=None)
def test_the_jacobian_is_the_derivative(q):
    here, small = posture(q, TOOL), 1e-6
    for joint in range(7):
        moved = tuple(angle + small * (number == joint) for number, angle in enumerate(q))
        slope = (np.array(posture(moved, TOOL).position) - here.position) / small
        assert np.abs(slope - here.jacobian[:3, joint]).max() < 1e-4


@given(st.tuples(*[st.floats(-0.06, 0.06)] * 3))
@settings(max_examples=50, deadline=None)
def test_joints_are_found_for_a_pose_near_the_measured_one(move):
    start = posture(ELBOW_UP, TOOL)
    wanted = tuple(a + b for a, b in zip(start.position, move, strict=True))
    q, there, missed = reach(ELBOW_UP, wanted, start.quaternion, TOOL)
    assert missed < 1e-3
    assert math.dist(posture(q, TOOL).position, wanted) < 1e-3
    assert there.position == posture(q, TOOL).position


@pytest.mark.parametrize("joint", range(7))
def test_an_fr3_may_move_its_joints_more_slowly_near_their_ends(joint):
    low, high = FR3.low[joint], FR3.high[joint]
    middle = FR3.fastest(joint, (low + high) / 2)
    assert middle == (-FR3.speed[joint], FR3.speed[joint])
    assert FR3.fastest(joint, high)[1] < 0.1 * FR3.speed[joint]
    assert FR3.fastest(joint, low)[0] > -0.1 * FR3.speed[joint]
    assert FR3.fastest(joint, high)[0] == -FR3.speed[joint], "away from the end it may hurry"
    assert PANDA.fastest(joint, PANDA.high[joint])[1] == PANDA.speed[joint]


unit = st.floats(-1, 1)
turns = st.tuples(unit, unit, unit, st.floats(0.0, 0.3)).filter(lambda t: math.hypot(*t[:3]) > 0.1)


@given(
    st.sampled_from([PANDA, FR3]).flatmap(lambda model: st.tuples(st.just(model), postures(model))),
    st.tuples(unit, unit, unit),
    turns,
    st.floats(0.0, 0.05),
)
@settings(max_examples=300, deadline=None)
def test_no_pose_is_let_through_that_is_too_fast_or_too_near_an_end(arm, way, turn, lag):
    model, q = arm
    limits = replace(LIMITS.joints, model=model, max_speed_share=0.9)
    here = posture(q, TOOL)
    before = tuple(a + lag * b for a, b in zip(here.position, way[::-1], strict=True))
    assume(reach(q, before, here.quaternion, TOOL)[2] < 1e-3)
    goal = tuple(a + 0.03 * b for a, b in zip(before, way, strict=True))
    asked = (goal, _turned(here.quaternion, turn))
    found = kept_slow(q, (before, here.quaternion), asked, limits)
    if isinstance(found, Cause):
        assert found.code in ("JOINT_LIMIT", "OUT_OF_REACH") and found.message.endswith(".")
        return
    joints, motion, missed = joint_motion(q, (before, here.quaternion), found, limits)
    assert missed <= 1e-3
    assert end_cause(q, joints, limits) is None
    stands = found == (before, here.quaternion)
    assert stands or slowed_share(joints, motion, limits) >= 1.0
    way_there = math.dist(before, found[0]) + math.dist(found[0], asked[0])
    assert way_there <= math.dist(before, asked[0]) + 1e-9, "held back on its own way"


def _turned(quaternion, turn):
    *axis, angle = turn
    length = math.hypot(*axis)
    half = [math.sin(angle / 2) * value / length for value in axis]
    ax, ay, az, aw = *half, math.cos(angle / 2)
    bx, by, bz, bw = quaternion
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def test_a_target_too_fast_for_a_joint_is_slowed_down_and_counted():
    slow = SAFETY.model_copy(update={"max_joint_speed_share": 0.2})
    gate = ready_gate(slow)
    effects = gate.on_chunk(chunk(actions=rows(1, dx=0.03), execute_steps=1), 0.0)
    (target,) = (item for item in effects if isinstance(item, Target))
    moved_m = float(target.pose.position[0]) - HOME[0]
    assert 0.0 < moved_m < 0.01
    assert gate.status(0.0).targets_clipped == 1


def at_the_end_of_joint_four():
    """Near full stretch, where the elbow is 0.06 rad from its end."""
    q = (0.0, 1.3, 0.0, -0.13, 0.0, 2.0, 0.785)
    there = posture(q, TOOL)
    wide = {"workspace_min_m": [-1, -1, -1], "workspace_max_m": [1.2, 1, 1.5], "keep_out": []}
    state = sample(1, ee_pose=pose(there.position), q=np.array(q))
    state.ee_pose.quaternion[:] = there.quaternion
    gate = Gate(SAFETY.model_copy(update=wide), ROBOT)
    gate.on_state(state, 0.0)
    assert gate.on_reset(0.0)[0]
    return gate, state


@pytest.mark.parametrize(("way_m", "code"), [(0.01, ""), (-0.01, "JOINT_LIMIT")])
def test_a_target_that_runs_into_a_joint_s_end_latches_and_one_away_from_it_does_not(way_m, code):
    gate, state = at_the_end_of_joint_four()
    column = posture(tuple(state.q), TOOL).jacobian[:3, 3]
    along = way_m * column / np.linalg.norm(column)
    actions = np.array([[*along, 1.0]])
    asked = chunk(
        actions=actions,
        execute_steps=1,
        reference_pose=state.ee_pose,
        orientation=state.ee_pose.quaternion,
    )
    gate.on_chunk(asked, 0.0)
    status = gate.status(0.0)
    assert status.code == code, status.message
    assert not code or "joint 4 at" in status.message


@pytest.mark.parametrize(
    ("changes", "robot", "words"),
    [
        ({"joint_names": NAMES["fr3"]}, {}, "called 'fr3_joint1', not panda"),
        ({"joint_names": NAMES["panda"]}, {"model": "fr3"}, "called 'panda_joint1', not fr3"),
        ({"q": np.array([0.0] * 7)}, {}, "joint 4 is at 0.000 rad"),
        ({"q": np.array([0.3, *ELBOW_UP[1:]])}, {}, "from where the robot reports it"),
        ({"q": np.zeros(6)}, {}, "reports 6 joints"),
        ({}, {"tool_offset_m": [0.0, 0.0, 0.15]}, "4.7 cm and 0.00 rad from where"),
    ],
)
def test_another_arm_than_the_configured_one_is_not_reset(changes, robot, words):
    gate = Gate(SAFETY, ROBOT.model_copy(update=robot))
    gate.on_state(sample(1, **changes), 0.0)
    done, why = gate.on_reset(0.0)
    assert not done and words.lower() in why.lower(), why
    assert gate.status(0.0).present_causes == ("ARM_MODEL",)
    assert "robot.model" in why


@pytest.mark.parametrize("names", [(), NAMES["panda"], ("left_panda_joint1",)])
def test_the_configured_arm_is_accepted_whatever_its_prefix(names):
    assert ready_gate(joint_names=names).status(0.0).code == ""
