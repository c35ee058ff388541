"""What is too abrupt is held back: the tool's acceleration, the gripper to and fro, reflexes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safety_cell import (
    HOME,
    LIMITS,
    PERIOD_NS,
    SAFETY,
    chunk,
    ready_gate,
    rows,
    sample,
    targets,
    tracks,
)

from tmrl_ros.core.types import RobotMode
from tmrl_ros.safety.heartbeats import Heartbeats, Part
from tmrl_ros.safety.pace import RIPPLE, Pace, shortened
from tmrl_ros.safety.reflexes import Reflexes

LARGEST = LIMITS.max_step_change_m
steps = st.tuples(*[st.floats(-0.1, 0.1)] * 3)


@given(steps, steps)
def test_a_step_is_held_back_until_it_is_not_too_abrupt_or_brakes(step, before):
    share = shortened(step, before, LARGEST)
    assert 0.0 <= share <= 1.0
    done = [share * value for value in step]
    change = math.dist(done, before)
    braking = math.hypot(*done) <= math.hypot(*before) + 1e-9
    assert change <= LARGEST + 1e-9 or braking
    if share < 1.0:  # no more would have been allowed
        more = [min(1.0, share + 0.01) * value for value in step]
        assert math.dist(more, before) >= min(LARGEST, change) - 1e-9


def test_a_sharp_turn_at_full_speed_is_slowed_down_and_counted():
    gate = ready_gate()
    actions = rows(3)
    actions[:, 1] = [0.03, 0.06, 0.03]
    sent = tracks(gate.on_chunk(chunk(actions=actions, execute_steps=3), 0.0))
    for tick in (2, 3):
        sent += tracks(gate.on_state(sample(tick, (HOME[0], 0.03 * (tick - 1), HOME[2])), 0.0))
    ways = [float(b.pose.position[1] - a.pose.position[1]) for a, b in pairwise(sent)]
    assert ways[0] == pytest.approx(0.03)
    assert ways[1] == pytest.approx(0.03 - LARGEST), "back by what one period can turn round"
    assert gate.status(0.0).targets_clipped == 1


def test_after_a_pause_the_tool_starts_from_rest():
    pace = Pace(LARGEST, 0, PERIOD_NS)
    pace.note((0.03, 0.0, 0.0), 1.0, 0)
    back = (-0.03, 0.0, 0.0)
    assert pace.share(back, PERIOD_NS) < 0.2
    assert pace.share(back, 3 * PERIOD_NS) == 1.0
    pace.note((0.03, 0.0, 0.0), 1.0, 4 * PERIOD_NS)
    pace.forget()
    assert pace.share(back, 5 * PERIOD_NS) == 1.0


openings = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(1, 4)), min_size=2, max_size=60)


@given(openings)
def test_the_gripper_never_turns_back_too_early(asked):
    """Whatever is asked, two changes of mind are at least the configured time apart."""
    pace, now, sent = Pace(LARGEST, 4 * PERIOD_NS, PERIOD_NS), 0, []
    for opening, periods in asked:
        now += periods * PERIOD_NS
        given_out = pace.opening(opening, now)
        pace.note((0.0, 0.0, 0.0), given_out, now)
        sent.append((now, given_out))
    turns, direction, extreme = [], 0, sent[0][1]
    for stamp, opening in sent[1:]:
        change = opening - extreme
        if abs(change) > RIPPLE or change * direction > 0.0:
            new = 1 if change > 0.0 else -1
            if new != direction:
                turns.append(stamp)
            direction, extreme = new, opening
    assert all(b - a >= 4 * PERIOD_NS for a, b in pairwise(turns))


def test_a_gripper_that_is_told_to_and_fro_waits_and_is_counted():
    gate = ready_gate(SAFETY.model_copy(update={"min_gripper_reversal_s": 0.15}))
    actions = rows(6)
    actions[:, 3] = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]
    effects = gate.on_chunk(chunk(actions=actions, execute_steps=6), 0.0)
    for tick in range(2, 7):
        effects += gate.on_state(sample(tick), 0.0)
    widths = [round(target.gripper_width_m / 0.08) for target in targets(effects)]
    assert widths == [1, 0, 0, 0, 1, 1]
    assert gate.status(0.0).targets_clipped == 1


def test_reflexes_are_counted_once_each_and_forgotten_after_a_minute():
    reflexes = Reflexes(2)
    for begin in (0.0, 10.0, 20.0):
        assert reflexes.cause(begin) is None
        for mode in (RobotMode.REFLEX, RobotMode.REFLEX, RobotMode.MOVE):
            reflexes.on_mode(mode, begin)
    found = reflexes.cause(20.0)
    assert found is not None and "3 times within a minute, more than 2" in found.message
    assert reflexes.cause(60.5) is None


def test_a_robot_that_stops_itself_again_and_again_is_not_reset_before_a_minute_has_passed():
    gate = ready_gate(SAFETY.model_copy(update={"max_reflexes_per_min": 1}))
    for tick in (2, 4):
        gate.on_state(sample(tick, mode=RobotMode.REFLEX), 1.0)
        gate.on_state(sample(tick + 1), 2.0)
        done, why = gate.on_reset(2.0)
        assert done == (tick == 2)
    assert "2 times within a minute" in why
    assert gate.status(2.5).present_causes == ("REFLEXES",)
    gate.on_state(sample(6), 70.0)
    assert gate.on_reset(70.0)[0]


@pytest.mark.parametrize("part", Part)
def test_silence_latches_only_where_configured_and_only_while_an_episode_runs(part):
    watch = Heartbeats({part: 2.0})
    assert watch.overdue(100.0) is None
    watch.on_episode(True, 100.0)
    assert watch.overdue(101.9) is None
    watch.on_word(part, 101.9)
    assert watch.overdue(103.8) is None
    found = watch.overdue(104.0)
    assert found is not None and found.code == f"{part.name}_TIMEOUT"
    assert f"Nothing was heard of the {part.value} for 2.1 s." in found.message
    watch.on_episode(False, 104.0)
    assert watch.overdue(200.0) is None
    gate = ready_gate()
    gate.on_overdue(replace(found), 0.0)
    assert gate.status(0.0).code == found.code


def test_by_default_nobody_s_silence_latches():
    watch = Heartbeats(dict.fromkeys(Part, 0.0))
    watch.on_episode(True, 0.0)
    assert watch.watched == [] and watch.overdue(1e9) is None
