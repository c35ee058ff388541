"""The replay buffer: rows with explicit next features, and a view of the successful episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmrl_ros.core.types import Float32Array
from tmrl_ros.data.plans import KEPT_CANDIDATES, PLAN_SIZE
from tmrl_ros.data.transitions import Transition


@dataclass(frozen=True)
class Batch:
    """Rows as tensors.

    (B, F) features and next_features, (B, Z) z, (B, C) eps, (B, P) plan, (B, N, P) next_plans, (B,)
    t, reward, progress, next_progress, terminated.
    """

    features: Tensor
    z: Tensor
    t: Tensor
    eps: Tensor
    plan: Tensor
    reward: Tensor
    progress: Tensor
    next_progress: Tensor
    next_features: Tensor
    next_plans: Tensor
    terminated: Tensor


class Replay:
    """A ring of transitions; the oldest episode's rows go first when it is full."""

    def __init__(self, features: int, z_size: int, context: int, capacity: int) -> None:
        """Allocate the ring; nothing is ever bootstrapped from unwritten rows."""
        self.capacity, self.z_size = capacity, z_size
        sizes = [features, z_size, 1, context, PLAN_SIZE, 1, 2, features]
        self._columns = np.zeros((capacity, sum(sizes) + 1), np.float32)
        self._split = np.cumsum(sizes)
        self._no_eps = np.zeros(context, np.float32)
        self._next_plans = np.zeros((capacity, KEPT_CANDIDATES, PLAN_SIZE), np.float32)
        self._success = np.zeros(capacity, bool)
        self._prior = np.zeros(capacity, bool)
        self._episode = np.zeros(capacity, np.int64)
        self._ids: dict[str, int] = {}
        self._next = 0
        self.size = 0

    def __contains__(self, episode_id: str) -> bool:
        """Whether an episode was added."""
        return episode_id in self._ids

    def add_episode(self, rows: Sequence[Transition]) -> None:
        """Append the transitions of one episode.

        Raises:
            ValueError: A row has other sizes, or a number in it is not finite.
        """
        columns = [self._values(row) for row in rows]
        for row, values in zip(rows, columns, strict=True):
            index = self._next
            self._columns[index] = values
            self._next_plans[index] = np.resize(row.next_plans, self._next_plans.shape[1:])
            self._success[index] = row.success_episode
            self._prior[index] = row.parameters_version == 0
            self._episode[index] = self._ids.setdefault(row.episode_id, len(self._ids))
            self._next = (self._next + 1) % self.capacity
            self.size = min(self.size + 1, self.capacity)

    def _values(self, row: Transition) -> Float32Array:
        values = np.concatenate(
            [
                row.features,
                row.z,
                [row.t_context],
                row.eps_context if row.eps_context.size else self._no_eps,  # an older bag's
                row.plan,
                [row.reward],
                [row.progress, row.next_progress],
                row.next_features,
                [float(row.terminated)],
            ]
        ).astype(np.float32)
        fits = values.shape == (self._columns.shape[1],) and row.next_plans.size % PLAN_SIZE == 0
        if not fits or not np.isfinite(values).all() or not np.isfinite(row.next_plans).all():
            raise ValueError(
                f"transition {row.decision} of {row.episode_id} has {values.shape[0]} values "
                f"({self._columns.shape[1]} expected) or one that is not finite"
            )
        return values

    def relabel(self, episode_id: str, rows: Sequence[Transition]) -> None:
        """Replace the rows of an episode, after a late word about it.

        As many rows as before take their places; otherwise the old ones leave and the new ones are
        the newest of all.

        Raises:
            ValueError: The episode was never stored, or a row has other sizes.
        """
        if episode_id not in self._ids:
            raise ValueError(f"{episode_id} is not in the replay")
        oldest = self._next if self.size == self.capacity else 0
        order = (oldest + np.arange(self.size)) % self.capacity
        mine = self._episode[order] == self._ids[episode_id]
        if mine.sum() != len(rows):
            self._keep_only(order[~mine])
            self.add_episode(rows)
            return
        before, size = self._next, self.size
        for index, row in zip(order[mine], rows, strict=True):
            self._next = int(index)
            self.add_episode([row])
        self._next, self.size = before, size

    def _keep_only(self, order: NDArray[np.int64]) -> None:
        """Close the gaps: the rows of `order`, oldest first, are all there is."""
        count = len(order)
        flags = self._success, self._prior, self._episode
        for column in (self._columns, self._next_plans, *flags):
            column[:count] = column[order]
        self._next, self.size = count % self.capacity, count

    def successes(self) -> int:
        """Number of rows from successful episodes."""
        return int(self._success[: self.size].sum())

    def sample(
        self,
        batch_size: int,
        success_fraction: float,
        rng: np.random.Generator,
        *,
        apart: bool = False,
    ) -> Batch:
        """Draw rows uniformly, a fraction of them from successful episodes when there are any.

        With `apart` the other rows are of the other episodes alone, when there are any.

        Raises:
            ValueError: The replay is empty.
        """
        if self.size == 0:
            raise ValueError("the replay is empty: no finished episode was learned from yet")
        good = np.flatnonzero(self._success[: self.size])
        wanted = round(batch_size * success_fraction) if len(good) else 0
        rows: NDArray[np.int64] = rng.integers(self.size, size=batch_size)
        if apart and len(good) < self.size:
            others = np.flatnonzero(~self._success[: self.size])
            rows = others[rng.integers(len(others), size=batch_size)]
        if wanted:
            rows[:wanted] = good[rng.integers(len(good), size=wanted)]
        return self._batch(rows)

    def sample_mixed(
        self, batch_size: int, prior_fraction: float, rng: np.random.Generator
    ) -> Batch:
        """Draw a fraction from prior data, the rest from what this session's weights did.

        Prior data is what was made without them: demonstrations, warm-up, earlier sessions. Where
        there is only one of the two, all is drawn from it.

        Raises:
            ValueError: The replay is empty.
        """
        if self.size == 0:
            raise ValueError("the replay is empty: no finished episode was learned from yet")
        prior = np.flatnonzero(self._prior[: self.size])
        own = np.flatnonzero(~self._prior[: self.size])
        wanted = round(batch_size * prior_fraction) if len(own) else batch_size
        wanted = wanted if len(prior) else 0
        parts = [
            rows[rng.integers(len(rows), size=count)]
            for rows, count in ((prior, wanted), (own, batch_size - wanted))
            if count
        ]
        return self._batch(np.concatenate(parts))

    def _batch(self, rows: NDArray[np.int64]) -> Batch:
        features, z, t, eps, plan, reward, progress, following, terminated = np.split(
            self._columns[rows], self._split, axis=1
        )
        return Batch(
            torch.from_numpy(features),
            torch.from_numpy(z),
            torch.from_numpy(t[:, 0]),
            torch.from_numpy(eps),
            torch.from_numpy(plan),
            torch.from_numpy(reward[:, 0]),
            torch.from_numpy(progress[:, 0]),
            torch.from_numpy(progress[:, 1]),
            torch.from_numpy(following),
            torch.from_numpy(self._next_plans[rows]),
            torch.from_numpy(terminated[:, 0]),
        )
