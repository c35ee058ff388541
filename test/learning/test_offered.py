"""With which weights an episode is acted."""

import pytest

from tmrl_ros.core.types import Episode, EpisodeOutcome, EpisodeState, Phase
from tmrl_ros.learning.offered import KEPT, OfferedWeights
from tmrl_ros.learning.progress import Weights


def weights(version: int, through: int) -> Weights:
    return Weights(version, f"train_{through:06d}" if through >= 0 else "", "{}", bytes([version]))


def episode(index: int, phase: Phase = Phase.TRAIN) -> Episode:
    state, outcome = EpisodeState.RESETTING, EpisodeOutcome.NONE
    words = {"reason": "", "task": "lift", "prompt": "lift", "method": "tmrl"}
    numbers = {"seed": 0, "max_decisions": 9, "decisions": 0, "robot_seconds": 0.0}
    return Episode(
        *(0, f"train_{index:06d}", index, phase, state, outcome),
        **{**words, **numbers, "learn": True, "deterministic": False},
    )


@pytest.fixture
def offered() -> OfferedWeights:
    """Lagging by one episode; version k was trained through episode k - 1."""
    found = OfferedWeights(1)
    for version in range(5):
        found.add(weights(version, version - 1))
    return found


def test_before_anything_was_published_there_is_nothing() -> None:
    assert OfferedWeights(1).of(episode(0)) is None


def test_in_lockstep_they_are_exactly_that_old_however_fast_the_learner_is(offered) -> None:
    assert [offered.of(episode(index)).version for index in range(1, 6)] == [0, 1, 2, 3, 4]


def test_evaluations_have_the_newest(offered) -> None:
    assert offered.of(episode(1, Phase.EVALUATE_AFTER)).version == 4


def test_where_time_goes_on_they_are_the_newest() -> None:
    found = OfferedWeights(None)
    for version in range(3):
        found.add(weights(version, version))
    assert found.of(episode(1)).version == 2


def test_a_learner_that_was_restarted_begins_anew(offered) -> None:
    offered.add(weights(2, 1))
    assert offered.of(episode(9)).version == 2
    assert offered.of(episode(1)).version == 2, "older ones are forgotten"


def test_only_a_few_are_kept(offered) -> None:
    for version in range(5, 5 + KEPT):
        offered.add(weights(version, version - 1))
    assert offered.of(episode(2)).version == 4 + KEPT, "those of then are gone"
