import itertools

import numpy as np
import pytest

from tmrl_ros.rewards.learned import metrics


def test_voc_uses_the_last_element_of_every_prefix():
    # Element k of the k-th prefix would see only the flat beginning of a longer episode.
    target = np.linspace(0, 1, 31)
    estimate = np.where(np.arange(31) < 10, 0.2, target)
    ends = np.unique(np.linspace(0, 30, 10).round().astype(int))
    expected = np.corrcoef(estimate[ends], target[ends])[0, 1]

    assert metrics.value_order_correlation([estimate], [target]) == pytest.approx(expected)


def test_a_flat_estimate_has_no_correlation():
    assert metrics.value_order_correlation([np.full(9, 0.5)], [np.linspace(0, 1, 9)]) == 0.0


def test_tau_a_is_the_mean_over_all_tuples_and_counts_ties_as_nothing():
    rng = np.random.default_rng(0)
    final = rng.integers(0, 5, 18).astype(float)
    quality = np.repeat([1, 2, 3], 6)
    taus = []
    for a, b, c in itertools.product(*(final[quality == level] for level in (1, 2, 3))):
        taus.append((np.sign(b - a) + np.sign(c - a) + np.sign(c - b)) / 3)

    assert metrics.kendall_tau_a(final, quality) == pytest.approx(np.mean(taus))


def test_time_alone_ranks_nothing():
    assert metrics.kendall_tau_a(np.ones(6), np.array([1, 1, 2, 2, 3, 3])) == 0.0
    assert metrics.ranking_accuracy(np.ones(6), np.array([1, 1, 2, 2, 3, 3])) == 0.0


def test_average_precision_of_a_known_order():
    score = np.array([0.9, 0.8, 0.7, 0.6])
    success = np.array([True, False, True, False])

    assert metrics.average_precision(score, success) == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_of_equal_scores_is_the_share_of_successes():
    assert metrics.average_precision(np.ones(8), np.arange(8) < 2) == pytest.approx(0.25)


def test_what_scores_above_every_failure_is_found_without_a_false_one():
    score = np.array([0.9, 0.5, 0.8, 0.6])
    success = np.array([True, True, True, False])

    assert metrics.true_positives_at_zero_false(score, success) == pytest.approx(2 / 3)


def test_rank_correlation_shares_the_ranks_of_equal_values():
    assert metrics.spearman(np.array([1.0, 2, 2, 3]), np.array([10.0, 20, 20, 30])) == 1.0
