"""Which sizes of steering are destructive, and what range that leaves."""

import pytest
from episode_events import event
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState, Phase
from tmrl_ros.data.steering import (
    FULL,
    T_LEVELS,
    Z_SCALES,
    Evidence,
    Heard,
    Range,
    Trial,
    episodes_to_tell,
    probe_name,
    probed_scale,
)

SUCCESS, FAILURE, TIMEOUT, ABORTED = list(EpisodeOutcome)[1:]
GOOD = (80, 100)
counts = st.integers(0, 20).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_noise_that_does_no_harm_keeps_its_range():
    assert Evidence(GOOD, {1.0: (4, 5)}, {0.0: (10, 12), 1.0: (0, 1)}).range() == FULL
    assert Evidence().range() == FULL


def test_noise_is_kept_to_the_largest_size_that_does_no_harm():
    assert Evidence(GOOD, {1.0: (0, 5), 0.5: (4, 5)}).range() == Range(0.5)
    assert Evidence(GOOD, {1.0: (0, 5), 0.5: (0, 5), 0.25: (5, 5)}).range() == Range(0.25)
    every = {scale: (0, 5) for scale in Z_SCALES}
    assert Evidence(GOOD, every).range() == Range(0.25)


@pytest.mark.parametrize(
    ("warmup", "t_max"),
    [
        ({0.0: (9, 10), 0.5: (4, 5), 1.0: (0, 5)}, 0.5),
        ({0.0: (9, 10), 0.5: (0, 5), 1.0: (0, 5)}, 0.0),
        ({0.0: (0, 5), 0.5: (0, 5), 1.0: (0, 5)}, 0.0),
        ({0.0: (9, 10), 0.5: (0, 5), 1.0: (4, 5)}, 1.0),
        ({0.0: (9, 10), 0.5: (0, 5), 1.0: (0, 0)}, 1.0),
    ],
)
def test_the_context_timestep_ends_at_the_highest_level_that_does_no_harm(warmup, t_max):
    assert Evidence(GOOD, t=warmup).range().t_max == t_max


@pytest.mark.parametrize("base", [(0, 100), (20, 100), (1, 1), (0, 0)])
def test_a_base_policy_that_rarely_succeeds_has_nothing_to_lose(base):
    """The two tasks whose figures are published start from 0 and 20 of 100."""
    assert episodes_to_tell(base, 10) is None
    tried = {scale: (0, 10) for scale in Z_SCALES}
    assert Evidence(base, tried, {t: (0, 6) for t in T_LEVELS}).range() == FULL


@pytest.mark.parametrize(("base", "episodes"), [((50, 100), 7), ((80, 100), 5), ((100, 100), 5)])
def test_the_better_the_base_policy_the_fewer_episodes_tell(base, episodes):
    assert episodes_to_tell(base, 10) == episodes
    assert Trial("z", 1.0, 0, episodes, base).destructive
    assert not Trial("z", 1.0, 0, episodes - 1, base).can_tell


@given(counts, counts, counts)
def test_more_success_never_narrows_the_range(base, full, half):
    before = Evidence(base, {1.0: full, 0.5: half}).range()
    if full[0] < full[1]:
        better = Evidence(base, {1.0: (full[0] + 1, full[1]), 0.5: half}).range()
        assert better.z_scale >= before.z_scale


@pytest.mark.parametrize("name", ["dsrl", "tmrl_paper"])
def test_a_method_whose_actor_steers_is_narrowed(name):
    method = MethodConfig(name=name, t_max=0.8)
    narrow = Range(0.5, 0.9).narrowed(method)
    assert (narrow.z_bound, narrow.t_max) == (0.75, 0.8)
    assert FULL.narrowed(method) == method


@pytest.mark.parametrize("name", ["tmrl", "expo", "rlpd", "base"])
def test_a_method_whose_critics_choose_or_that_has_no_noise_is_left_as_it_is(name):
    method = MethodConfig(name=name)
    assert Range(0.25, 0.0).narrowed(method) is method


@pytest.mark.parametrize("scale", Z_SCALES)
def test_a_probe_is_known_by_its_name(scale):
    assert probed_scale(probe_name(scale)) == scale


@pytest.mark.parametrize("name", ["base", "tmrl", "", "probe_z_", "probe_z_3", "0.5"])
def test_other_names_are_no_probe(name):
    assert probed_scale(name) is None


def said(name, outcome, method, phase):
    return event(name, EpisodeState.ENDED, outcome, method=method, phase=phase)


def test_what_is_heard_counts_once_with_its_newest_outcome():
    heard = Heard()
    before, other = Phase.EVALUATE_BEFORE, Phase.OTHER
    for index in range(4):
        heard.add(said(f"evaluate_before_{index:06d}", SUCCESS, "base", before))
    heard.add(said("evaluate_before_000003", FAILURE, "base", before))
    heard.add(said("evaluate_before_000002", ABORTED, "base", before))
    heard.add(said("other_000000", TIMEOUT, "probe_z_1", other))
    heard.add(said("other_000000", TIMEOUT, "probe_z_1", other))
    heard.add(said("other_000001", SUCCESS, "probe_z_0.5", other))
    heard.add(said("other_000002", SUCCESS, "tmrl", other))
    heard.add(said("train_000000", SUCCESS, "base", Phase.TRAIN))
    evidence = heard.evidence()
    assert evidence.base == (2, 3)
    assert evidence.z == {1.0: (0, 1), 0.5: (1, 1), 0.25: (0, 0)}
