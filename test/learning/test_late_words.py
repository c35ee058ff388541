"""What comes after an episode was taken, a person's label above all, reaches the replay."""

import numpy as np
import recorded
from told import ROWS, learn, pieces_of, record_of

from tmrl_ros.core.types import Episode, EpisodeOutcome, EpisodeState

SUCCESS, FAILURE = EpisodeOutcome.SUCCESS, EpisodeOutcome.FAILURE
TIMEOUT, ABORTED = EpisodeOutcome.TIMEOUT, EpisodeOutcome.ABORTED


def label(result, episode_id="train_000000", by="ada"):
    return recorded.event(
        episode_id, EpisodeState.ENDED, result, ROWS, by, recorded.item_stamp(episode_id) + 3
    )


def tell(core, pieces):
    for piece in pieces:
        core.on_piece(piece)


def rewards(core):
    """The rewards that occur in the replay."""
    batch = core.replay.sample(400, 0.0, np.random.default_rng(0))
    return sorted({float(value) for value in batch.reward})


def counted(core):
    return core.progress.successes, core.progress.warmup["0"]


def test_label_after_the_updates_rewrites_rewards_and_counts(make):
    core = make()
    tell(core, pieces_of())
    learn(core)
    assert (core.replay.successes(), rewards(core), counted(core)) == (0, [0.0], (0, [0.0, 1.0]))
    core.on_piece(label(SUCCESS))
    assert core.replay.successes() == core.replay.size == ROWS
    assert rewards(core) == [0.0, 1.0]
    assert counted(core) == (1, [1.0, 0.0])
    core.on_piece(label(FAILURE, by="bob"))
    assert (core.replay.successes(), rewards(core), counted(core)) == (0, [0.0], (0, [0.0, 1.0]))


def test_label_that_changes_nothing_changes_nothing(make):
    core = make()
    tell(core, pieces_of(result=SUCCESS))
    learn(core)
    before = core.replay._columns.copy()
    core.on_piece(label(SUCCESS))
    assert (core.replay._columns == before).all() and counted(core) == (1, [1.0, 0.0])


def test_label_on_an_episode_that_waits_is_there_when_it_is_learned(make):
    core = make()
    tell(core, [*pieces_of(), *pieces_of("train_000001")])
    core.on_piece(label(SUCCESS, "train_000001"))
    assert core.replay.size == 0
    learn(core)
    assert core.replay.successes() == ROWS and core.replay.size == 2 * ROWS
    assert counted(core) == (1, [1.0, 1.0])


def test_label_in_the_middle_of_the_updates_counts_once(make):
    core = make(updates_per_decision=1)
    tell(core, pieces_of())
    core.work(0.0)
    assert not core.between_episodes and core.replay.size == ROWS
    core.on_piece(label(SUCCESS))
    learn(core)
    assert core.replay.successes() == ROWS and counted(core) == (1, [1.0, 0.0])


def test_person_who_takes_an_episode_back_takes_its_rows_out(make):
    core = make()
    tell(core, [*pieces_of(result=SUCCESS), *pieces_of("train_000001")])
    learn(core)
    core.on_piece(label(ABORTED))
    assert core.replay.size == ROWS and core.replay.successes() == 0
    assert counted(core) == (0, [0.0, 1.0])
    core.on_piece(label(SUCCESS, by="bob"))
    assert core.replay.size == 2 * ROWS and core.replay.successes() == ROWS


def test_estimates_that_come_late_bring_their_rows_and_the_updates_for_them(make):
    core = make(updates_per_decision=2)
    tell(core, pieces_of(lost=(1, 3)))
    assert core.intake.incomplete == "train_000000"
    core.intake.close_incomplete("train_000000")
    learn(core)
    assert (core.replay.size, core.intake.dropped_rows, core.updates_owed) == (1, 2, 0)
    core.on_piece(recorded.reward(3))
    assert (core.replay.size, core.intake.dropped_rows, core.updates_owed) == (2, 1, 2)
    core.on_piece(recorded.reward(1))
    assert (core.replay.size, core.intake.dropped_rows, core.updates_owed) == (ROWS, 0, 4)
    tell(core, pieces_of("train_000001"))
    learn(core)
    assert (core.learner.updates, core.updates_owed) == (2 * 2 * ROWS, 0)


def test_valid_estimate_replaces_an_invalid_one_and_not_the_other_way_round(make):
    core = make()
    tell(core, pieces_of(lost=(2,)))
    core.on_piece(recorded.reward(2, valid=False))
    core.intake.close_incomplete("train_000000")
    learn(core)
    assert core.replay.size == ROWS - 1
    core.on_piece(recorded.reward(2))
    assert core.replay.size == ROWS
    core.on_piece(recorded.reward(2, valid=False))
    assert core.replay.size == ROWS


def test_repeated_episode_is_not_changed_by_words_on_its_first_attempt(make):
    core = make()
    tell(core, pieces_of()[:6])
    core.on_piece(label(ABORTED, by=""))
    core.on_piece(label(SUCCESS))  # nothing of it was taken
    learn(core)
    assert core.replay.size == 0
    tell(core, pieces_of())
    learn(core)
    assert core.replay.size == ROWS and core.replay.successes() == 0


def test_label_after_the_checkpoint_is_counted_after_a_resume(make):
    told = [pieces_of(f"train_{k:06d}", result) for k, result in enumerate([SUCCESS, TIMEOUT])]
    core = make()
    tell(core, [piece for pieces in told for piece in pieces])
    learn(core)
    core.save()
    core.on_piece(label(SUCCESS, "train_000001"))  # in the bags, not in the checkpoint
    again = make()
    assert again.restore(
        [record_of(told[0]), record_of([*told[1], label(SUCCESS, "train_000001")])]
    )
    assert counted(again) == counted(core) == (2, [2.0, 0.0])
    assert again.replay.successes() == core.replay.successes() == 2 * ROWS


def test_label_on_an_episode_of_an_earlier_run_is_followed_too(make):
    core = make()
    tell(core, pieces_of())
    learn(core)
    core.save()
    again = make()
    again.restore([record_of(pieces_of())])
    tell(again, [piece for piece in pieces_of() if isinstance(piece, Episode)])  # said again
    assert again.replay.successes() == 0 and again.replay.size == ROWS
    again.on_piece(label(SUCCESS))
    assert again.replay.successes() == again.replay.size == ROWS
    assert again.progress.successes == 1
