import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.core.significance import below

counts = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("table", "p_value"),
    [
        ((3, 4, 1, 4), 0.9857142857),  # scipy.stats.fisher_exact(..., alternative="less")
        ((1, 4, 3, 4), 0.2428571429),
        ((2, 10, 8, 10), 0.0115070688),
        ((0, 40, 20, 100), 0.0006479773),
        ((6, 30, 50, 100), 0.0027979552),
        ((5, 5, 0, 0), 1.0),
    ],
)
def test_known_values(table, p_value):
    assert below(*table) == pytest.approx(p_value, rel=1e-6)


@given(counts, counts)
def test_fewer_successes_are_never_more_likely(new, base):
    successes, n = new
    assert 0 < below(successes, n, *base) <= 1 + 1e-12
    if successes:
        assert below(successes - 1, n, *base) <= below(successes, n, *base) + 1e-12


@given(counts, counts)
def test_both_tails_share_what_was_seen(new, base):
    """P(X <= k) + P(X >= k) = 1 + P(X = k); the upper tail is the lower one of failures."""
    (k, n), (j, m) = new, base
    upper = below(n - k, n, m - j, m)
    assert 1 - 1e-9 <= below(k, n, j, m) + upper <= 2 + 1e-9


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6, 0.95])
def test_it_errs_no_more_often_than_it_says(rate):
    rng = np.random.default_rng(0)
    pairs = zip(rng.binomial(40, rate, 4000), rng.binomial(100, rate, 4000), strict=True)
    p_values = np.array([below(int(new), 40, int(base), 100) for new, base in pairs])
    for level in (0.05, 0.01):
        assert (p_values < level).mean() <= level + 3 * np.sqrt(level / 4000)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="3 of 2 against 0 of 1"):
        below(3, 2, 0, 1)
