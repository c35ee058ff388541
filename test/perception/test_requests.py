"""One observation per decision: when it is due, when cameras are asked, when somebody is told."""

import dataclasses

import numpy as np
import pytest
from episode_events import event

from tmrl_ros.core.types import (
    ChunkResult,
    ChunkSource,
    EpisodeState,
    Outcome,
    Phase,
)
from tmrl_ros.perception.requests import ObservationRequests, sequence_number

EPISODE = event("train_000007", EpisodeState.RUNNING, stamp_ns=1000, index=7, max_decisions=3)


def turn(requests, state, episode=EPISODE, newest_ns=0, now_s=0.0, **how):
    return requests.on_episode(dataclasses.replace(episode, state=state), newest_ns, now_s, **how)


def outcome(decision, result=ChunkResult.EXECUTED, **changes):
    rows = np.zeros((0, 4))
    base = Outcome(
        2000 + decision, 0, EPISODE.episode_id, decision, ChunkSource.POLICY, result, "",
        0, 0, rows, rows, 0.0, 0.0,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


@pytest.fixture
def running():
    requests = ObservationRequests()
    turn(requests, EpisodeState.RESETTING)
    turn(requests, EpisodeState.READY)
    turn(requests, EpisodeState.RUNNING)
    return requests


def test_a_running_episode_begins_with_decision_0(running):
    assert (running.due.decision, running.due.stamp_ns) == (0, 1000)
    running.made()
    assert running.due is None


def test_the_first_observation_is_not_older_than_the_newest_state():
    requests = ObservationRequests()
    turn(requests, EpisodeState.RUNNING, newest_ns=5000)
    assert requests.due.stamp_ns == 5000


def test_every_outcome_asks_for_one_observation_up_to_the_last_decision(running):
    seen = [running.due.decision]
    running.made()
    for k in range(5):
        running.on_outcome(outcome(k), 0.0)
        running.on_outcome(outcome(k), 0.0)
        if running.due is not None:
            assert running.due.stamp_ns == 2000 + k
            seen.append(running.due.decision)
        running.made()
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "other",
    [
        outcome(0, ChunkResult.SKIPPED),
        outcome(0, source=ChunkSource.RESET),
        outcome(0, episode_id="train_000006"),
        outcome(0, chunk_age_s=0.2),  # answers an earlier attempt at the same episode
    ],
)
def test_other_outcomes_ask_for_nothing(running, other):
    running.made()
    running.on_outcome(other, 0.0)
    assert running.due is None


def test_a_rejected_chunk_is_followed_by_another_look(running):
    running.made()
    running.on_outcome(outcome(0, ChunkResult.REJECTED), 0.0)
    assert running.due.decision == 1


def test_memories_are_dropped_when_objects_are_put_back_and_only_then():
    requests = ObservationRequests()
    story = [
        (EpisodeState.RESETTING, True),
        (EpisodeState.READY, False),
        (EpisodeState.RUNNING, True),
        (EpisodeState.RUNNING, False),
        (EpisodeState.ENDED, False),
    ]
    assert [turn(requests, state) for state, _ in story] == [drops for _, drops in story]
    assert requests.due is None


def test_a_late_label_of_an_older_episode_changes_nothing(running):
    older = dataclasses.replace(EPISODE, episode_id="train_000006", index=6)
    turn(running, EpisodeState.ENDED, older)
    assert running.due is not None
    running.made()
    running.on_outcome(outcome(0), 0.0)
    assert running.due.decision == 1


def test_a_restarted_process_waits_for_the_outcome_that_tells_where_the_episode_is():
    requests = ObservationRequests()
    turn(requests, EpisodeState.RUNNING, is_old=True)
    assert requests.due is None
    requests.on_outcome(outcome(1), 0.0)
    assert requests.due.decision == 2


def test_cameras_are_asked_at_once_and_again_while_nothing_comes(running):
    asked = [t for t in np.arange(0.0, 1.3, 0.1) if running.take_trigger(t)]
    assert asked == pytest.approx([0.0, 0.5, 1.0])
    running.made()
    assert not running.take_trigger(9.0)


def test_somebody_is_told_every_time_the_patience_ends(running):
    told = [t for t in np.arange(0.0, 7.0, 0.5) if running.take_complaint(3.0, t)]
    assert told == pytest.approx([3.0, 6.0])


def test_sequence_numbers_never_repeat():
    numbers = [
        sequence_number(phase, index, decision)
        for phase in Phase
        for index in (0, 1, 2, 99_999)
        for decision in range(0, 1000, 37)
    ]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) == 1


def test_word_that_the_next_chunk_is_wanted_asks_before_the_outcome_comes(running):
    running.made()
    running.on_outcome(outcome(0, stamp_ns=1500), 0.0)  # its progress: rows are left
    assert (running.due.decision, running.due.stamp_ns) == (1, 1500)
    running.on_outcome(outcome(0), 0.0)
    assert running.due.stamp_ns == 1500, "the outcome asks for nothing more"
    running.made()
    running.on_outcome(outcome(0), 0.0)
    assert running.due is None
    running.on_outcome(outcome(1), 0.0)
    assert running.due.decision == 2
