"""The arm moves only while a person holds the button, and a release is a pause, not a stop."""

from __future__ import annotations

import numpy as np
import pytest
from safety_cell import (
    HOME,
    PERIOD_S,
    ROBOT,
    SAFETY,
    chunk,
    holds,
    outcomes,
    ready_gate,
    rows,
    sample,
    targets,
    tracks,
)

from tmrl_ros.core.types import ChunkResult
from tmrl_ros.safety.status import GateState

HOLD = SAFETY.model_copy(update={"hold_to_run": True})
GRACE_TICKS = round(HOLD.hold_grace_s / PERIOD_S)


def held_gate():
    gate = ready_gate(HOLD)
    gate.on_hold_to_run(True, 0.0)
    return gate


def test_nothing_moves_before_the_button_is_held():
    gate = ready_gate(HOLD)
    assert not targets(gate.on_chunk(chunk(), 0.0))
    assert not targets(gate.on_state(sample(2), 0.0))
    status = gate.status(0.0)
    assert (status.state, status.code) == (GateState.READY, "HOLD_RELEASED")
    assert "Nobody holds" in status.message
    assert len(tracks(gate.on_hold_to_run(True, 0.0))) == 1
    assert gate.status(0.0).state is GateState.RUNNING
    assert gate.status(0.0).code == ""


def test_where_it_is_not_configured_the_button_does_nothing():
    gate = ready_gate()
    gate.on_chunk(chunk(), 0.0)
    assert gate.on_hold_to_run(False, 0.0) == []
    assert len(tracks(gate.on_state(sample(2), 0.0))) == 1


def test_a_release_holds_the_measured_pose_at_once_and_latches_nothing():
    gate = held_gate()
    gate.on_chunk(chunk(actions=rows(4, dx=0.02, opening=0.0)), 0.0)
    here = (HOME[0] + 0.013, 0.0, 0.2)
    gate.on_state(sample(2, here), 0.0)
    (hold,) = targets(gate.on_hold_to_run(False, 0.0))
    assert hold.hold
    np.testing.assert_array_equal(hold.pose.position, here)
    assert hold.gripper_width_m == 0.0, "nothing is dropped"
    for tick in range(3, 30):
        assert not targets(gate.on_state(sample(tick, here), 0.0))
    status = gate.status(0.0)
    assert (status.state, status.latches) == (GateState.READY, 0)


@pytest.mark.parametrize("found_by", ["state", "tick"])
def test_a_button_that_falls_silent_is_released(found_by):
    gate = held_gate()
    gate.on_chunk(chunk(), 0.0)
    gate.on_state(sample(2), HOLD.hold_timeout_s)
    late = HOLD.hold_timeout_s + 0.01
    effects = gate.on_state(sample(3), late) if found_by == "state" else gate.on_tick(late)
    assert len(holds(effects)) == 1 and not tracks(effects)


def test_held_again_soon_the_chunk_goes_on_from_where_the_arm_is():
    gate = held_gate()
    gate.on_chunk(chunk(actions=rows(4, dx=0.01)), 0.0)
    gate.on_hold_to_run(False, 0.0)
    gate.on_state(sample(2), 0.0)
    (first,) = tracks(gate.on_hold_to_run(True, 0.0))
    np.testing.assert_allclose(first.pose.position, [HOME[0] + 0.02, 0, 0.2])
    effects = [gate.on_state(sample(tick), 0.0) for tick in (3, 4, 5)]
    (done,) = outcomes(effects[-1])
    assert (done.result, done.steps_sent) == (ChunkResult.EXECUTED, 4)
    assert done.executed.shape == done.measured.shape == (4, 4)


def test_held_again_late_the_chunk_ends_so_that_the_policy_looks_anew():
    gate = held_gate()
    gate.on_chunk(chunk(), 0.0)
    gate.on_state(sample(2), 0.0)
    gate.on_hold_to_run(False, 0.0)
    tick = 2 + GRACE_TICKS + 1
    gate.on_state(sample(tick), 0.0)
    effects = gate.on_hold_to_run(True, 0.0)
    assert not targets(effects)
    (done,) = outcomes(effects)
    assert (done.result, done.reason) == (ChunkResult.ABORTED, "HOLD_RELEASED")
    assert (done.steps_sent, len(done.measured)) == (2, 2)
    assert gate.status(0.0).state is GateState.READY
    assert len(tracks(gate.on_chunk(chunk(2, tick), 0.0))) == 1


def test_a_chunk_that_grew_old_while_nobody_held_is_refused_without_a_latch():
    gate = ready_gate(HOLD)
    gate.on_chunk(chunk(), 0.0)
    gate.on_state(sample(60), 0.0)
    effects = gate.on_hold_to_run(True, 0.0)
    (done,) = outcomes(effects)
    assert (done.result, done.reason) == (ChunkResult.REJECTED, "HOLD_RELEASED")
    assert gate.status(0.0).state is GateState.READY
    assert gate.status(0.0).latches == 0


def test_a_chunk_whose_last_row_is_out_ends_as_executed_though_released():
    gate = held_gate()
    gate.on_chunk(chunk(execute_steps=1), 0.0)
    gate.on_hold_to_run(False, 0.0)
    (done,) = outcomes(gate.on_state(sample(2), 0.0))
    assert done.result is ChunkResult.EXECUTED


def test_a_long_pause_is_no_silent_robot():
    gate = held_gate()
    gate.on_chunk(chunk(), 0.0)
    gate.on_hold_to_run(False, 0.0)
    wall_s = 0.0
    for _ in range(200):
        wall_s += 0.1
        gate.on_state(sample(1), wall_s)
        gate.on_tick(wall_s)
    assert gate.status(wall_s).code == "HOLD_RELEASED"
    gate.on_hold_to_run(True, wall_s)
    assert gate.on_tick(wall_s) == []
    assert gate.status(wall_s).state is GateState.RUNNING


def test_a_stop_latches_during_a_pause_and_the_button_resets_nothing():
    gate = held_gate()
    gate.on_chunk(chunk(), 0.0)
    gate.on_hold_to_run(False, 0.0)
    effects = gate.on_stop(0.0)
    assert outcomes(effects)[0].reason == "OPERATOR_STOP"
    assert gate.on_hold_to_run(True, 0.0) == []
    assert gate.status(0.0).code == "OPERATOR_STOP"
    assert gate.on_reset(0.0)[0]
    assert len(tracks(gate.on_chunk(chunk(2), 0.0))) == 1


def test_a_release_while_latched_still_counts_after_the_reset():
    gate = held_gate()
    gate.on_stop(0.0)
    gate.on_hold_to_run(False, 0.0)
    gate.on_reset(0.0)
    assert not tracks(gate.on_chunk(chunk(), 0.0))
    assert ROBOT.control_rate_hz * HOLD.hold_timeout_s >= 1
