"""Chunks that could be executed next: what a frozen policy makes of several (z, t), and near it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.data.plans import KEPT_CANDIDATES, PLAN_ROWS, PLAN_SCALE_M, move_plan, plan_of
from tmrl_ros.learning.choosing.reach import Reach, kept_within
from tmrl_ros.policies.ahead import NO_ROWS
from tmrl_ros.policies.policy import Policy

Z_LIMIT = 2.0


@dataclass(frozen=True)
class Candidates:
    """n chunks and how they came about; the first is the policy's plain answer.

    Attributes:
        actions: (n, H, A) metres from the measured pose and gripper opening.
        z: (n, Z) action noise.
        t_context: (n,) in [0, 1].
        eps_context: (n, C) context noise.
        edits: (n, 3) shift of the last row in metres.
        plans: (n, P), see `data/plans.py`.
    """

    actions: FloatArray
    z: Float32Array
    t_context: Float32Array
    eps_context: Float32Array
    edits: Float32Array
    plans: Float32Array

    def kept(self, chosen: int, rng: np.random.Generator) -> Float32Array:
        """Plans (N, P) to remember: the chosen one, then others drawn without order."""
        others = rng.permutation(np.delete(np.arange(len(self.plans)), chosen))
        return self.plans[[chosen, *others[: KEPT_CANDIDATES - 1]]]


def draw(
    policy: Policy,
    context: Float32Array,
    method: MethodConfig,
    rng: np.random.Generator,
    *,
    count: int,
    eps: Float32Array,
    first: tuple[Float32Array, float],
    reach: Reach,
    edited: bool,
    committed: FloatArray = NO_ROWS,
) -> Candidates:
    """Draw candidates for a decision.

    Half of them imitate (t = 0), the others have t anywhere in [0, t_max] where the method chooses
    it.
    Half of them see the episode's own context noise, so that what was begun under it can be gone on
    with; the others see fresh noise, and, if `edited`, their chunks are shifted a little (Gaussian
    edits that grow from the first row to the last): they try what the policy alone does not.

    Args:
        policy: The frozen policy.
        context: Raw context (C,).
        method: `candidate_z_std`, `t_max`, `edit_m`, and whether it steers the context timestep.
        rng: Source of everything random.
        count: How many, the first included.
        eps: The episode's context noise (C,).
        first: z and t of the first candidate, which has no edit.
        reach: Where chunks may go.
        edited: Whether to shift half of them; the random numbers are drawn in any case.
        committed: First rows (R, A) of all of them, which are being carried out.
    """
    spread = method.candidate_z_std * rng.standard_normal((count, policy.z_size))
    z = np.clip(spread, -Z_LIMIT, Z_LIMIT).astype(np.float32)
    t = (method.t_max * rng.random(count)).astype(np.float32)
    t[: count // 2 if method.steers_context else count] = 0.0
    noise = rng.standard_normal((count, len(context))).astype(np.float32)
    noise[::2] = eps
    edits = (method.edit_m * rng.standard_normal((count, 3))).astype(np.float32)
    edits[:: 2 if edited else 1] = 0.0
    z[0], t[0] = first
    held = len(committed)
    actions = policy.sample(np.repeat(context[None], count, 0), z, t, noise, committed)
    actions = shifted(actions, edits, held)
    actions = kept_within(actions, policy, context, reach, held)
    return Candidates(actions, z, t, noise, edits, plan_of(actions))


def shifted(actions: FloatArray, edits: Float32Array, held: int = 0) -> FloatArray:
    """Chunks (n, H, A), shifted by `edits` (n, 3) in m at the last row, growing from row `held`."""
    fresh = actions.shape[1] - held
    moved = actions.copy()
    moved[:, held:, :3] += np.arange(1, fresh + 1)[:, None] / fresh * edits[:, None]
    return moved


def samples(
    policy: Policy,
    context: Float32Array,
    rng: np.random.Generator,
    *,
    count: int,
    eps: Float32Array,
    reach: Reach,
    committed: FloatArray = NO_ROWS,
) -> Candidates:
    """The frozen policy's answers as it was trained: t = 0, noise of its own in every row.

    Arguments as for `draw`. No single z makes such a chunk: `z` is (n, 0).
    """
    noise = rng.standard_normal((count, policy.spec.action.horizon, policy.z_size))
    zero, held = np.zeros(count, np.float32), np.repeat(eps[None], count, 0)
    actions = policy.sample(
        np.repeat(context[None], count, 0), noise.astype(np.float32), zero, held, committed
    )
    actions = kept_within(actions, policy, context, reach, len(committed))
    none = np.zeros((count, 0), np.float32)
    return Candidates(actions, none, zero, held, np.zeros((count, 3), np.float32), plan_of(actions))


def edited_along(
    drawn: Candidates,
    edits: Float32Array,
    policy: Policy,
    context: Float32Array,
    reach: Reach,
    held: int = 0,
) -> Candidates:
    """The candidates and, behind them, the same with their plans moved by `edits` (n, P).

    The first `held` rows are being carried out: what an edit would move them by is taken from all.
    """
    moved = move_plan(drawn.actions, edits)
    if held:
        moved[..., :3] -= (moved - drawn.actions)[:, held - 1 : held, :3]
        moved[:, :held] = drawn.actions[:, :held]
    actions = kept_within(moved, policy, context, reach, held)
    last = edits.reshape(len(edits), PLAN_ROWS, -1)[:, -1, :3] * PLAN_SCALE_M
    return Candidates(
        np.concatenate([drawn.actions, actions]),
        np.concatenate([drawn.z, drawn.z]),
        np.concatenate([drawn.t_context, drawn.t_context]),
        np.concatenate([drawn.eps_context, drawn.eps_context]),
        np.concatenate([drawn.edits, drawn.edits + last]),
        np.concatenate([drawn.plans, plan_of(actions)]),
    )
