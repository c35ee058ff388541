"""A chunk as critics see it: where its rows take the tool, in a few numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import Chunk, Float32Array, FloatArray

PLAN_ROWS = 4
PLAN_SIZE = 4 * PLAN_ROWS
KEPT_CANDIDATES = 64
"""Plans kept of the candidates of a decision, the chosen one first."""
PLAN_SCALE_M = 0.1

_TENTS = np.eye(PLAN_ROWS + 1)[1:]


def _rows(horizon: int) -> NDArray[np.int64]:
    """The rows that end each quarter of a chunk."""
    ends = np.round(np.arange(1, PLAN_ROWS + 1) * horizon / PLAN_ROWS).astype(np.int64) - 1
    return np.maximum(ends, 0)


def plan_of(actions: FloatArray) -> Float32Array:
    """Plans of chunks.

    Args:
        actions: (..., H, 4) metres from the measured pose and gripper opening in [0, 1].

    Returns:
        (..., 16) float32: after each quarter of the rows, x y z in units of 0.1 m and the opening
        scaled to [-1, 1].
    """
    picked = actions[..., _rows(actions.shape[-2]), :].astype(np.float32)
    picked[..., :3] /= PLAN_SCALE_M
    picked[..., 3] = 2 * picked[..., 3] - 1
    return picked.reshape(*picked.shape[:-2], PLAN_SIZE)


def executed_plan(executed: FloatArray, horizon: int) -> Float32Array:
    """Plan (16,) of what was executed of a chunk, where a person had a hand in it.

    Args:
        executed: (S, 4), 1 <= S <= horizon, in the chunk's action space.
        horizon: Rows that the chunk had. For those that were not carried out, the tool stays.
    """
    rest = np.repeat(executed[-1:], max(0, horizon - len(executed)), axis=0)
    return plan_of(np.concatenate([executed, rest])[:horizon])


def move_plan(actions: FloatArray, edits: Float32Array) -> FloatArray:
    """Chunks (..., H, 4) with plans moved by `edits` (..., 16), straight between their points."""
    horizon = actions.shape[-2]
    rows = _rows(horizon)
    share = np.stack([np.interp(np.arange(horizon), [-1, *rows], row) for row in _TENTS])
    moves = np.einsum("rh,...rd->...hd", share, edits.reshape(*edits.shape[:-1], PLAN_ROWS, -1))
    moved = actions.copy()
    moved[..., :3] += PLAN_SCALE_M * moves[..., :3]
    moved[..., 3] = np.clip(moved[..., 3] + moves[..., 3] / 2, 0.0, 1.0)
    return moved


def chunk_of(plans: Float32Array, horizon: int, opening: float) -> FloatArray:
    """Chunks (..., H, 4) that go straight from here through the points of plans (..., 16).

    The reverse of `plan_of` for a horizon of at least `PLAN_ROWS`; `opening` is the gripper's now,
    in [0, 1].
    """
    hold = np.zeros((*plans.shape[:-1], horizon, PLAN_SIZE // PLAN_ROWS))
    hold[..., 3] = opening
    return move_plan(hold, plans - plan_of(hold))


def plans_of(chunk: Chunk) -> Float32Array:
    """Plans (N, 16) of what a policy could have done, the chosen one first.

    A chunk that was recorded without candidates has its own plan alone; one without four columns
    has none.
    """
    if chunk.candidates.size:
        return chunk.candidates
    if chunk.actions.ndim != 2 or chunk.actions.shape[1] != PLAN_SIZE // PLAN_ROWS:
        return np.zeros((0, PLAN_SIZE), np.float32)
    if not len(chunk.actions):
        return np.zeros((0, PLAN_SIZE), np.float32)
    return plan_of(chunk.actions)[None]
