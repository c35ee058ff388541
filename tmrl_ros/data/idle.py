"""Idle parts of a demonstration: where a person looked, thought, or had let go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import FloatArray

STILL_M = 0.0005
PAUSE_S = 0.5
FINGERS_M = 0.0005
"""Fingers that move faster (m per control period) are at work: a closing gripper is no pause."""

BoolArray = NDArray[np.bool_]


def idle_rows(
    targets_m: FloatArray, commanded_m: FloatArray, widths_m: FloatArray, still_m: float = STILL_M
) -> BoolArray:
    """Rows (L,) in which neither arm nor gripper was asked to do anything, nor did the fingers.

    The first row is idle if the second is: nothing is known of what was before it.

    Args:
        targets_m: Where the arm was sent (L, 3), one row per control period.
        commanded_m: Width (L,) the gripper was told.
        widths_m: Width (L,) that was measured.
        still_m: A target that moves less is idle.
    """
    if len(targets_m) < 2:
        return np.zeros(len(targets_m), np.bool_)
    moves = np.linalg.norm(np.diff(targets_m, axis=0), axis=1) >= still_m
    moves |= np.abs(np.diff(commanded_m)) > 1e-6
    moves |= np.abs(np.diff(widths_m)) >= FINGERS_M
    busy = np.concatenate([moves[:1], moves])
    found: BoolArray = ~busy
    return found


def kept_rows(idle: BoolArray, longest: int) -> BoolArray:
    """Rows (L,) that remain: nothing idle at the beginning, and the `longest` first of a pause.

    An episode in which nothing happens keeps its first row.
    """
    kept = np.ones(len(idle), np.bool_)
    run, begun = 0, False
    for row, still in enumerate(idle):
        run = run + 1 if still else 0
        begun = begun or not still
        kept[row] = begun and run <= longest
    if len(kept) and not kept.any():
        kept[0] = True
    return kept
