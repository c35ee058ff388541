"""The assembler: the same rows in any order, and nothing made up."""

from dataclasses import astuple, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import STEPS, chunk, episode, event, outcome, reward

from tmrl_ros.core.types import (
    Chunk,
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Outcome,
    Reward,
)
from tmrl_ros.data.assembler import EpisodeAssembler
from tmrl_ros.data.plans import executed_plan

NAME = "train_000000"
SUCCESS, FAILURE, TIMEOUT, ABORTED = list(EpisodeOutcome)[1:]


def pieces_of(decisions=3, result=SUCCESS):
    kinds = (Chunk, Outcome, Reward, Episode)
    return [p for p in episode(NAME, decisions, result) if isinstance(p, kinds)]


def feed(pieces, **options):
    assembler = EpisodeAssembler(NAME, **options)
    returned = [assembler.add(piece) for piece in pieces]
    return assembler, returned


def rows_of(pieces, **options):
    return feed(pieces, **options)[0].finish().transitions


def plain(rows):
    return [[v.tobytes() if isinstance(v, np.ndarray) else v for v in astuple(row)] for row in rows]


def ended(result, decisions=3, by="reward", stamp_ns=9):
    return event(NAME, EpisodeState.ENDED, result, decisions, by, stamp_ns)


def without(pieces, kind, decision):
    return [
        p for p in pieces if not (isinstance(p, kind) and p.decision == decision and _is_policy(p))
    ]


def _is_policy(piece):
    return getattr(piece, "source", ChunkSource.POLICY) is ChunkSource.POLICY


def test_rows_hold_what_the_messages_said():
    rows = rows_of(pieces_of())
    for k, row in enumerate(rows):
        assert row.decision == k and row.episode_id == NAME
        assert np.array_equal(row.features, chunk(k).features)
        assert np.array_equal(row.next_features, chunk(k + 1).features)
        assert np.array_equal(row.z, chunk(k).z) and row.t_context == 0.25
        assert np.array_equal(row.executed, outcome(k).executed)
        assert row.executed.shape == (STEPS, 4)
        assert row.source is ChunkSource.POLICY and row.parameters_version == 9
        assert row.success_episode
    assert [row.terminated for row in rows] == [False, False, True]
    assert [row.reward for row in rows] == [0.0, 0.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_and_repetition_give_the_same_rows(data):
    result = data.draw(st.sampled_from([SUCCESS, TIMEOUT]))
    pieces = pieces_of(data.draw(st.integers(0, 4)), result)
    expected = plain(rows_of(pieces))
    repeated = pieces + data.draw(st.lists(st.sampled_from(pieces), max_size=5))
    shuffled = data.draw(st.permutations(repeated))
    assembler, returned = feed(shuffled)
    assert plain(assembler.finish().transitions) == expected
    first = next(rows for rows in returned if rows is not None)
    assert plain(first) == expected, "rows come only once nothing is missing"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_lost_messages_cost_their_rows_and_no_others(data):
    pieces = pieces_of(4, TIMEOUT)
    lost = data.draw(st.sets(st.sampled_from(range(len(pieces))), max_size=4))
    kept = data.draw(st.permutations([p for i, p in enumerate(pieces) if i not in lost]))
    assembler, _ = feed(kept)
    episode_rows = assembler.finish()
    expected = {row[1]: row for row in plain(rows_of(pieces))}
    known = 11 if assembler.ended else 10  # that the last row is a time-out is said by the end
    for row in plain(episode_rows.transitions):
        assert row[:known] == expected[row[1]][:known], "a row is as it should be or not there"
    if assembler.ended is not None:
        assert len(episode_rows.transitions) + episode_rows.dropped.total() == 4


def test_each_missing_piece_is_counted_by_name():
    pieces = pieces_of()
    for kind, decision, gone, reason in [
        (Chunk, 0, [0], {"chunk": 1}),
        (Outcome, 1, [1], {"outcome": 1}),
        (Reward, 2, [1], {"reward": 1}),
        (Chunk, 1, [0, 1], {"chunk": 1, "next_chunk": 1}),
    ]:
        assembler, returned = feed(without(pieces, kind, decision))
        assert not any(returned), "an incomplete episode is not handed out by itself"
        found = assembler.finish()
        assert [r.decision for r in found.transitions] == [k for k in range(3) if k not in gone]
        assert dict(found.dropped) == reason


def test_a_timeout_bootstraps_from_its_true_next_features():
    last = rows_of(pieces_of(result=TIMEOUT))[-1]
    assert last.truncated and not last.terminated and last.reward == 0.0
    assert np.array_equal(last.next_features, chunk(3).features)
    assert not last.success_episode


def test_failure_terminates_without_reward():
    pieces = without(pieces_of(result=FAILURE), Reward, 3) + [reward(3, failure=True)]
    last = rows_of(pieces)[-1]
    assert last.terminated and not last.truncated and last.reward == 0.0


def test_aborted_episodes_give_nothing_unless_asked():
    pieces = without(pieces_of(result=ABORTED), Outcome, 2)
    pieces.append(outcome(2, result=ChunkResult.ABORTED))
    assembler, returned = feed(pieces)
    assert assembler.complete and [] in returned
    found = feed(pieces, include_aborted=True)[0].finish()
    assert [row.decision for row in found.transitions] == [0, 1]
    assert dict(found.dropped) == {"not_executed": 1}


def test_a_rejected_chunk_is_no_transition_and_holds_nothing_up():
    pieces = without(pieces_of(), Outcome, 1) + [outcome(1, result=ChunkResult.REJECTED)]
    assembler, _ = feed(pieces)
    assert assembler.complete
    assert [row.decision for row in assembler.finish().transitions] == [0, 2]


def test_an_invalid_estimate_waits_for_a_valid_one_and_is_dropped_in_the_end():
    pieces = without(pieces_of(), Reward, 2) + [reward(2, valid=False, success=True)]
    assembler, _ = feed(pieces)
    assert not assembler.complete
    assert dict(assembler.finish().dropped) == {"invalid_reward": 1}
    rows = assembler.add(reward(2))
    assert [row.decision for row in rows] == [0, 1, 2]
    assert assembler.add(reward(2, valid=False)) is not None, "a valid one is not taken back"


def test_a_person_s_label_overrules_the_estimate_on_the_last_row():
    for said, result, reward_, terminated, truncated in [
        (TIMEOUT, SUCCESS, 1.0, True, False),
        (SUCCESS, FAILURE, 0.0, True, False),
        (SUCCESS, TIMEOUT, 0.0, False, True),
    ]:
        for by in ("operator", "alice"):
            rows = rows_of([*pieces_of(result=said), ended(result, by=by)])
            assert len(rows) == 3
            assert all(row.success_episode == (result is SUCCESS) for row in rows)
            last = rows[-1]
            assert (last.reward, last.terminated, last.truncated) == (
                reward_,
                terminated,
                truncated,
            )


def test_a_label_counts_whenever_it_comes():
    pieces = pieces_of(result=TIMEOUT)
    label = ended(SUCCESS, by="operator", stamp_ns=1)
    expected = plain(rows_of([*pieces, label]))
    assert plain(rows_of([label, *pieces])) == expected
    assembler, _ = feed(pieces)
    assert plain(assembler.add(label)) == expected, "a late label gives the rows again"


def test_a_labelled_end_needs_neither_estimate_nor_next_features():
    pieces = without(without(pieces_of(), Chunk, 3), Reward, 3)
    assembler, _ = feed([p for p in pieces if not isinstance(p, Episode)])
    assembler.add(ended(SUCCESS, by="operator"))
    assert not assembler.complete, "they may still come"
    last = assembler.finish().transitions[-1]
    assert last.decision == 2 and last.reward == 1.0 and last.terminated


def test_a_wrong_success_estimate_within_the_episode_is_taken_back_by_the_person():
    pieces = without(pieces_of(result=TIMEOUT), Reward, 1) + [reward(1, success=True)]
    assert [row.decision for row in rows_of(pieces)] == [0]
    rows = rows_of([*pieces, ended(TIMEOUT, by="operator")])
    assert [row.decision for row in rows] == [0, 1, 2]
    assert not any(row.terminated or row.reward for row in rows)


def test_nothing_follows_the_end_of_the_episode():
    pieces = without(pieces_of(), Reward, 2) + [reward(2, success=True)]
    found = feed(pieces)[0].finish()
    assert [row.decision for row in found.transitions] == [0, 1]
    assert dict(found.dropped) == {"after_end": 1}
    early = without(without(pieces, Chunk, 3), Reward, 3)
    assert feed(early)[0].complete, "what would follow is not waited for"


def test_rows_that_are_not_finite_never_reach_the_learner():
    bad = chunk(1)
    bad.features[0] = np.nan
    found = feed(without(pieces_of(), Chunk, 1) + [bad])[0].finish()
    assert [row.decision for row in found.transitions] == [2]
    assert dict(found.dropped) == {"not_finite": 2}


def test_other_episodes_and_the_way_home_are_ignored():
    strangers = [chunk(0, "train_000001"), reward(1, "train_000001", success=True)]
    home = [outcome(0, sequence=100, result=ChunkResult.REJECTED, source=ChunkSource.RESET)]
    assert plain(rows_of(home + strangers + pieces_of())) == plain(rows_of(pieces_of()))


def test_of_a_repeated_episode_only_the_last_attempt_counts():
    first = [chunk(0, sequence=1), outcome(0, sequence=1), chunk(1, sequence=2)]
    again = first + [reward(1, sequence=2, success=True)]
    for pieces in (again + pieces_of(), pieces_of() + again):
        assert plain(rows_of(pieces)) == plain(rows_of(pieces_of()))


def test_an_episode_without_its_end_gives_the_rows_that_are_complete():
    pieces = [p for p in pieces_of() if not isinstance(p, Episode)]
    assembler, returned = feed(without(pieces, Outcome, 2))
    assert not any(returned)
    found = assembler.finish()
    assert [row.decision for row in found.transitions] == [0, 1]
    assert found.ended is None and not any(row.truncated for row in found.transitions)


def second_attempt(pieces):
    """The same pieces ten seconds of robot time later."""
    return [replace(piece, stamp_ns=piece.stamp_ns + 10_000_000_000) for piece in pieces]


def late_pieces():
    """What an earlier attempt may still say when it is over: other motions, and a success."""
    for piece in pieces_of():
        match piece:
            case Chunk() if _is_policy(piece):
                yield replace(piece, z=piece.z + 1.0)
            case Outcome() if _is_policy(piece):
                yield replace(piece, result=ChunkResult.SKIPPED, steps_sent=0)
            case Reward():
                yield replace(piece, success=True)


@given(st.permutations([*late_pieces(), *second_attempt(pieces_of())]))
@settings(max_examples=50, deadline=None)
def test_late_pieces_of_an_earlier_attempt_change_nothing(mixed):
    assert plain(rows_of(mixed)) == plain(rows_of(second_attempt(pieces_of())))


def test_a_plan_that_a_person_changed_begins_with_the_rows_that_the_chunk_before_carried_out():
    pieces = []
    for piece in pieces_of():
        if isinstance(piece, Chunk) and piece.decision == 1:
            piece = replace(piece, committed_steps=4)
        if isinstance(piece, Outcome) and piece.decision == 1:
            sources = np.full(piece.steps_sent, int(ChunkSource.HUMAN), np.uint8)
            piece = replace(piece, sources=sources)
        pieces.append(piece)
    row = rows_of(pieces)[1]
    made, done = chunk(1).actions, outcome(1).executed
    assert row.human_steps == len(done)
    np.testing.assert_array_equal(row.plan, executed_plan(np.concatenate([made[:4], done]), 8))
    assert not np.array_equal(row.plan, executed_plan(done, 8))
