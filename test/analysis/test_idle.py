"""How long the arm waited for chunks, by the stamps of states and targets."""

from pathlib import Path

from tmrl_ros.analysis.one_bag import BagDigest

STATES = set(range(0, 1000, 50))


def idle(moved, measured=STATES):
    return BagDigest(Path(), measured_ns=measured, moved_ns=moved).idle_periods()


def test_a_target_in_every_period_leaves_nothing_idle():
    assert idle(set(range(200, 600, 50))) == (8, 0)


def test_periods_without_a_target_between_chunks_are_idle():
    first, second = set(range(100, 300, 50)), set(range(450, 650, 50))
    assert idle(first | second) == (11, 3)


def test_what_is_before_the_first_and_after_the_last_target_does_not_count():
    assert idle({500}) == (1, 0)
    assert idle(set()) == (0, 0)


def test_a_state_that_was_lost_is_no_time_in_which_the_arm_waited():
    moved = set(range(200, 600, 50))
    assert idle(moved, STATES - {300}) == (8, 0)
