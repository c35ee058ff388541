"""What progress becomes: each shape against values worked out by hand."""

import numpy as np
import pytest
import torch
from transitions import PLAIN, Z, transition

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.learners.goals import goal, returns
from tmrl_ros.learning.replay import Batch, Replay

DISCOUNT, WEIGHT = 0.9, 0.5
SHAPES = ("success", "potential", "difference", "progress")


def method(shape: str) -> MethodConfig:
    return MethodConfig(reward=shape, discount=DISCOUNT, progress_weight=WEIGHT)


def episode(progress: list[float], *, success: bool) -> list:
    """Decisions between observations of that progress; the last one ends it, or is cut off."""
    last = len(progress) - 2
    return [
        transition(
            "train_000001",
            decision=k,
            progress=progress[k],
            next_progress=progress[k + 1],
            reward=float(success and k == last),
            terminated=success and k == last,
            truncated=not success and k == last,
            success_episode=success,
        )
        for k in range(last + 1)
    ]


def batch_of(rows: list) -> Batch:
    """The rows as the replay gives them, in order."""
    replay = Replay(len(PLAIN.features), Z, 0, 100)
    replay.add_episode(rows)
    return replay._batch(np.arange(len(rows)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("success", [True, False])
def test_goals_that_follow_returns_are_the_returns(shape: str, success: bool) -> None:
    rows = episode([0.1, 0.4, 0.3, 1.0 if success else 0.6], success=success)
    wanted = returns(rows, method(shape))
    rest = rows[-1].next_progress
    beyond = {"progress": rest - 1, "potential": -WEIGHT * rest}.get(shape, 0.0)
    following = torch.tensor([*wanted[1:], beyond], dtype=torch.float32)
    found = goal(batch_of(rows), following, method(shape))
    assert found.numpy() == pytest.approx(wanted, abs=1e-6)


def test_returns_by_hand() -> None:
    rows = episode([0.0, 0.5, 1.0], success=True)
    assert returns(rows, method("success")) == pytest.approx([0.9, 1.0])
    assert returns(rows, method("potential")) == pytest.approx([0.9, 0.75])
    assert returns(rows, method("difference")) == pytest.approx([0.25 + 0.9 * 1.25, 1.25])
    assert returns(rows, method("progress")) == pytest.approx([0.1 * -0.5, 0.0])


def test_a_failure_that_ends_the_episode_is_the_worst_of_progress() -> None:
    row = transition("train_000001", terminated=True, progress=0.8, next_progress=0.8)
    found = goal(batch_of([row]), torch.zeros(1), method("progress"))
    assert found.tolist() == [-1.0]
    assert returns([row], method("progress")).tolist() == [-1.0]


def test_a_potential_changes_no_preference_between_decisions_of_one_state() -> None:
    better = transition("a", progress=0.3, next_progress=0.9)
    worse = transition("a", progress=0.3, next_progress=0.2)
    batch, following = batch_of([better, worse]), torch.tensor([-0.4, 0.0])
    shaped = goal(batch, following, method("potential"))
    # the same next values without the potential: what critics say, and what is known beforehand
    plain = goal(batch, following + WEIGHT * batch.next_progress, method("success"))
    assert (shaped - plain).tolist() == pytest.approx([-WEIGHT * 0.3] * 2)


@pytest.mark.parametrize(
    ("shape", "low", "high"),
    [("success", 0, 1), ("potential", -0.5, 1), ("difference", -0.5, 1.5), ("progress", -1, 0)],
)
def test_goals_stay_in_range_whatever_critics_say(shape: str, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    rows = [
        transition("a", progress=p, next_progress=q, reward=float(r), terminated=bool(r))
        for p, q, r in zip(rng.random(50), rng.random(50), rng.integers(0, 2, 50), strict=True)
    ]
    wild = torch.from_numpy(rng.normal(0, 10, 50).astype(np.float32))
    found = goal(batch_of(rows), wild, method(shape))
    assert found.min() >= low - 1e-6 and found.max() <= high + 1e-6


def test_the_published_settings_know_success_alone() -> None:
    with pytest.raises(ValueError, match="tmrl_paper knows success alone"):
        MethodConfig(name="tmrl_paper", reward="potential")
