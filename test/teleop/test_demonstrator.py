"""What is done with the arm in a person's episode where nobody steers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import (
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Phase,
    Pose,
    Target,
)
from tmrl_ros.teleop.demonstrator import Demonstrator

CONFIG = load_config(["task=lift", "method=person", "reward=none"])
DOWN = np.array(CONFIG.task.orientation_xyzw)
NAME = "collect_000000"
assert ChunkResult.EXECUTED == 0


def episode(state=EpisodeState.RUNNING, name=NAME, most=10) -> Episode:
    return Episode(
        0, name, 0, Phase.COLLECT, state, EpisodeOutcome.NONE, "", 1, "lift", "lift", "person",
        False, False, most, 0, 0.0,
    )  # fmt: skip


def answer(made, at, width_m=0.06, decision=0):
    return made.answer(5, 7, NAME, decision, Pose(np.asarray(at, float), DOWN), width_m)


def target(at, width_m=0.01) -> Target:
    return Target(1, 1, False, Pose(np.asarray(at, float), DOWN), width_m)


@pytest.fixture
def made():
    made = Demonstrator(CONFIG)
    made.on_episode(episode())
    return made


def test_the_arm_stays_where_it_was_sent_and_keeps_what_it_holds(made):
    made.on_target(target([0.5, 0.0, 0.2]))
    chunk = answer(made, [0.5, 0.0, 0.195])
    assert chunk.source is ChunkSource.HUMAN and chunk.execute_steps == CONFIG.collect.rows
    np.testing.assert_allclose(chunk.actions[:, :3], [[0, 0, 0.005]] * CONFIG.collect.rows)
    np.testing.assert_allclose(chunk.actions[:, 3], 0.01 / 0.08)


@given(st.floats(0.11, 1.0), st.floats(0, 2 * np.pi))
def test_an_arm_that_was_moved_away_is_not_pulled_back(far_m, angle):
    made = Demonstrator(CONFIG)
    made.on_target(target([0.5 + far_m * np.cos(angle), far_m * np.sin(angle), 0.2]))
    chunk = answer(made, [0.5, 0.0, 0.2])
    assert not chunk.actions[:, :3].any()


def test_before_the_first_target_everything_stays_as_measured(made):
    chunk = answer(made, [0.5, 0.0, 0.2], width_m=0.04)
    assert not chunk.actions[:, :3].any() and np.allclose(chunk.actions[:, 3], 0.5)


@pytest.mark.parametrize(
    ("state", "decision"),
    [(EpisodeState.READY, 0), (EpisodeState.ENDED, 3), (EpisodeState.RUNNING, 10)],
)
def test_nothing_is_asked_for_outside_the_episode(state, decision):
    made = Demonstrator(CONFIG)
    made.on_episode(episode(state))
    assert answer(made, [0.5, 0, 0.2], decision=decision).execute_steps == 0


def test_a_late_label_of_another_episode_changes_nothing(made):
    made.on_episode(episode(EpisodeState.ENDED, name="collect_000004"))
    assert answer(made, [0.5, 0, 0.2]).execute_steps == CONFIG.collect.rows
