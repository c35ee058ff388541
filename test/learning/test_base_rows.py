"""Training episodes that the base policy acted in are learned from, as far as a method can."""

from dataclasses import replace

import numpy as np
import pytest
from told import ROWS, learn, pieces_of

from tmrl_ros.core.types import Chunk, EpisodeOutcome


def by_base(episode_id):
    pieces = pieces_of(episode_id, EpisodeOutcome.SUCCESS)
    none = np.zeros(0, np.float32)  # every row of the chunk had noise of its own
    return [replace(p, actor="base", z=none) if isinstance(p, Chunk) else p for p in pieces]


def tell(core, *episodes):
    for pieces in episodes:
        for piece in pieces:
            core.on_piece(piece)


@pytest.mark.parametrize(("name", "rows"), [("tmrl", ROWS), ("expo", ROWS), ("dsrl", 0)])
def test_critics_of_plans_learn_from_them_and_critics_of_noise_do_not(make, name, rows):
    core = make(name=name, critics=2)
    tell(core, by_base("train_000000"))
    assert learn(core) == ["train_000000"], "the arm does not wait for it in vain"
    assert (core.replay.size, core.progress.successes) == (rows, 1)


def test_they_are_no_trial_of_a_warmup_level(make):
    core = make()
    tell(core, by_base("train_000000"))
    learn(core)
    assert core.progress.warmup == {}


def test_they_do_not_count_as_what_the_critics_promised(make):
    core = make(updates_per_decision=1, critics=2)
    tell(core, pieces_of("train_000000"), by_base("train_000001"))
    learn(core)
    assert core.learner.updates and "value_expected" not in core.metrics()
    tell(core, pieces_of("train_000002"))
    learn(core)
    assert core.metrics()["return_seen"] == 0.0
