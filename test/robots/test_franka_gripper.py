"""Widths at the control rate become few goals, one at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tmrl_ros.core.franka_config import GripperConfig
from tmrl_ros.robots.franka.gripper import GripperCommander

OPEN, CLOSED, BETWEEN = 0.08, 0.0, 0.04


@pytest.fixture
def hand():
    return GripperCommander(GripperConfig(), 0.08)


def sent(hand, width_m, now_s):
    hand.ask(width_m)
    return hand.next_goal(now_s)


def test_nothing_is_sent_unasked(hand):
    assert hand.next_goal(0.0) is None


def test_closing_grasps_with_force_and_opening_moves(hand):
    goal = sent(hand, CLOSED, 0.0)
    assert goal.grasp and goal.force_n == 20.0 and goal.tolerance_m == 0.08
    hand.ended(success=True)
    goal = sent(hand, OPEN, 1.0)
    assert not goal.grasp and goal.width_m == 0.08


def test_widths_between_the_thresholds_change_nothing(hand):
    assert sent(hand, BETWEEN, 0.0) is None
    assert sent(hand, CLOSED, 0.1).grasp
    hand.ended(success=True)
    assert sent(hand, BETWEEN, 5.0) is None


def test_the_same_wish_is_sent_once(hand):
    assert sent(hand, CLOSED, 0.0) is not None
    hand.ended(success=True)
    assert sent(hand, 0.01, 5.0) is None


def test_a_goal_waits_for_the_last_one_and_the_newest_wish_wins(hand):
    sent(hand, CLOSED, 0.0)
    assert sent(hand, OPEN, 1.0) is None
    assert sent(hand, CLOSED, 1.5) is None
    hand.ended(success=True)
    assert hand.next_goal(2.0) is None  # it is closed, as asked last


def test_goals_keep_their_distance(hand):
    sent(hand, CLOSED, 0.0)
    hand.ended(success=True)
    assert sent(hand, OPEN, 0.3) is None
    assert hand.next_goal(0.6) is not None


def test_a_failed_goal_is_sent_once_more_and_then_is_a_fault(hand):
    sent(hand, CLOSED, 0.0)
    hand.ended(success=False)
    assert not hand.failed
    assert hand.next_goal(1.0).grasp
    hand.ended(success=False)
    assert hand.failed
    assert sent(hand, OPEN, 9.0) is None
    assert hand.begin_homing(9.0)
    hand.end_homing(success=True)
    assert not hand.failed and sent(hand, OPEN, 10.0) is not None


def test_homing_and_goals_keep_out_of_each_others_way(hand):
    sent(hand, CLOSED, 0.0)
    assert not hand.begin_homing(1.0)
    hand.ended(success=True)
    assert hand.begin_homing(2.0)
    assert sent(hand, OPEN, 3.0) is None
    hand.end_homing(success=False)
    assert not hand.next_goal(4.0).grasp


def test_a_goal_without_an_end_has_failed(hand):
    sent(hand, CLOSED, 0.0)
    assert hand.next_goal(9.9) is None
    assert hand.next_goal(10.1).grasp
    assert hand.goals == 2


@given(st.lists(st.floats(0, 0.08), min_size=1, max_size=200), st.data())
def test_two_goals_never_overlap_and_never_come_too_fast(widths, data):
    hand = GripperCommander(GripperConfig(), 0.08)
    busy, last_s, last_kind = False, float("-inf"), None
    for period, width in enumerate(widths):
        now_s = period * 0.05
        if busy and data.draw(st.booleans()):
            busy = False
            hand.ended(success=True)
        goal = sent(hand, width, now_s)
        if goal is not None:
            assert not busy and now_s - last_s >= 0.5 and goal.grasp != last_kind
            busy, last_s, last_kind = True, now_s, goal.grasp


def test_thresholds_that_touch_are_refused():
    with pytest.raises(ValidationError, match="chatter"):
        GripperConfig(close_below=0.5, open_above=0.5)
