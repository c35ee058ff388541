import numpy as np
import pytest

from tmrl_ros.rewards.learned.calibration import Scored, calibrate, count, fires_at
from tmrl_ros.rewards.model import Calibration


def scored(probability: list[float], success: list[int]) -> Scored:
    return Scored(np.array(probability, np.float32), np.array(success, bool))


def test_a_clear_gap_gives_a_threshold_inside_it():
    episodes = [scored([0.1, 0.2, 0.9], [0, 0, 1]), scored([0.1, 0.4, 0.3], [0, 0, 0])] * 10
    rule, found = calibrate(episodes)

    assert (rule.k, rule.n) == (1, 1)
    assert 0.4 < rule.threshold < 0.9
    assert (found.found, found.false_positives) == (20 // 2, 0)


def test_single_spikes_call_for_several_frames():
    spike = scored([0.1, 0.95, 0.1, 0.1], [0, 0, 0, 0])
    steady = scored([0.1, 0.9, 0.9, 0.9], [0, 1, 1, 1])
    rule, found = calibrate([spike, steady] * 10)

    assert rule.k >= 2
    assert (found.found, found.false_positives) == (10, 0)


def test_no_false_positive_is_bought_with_misses():
    episodes = [scored([0.1, 0.6], [0, 1]), scored([0.1, 0.9], [0, 1]), scored([0.7, 0.7], [0, 0])]
    _, found = calibrate(episodes * 5)

    assert found.false_positives == 0
    assert found.found == 5


def test_one_odd_episode_does_not_push_the_threshold_to_where_probabilities_saturate():
    found = [scored([0.01, 0.99 if number % 2 else 0.997], [0, 1]) for number in range(40)]
    odd, failures = scored([0.01, 0.998], [0, 0]), [scored([0.01, 0.02], [0, 0])] * 40
    rule, result = calibrate([*found, odd, *failures])

    assert rule.threshold < 0.95
    assert (result.found, result.false_positives) == (40, 1)


def test_an_episode_ends_when_success_is_said_first():
    too_early = scored([0.9, 0.1, 0.9], [0, 0, 1])
    result = count([too_early], Calibration(0.5, 1, 1))

    assert (result.found, result.false_positives) == (0, 1)


def test_success_that_was_lost_again_is_no_longer_found():
    lost = scored([0.1, 0.3, 0.1, 0.9], [0, 1, 0, 0])
    result = count([lost], Calibration(0.5, 1, 1))

    assert (result.found, result.false_positives) == (0, 1)


def test_one_frame_beside_success_is_found_and_counted_as_such():
    early, late = scored([0.9, 0.9], [0, 1]), scored([0.1, 0.3, 0.9], [0, 1, 0])
    result = count([early, late], Calibration(0.5, 1, 1))

    assert (result.found, result.false_positives) == (2, 0)
    assert (result.early, result.late) == (1, 1)


@pytest.mark.parametrize(("k", "n", "frame"), [(1, 1, 1), (2, 2, 4), (2, 3, 3)])
def test_k_of_n_waits_for_enough_votes(k: int, n: int, frame: int):
    probability = np.array([0.1, 0.9, 0.1, 0.9, 0.9], np.float32)

    assert fires_at(probability, Calibration(0.5, k, n)) == frame


def test_a_threshold_holds_as_a_message_carries_it():
    # 0.7 is not a 32-bit number; the node compares what a message can carry.
    assert fires_at(np.array([0.7], np.float32), Calibration(0.7, 1, 1)) == 0
