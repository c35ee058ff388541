"""Figures that tell a good reward model from one that only looks good; on arrays, without torch.

Definitions follow Robometer's evaluation (arXiv 2603.02115); docstrings say where they do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.rewards.learned.episodes import BoolArray

Values = Float32Array | FloatArray
PREFIXES = 10


def pearson(a: Values, b: Values) -> float:
    """Correlation, 0 where one of them does not vary (upstream's rule)."""
    if len(a) < 2 or float(np.std(a)) < 1e-9 or float(np.std(b)) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def spearman(a: Values, b: Values) -> float:
    """Rank correlation; equal values share their mean rank."""
    return pearson(_ranks(a), _ranks(b))


def value_order_correlation(estimates: Sequence[Values], targets: Sequence[Values]) -> float | None:
    """VOC: mean over successful episodes of Pearson's r between estimate and target of prefixes.

    The last element of every prefix counts. The released code takes element k of the k-th prefix
    instead.

    Args:
        estimates: Per episode (T,), the estimate at the end of each prefix; trimmed at success.
        targets: Per episode (T,), true progress at the same frames.
    """
    found = []
    for estimate, target in zip(estimates, targets, strict=True):
        ends = np.unique(np.linspace(0, len(estimate) - 1, PREFIXES).round().astype(int))
        found.append(pearson(estimate[ends], target[ends]))
    return float(np.mean(found)) if found else None


def kendall_tau_a(final: Values, quality: NDArray[np.int64]) -> float | None:
    """Mean tau_a over all tuples with one episode of each quality; ties count 0.

    tau_a = (C - D) / (n (n - 1) / 2). Over all tuples this is the mean over pairs of qualities of
    the mean sign over pairs of episodes.

    Args:
        final: (N,) estimate at the end of each episode.
        quality: (N,) rank of what happened.
    """
    levels = np.unique(quality)
    signs = [
        float(np.sign(final[quality == high][:, None] - final[quality == low][None]).mean())
        for i, low in enumerate(levels)
        for high in levels[i + 1 :]
    ]
    return float(np.mean(signs)) if signs else None


def ranking_accuracy(final: Values, quality: NDArray[np.int64]) -> float | None:
    """Share of pairs of different quality that are ordered rightly; ties are wrong."""
    differ = quality[:, None] > quality[None]
    if not differ.any():
        return None
    return float((final[:, None] > final[None])[differ].mean())


def average_precision(score: Values, success: BoolArray) -> float | None:
    """Area under the precision-recall curve over frames; equal scores enter together."""
    if not success.any():
        return None
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(success[order])
    last = np.append(np.diff(score[order]) != 0, True)
    hits, seen = hits[last], np.flatnonzero(last) + 1
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / seen).sum() / hits[-1])


def true_positives_at_zero_false(score: Values, success: BoolArray) -> float | None:
    """Share of successful episodes that score above every failed one.

    Args:
        score: (N,) highest success probability of an episode.
        success: (N,) whether it succeeds.
    """
    if not success.any() or success.all():
        return None
    return float((score[success] > score[~success].max()).mean())


def _ranks(values: Values) -> FloatArray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: FloatArray = ends - (counts - 1) / 2.0
    return means[places]
