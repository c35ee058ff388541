"""Parts of recorded play that move as one demonstration does: subsequence dynamic time warping.

The idea of HAND (arXiv 2505.20455): a path is compared by its steps, relative and not where it is,
and a short one is found anywhere within long ones. HAND tracks a hand in pictures and compares in
two dimensions; here the tool's path is measured, so that it has three, and the gripper's opening is
compared too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import FloatArray
from tmrl_ros.data.segments import Segment
from tmrl_ros.data.tool_path import ToolPath

STEP_SCALE_M = 0.02
"""Difference of two steps (m per sample) that costs 1."""
MOST_COST = 2.0
GRIPPER_WEIGHT = 0.5
"""What an open gripper for a closed one costs."""
STILL_M = 0.002
"""Steps (m per sample) below this at the query's ends are no part of what it shows."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Match:
    """Samples `begin` to `end` (exclusive) of a motion; mean cost per sample of the query."""

    begin: int
    end: int
    distance: float


@dataclass(frozen=True)
class Costs:
    """What taking steps of the query (n) for steps of a motion (m) costs, each (n, m).

    `one`: step i for step j. `two`: step i for the steps j - 1 and j together. `skip`: the steps
    i - 1 and i together for step j. Steps are added before they are compared, so that a match goes
    where the query goes, however fast; compared one by one, half a way would cost nothing.
    """

    one: FloatArray
    two: FloatArray
    skip: FloatArray


def costs(query: FloatArray, motion: FloatArray) -> Costs:
    """Costs of a query (n, 4) and a motion (m, 4)."""
    ways, moved = query[:, :3], motion[:, :3]
    held, opening = query[:, 3], motion[:, 3]
    before_way, before_moved = _before(ways), _before(moved)
    gripper = np.abs(held[:, None] - opening[None])
    gripper_before = np.abs(held[:, None] - _before(opening)[None])
    gripper_both = gripper + np.abs(_before(held)[:, None] - opening[None])
    return Costs(
        _apart(ways, moved) + GRIPPER_WEIGHT * gripper,
        _apart(ways, before_moved + moved) + GRIPPER_WEIGHT * 0.5 * (gripper + gripper_before),
        _apart(before_way + ways, moved) + GRIPPER_WEIGHT * gripper_both,
    )


def _before(values: FloatArray) -> FloatArray:
    """Values one sample earlier; the first stays."""
    return np.concatenate([values[:1], values[:-1]])


def _apart(ways: FloatArray, moved: FloatArray) -> FloatArray:
    """Distance (n, m) of steps, in units of `STEP_SCALE_M`, at most 2."""
    apart = np.linalg.norm(ways[:, None] - moved[None], axis=2) / STEP_SCALE_M
    found: FloatArray = np.minimum(apart, MOST_COST)
    return found


def find(query: FloatArray, motion: FloatArray, most: int) -> list[Match]:
    """The best matches of a query in a motion that do not overlap, the best first.

    Dynamic time warping with the steps (1, 1), (1, 2), (2, 1), so that a match is at most twice as
    long as the query and at least half as long; it may begin and end anywhere (Mueller, Information
    Retrieval for Music and Motion, 2007, section 4.4). Every sample of the query counts once.

    Args:
        query: (n, 4), n > 1.
        motion: (m, 4).
        most: Matches at most.
    """
    total, begins = _warp(costs(query, motion))
    found: list[Match] = []
    taken = np.zeros(len(motion), np.bool_)
    for end in np.argsort(total, kind="stable").tolist():
        if not np.isfinite(total[end]) or len(found) == most:
            break
        begin = int(begins[end])
        if taken[begin : end + 1].any():
            continue
        taken[begin : end + 1] = True
        found.append(Match(begin, end + 1, float(total[end]) / len(query)))
    return found


def _warp(cost: Costs) -> tuple[FloatArray, IntArray]:
    """Total cost (m,) of the best way to each sample of the motion, and where it began (m,)."""
    n, m = cost.one.shape
    nowhere = np.full(m, np.inf)
    before, before_begins = nowhere, np.zeros(m, np.int64)  # row i - 2
    row, begins = cost.one[0], np.arange(m)
    columns = np.arange(m)
    for i in range(1, n):
        ways = np.stack(
            [
                _shift(row, 1) + cost.one[i],
                _shift(row, 2) + cost.two[i],
                _shift(before, 1) + cost.skip[i],
            ]
        )
        sources = np.stack(
            [_shift(begins, 1, 0), _shift(begins, 2, 0), _shift(before_begins, 1, 0)]
        )
        best = ways.argmin(0)
        before, before_begins = row, begins
        row, begins = ways[best, columns], sources[best, columns]
    return row, begins


def _shift(values: NDArray[np.generic], by: int, fill: float = np.inf) -> NDArray[np.generic]:
    """Values moved to the right; what comes in is `fill`."""
    moved = np.full_like(values, fill)
    if by < len(values):
        moved[by:] = values[:-by]
    return moved


def query_of(path: ToolPath, widest_m: float) -> FloatArray:
    """The motion of a demonstration without standing still at its beginning and end.

    Raises:
        ValueError: The tool hardly moves in it.
    """
    motion = path.motion(widest_m)
    moves = np.flatnonzero(np.linalg.norm(motion[:, :3], axis=1) >= STILL_M)
    if len(moves) < 5:
        raise ValueError(f"{path.bag}: the tool hardly moves in it, so that nothing resembles it")
    return motion[moves[0] : moves[-1] + 1]


def rank(
    query: FloatArray, paths: Sequence[ToolPath], widest_m: float, *, per_bag: int, most: int
) -> list[Segment]:
    """Parts of the paths that move as the query does, the best first.

    Args:
        query: As `query_of` gives it.
        paths: Of the bags to search.
        widest_m: The gripper's widest opening.
        per_bag: Segments of one bag at most.
        most: Segments at most.
    """
    found: list[Segment] = []
    for path in paths:
        if len(path.stamps_ns) < len(query) // 2:
            continue
        for match in find(query, path.motion(widest_m), per_bag):
            begin_ns, end_ns = path.stamps_ns[match.begin], path.stamps_ns[match.end]
            found.append(Segment(path.bag, int(begin_ns), int(end_ns), match.distance))
    return sorted(found, key=lambda item: item.distance)[:most]
