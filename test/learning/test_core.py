"""The learner takes all of an episode, in whatever order and however late its messages come."""

from dataclasses import replace

import numpy as np
import pytest
import recorded
from told import ROWS, learn, pieces_of, record_of

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import Chunk, Episode, EpisodeOutcome, EpisodeState


def split(pieces):
    """Events of an episode, and everything else of it."""
    events = [piece for piece in pieces if isinstance(piece, Episode)]
    return events, [piece for piece in pieces if not isinstance(piece, Episode)]


def test_events_that_are_read_before_the_rest_cost_no_rows(make):
    """A busy process reads one message of every topic at a time."""
    core = make()
    first, rest = split(pieces_of("train_000000"))
    second, more = split(pieces_of("train_000001"))
    for piece in [*first, *second, *rest, *more]:
        core.on_piece(piece)
    assert learn(core) == ["train_000000", "train_000001"]
    assert core.replay.size == 2 * ROWS
    assert core.intake.dropped_rows == 0


def test_what_a_late_learner_has_missed_comes_from_the_record(make):
    missed = pieces_of("train_000000")
    asked = []

    def recall(episode_id):
        asked.append(episode_id)
        return record_of(missed)

    core = make(recall=recall)
    for piece in split(missed)[0]:  # which the middleware says again to late joiners
        core.on_piece(piece)
    assert core.intake.incomplete == "train_000000"
    for piece in pieces_of("train_000001"):
        core.on_piece(piece)
    assert learn(core) == ["train_000000", "train_000001"]
    assert asked == ["train_000000"]
    assert core.replay.size == 2 * ROWS


def test_an_episode_without_its_rest_is_used_as_far_as_it_goes(make):
    core = make()
    events, rest = split(pieces_of("train_000000"))
    for piece in [*events[:1], *rest, *events[1:]]:
        if not (isinstance(piece, Chunk) and piece.decision == 0):
            core.on_piece(piece)
    assert learn(core) == []
    assert core.intake.incomplete == "train_000000"
    core.intake.close_incomplete("train_000000")
    assert core.intake.incomplete == ""
    assert learn(core) == ["train_000000"]
    assert core.replay.size == ROWS - 1
    assert core.intake.dropped_rows == 1


def test_restored_episodes_are_not_learned_from_again_when_they_are_announced_again(make):
    pieces = pieces_of("train_000000")
    core = make()
    assert core.restore([record_of(pieces)]) == 1
    for piece in pieces:
        core.on_piece(piece)
    assert learn(core) == ["train_000000"]
    assert core.progress.episodes == 1
    assert core.replay.size == ROWS
    assert core.intake.incomplete == ""


def test_an_aborted_episode_is_not_learned_from_but_its_repetition_is(make):
    core = make()
    pieces = pieces_of("train_000000")
    for piece in pieces[:4]:
        core.on_piece(piece)
    core.on_piece(
        recorded.event("train_000000", EpisodeState.ENDED, EpisodeOutcome.ABORTED, decisions=1)
    )
    assert learn(core) == []
    for piece in pieces:
        core.on_piece(piece)
    assert learn(core) == ["train_000000"]
    assert core.replay.size == ROWS


def test_a_replay_that_begins_with_an_earlier_session_is_learned_from_first(make):
    earlier = [record_of(pieces_of(f"train_{k:06d}")) for k in range(4)]
    core = make(updates_per_decision=2, warmup_episodes=3)
    assert core.seed("monday", earlier) == 4 * ROWS
    core.restore([])
    assert core.seeding
    while (weights := core.work(1.0)) is None:
        assert core.seeding
    assert not core.seeding and core.learner.updates == 4 * ROWS * 2
    assert (weights.version, weights.trained_through) == (1, "")
    assert core.progress.episodes == 0, "what others recorded is no episode of this session"
    for piece in pieces_of("train_000000"):
        core.on_piece(piece)
    assert learn(core) == ["train_000000"]
    assert core.replay.size == 5 * ROWS
    assert core.learner.updates == 5 * ROWS * 2, "warm-up is not waited for"


def test_a_learner_that_goes_on_is_seeded_again_without_learning_it_twice(make):
    earlier = [record_of(pieces_of("train_000000"))]
    core = make(updates_per_decision=2)
    core.seed("monday", earlier)
    core.restore([])
    while core.seeding:
        core.work(1.0)
    for piece in pieces_of("train_000000"):
        core.on_piece(piece)
    learn(core)
    core.save()
    again = make(updates_per_decision=2)
    again.seed("monday", earlier)
    again.restore([record_of(pieces_of("train_000000"))])
    assert not again.seeding and again.updates_owed == 0
    assert again.replay.size == core.replay.size == 2 * ROWS


def test_a_session_of_another_policy_is_refused_by_name(make):
    pieces = [
        replace(piece, features=np.zeros(22, np.float32)) if isinstance(piece, Chunk) else piece
        for piece in pieces_of()
    ]
    with pytest.raises(OperatorError, match=r"session monday .*another kind of policy"):
        make().seed("monday", [record_of(pieces)])


@pytest.mark.parametrize("name", ["tmrl", "expo", "dsrl", "tmrl_paper", "rlpd", "vgps"])
def test_what_critics_expect_is_compared_with_what_came(make, name):
    core = make(name=name, updates_per_decision=1, warmup_episodes=1, critics=2)
    for number, result in enumerate((EpisodeOutcome.TIMEOUT, EpisodeOutcome.SUCCESS)):
        for piece in pieces_of(f"train_{number:06d}", result):
            core.on_piece(piece)
        learn(core)
    seen = core.metrics()
    expected = (1 + core.method.discount + core.method.discount**2) / ROWS
    assert seen["return_seen"] == pytest.approx(expected)
    assert -1 < seen["value_expected"] < 2
