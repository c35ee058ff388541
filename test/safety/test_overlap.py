"""One chunk ahead: it goes on from the one that runs without a gap, or not at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from safety_cell import (
    HOME,
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
    targets,
    tracks,
)

from tmrl_ros.core.types import ChunkResult, ChunkSource, TeleopCommand
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.line import Overlap
from tmrl_ros.safety.status import GateState, Underway

DX = 0.01


def open_gate(rows=2, waits=False, safety=SAFETY):
    gate = Gate(safety, ROBOT, overlap=Overlap(rows, waits))
    gate.on_state(sample(1), 0.0)
    assert gate.on_reset(0.0)[0]
    return gate


def wanted(effects):
    return [effect.done for effect in effects if isinstance(effect, Underway)]


def follower(sequence=2, *, tick=3, committed=2, fresh=4, **changes):
    """The chunk after `chunk(1, actions=rows(4, dx=DX))`, made at the state of `tick`."""
    done = tick - 1
    actions = rows(committed + fresh, dx=DX)
    reference = (HOME[0] + DX * done, *HOME[1:])
    mine = {
        "execute_steps": fresh,
        "reference_pose": pose(reference),
        "actions": actions,
        "committed_steps": committed,
    }
    return chunk(sequence, tick, **{**mine, **changes})


class Arm:
    """Follows every target exactly; keeps what the gate said."""

    def __init__(self, gate):
        self.gate, self.tick, self.effects = gate, 1, []
        self.position = HOME

    def say(self, effects):
        self.effects += effects
        for target in tracks(effects):
            self.position = tuple(target.pose.position)
        return effects

    def period(self, wall_s=0.0):
        self.tick += 1
        return self.say(self.gate.on_state(sample(self.tick, self.position), wall_s))

    def x(self):
        return [round(float(item.pose.position[0]), 6) for item in tracks(self.effects)]


def begun(gate):
    """An arm whose first chunk of four rows has two left; the next chunk is wanted."""
    arm = Arm(gate)
    arm.say(gate.on_chunk(chunk(1, actions=rows(4, dx=DX)), 0.0))
    arm.period()
    assert not wanted(arm.effects)
    arm.period()
    [done] = wanted(arm.effects)
    assert (done.decision, done.steps_sent, done.stamp_ns) == (1, 2, 3 * 50_000_000)
    np.testing.assert_allclose(done.executed[:, 0], [DX, 2 * DX])
    return arm


def results(arm):
    return [(item.decision, item.result, item.reason) for item in outcomes(arm.effects)]


def test_without_overlap_nothing_is_wanted_before_the_end():
    gate = ready_gate()
    arm = Arm(gate)
    arm.say(gate.on_chunk(chunk(1, actions=rows(4, dx=DX)), 0.0))
    for _ in range(4):
        arm.period()
    assert not wanted(arm.effects)


def test_the_next_chunk_goes_on_in_the_period_in_which_the_one_before_ends():
    arm = begun(open_gate())
    assert arm.say(arm.gate.on_chunk(follower(), 0.0)) == [], "it waits for its turn"
    sent = [len(tracks(arm.period())) for _ in range(6)]
    assert sent == [1, 1, 1, 1, 1, 0], "a target in every period, until the rows are used up"
    expected = [HOME[0] + DX * row for row in range(1, 9)]
    np.testing.assert_allclose(arm.x(), expected, atol=1e-6)
    assert not holds(arm.effects)
    executed = ChunkResult.EXECUTED
    assert results(arm) == [(1, executed, ""), (2, executed, "")]
    assert [done.decision for done in wanted(arm.effects)] == [1, 2]


def test_rows_wait_for_the_next_chunk_where_simulated_time_waits():
    arm = begun(open_gate(waits=True))
    assert len(tracks(arm.effects)) == 2
    for _ in range(3):  # the driver repeats its state while its time stands still
        assert arm.say(arm.gate.on_state(sample(arm.tick, arm.position), 0.1)) == []
    assert len(tracks(arm.say(arm.gate.on_chunk(follower(), 0.2)))) == 1
    while arm.gate.status(0.2).state is GateState.RUNNING and len(wanted(arm.effects)) != 2:
        arm.period(0.2)
    np.testing.assert_allclose(np.diff(arm.x()), DX, atol=1e-6)


def test_a_policy_that_never_answers_lets_the_rows_go_on_after_a_while():
    arm = begun(open_gate(waits=True))
    patience_s = SAFETY.chunk_progress_timeout_s
    for wall_s in (0.5, patience_s - 0.1, patience_s + 0.1):
        assert arm.say(arm.gate.on_state(sample(arm.tick, arm.position), wall_s)) == []
        sent = tracks(arm.say(arm.gate.on_tick(wall_s)))
        assert len(sent) == (wall_s > patience_s)
    arm.period(wall_s)
    arm.period(wall_s)
    assert results(arm) == [(1, ChunkResult.EXECUTED, "")]


def test_a_late_chunk_goes_on_where_the_arm_waits():
    arm = begun(open_gate())
    for _ in range(3):
        arm.period()
    assert results(arm) == [(1, ChunkResult.EXECUTED, "")]
    assert arm.gate.status(0.0).state is GateState.READY
    arm.say(arm.gate.on_chunk(follower(), 0.0))
    for _ in range(4):
        arm.period()
    np.testing.assert_allclose(np.diff(arm.x()), DX, atol=1e-6)
    assert results(arm)[1:] == [(2, ChunkResult.EXECUTED, "")]


def test_a_chunk_that_comes_much_too_late_latches():
    arm = begun(open_gate())
    for _ in range(11):
        arm.period()
    late = arm.gate.on_chunk(follower(), 0.0)
    assert_latched(arm.gate, late, "STALE_CHUNK", result=ChunkResult.REJECTED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sequence": 3}, "BUSY"),
        ({"episode_id": "train_000002"}, "BUSY"),
        ({"committed": 0}, "BUSY"),
        ({"committed": 5}, "BUSY"),  # more rows than the one before has
        ({"source": ChunkSource.HUMAN}, "BUSY"),
        ({"sequence": 1}, "OUT_OF_ORDER"),
    ],
)
def test_only_the_next_decision_of_the_episode_may_wait(changes, reason):
    arm = begun(open_gate())
    arm.say(arm.gate.on_chunk(follower(**changes), 0.0))
    assert [item[2] for item in results(arm)] == [reason]


def test_only_one_chunk_may_wait():
    arm = begun(open_gate())
    arm.say(arm.gate.on_chunk(follower(), 0.0))
    arm.say(arm.gate.on_chunk(follower(3), 0.0))
    assert results(arm) == [(3, ChunkResult.REJECTED, "BUSY")]


def test_a_prefix_that_is_not_what_was_sent_is_refused_and_nothing_moves():
    arm = begun(open_gate())
    away = follower(reference_pose=pose((HOME[0], HOME[1] + 0.06, HOME[2])))
    arm.say(arm.gate.on_chunk(away, 0.0))
    arm.period()
    sent = len(arm.x())
    arm.period()
    assert results(arm) == [
        (1, ChunkResult.EXECUTED, ""),
        (2, ChunkResult.REJECTED, "PREFIX_NOT_SENT"),
    ]
    arm.period()
    assert len(arm.x()) == sent
    assert arm.gate.status(0.0).state is GateState.READY


def test_a_prefix_of_nothing_is_refused():
    gate = open_gate()
    [item] = outcomes(gate.on_chunk(follower(tick=1), 0.0))
    assert (item.result, item.reason) == (ChunkResult.REJECTED, "PREFIX_NOT_SENT")


def test_a_jump_at_the_joint_latches_before_it_is_sent():
    arm = begun(open_gate())
    jump = follower()
    jump.actions[2:, 1] = SAFETY.max_step_m + 0.01
    stopped = arm.say(arm.gate.on_chunk(jump, 0.0))
    assert holds(stopped) and arm.gate.status(0.0).code == "STEP"
    assert [item[:2] for item in results(arm)] == [
        (1, ChunkResult.ABORTED),
        (2, ChunkResult.REJECTED),
    ]


def test_a_stop_in_the_overlap_ends_both_chunks_in_order():
    arm = begun(open_gate())
    arm.say(arm.gate.on_chunk(follower(), 0.0))
    stopped = arm.say(arm.gate.on_stop(0.0))
    assert stopped[0].hold and len(targets(stopped)) == 1
    assert results(arm) == [
        (1, ChunkResult.ABORTED, "OPERATOR_STOP"),
        (2, ChunkResult.REJECTED, "OPERATOR_STOP"),
    ]
    assert arm.gate.on_reset(0.0)[0]
    sent = len(arm.x())
    arm.period()
    arm.say(arm.gate.on_chunk(follower(3), 0.0))
    assert len(arm.x()) == sent, "what was stopped is not gone on with after the reset"
    assert results(arm)[-1] == (3, ChunkResult.REJECTED, "PREFIX_NOT_SENT")


def test_a_chunk_of_features_only_waits_for_its_turn():
    arm = begun(open_gate())
    arm.say(arm.gate.on_chunk(follower(execute_steps=0), 0.0))
    assert results(arm) == []
    arm.period()
    arm.period()
    assert results(arm) == [(1, ChunkResult.EXECUTED, ""), (2, ChunkResult.SKIPPED, "")]
    assert arm.gate.status(0.0).state is GateState.READY


def steer(y_mps, *, engaged=True):
    velocity = np.array([0.0, y_mps, 0.0])
    return TeleopCommand("stick", engaged, velocity, math.nan, ROBOT.base_frame)


def test_a_person_who_takes_the_arm_in_the_overlap_keeps_it_over_the_joint():
    safety = SAFETY.model_copy(update={"teleop_blend_s": 0.0})
    arm = begun(open_gate(safety=safety))
    arm.say(arm.gate.on_chunk(follower(), 0.0))
    arm.gate.on_teleop(steer(0.5), 0.0)
    for _ in range(5):
        arm.period()
    assert len(arm.x()) == 8 and arm.position[1] > 0.08, "led away, without a gap"
    first, second = outcomes(arm.effects)[0], arm.period() and outcomes(arm.effects)[1]
    assert (first.human_steps, second.human_steps) == (1, 4)
    assert not holds(arm.effects)


def test_rows_that_a_person_has_led_elsewhere_are_not_gone_on_from():
    safety = SAFETY.model_copy(update={"teleop_blend_s": 0.0})
    arm = Arm(open_gate(safety=safety))
    arm.say(arm.gate.on_chunk(chunk(1, actions=rows(4, dx=DX)), 0.0))
    arm.period()
    arm.gate.on_teleop(steer(0.6), 0.0)
    arm.period()
    arm.say(arm.gate.on_chunk(follower(), 0.0))
    arm.period()
    arm.gate.on_teleop(steer(0.0, engaged=False), 0.0)
    arm.period()
    assert results(arm) == [
        (1, ChunkResult.EXECUTED, ""),
        (2, ChunkResult.REJECTED, "PREFIX_NOT_SENT"),
    ]
    assert arm.gate.status(0.0).state is GateState.READY


def test_a_long_release_of_the_button_refuses_the_chunk_that_waits():
    safety = SAFETY.model_copy(update={"hold_to_run": True, "hold_grace_s": 0.05})
    gate = open_gate(safety=safety)
    gate.on_hold_to_run(True, 0.0)
    arm = begun(gate)
    arm.say(gate.on_chunk(follower(), 0.0))
    arm.say(gate.on_hold_to_run(False, 0.0))
    for _ in range(5):
        arm.period()
    arm.say(gate.on_hold_to_run(True, 0.0))
    assert results(arm) == [
        (1, ChunkResult.ABORTED, "HOLD_RELEASED"),
        (2, ChunkResult.REJECTED, "HOLD_RELEASED"),
    ]
    sent = len(arm.x())
    arm.period()
    assert len(arm.x()) == sent
