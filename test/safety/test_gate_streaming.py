"""How the gate streams a chunk, and what it reports about it."""

from __future__ import annotations

import numpy as np
import pytest
from safety_cell import (
    HOME,
    MAX_TARGET_STEP_M,
    PERIOD_S,
    ROBOT,
    SAFETY,
    TOOL_DOWN,
    chunk,
    holds,
    outcomes,
    ready_gate,
    rows,
    sample,
    tracks,
)

from tmrl_ros.core.types import ChunkResult, ChunkSource, Pose
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.geometry import angle_between
from tmrl_ros.safety.status import GateState


def test_starts_latched_and_lets_nothing_through():
    gate = Gate(SAFETY, ROBOT)
    assert gate.status(0.0).code == "START"
    gate.on_state(sample(1), 0.0)
    effects = gate.on_chunk(chunk(), 0.0)
    assert [(item.result, item.reason) for item in outcomes(effects)] == [
        (ChunkResult.REJECTED, "LATCHED")
    ]
    assert not tracks(effects)


def test_one_target_per_advanced_tick_then_one_outcome():
    gate = ready_gate()
    sent = tracks(gate.on_chunk(chunk(actions=rows(6, dx=0.01), execute_steps=3), 0.0))
    assert len(sent) == 1 and gate.status(0.0).state is GateState.RUNNING
    assert gate.on_state(sample(1), 0.0) == [], "a repeated state answers nothing"
    for tick in (2, 3):
        step = tracks(gate.on_state(sample(tick, (HOME[0] + 0.008, 0.0, 0.2)), 0.0))
        assert len(step) == 1 and step[0].stamp_ns == tick * 50_000_000
        sent += step
    end = gate.on_state(sample(4, (HOME[0] + 0.029, 0.0, 0.2), gripper_width_m=0.08), 0.0)
    assert not tracks(end)
    (outcome,) = outcomes(end)
    assert (outcome.result, outcome.reason) == (ChunkResult.EXECUTED, "")
    assert (outcome.steps_sent, outcome.steps_clipped) == (3, 0)
    np.testing.assert_allclose(outcome.executed, rows(3, dx=0.01), atol=1e-12)
    np.testing.assert_allclose(outcome.measured[-1], [0.029, 0.0, 0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(outcome.measured[0], [0.008, 0.0, 0.0, 0.5], atol=1e-12)
    assert outcome.duration_s == pytest.approx(3 * PERIOD_S)
    assert outcome.chunk_age_s == 0.0
    assert gate.status(0.0).state is GateState.READY
    assert [target.sequence for target in sent] == [1, 2, 3]
    assert all(target.frame_id == ROBOT.base_frame for target in sent)


def test_skipped_chunk_gets_its_outcome_and_no_target_in_every_state():
    skip = chunk(execute_steps=0, actions=np.zeros((0, 4)))
    for gate in (Gate(SAFETY, ROBOT), ready_gate()):
        effects = gate.on_chunk(skip, 0.0)
        assert len(effects) == 1
        (outcome,) = outcomes(effects)
        assert outcome.result is ChunkResult.SKIPPED
        assert outcome.executed.shape == (0, 4)


def test_fast_target_is_slowed_down_and_counted():
    gate = ready_gate()
    effects = gate.on_chunk(chunk(actions=rows(2, dx=0.04), execute_steps=2), 0.0)
    effects += gate.on_state(sample(2), 0.0)
    first, second = tracks(effects)
    assert first.pose.position[0] == pytest.approx(HOME[0] + MAX_TARGET_STEP_M)
    assert second.pose.position[0] == pytest.approx(HOME[0] + 2 * MAX_TARGET_STEP_M)
    (outcome,) = outcomes(gate.on_state(sample(3), 0.0))
    assert outcome.steps_clipped == 2
    assert outcome.executed[1, 0] == pytest.approx(2 * MAX_TARGET_STEP_M)
    assert gate.status(0.0).targets_clipped == 2


def test_slowing_down_over_many_rows_never_latches():
    gate = ready_gate()
    effects = gate.on_chunk(chunk(actions=rows(6, dx=0.04), execute_steps=6), 0.0)
    for tick in range(2, 8):
        effects += gate.on_state(sample(tick), 0.0)
    assert outcomes(effects)[-1].result is ChunkResult.EXECUTED


def test_target_a_little_outside_the_workspace_is_pulled_in_and_counted():
    low = (0.45, 0.0, 0.02)
    gate = ready_gate(position=low)
    actions = rows(1)
    actions[0, 2] = -0.03
    asked = chunk(actions=actions, execute_steps=1, reference_pose=sample(1, low).ee_pose)
    (target,) = tracks(gate.on_chunk(asked, 0.0))
    assert target.pose.position[2] == pytest.approx(SAFETY.workspace_min_m[2])
    assert outcomes(gate.on_state(sample(2, low), 0.0))[0].steps_clipped == 1


def test_arm_a_little_outside_is_led_back_at_no_more_than_the_speed_limit():
    outside = (0.45, 0.44, 0.2)
    gate = ready_gate(position=outside)
    actions = rows(1)
    actions[0, 1] = -0.08
    back = chunk(actions=actions, execute_steps=1, reference_pose=sample(1, outside).ee_pose)
    (target,) = tracks(gate.on_chunk(back, 0.0))
    assert target.pose.position[1] == pytest.approx(0.44 - MAX_TARGET_STEP_M)


@pytest.mark.parametrize(("asked", "sent"), [(1.04, 1.0), (-0.04, 0.0), (0.25, 0.25)])
def test_gripper_opening_is_kept_between_closed_and_open(asked, sent):
    gate = ready_gate()
    (target,) = tracks(gate.on_chunk(chunk(actions=rows(4, opening=asked)), 0.0))
    assert target.gripper_width_m == pytest.approx(sent * ROBOT.gripper_max_width_m)


def test_chunk_during_another_is_refused_without_stopping_it():
    gate = ready_gate()
    gate.on_chunk(chunk(1), 0.0)
    effects = gate.on_chunk(chunk(2), 0.0)
    assert [(item.sequence, item.reason) for item in outcomes(effects)] == [(2, "BUSY")]
    assert gate.status(0.0).state is GateState.RUNNING
    assert len(tracks(gate.on_state(sample(2), 0.0))) == 1


@pytest.mark.parametrize("sequence", [4, 5])
def test_policy_chunk_out_of_order_is_refused(sequence):
    gate = ready_gate()
    gate.on_chunk(chunk(5, execute_steps=1), 0.0)
    gate.on_state(sample(2), 0.0)
    effects = gate.on_chunk(chunk(sequence, 2), 0.0)
    assert [item.reason for item in outcomes(effects)] == ["OUT_OF_ORDER"]
    assert gate.status(0.0).state is GateState.READY


def test_a_repeated_episode_may_number_its_decisions_anew():
    gate = ready_gate()
    gate.on_chunk(chunk(5, execute_steps=1), 0.0)
    gate.on_state(sample(2), 0.0)
    effects = gate.on_chunk(chunk(1, 2, decision=0), 0.0)
    assert outcomes(effects) == []
    assert gate.status(0.0).state is GateState.RUNNING


def test_order_is_kept_per_episode_and_for_the_policy_alone():
    gate = ready_gate()
    gate.on_chunk(chunk(5, execute_steps=1), 0.0)
    gate.on_state(sample(2), 0.0)
    home = chunk(0, 2, source=ChunkSource.RESET, execute_steps=1)
    for again in (home, home, chunk(1, 2, episode_id="train_000002", execute_steps=1)):
        tick = gate.status(0.0).stamp_ns // 50_000_000
        assert len(tracks(gate.on_chunk(again, 0.0))) == 1
        gate.on_state(sample(tick + 1), 0.0)


def test_chunk_that_overtakes_its_robot_state_waits_for_it():
    gate = ready_gate()
    assert not tracks(gate.on_chunk(chunk(tick=3), 0.0))
    assert not tracks(gate.on_state(sample(2), 0.0))
    (target,) = tracks(gate.on_state(sample(3), 0.0))
    assert target.stamp_ns == 3 * 50_000_000
    assert len(tracks(gate.on_state(sample(4), 0.0))) == 1


def test_consecutive_chunks_join_at_the_last_target():
    gate = ready_gate()
    gate.on_chunk(chunk(1, actions=rows(1, dx=0.03), execute_steps=1), 0.0)
    gate.on_state(sample(2), 0.0)  # the arm lags behind: it has not moved yet
    (target,) = tracks(gate.on_chunk(chunk(2, 2, actions=rows(1, dx=0.06), execute_steps=1), 0.0))
    assert target.pose.position[0] == pytest.approx(HOME[0] + 0.06)


def test_arm_that_was_moved_away_is_not_pulled_back_to_the_last_target():
    gate = ready_gate()
    gate.on_chunk(chunk(1, execute_steps=1), 0.0)
    there = (HOME[0], 0.2, 0.3)
    gate.on_state(sample(2, there), 0.0)
    reference = sample(2, there).ee_pose
    ahead = chunk(2, 2, reference_pose=reference, actions=rows(1, dx=0.01), execute_steps=1)
    (target,) = tracks(gate.on_chunk(ahead, 0.0))
    np.testing.assert_allclose(target.pose.position, [HOME[0] + 0.01, 0.2, 0.3])


def test_tool_turned_by_a_collision_is_led_back_slowly_over_several_chunks():
    tilt = 0.3
    tilted = Pose(np.array(HOME), np.array([np.cos(tilt / 2), np.sin(tilt / 2), 0.0, 0.0]))
    gate = ready_gate(ee_pose=tilted)
    before, tick = tilted.quaternion, 1
    for sequence in (1, 2):
        effects = gate.on_chunk(chunk(sequence, tick), 0.0)
        while not outcomes(effects):
            (target,) = tracks(effects)
            turn = angle_between(tuple(before), tuple(target.pose.quaternion))
            assert turn <= SAFETY.max_turn_rate_radps * PERIOD_S + 1e-9
            before = target.pose.quaternion
            tick += 1
            effects = gate.on_state(sample(tick, ee_pose=target.pose), 0.0)
    np.testing.assert_array_equal(before, TOOL_DOWN)
    assert gate.status(0.0).targets_clipped == 5, (
        "0.3 rad take six periods, the last is not clipped"
    )


def test_hold_keeps_the_gripper_as_last_commanded():
    gate = ready_gate()
    gate.on_chunk(chunk(actions=rows(4, opening=0.0)), 0.0)
    gate.on_state(sample(2, gripper_width_m=0.03), 0.0)
    (hold,) = holds(gate.on_stop(0.0))
    assert hold.gripper_width_m == 0.0


def test_after_a_reset_the_first_target_starts_from_the_measured_pose():
    gate = ready_gate()
    gate.on_chunk(chunk(1, actions=rows(4, dx=0.02)), 0.0)
    gate.on_stop(0.0)
    gate.on_state(sample(2), 0.0)
    assert gate.on_reset(0.0)[0]
    (target,) = tracks(gate.on_chunk(chunk(2, 2, actions=rows(4, dx=0.04)), 0.0))
    assert target.pose.position[0] == pytest.approx(HOME[0] + MAX_TARGET_STEP_M)


def test_counters_add_up():
    gate = ready_gate()
    gate.on_chunk(chunk(1, execute_steps=1), 0.0)
    gate.on_state(sample(2), 0.0)
    gate.on_chunk(chunk(1, 2), 0.0)
    gate.on_stop(0.0)
    status = gate.status(0.0)
    assert (status.targets_sent, status.chunks_executed, status.chunks_rejected) == (2, 1, 1)
    assert status.latches == 1
