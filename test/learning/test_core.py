"""The learner takes all of an episode, in whatever order and however late its messages come."""

import recorded
from told import ROWS, learn, pieces_of, record_of

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
    assert core.dropped_rows == 0


def test_what_a_late_learner_has_missed_comes_from_the_record(make):
    missed = pieces_of("train_000000")
    asked = []

    def recall(episode_id):
        asked.append(episode_id)
        return record_of(missed)

    core = make(recall=recall)
    for piece in split(missed)[0]:  # which the middleware says again to late joiners
        core.on_piece(piece)
    assert core.incomplete == "train_000000"
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
    assert core.incomplete == "train_000000"
    core.close_incomplete("train_000000")
    assert core.incomplete == ""
    assert learn(core) == ["train_000000"]
    assert core.replay.size == ROWS - 1
    assert core.dropped_rows == 1


def test_restored_episodes_are_not_learned_from_again_when_they_are_announced_again(make):
    pieces = pieces_of("train_000000")
    core = make()
    assert core.restore([record_of(pieces)]) == 1
    for piece in pieces:
        core.on_piece(piece)
    assert learn(core) == ["train_000000"]
    assert core.progress.episodes == 1
    assert core.replay.size == ROWS
    assert core.incomplete == ""


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
