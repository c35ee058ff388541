"""Where chunks may go: within the workspace, and not into boxes that the tool must not enter.

The supervisor checks every way again (`safety/keep_out.py`); this is the same rule for many chunks
at once, and it knows where a chunk that is slowed down would cut a corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.config import SafetyConfig
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.policies.policy import Policy

MARGIN_M = 0.005
"""Chunks stay this far inside the workspace, and this much further from boxes than they must."""

ROUNDING_M = 1e-6
"""Observations are single precision: where the supervisor sees the tool on the other side of a
face that is that near, its rule is kept too."""

Workspace = tuple[FloatArray, FloatArray]


@dataclass(frozen=True)
class Boxes:
    """K boxes in the base frame, metres.

    Attributes:
        low: (K, 3) corners.
        high: (K, 3) corners.
        margin_m: What the supervisor keeps from them.
    """

    low: FloatArray
    high: FloatArray
    margin_m: float

    @classmethod
    def of(cls, safety: SafetyConfig) -> Boxes | None:
        """The configured boxes, or None."""
        if not safety.keep_out:
            return None
        low = np.array([box.min_m for box in safety.keep_out])
        high = np.array([box.max_m for box in safety.keep_out])
        return cls(low, high, safety.keep_out_margin_m)

    def _has(self, points: FloatArray, margin_m: float) -> NDArray[np.bool_]:
        inside = (points > self.low - margin_m) & (points < self.high + margin_m)
        has: NDArray[np.bool_] = np.all(inside, axis=-1)
        return has

    def crossed(self, start: FloatArray, end: FloatArray) -> NDArray[np.bool_]:
        """Which of n straight ways (n, 3) lead into a box or too near to one (slab method).

        Who starts within the margin may move in it, but not into the box itself.
        """
        start, end = start[:, None], end[:, None]
        grown = self.margin_m + MARGIN_M
        margin = np.where(self._has(start, grown), self.margin_m + ROUNDING_M, grown)
        near = self._has(start, self.margin_m - ROUNDING_M)
        margin = np.where(near, ROUNDING_M, margin)[..., None]
        low, high, way = self.low - margin, self.high + margin, end - start
        still = way == 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (low - start) / way, (high - start) / way
        held = np.where((start > low) & (start < high), -np.inf, np.inf)
        enter = np.where(still, held, np.minimum(one, other)).max(-1)
        leave = np.where(still, np.inf, np.maximum(one, other)).min(-1)
        crossed: NDArray[np.bool_] = np.any(
            np.maximum(enter, 0.0) < np.minimum(leave, 1.0), axis=-1
        )
        return crossed


@dataclass(frozen=True)
class Reach:
    """Where chunks may go, so that the supervisor neither refuses nor slows them down.

    Attributes:
        workspace: Lowest and highest tool position (m, base frame); None = anywhere.
        row_m: Longest way from row to row (m).
        boxes: Which the tool must not enter; None = there are none.
    """

    workspace: Workspace | None = None
    row_m: float = float("inf")
    boxes: Boxes | None = None


def kept_within(
    actions: FloatArray, policy: Policy, context: Float32Array, reach: Reach, held: int = 0
) -> FloatArray:
    """Chunks (n, H, 4) whose rows stay inside the workspace and out of the boxes.

    The first `held` rows are being carried out and stay as they are.
    """
    if reach.workspace is None:
        return actions
    tool = context[policy.spec.context.parts()["state"]][:3]
    low, high = reach.workspace
    actions = actions.copy()
    low, high = low + MARGIN_M - tool, high - MARGIN_M - tool
    actions[..., held:, :3] = np.clip(actions[..., held:, :3], low, high)
    if reach.boxes is None:
        return actions
    return kept_out(actions, tool.astype(np.float64), reach.boxes, reach.row_m, held)


def kept_out(
    actions: FloatArray, tool: FloatArray, boxes: Boxes, row_m: float, held: int = 0
) -> FloatArray:
    """Chunks that stay at their last free row instead of going into a box.

    Args:
        actions: (n, H, 4) metres from the tool, and gripper openings.
        tool: Measured tool position (3,).
        boxes: Where not to go.
        row_m: Longest way per control period; targets further apart are slowed down.
        held: First rows that are being carried out and stay as they are.

    Returns:
        (n, H, 4); chunks that keep out already are as they were.
    """
    actions = actions.copy()
    sent = asked = np.repeat(np.asarray(tool, np.float64)[None], len(actions), 0)
    blocked = np.zeros(len(actions), bool)
    if held:
        sent = asked = tool + actions[:, held - 1, :3]
    for row in range(held, actions.shape[1]):
        wanted = tool + actions[:, row, :3]
        blocked |= boxes.crossed(sent, wanted) | boxes.crossed(asked, wanted)
        asked = np.where(blocked[:, None], asked, wanted)
        actions[blocked, row, :3] = (asked - tool)[blocked]
        way = asked - sent
        length = np.linalg.norm(way, axis=-1, keepdims=True)
        sent = sent + way * np.minimum(1.0, row_m / np.maximum(length, 1e-9))
    return actions
