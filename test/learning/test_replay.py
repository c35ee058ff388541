"""The replay gives back what it was given, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transitions import transition

from tmrl_ros.data.plans import KEPT_CANDIDATES, PLAN_SIZE
from tmrl_ros.data.transitions import Transition
from tmrl_ros.learning.replay import Replay

F, Z, C = 3, 2, 5
REWARD = F + Z + 1 + C + PLAN_SIZE


def row(episode: str, decision: int, *, reward: float = 0.0, success: bool = False) -> Transition:
    """A transition whose numbers tell where it came from."""
    value = float(decision)
    return transition(
        episode,
        decision=decision,
        features=np.full(F, value, np.float32),
        z=np.full(Z, -value, np.float32),
        t_context=0.25,
        eps_context=np.full(C, value - 0.5, np.float32),
        plan=np.full(PLAN_SIZE, value + 0.5, np.float32),
        reward=reward,
        next_features=np.full(F, value + 1, np.float32),
        next_plans=np.full((3, PLAN_SIZE), value + 1.5, np.float32),
        terminated=reward > 0,
        success_episode=success,
    )


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8), capacity=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_every_drawn_row_was_added_and_next_features_belong_to_it(
    lengths: list[int], capacity: int
) -> None:
    replay = Replay(F, Z, C, capacity)
    for number, length in enumerate(lengths):
        replay.add_episode([row(str(number), k) for k in range(length)])
    assert replay.size == min(sum(lengths), capacity)
    batch = replay.sample(64, 0.5, np.random.default_rng(0))
    assert np.allclose(batch.next_features, batch.features + 1)
    assert np.allclose(batch.z, -batch.features[:, :Z])
    assert np.allclose(batch.t, 0.25)
    assert np.allclose(batch.eps, batch.features[:, :1] - 0.5)
    assert np.allclose(batch.plan, batch.features[:, :1] + 0.5)
    assert np.allclose(batch.next_plans, batch.features[:, :1, None] + 1.5)


def test_half_of_a_batch_comes_from_successes_when_there_are_any() -> None:
    replay = Replay(F, Z, C, 1000)
    replay.add_episode([row("bad", k) for k in range(100)])
    replay.add_episode([row("good", 500, reward=1.0, success=True)])
    batch = replay.sample(200, 0.5, np.random.default_rng(0))
    assert 100 <= int((batch.features[:, 0] == 500).sum()) < 130
    assert replay.successes() == 1


def test_the_other_half_can_be_of_failures_alone() -> None:
    replay = Replay(F, Z, C, 1000)
    replay.add_episode([row("bad", 1)])
    replay.add_episode([row("good", k + 500, success=True) for k in range(100)])
    batch = replay.sample(200, 0.5, np.random.default_rng(0), apart=True)
    assert int((batch.features[:, 0] == 1).sum()) == 100


def test_a_row_that_is_not_finite_is_refused_and_nothing_of_its_episode_is_kept() -> None:
    replay = Replay(F, Z, C, 10)
    bad = row("x", 1)
    bad.features[0] = np.nan
    with pytest.raises(ValueError, match="transition 1 of x"):
        replay.add_episode([row("x", 0), bad])
    assert replay.size == 0


def test_fewer_plans_than_are_kept_are_repeated_and_no_others_made_up() -> None:
    replay = Replay(F, Z, C, 10)
    known = np.arange(3 * PLAN_SIZE, dtype=np.float32).reshape(3, PLAN_SIZE)
    replay.add_episode([replace(row("x", 0), next_plans=known)])
    plans = replay.sample(4, 0.5, np.random.default_rng(0)).next_plans.numpy()
    assert plans.shape == (4, KEPT_CANDIDATES, PLAN_SIZE)
    assert {tuple(plan) for plan in plans[0]} == {tuple(plan) for plan in known}


def test_an_empty_replay_says_so() -> None:
    with pytest.raises(ValueError, match="replay is empty"):
        Replay(F, Z, C, 10).sample(4, 0.5, np.random.default_rng(0))


def test_relabelling_changes_an_episode_in_place() -> None:
    replay = Replay(F, Z, C, 10)
    replay.add_episode([row("a", 0), row("a", 1)])
    replay.add_episode([row("b", 2)])
    replay.relabel("a", [row("a", 0, success=True), row("a", 1, reward=1.0, success=True)])
    assert replay.size == 3
    assert replay.successes() == 2
    replay.add_episode([row("c", 3)])
    assert replay.size == 4
    with pytest.raises(ValueError, match="x is not in the replay"):
        replay.relabel("x", [row("x", 0)])


def stored(replay: Replay) -> list[float]:
    """Rewards in the buffer, which tell the rows apart here, without order."""
    return sorted(float(value) for value in replay._columns[: replay.size, REWARD])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("older", [0, 3, 6, 9])
def test_late_words_may_add_and_take_away_rows(count: int, older: int) -> None:
    replay = Replay(F, Z, C, 8)
    for k in range(older):
        replay.add_episode([row("old", k, reward=100.0 + k)])
    replay.add_episode([row("a", 0, reward=0.0), row("a", 1, reward=1.0)])
    replay.add_episode([row("b", 2, reward=50.0)])
    others = [value for value in stored(replay) if value >= 50.0]
    new = [row("a", k, reward=10.0 + k, success=True) for k in range(count)]
    replay.relabel("a", new)
    expected = (others + [10.0 + k for k in range(count)])[-8:]
    if len(others) + count <= 8:
        assert stored(replay) == sorted(expected)
    else:
        assert replay.size == 8 and all(10.0 + k in stored(replay) for k in range(count))
    assert replay.successes() == count
    replay.add_episode([row("c", 9, reward=7.0)])
    assert 7.0 in stored(replay) and replay.size == min(8, len(others) + count + 1)


def test_in_a_full_ring_new_labels_keep_the_order_of_decisions() -> None:
    replay = Replay(F, Z, C, 4)
    replay.add_episode([row("old", k, reward=9.0) for k in range(3)])
    replay.add_episode([row("a", k, reward=float(k)) for k in range(3)])  # wraps around
    before = {float(r): i for i, r in enumerate(replay._columns[:4, REWARD])}
    replay.relabel("a", [row("a", k, reward=10.0 + k) for k in range(3)])
    after = {float(r) - 10.0: i for i, r in enumerate(replay._columns[:4, REWARD])}
    assert [after[float(k)] for k in range(3)] == [before[float(k)] for k in range(3)]


def test_it_knows_its_episodes(tmp_path: Path) -> None:
    replay = Replay(F, Z, C, 10)
    replay.add_episode([row("a", 0)])
    assert "a" in replay and "b" not in replay
