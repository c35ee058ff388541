"""Recorded decisions again: by the policy that made them, or by another that sees the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tmrl_ros.core.types import Chunk, ChunkSource, Float32Array, FloatArray
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.learning.choosing.candidates import shifted
from tmrl_ros.learning.choosing.reach import Reach, kept_within
from tmrl_ros.policies.policy import ChunkPolicy

LEARNED_EDITS = "expo"
"""Its edits move every row in a way of its own, of which a chunk keeps the last row alone."""


@dataclass(frozen=True)
class Again:
    """One decision, beside what was recorded.

    Attributes:
        features: Largest difference of what actor and critics see.
        chunk_m: Largest difference of a row, in m; None where the chunk does not tell what it was
            made from (independent noise in every row, learned edits, a demonstrator).
        other_m: Distance (m) between where the recorded chunk's last executed row goes and where
            this policy's plain answer does.
    """

    features: float
    chunk_m: float | None
    other_m: float


def decide_again(
    policy: ChunkPolicy,
    chunks: Sequence[Chunk],
    observations: Sequence[RecordedObservation],
    reach: Reach,
) -> list[Again]:
    """Every recorded chunk of the policy, made again from its observation.

    Raises:
        ValueError: An observation lacks what the policy looks at.
    """
    by_sequence = {item.sequence: item for item in observations}
    found = []
    for chunk in chunks:
        observation = by_sequence.get(chunk.sequence)
        if observation is None or chunk.source is not ChunkSource.POLICY:
            continue
        context = policy.raw_context(observation)
        features = policy.features(context)
        fits = features.shape == chunk.features.shape
        apart = float(np.abs(features - chunk.features).max()) if fits else float("inf")
        found.append(
            Again(
                apart,
                _difference(policy, chunk, context, reach),
                _distance(policy, chunk, context),
            )
        )
    return found


def _difference(
    policy: ChunkPolicy, chunk: Chunk, context: Float32Array, reach: Reach
) -> float | None:
    size = policy.spec.context.size
    edited = bool(np.any(chunk.edit))
    known = chunk.z.shape == (policy.z_size,) and chunk.eps_context.shape == (size,)
    if not known or (edited and chunk.actor == LEARNED_EDITS):
        return None
    t = np.array([chunk.t_context], np.float32)
    held = chunk.committed_steps
    committed = chunk.actions[:held]
    actions = policy.sample(context[None], chunk.z[None], t, chunk.eps_context[None], committed)
    if edited:
        actions = shifted(actions, chunk.edit[None], held)
    if chunk.candidates.size:
        actions = kept_within(actions, policy, context, reach, held)
    return float(np.abs(actions[0] - chunk.actions)[:, :3].max())


def _distance(policy: ChunkPolicy, chunk: Chunk, context: Float32Array) -> float:
    still, zero = np.zeros((1, policy.z_size), np.float32), np.zeros(1, np.float32)
    committed = chunk.actions[: chunk.committed_steps]
    plain = policy.sample(context[None], still, zero, np.zeros_like(context)[None], committed)
    last = min(len(chunk.actions), plain.shape[1]) - 1
    gone: FloatArray = plain[0, last, :3] - chunk.actions[last, :3]
    return float(np.linalg.norm(gone))
