"""What critics learn towards: the reward of a decision, in the shape a method's setting gives it.

`method.reward` says what becomes of the reward model's progress p in [0, 1], with weight w:

* `success`: nothing. 1 on success, 0 otherwise; values are discounted chances of success.
* `potential`: w p is the potential of a state (Ng et al. 1999). Values are as with `success`, but
  the critics learn only what they differ from w p: something is known before any success is seen.
  What is best stays what it was.
* `difference`: w (p' - p) is added to the success; where progress stands still, nothing is.
* `progress`: -1 + p' per decision, and 0 for ever after success (Robometer, arXiv 2603.02115),
  times 1 - discount, so that values are in [-1, 0]. A failure that ends the episode is -1 for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import FloatArray
from tmrl_ros.data.transitions import Transition
from tmrl_ros.learning.replay import Batch


def goal(batch: Batch, following: Tensor, method: MethodConfig) -> Tensor:
    """Targets (B,) for the critics.

    Args:
        batch: Rows.
        following: (B,) what the target critics say of the next decision.
        method: `reward`, `progress_weight` and `discount`.
    """
    discount, weight = method.discount, method.progress_weight
    left = discount * (1 - batch.terminated)
    if method.reward == "progress":
        each = (1 - discount) * (batch.next_progress - 1) + discount * following
        return torch.where(batch.terminated > 0, batch.reward - 1, each).clamp(-1.0, 0.0)
    if method.reward == "difference":
        gained = weight * (batch.next_progress - batch.progress)
        return (batch.reward + gained + left * following).clamp(-weight, 1.0 + weight)
    if method.reward == "potential":
        whole = following + weight * batch.next_progress
        return (batch.reward + left * whole).clamp(0.0, 1.0) - weight * batch.progress
    return (batch.reward + left * following).clamp(0.0, 1.0)


def returns(rows: Sequence[Transition], method: MethodConfig) -> FloatArray:
    """What came of each of an episode's rows (n,), in the scale of the critics' values."""
    discount, weight = method.discount, method.progress_weight
    found = np.zeros(len(rows))
    progressive = method.reward == "progress"
    following = rows[-1].next_progress - 1 if rows and progressive else 0.0
    for k in reversed(range(len(rows))):
        row = rows[k]
        if progressive:
            each = (1 - discount) * (row.next_progress - 1) + discount * following
            following = row.reward - 1 if row.terminated else each
        else:
            gained = row.next_progress - row.progress if method.reward == "difference" else 0.0
            following = row.reward + weight * gained + discount * following
        found[k] = following
    if method.reward == "potential":
        found -= weight * np.array([row.progress for row in rows])
    return found
