import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.rewards.answers import Question
from tmrl_ros.rewards.debounce import Debounce
from tmrl_ros.rewards.simulator import SimulatorReward, Truth


def truth(stamp_ns, success=False, failure=False, progress=0.25):
    return Truth(stamp_ns, success, failure, progress)


def question(stamp_ns, decision=0, episode="train_000000", asked_s=0.0):
    return Question(stamp_ns, 40 + decision, episode, decision, asked_s)


def test_truth_of_exactly_the_observation_is_used():
    reward = SimulatorReward(1, 1)
    reward.on_truth(truth(100, progress=0.1), 0.0)
    reward.on_truth(truth(200, progress=0.2, success=True), 0.0)
    (answer,) = reward.on_question(question(100), 0.0)
    assert answer.valid and not answer.success
    assert (answer.stamp_ns, answer.sequence, answer.progress) == (100, 40, 0.1)
    (answer,) = reward.on_question(question(200, 1), 0.0)
    assert answer.success and answer.success_probability == 1.0


def test_observation_may_come_before_its_truth():
    reward = SimulatorReward(1, 1)
    assert reward.on_question(question(100), 0.0) == []
    assert reward.on_truth(truth(50), 0.1) == []
    (answer,) = reward.on_truth(truth(100), 0.2)
    assert answer.valid
    assert answer.latency_ms == pytest.approx(200)


def test_missing_truth_is_said_to_be_unknown_and_not_zero():
    reward = SimulatorReward(1, 1, patience_s=1.0)
    reward.on_question(question(100), 0.0)
    assert reward.on_time(0.9) == []
    (answer,) = reward.on_time(1.1)
    assert not answer.valid and not answer.success
    assert math.isnan(answer.progress) and math.isnan(answer.success_probability)
    assert "no ground truth" in answer.error and "sim_franka" in answer.error
    assert reward.on_time(9.0) == [] and reward.on_truth(truth(100), 9.0) == []


def test_progress_that_is_no_number_is_unknown():
    reward = SimulatorReward(1, 1)
    reward.on_truth(truth(100, progress=math.nan), 0.0)
    (answer,) = reward.on_question(question(100), 0.0)
    assert not answer.valid


def test_old_truths_are_forgotten():
    reward = SimulatorReward(1, 1, ring=3)
    for stamp in range(5):
        reward.on_truth(truth(stamp), 0.0)
    assert reward.on_question(question(1), 0.0) == []
    assert len(reward.on_question(question(2, 1), 0.0)) == 1


def test_success_must_last_for_k_of_n():
    reward = SimulatorReward(2, 3)
    said = []
    for stamp, success in enumerate([True, False, True, False]):
        reward.on_truth(truth(stamp, success=success), 0.0)
        said += [answer.success for answer in reward.on_question(question(stamp, stamp), 0.0)]
    assert said == [False, False, True, False]


def test_new_episode_starts_counting_anew():
    reward = SimulatorReward(2, 2)
    for stamp, (episode, decision) in enumerate([("a", 0), ("b", 0), ("b", 0), ("b", 1)]):
        reward.on_truth(truth(stamp, failure=True), 0.0)
        (answer,) = reward.on_question(question(stamp, decision, episode), 0.0)
    assert answer.failure, "b was repeated, then failed twice"


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(0, 6), st.lists(st.booleans(), max_size=30))
def test_debounce_counts_the_last_n(k, more, said):
    n = k + more
    debounce = Debounce(k, n)
    for end in range(len(said)):
        window = said[max(0, end + 1 - n) : end + 1]
        assert debounce.update(said[end]) == (sum(window) >= k)


def test_debounce_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="k=3 of n=2"):
        Debounce(3, 2)


@settings(deadline=None)
@given(st.permutations(list(range(12))))
def test_every_question_gets_exactly_one_answer_in_any_order(order):
    reward = SimulatorReward(1, 1)
    answers = []
    for event in order:
        stamp = event // 2
        if event % 2:
            answers += reward.on_truth(truth(stamp), 0.0)
        else:
            answers += reward.on_question(question(stamp, stamp), 0.0)
    answers += reward.on_time(10.0)
    assert sorted(answer.stamp_ns for answer in answers) == list(range(6))
    assert all(answer.valid for answer in answers)
