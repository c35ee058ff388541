import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.session.statistics import percentile, rolling, success_rate, wilson

counts = st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (8, 10, 0.490162, 0.943318),  # statsmodels.proportion_confint(method="wilson")
        (1, 10, 0.017876, 0.404150),
        (0, 10, 0.0, 0.277533),
        (100, 100, 0.963007, 1.0),
        (50, 100, 0.403832, 0.596168),
    ],
)
def test_wilson_interval_has_known_values(successes, n, low, high):
    rate = wilson(successes, n)
    assert rate.rate == successes / n
    assert rate.low == pytest.approx(low, abs=2e-6)
    assert rate.high == pytest.approx(high, abs=2e-6)


@given(counts)
def test_interval_holds_the_rate_and_stays_between_zero_and_one(count):
    rate = wilson(*count)
    if count[1] == 0:
        assert rate.rate is None
        assert (rate.low, rate.high) == (0.0, 1.0)
    else:
        assert 0.0 <= rate.low <= rate.rate <= rate.high <= 1.0


@given(counts)
def test_interval_is_the_mirror_image_for_failures(count):
    successes, n = count
    rate, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert rate.low == pytest.approx(1.0 - mirrored.high)


@given(st.integers(1, 50), st.integers(2, 20))
def test_more_episodes_with_the_same_rate_are_surer(successes, factor):
    few, many = wilson(successes, 2 * successes), wilson(successes * factor, 2 * successes * factor)
    assert many.high - many.low < few.high - few.low


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 10))
def test_rolling_rate_looks_back_over_the_window_only(outcomes, window):
    rates = rolling(outcomes, window)
    assert [rate.n for rate in rates] == [min(i + 1, window) for i in range(len(outcomes))]
    if rates:
        assert rates[-1] == success_rate(outcomes[-window:])


def test_window_of_nothing_is_no_rate():
    assert success_rate([], 20).rate is None
    assert str(success_rate([])) == "no episodes"
    assert success_rate([True, False, True], 2).rate == 0.5


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0, 100))
def test_percentile_agrees_with_numpy(values, percent):
    np = pytest.importorskip("numpy")
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), abs=1e-6)


def test_percentile_of_nothing_is_none():
    assert percentile([], 50) is None
