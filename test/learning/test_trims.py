"""What a person cuts off leaves the replay, and comes back when that is taken back."""

from dataclasses import replace

import numpy as np
import pytest
import recorded
from told import ROWS, learn, pieces_of, record_of

from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.data.assembler import assemble
from tmrl_ros.data.trims import Trim

NAME = "train_000000"
NONE, SUCCESS, FAILURE, TIMEOUT, ABORTED = list(EpisodeOutcome)


def cut(decisions, outcome=NONE, replaced=(TIMEOUT, "reward"), by="ada"):
    return Trim(NAME, decisions, by, outcome, replaced)


def tell(core, pieces):
    for piece in pieces:
        core.on_piece(piece)


def rows(core):
    """(reward, terminated) of the rows in the replay."""
    columns = core.replay._columns[: core.replay.size]
    reward_at = core.replay._split[4]
    return sorted(zip(columns[:, reward_at].tolist(), columns[:, -1].tolist(), strict=True))


def test_rows_after_the_cut_leave_and_the_last_one_kept_gets_the_outcome(make):
    core = make()
    tell(core, pieces_of())
    learn(core)
    whole = rows(core)
    core.trim(NAME, cut(2, SUCCESS))
    assert rows(core) == [(0.0, 0.0), (1.0, 1.0)]
    assert (core.replay.successes(), core.progress.successes) == (2, 1)
    assert core.progress.warmup["0"] == [1.0, 0.0]
    core.trim(NAME, cut(1, FAILURE))
    assert rows(core) == [(0.0, 1.0)] and core.progress.successes == 0
    core.trim(NAME, None)
    assert rows(core) == whole and core.replay.size == ROWS
    assert core.progress.warmup["0"] == [0.0, 1.0]


def test_without_an_outcome_the_last_row_ends_as_the_episode_did(make):
    core = make()
    tell(core, pieces_of(result=SUCCESS))
    learn(core)
    core.trim(NAME, cut(2, replaced=(SUCCESS, "reward")))
    assert rows(core) == [(0.0, 0.0), (1.0, 1.0)] and core.progress.successes == 1
    timed_out = assemble(replace(record_of(pieces_of()), trim=cut(2))).transitions
    assert [(row.truncated, row.terminated) for row in timed_out] == [(False, False), (True, False)]


def test_a_label_after_the_cut_changes_the_outcome_of_what_is_kept(make):
    core = make()
    tell(core, pieces_of())
    learn(core)
    core.trim(NAME, cut(2, SUCCESS))
    said = recorded.event(NAME, EpisodeState.ENDED, FAILURE, ROWS, "bob", 5)
    core.on_piece(said)
    assert rows(core) == [(0.0, 0.0), (0.0, 1.0)]
    core.trim(NAME, cut(1, SUCCESS, replaced=(FAILURE, "bob")))
    assert rows(core) == [(1.0, 1.0)]
    core.on_piece(replace(said, outcome=ABORTED, stamp_ns=6))
    assert core.replay.size == 0


def test_an_episode_that_waits_or_is_being_learned_is_cut_too(make):
    core = make(updates_per_decision=1)
    second = "train_000001"
    tell(core, [*pieces_of(), *pieces_of(second)])
    core.work(0.0)
    assert not core.between_episodes
    core.trim(NAME, cut(1))
    core.trim(second, replace(cut(2, SUCCESS), episode_id=second))
    assert learn(core) == [NAME, second]
    assert (core.replay.size, core.replay.successes()) == (3, 2)
    assert core.progress.successes == 1


def test_updates_are_owed_for_rows_that_come_back(make):
    core = make(updates_per_decision=2)
    tell(core, pieces_of())
    learn(core)
    core.trim(NAME, cut(1))
    assert core.updates_owed == 0
    core.trim(NAME, None)
    assert core.updates_owed == 2 * (ROWS - 1)


@pytest.mark.parametrize("learned", [False, True])
def test_a_resume_comes_to_the_same_replay(make, learned):
    core = make()
    tell(core, pieces_of())
    if learned:
        learn(core)
        core.save()
    core.trim(NAME, cut(2, SUCCESS))
    learn(core)
    again = make()
    again.restore([replace(record_of(pieces_of()), trim=cut(2, SUCCESS))])
    learn(again)
    size = core.replay.size
    assert (again.replay.size, again.progress) == (size, core.progress)
    assert np.array_equal(again.replay._columns[:size], core.replay._columns[:size])
    again.trim(NAME, None)
    assert again.replay.size == ROWS


def test_a_cut_of_an_unknown_episode_changes_nothing(make):
    core = make()
    tell(core, pieces_of())
    learn(core)
    core.trim("train_000007", cut(1))
    assert core.replay.size == ROWS
