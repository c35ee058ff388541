"""Every cause of a latch: the hold, the code, the sentence, the outcome, and the way back."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from safety_cell import (
    HOME,
    PERIOD_NS,
    ROBOT,
    SAFETY,
    assert_latched,
    chunk,
    holds,
    outcomes,
    pose,
    ready_gate,
    rows,
    sample,
    tracks,
)

from tmrl_ros.core.types import ChunkResult, ChunkSource, Pose, RobotMode
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.status import GateState, StateChanged


def spoiled(row: int, column: int, value: float) -> np.ndarray:
    actions = rows(4)
    actions[row, column] = value
    return actions


TURNED = np.array([np.cos(0.6), np.sin(0.6), 0.0, 0.0])  # by 1.2 rad

BAD_CHUNKS = {
    "nan": ("NON_FINITE_ACTION", chunk(actions=spoiled(0, 0, nan)), "not a number in row 0"),
    "inf in the gripper": ("NON_FINITE_ACTION", chunk(actions=spoiled(2, 3, inf)), "in row 2"),
    "nan in a row that is not executed": (
        "NON_FINITE_ACTION",
        chunk(actions=spoiled(3, 1, nan), execute_steps=1),
        "in row 3",
    ),
    "nan reference": (
        "NON_FINITE_ACTION",
        chunk(reference_pose=pose((nan, 0.0, 0.2))),
        "refers to a pose",
    ),
    "no rows": ("WRONG_SIZE", chunk(actions=np.zeros((0, 4))), "shape (0, 4)"),
    "seven columns": ("WRONG_SIZE", chunk(actions=np.zeros((4, 7))), "rows of 4"),
    "more steps than rows": ("WRONG_SIZE", chunk(execute_steps=5), "executes 5"),
    "joint space": ("WRONG_ACTION_SPACE", chunk(action_space="joint"), "'joint'"),
    "world frame": ("WRONG_FRAME", chunk(frame_id="world"), "'world'"),
    "no frame": ("WRONG_FRAME", chunk(frame_id=""), "''"),
    "10 Hz": ("WRONG_RATE", chunk(control_rate_hz=10.0), "10.0 Hz"),
    "nan Hz": ("WRONG_RATE", chunk(control_rate_hz=nan), "nan Hz"),
    "zero quaternion": ("BAD_ORIENTATION", chunk(orientation=np.zeros(4)), "unit quaternion"),
    "nan quaternion": ("BAD_ORIENTATION", chunk(orientation=np.full(4, nan)), "unit quaternion"),
    "long reference quaternion": (
        "BAD_ORIENTATION",
        chunk(reference_pose=Pose(np.array(HOME), np.array([1.1, 0, 0, 0]))),
        "unit quaternion",
    ),
    "far below the table": ("WORKSPACE", chunk(actions=spoiled(3, 2, -0.3)), "outside"),
    "huge": ("WORKSPACE", chunk(actions=spoiled(1, 0, 1e308)), "outside"),
    "jump": ("STEP", chunk(actions=spoiled(2, 1, 0.2)), "jumps by 20.0 cm"),
    "gripper": ("GRIPPER", chunk(actions=spoiled(1, 3, 1.06)), "1.06"),
    "starts elsewhere": (
        "START_OFFSET",
        chunk(reference_pose=pose((0.45, 0.12, 0.2))),
        "12.0 cm from the tool",
    ),
    "tool turned away": ("START_ROTATION", chunk(orientation=TURNED), "turned away by 1.20 rad"),
    "half a minute ahead": ("CHUNK_AHEAD", chunk(stamp_ns=30 * 10**9), "ahead"),
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_wrong_chunk_latches_before_anything_moves(name):
    code, asked, words = BAD_CHUNKS[name]
    gate = ready_gate()
    effects = gate.on_chunk(asked, 0.0)
    assert_latched(gate, effects, code, result=ChunkResult.REJECTED)
    assert words in gate.status(0.0).message
    assert gate.status(0.0).value
    assert gate.on_reset(0.0)[0], "the chunk is gone, so a person may reset"


@pytest.mark.parametrize("name", ["nan", "world frame", "jump"])
def test_wrong_chunk_stops_the_one_that_runs(name):
    code, asked, _ = BAD_CHUNKS[name]
    gate = ready_gate()
    gate.on_chunk(chunk(7), 0.0)
    effects = gate.on_chunk(asked, 0.0)
    found = [(item.sequence, item.result, item.reason) for item in outcomes(effects)]
    assert found == [(7, ChunkResult.ABORTED, code), (1, ChunkResult.REJECTED, code)]


def test_policy_that_turns_the_tool_too_far_at_once_latches():
    gate = ready_gate()
    gate.on_chunk(chunk(1, execute_steps=1), 0.0)
    gate.on_state(sample(2), 0.0)
    turned = chunk(2, 2, orientation=np.array([np.cos(0.15), 0.0, np.sin(0.15), 0.0]))
    effects = gate.on_chunk(turned, 0.0)
    assert_latched(gate, effects, "ROTATION_STEP", result=ChunkResult.REJECTED)
    assert "0.30 rad" in gate.status(0.0).message


def test_stale_chunk_latches_and_is_never_executed():
    gate = ready_gate()
    gate.on_state(sample(20), 0.0)
    effects = gate.on_chunk(chunk(tick=1), 0.0)
    assert_latched(gate, effects, "STALE_CHUNK", result=ChunkResult.REJECTED)
    assert outcomes(effects)[0].chunk_age_s == pytest.approx(0.95)


def test_chunk_that_goes_stale_while_it_waits_for_its_state_is_rejected():
    gate = ready_gate()
    gate.on_chunk(chunk(tick=2), 0.0)
    effects = gate.on_state(sample(40), 0.0)
    assert_latched(gate, effects, "STALE_CHUNK", result=ChunkResult.REJECTED)


BAD_STATES = {
    "REFLEX": {"mode": RobotMode.REFLEX},
    "USER_STOP": {"mode": RobotMode.USER_STOPPED},
    "UNCONFIGURED": {"mode": RobotMode.UNCONFIGURED},
    "GUIDING": {"mode": RobotMode.GUIDING},
    "RECOVERING": {"mode": RobotMode.RECOVERING},
    "ROBOT_FAULT": {"faults": ("joint_velocity_violation",)},
    "FORCE": {"wrench": np.array([0.0, 40.0, -50.0, 0.0, 0.0, 0.0])},
    "NON_FINITE_STATE": {"q": np.array([0.0, nan])},
    "STATE_ORIENTATION": {"ee_pose": Pose(np.array(HOME), np.zeros(4))},
    "STATE_FRAME": {"frame_id": "world"},
    "OUTSIDE_WORKSPACE": {"ee_pose": pose((0.45, 0.0, 0.70))},
}


@pytest.mark.parametrize("code", BAD_STATES)
def test_wrong_robot_state_aborts_the_chunk_and_refuses_the_reset_while_it_lasts(code):
    gate = ready_gate()
    gate.on_chunk(chunk(), 0.0)
    effects = gate.on_state(sample(2, **BAD_STATES[code]), 0.0)
    assert_latched(gate, effects, code, result=ChunkResult.ABORTED)
    (outcome,) = outcomes(effects)
    assert outcome.executed.shape == outcome.measured.shape == (1, 4)
    assert np.isfinite(outcome.measured).all()
    assert gate.status(0.0).present_causes == (code,)
    ok, message = gate.on_reset(0.0)
    assert not ok and message.startswith("Not reset: ") and len(message) > 30
    gate.on_state(sample(3), 0.0)
    assert gate.status(0.0).state is GateState.LATCHED, "a cause that is gone resets nothing"
    assert gate.on_reset(0.0)[0]


def test_stopped_arm_that_presses_too_hard_gives_way_for_a_while():
    hard = np.array([0.0, 0.0, 80.0, 0.0, 0.0, 0.0])
    gate = ready_gate()
    gate.on_chunk(chunk(), 0.0)
    gate.on_state(sample(2, wrench=hard), 0.0)
    pushed = (0.45, 0.0, 0.21)
    (again,) = holds(gate.on_state(sample(3, pushed, wrench=hard), 0.0))
    np.testing.assert_array_equal(again.pose.position, pushed)
    assert gate.on_state(sample(3, pushed, wrench=hard), 0.0) == [], "only as time goes on"
    assert gate.on_state(sample(4, pushed), 0.0) == [], "not when the force is gone"
    assert gate.on_reset(0.0)[0]
    gate.on_stop(0.0)
    effects = [gate.on_state(sample(tick, wrench=hard), 0.0) for tick in range(5, 100)]
    assert 0 < sum(len(holds(item)) for item in effects) <= ROBOT.control_rate_hz
    assert effects[-1] == [], "then it needs a person"


@pytest.mark.parametrize(
    "field", ["q", "dq", "tau", "ee_twist", "wrench", "gripper_width_m", "ee_pose"]
)
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_every_number_of_the_robot_state_must_be_finite(field, value):
    bad = sample(2)
    if field == "ee_pose":
        bad = replace(bad, ee_pose=pose((value, 0.0, 0.2)))
    elif field == "gripper_width_m":
        bad = replace(bad, gripper_width_m=value)
    else:
        getattr(bad, field)[0] = value
    gate = ready_gate()
    effects = gate.on_state(bad, 0.0)
    assert_latched(gate, effects, "NON_FINITE_STATE")
    np.testing.assert_array_equal(holds(effects)[0].pose.position, HOME)


@pytest.mark.parametrize("change", [{"tick": 4}, {"stamp_ns": 4 * PERIOD_NS}])
def test_clock_that_goes_back_latches_once_and_is_then_the_clock(change):
    gate = ready_gate()
    gate.on_state(sample(5), 0.0)
    gate.on_chunk(chunk(tick=5), 0.0)
    effects = gate.on_state(replace(sample(6), **change), 0.0)
    assert_latched(gate, effects, "CLOCK_BACKWARDS", result=ChunkResult.ABORTED)
    assert outcomes(effects)[0].duration_s >= 0.0
    assert gate.on_reset(0.0)[0]


def test_restarted_driver_latches_and_can_be_used_after_a_reset():
    gate = ready_gate()
    gate.on_state(sample(500), 0.0)
    gate.on_state(sample(1), 0.0)
    assert gate.status(0.0).code == "CLOCK_BACKWARDS"
    gate.on_state(sample(2), 0.0)
    assert gate.on_reset(0.0)[0]
    assert len(tracks(gate.on_chunk(chunk(tick=2), 0.0))) == 1


def test_silent_robot_latches_holds_and_refuses_the_reset():
    gate = ready_gate()
    gate.on_chunk(chunk(), 0.0)
    late = ROBOT.state_timeout_s + 0.01
    assert gate.on_tick(ROBOT.state_timeout_s) == []
    effects = gate.on_tick(late)
    assert_latched(gate, effects, "ROBOT_SILENT", result=ChunkResult.ABORTED)
    ok, message = gate.on_reset(late)
    assert not ok and "silent" in message
    gate.on_state(sample(2), late)
    assert gate.on_reset(late)[0]


def test_robot_that_never_spoke_refuses_the_reset():
    gate = Gate(SAFETY, ROBOT)
    ok, message = gate.on_reset(0.0)
    assert not ok and "has not been heard of" in message
    assert gate.status(0.0).present_causes == ("ROBOT_SILENT",)


@pytest.mark.parametrize("waits_for_state", [False, True])
def test_robot_that_repeats_itself_instead_of_answering_latches(waits_for_state):
    gate = ready_gate()
    gate.on_chunk(chunk(tick=2 if waits_for_state else 1), 0.0)
    wall_s, effects = 0.0, []
    while wall_s <= SAFETY.chunk_progress_timeout_s + 0.2 and not effects:
        wall_s += 0.1
        gate.on_state(sample(1), wall_s)
        effects = gate.on_tick(wall_s)
    result = ChunkResult.REJECTED if waits_for_state else ChunkResult.ABORTED
    assert_latched(gate, effects, "NO_PROGRESS", result=result)
    assert wall_s > SAFETY.chunk_progress_timeout_s


def test_second_publisher_latches_and_refuses_the_reset_while_it_is_there():
    gate = ready_gate()
    assert gate.on_target_publishers(1, 0.0) == []
    effects = gate.on_target_publishers(2, 0.0)
    assert_latched(gate, effects, "SECOND_PUBLISHER")
    ok, message = gate.on_reset(0.0)
    assert not ok and "2 programs" in message
    gate.on_target_publishers(1, 0.0)
    assert gate.on_reset(0.0)[0]


def test_operator_stop_holds_at_the_measured_pose():
    gate = ready_gate()
    gate.on_chunk(chunk(), 0.0)
    here = (0.46, 0.01, 0.21)
    gate.on_state(sample(2, here), 0.0)
    effects = gate.on_stop(0.0)
    assert_latched(gate, effects, "OPERATOR_STOP", result=ChunkResult.ABORTED)
    np.testing.assert_array_equal(holds(effects)[0].pose.position, here)


def test_operator_stop_pressed_again_commands_the_hold_again():
    gate = ready_gate()
    gate.on_target_publishers(2, 0.0)
    assert len(holds(gate.on_stop(0.0))) == 1
    assert gate.status(0.0).code == "OPERATOR_STOP", "a person's word is shown above all others"
    assert gate.status(0.0).latches == 1


def test_operator_stop_does_not_send_a_silent_robot_to_where_it_was():
    gate = ready_gate()
    gate.on_tick(100.0)
    assert holds(gate.on_stop(100.0)) == []


def test_first_cause_stays():
    gate = ready_gate()
    gate.on_state(sample(2, mode=RobotMode.REFLEX), 0.0)
    assert gate.on_tick(100.0) == [StateChanged()]
    assert gate.status(100.0).code == "REFLEX"
    assert gate.status(100.0).present_causes == ("ROBOT_SILENT",)


def test_shutdown_leaves_the_arm_holding():
    gate = ready_gate()
    gate.on_chunk(chunk(), 0.0)
    assert_latched(gate, gate.on_shutdown(0.0), "SHUTDOWN", result=ChunkResult.ABORTED)
    assert gate.on_shutdown(0.0) == []


def test_messages_that_cannot_be_read_latch():
    gate = ready_gate()
    effects = gate.on_malformed_chunk(chunk(3), "7 values, not 2 x 4", 0.0)
    assert_latched(gate, effects, "MALFORMED_CHUNK", result=ChunkResult.REJECTED)
    gate = ready_gate()
    assert_latched(gate, gate.on_malformed_state("mode 99", 0.0), "MALFORMED_STATE")
    gate = ready_gate()
    assert_latched(gate, gate.on_internal_error("KeyError", 0.0), "INTERNAL_ERROR")


def test_reset_of_an_open_gate_changes_nothing():
    gate = ready_gate()
    gate.on_chunk(chunk(), 0.0)
    ok, message = gate.on_reset(0.0)
    assert ok and "not latched" in message
    assert gate.status(0.0).state is GateState.RUNNING


def test_every_source_passes_the_same_checks():
    for source in ChunkSource:
        gate = ready_gate()
        effects = gate.on_chunk(chunk(source=source, actions=spoiled(0, 0, nan)), 0.0)
        assert_latched(gate, effects, "NON_FINITE_ACTION", result=ChunkResult.REJECTED)
