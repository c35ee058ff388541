import json
from dataclasses import replace

import episode_events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from tmrl_ros.core.types import EpisodeOutcome, EpisodeState, Reward
from tmrl_ros.rewards.agreement import Agreement, chance_of_at_most
from tmrl_ros.rewards.labels_log import LABELS_FILE, LabelsLog
from tmrl_ros.rewards.model import Calibration

SUCCESS, FAILURE = EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE
TIMEOUT, ABORTED = EpisodeOutcome.TIMEOUT, EpisodeOutcome.ABORTED


def agreement(**settings):
    values = {"margin": 0.15, "window": 20, "least": 0.85}
    return Agreement(Calibration(0.65, 2, 2), **{**values, **settings})


def estimate(name, decision, probability, *, success=False, valid=True):
    return Reward(0, 0, name, decision, valid, 0.5, probability, success, False)


def event(name, outcome=EpisodeOutcome.NONE, by="", state=EpisodeState.ENDED):
    return episode_events.event(name, state, outcome, 3, by)


def run(book, name, says, person=None, *, probability=None):
    """An episode that the model ends as it says; then a person's word on it."""
    level = probability if probability is not None else (0.95 if says else 0.05)
    book.on_estimate(estimate(name, 0, 0.01))
    book.on_estimate(estimate(name, 1, level, success=says))
    book.on_episode(event(name, SUCCESS if says else TIMEOUT, "reward"))
    return book.on_episode(event(name, person, "ada")) if person else None


def test_precision_and_recall_count_labelled_episodes_only():
    book = agreement(watch=False)
    for number, (says, person) in enumerate(
        [(True, SUCCESS), (True, FAILURE), (False, SUCCESS), (False, FAILURE), (True, SUCCESS)]
    ):
        run(book, f"e{number}", says, person)
    run(book, "unlabelled", True)
    run(book, "void", True, ABORTED)
    assert book.counts == {
        "true_positive": 2,
        "false_positive": 1,
        "false_negative": 1,
        "true_negative": 1,
    }
    status = book.status()
    assert status["precision"] == pytest.approx(2 / 3)
    assert status["recall"] == pytest.approx(2 / 3)
    assert (status["labelled"], status["disagreements"]) == (5, 2)


def test_without_labels_there_is_no_precision():
    book = agreement()
    run(book, "a", True)
    assert (book.status()["precision"], book.status()["recall"]) == (None, None)


def test_second_label_replaces_the_first_and_the_same_one_is_not_new():
    book = agreement()
    assert run(book, "a", True, SUCCESS) is not None
    assert book.on_episode(event("a", SUCCESS, "ada")) is None, "the same event again"
    assert book.on_episode(event("a", FAILURE, "bob")).by == "bob"
    assert book.status()["labelled"] == 1 and book.counts["false_positive"] == 1


def test_person_who_ends_an_episode_leaves_no_time_for_a_second_estimate():
    book = agreement()
    book.on_estimate(estimate("a", 0, 0.1))
    book.on_estimate(estimate("a", 1, 0.9))
    label = book.on_episode(event("a", SUCCESS, "ada"))
    assert label.model_success is True
    late = agreement()
    run(late, "a", False, probability=0.9)
    assert late.on_episode(event("a", SUCCESS, "ada")).model_success is False


def test_model_that_said_nothing_is_neither_right_nor_wrong():
    book = agreement()
    book.on_estimate(estimate("a", 0, float("nan"), valid=False))
    assert book.on_episode(event("a", SUCCESS, "ada")).model_success is None
    assert book.status()["labelled"] == 0


def test_what_is_near_the_threshold_or_unknown_is_listed_until_it_is_labelled():
    book = agreement()
    run(book, "clear", True, probability=0.95)
    run(book, "near", True, probability=0.7)
    run(book, "just missed", False, probability=0.55)
    run(book, "far", False, probability=0.1)
    book.on_estimate(estimate("unknown", 0, 0.0, valid=False))
    book.on_episode(event("unknown", TIMEOUT, "reward"))
    book.on_episode(event("void", ABORTED))
    assert book.uncertain() == ["near", "just missed", "unknown"]
    book.on_episode(event("near", FAILURE, "ada"))
    assert book.status()["to_label"] == ["just missed", "unknown"]


def test_success_that_came_too_late_to_end_its_episode_is_listed():
    book = agreement()
    run(book, "a", False)
    book.on_estimate(estimate("a", 2, 0.99, success=True))
    assert book.uncertain() == ["a"]


def test_repeated_episode_begins_with_a_clean_page():
    book = agreement()
    run(book, "a", True, FAILURE)
    book.on_episode(event("a", state=EpisodeState.RESETTING))
    assert book.status()["labelled"] == 0
    assert run(book, "a", False, FAILURE).model_success is False


def test_model_that_is_wrong_too_often_is_not_trusted_any_more():
    book = agreement()
    for number in range(4):
        run(book, f"e{number}", True, FAILURE)
        assert book.trusted, "too few labels to say"
    run(book, "e4", True, FAILURE)
    assert not book.trusted
    assert "0 of the last 5" in book.alarm and "tmrl label" in book.alarm
    run(book, "sure", True)
    assert "sure" in book.uncertain(), "without a model a person has to label everything"


def test_alarm_stays_however_often_the_model_is_right_afterwards():
    book = agreement(window=5)
    for number in range(5):
        run(book, f"bad{number}", True, FAILURE)
    for number in range(50):
        run(book, f"good{number}", True, SUCCESS)
    assert not book.trusted


def test_good_model_is_trusted_through_a_few_mistakes():
    book = agreement()
    for number in range(100):
        run(book, f"e{number}", True, FAILURE if number % 10 == 9 else SUCCESS)
    assert book.trusted


def test_old_labels_do_not_excuse_a_model_that_has_become_bad():
    book = agreement(window=10)
    for number in range(200):
        run(book, f"good{number}", True, SUCCESS)
    for number in range(5):
        run(book, f"bad{number}", True, FAILURE)
    assert not book.trusted


def test_simulator_is_not_mistrusted():
    book = agreement(watch=False)
    for number in range(50):
        run(book, f"e{number}", True, FAILURE)
    assert book.trusted and book.uncertain() == []


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.floats(0.01, 0.99))
def test_chance_is_the_binomial_one(agreed, more, rate):
    expected = binom.cdf(agreed, agreed + more, rate)
    assert chance_of_at_most(agreed, agreed + more, rate) == pytest.approx(expected, abs=1e-9)


def test_labels_say_who_and_when_and_survive_a_restart(tmp_path):
    book, log = agreement(), LabelsLog(tmp_path)
    for number in range(5):
        label = run(book, f"e{number}", True, FAILURE)
        log.write(label, model="learned", model_hash="h")
    log.write(replace(label, episode_id="x"), model="other", model_hash="g")
    with (tmp_path / LABELS_FILE).open("a") as file:
        file.write('{"episode_id": "torn')
    line = json.loads((tmp_path / LABELS_FILE).read_text().splitlines()[0])
    assert line["labelled_by"] == "ada" and line["labelled_at"].endswith("+00:00")
    assert (line["outcome"], line["model_success"]) == ("failure", True)

    again, log = agreement(), LabelsLog(tmp_path)
    for label in log.compared_with("learned", "h"):
        again.add_label(label)
    assert again.alarm == book.alarm and again.counts == book.counts
    assert again.on_episode(event("e0", FAILURE, "ada")) is None, "said again to a late joiner"


def test_label_that_is_said_again_is_not_written_again(tmp_path):
    label = run(agreement(), "a", True, SUCCESS)
    for _ in range(2):
        log = LabelsLog(tmp_path)
        log.write(label, model="m", model_hash="h")
    assert len((tmp_path / LABELS_FILE).read_text().splitlines()) == 1
    log.repeated("a")
    log.write(label, model="m", model_hash="h")
    assert len((tmp_path / LABELS_FILE).read_text().splitlines()) == 2


def test_label_after_a_torn_line_is_not_lost(tmp_path):
    (tmp_path / LABELS_FILE).write_text('{"episode_id": "torn')
    log = LabelsLog(tmp_path)
    log.write(run(agreement(), "a", True, SUCCESS), model="m", model_hash="h")
    assert [item.episode_id for item in log.compared_with("m", "h")] == ["a"]


def test_no_session_folder_is_made_for_a_label(tmp_path):
    log = LabelsLog(tmp_path / "none")
    log.write(run(agreement(), "a", True, SUCCESS), model="m", model_hash="h")
    assert not (tmp_path / "none").exists()
