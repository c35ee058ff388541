"""What learners learn from: one row per decision."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tmrl_ros.core.types import ChunkSource, Episode, Float32Array, FloatArray


@dataclass(frozen=True)
class Transition:
    """One decision and what came of it.

    `features` and `next_features` are (F,), `z` (Z,), `eps_context` (C,), `plan` (P,),
    `next_plans` (N, P) with the chosen one first (`data/plans.py`), `executed` (S, A): the rows
    really commanded, in the chunk's action space, S <= horizon. `reward` is 1 on success and 0
    otherwise unless another reward was chosen. `terminated` rows do not bootstrap; `truncated` ones
    do, with their true next features. `edited`: the chunk is not what the policy makes of z, t and
    eps alone. `progress` and `next_progress` are in [0, 1], of the observations before and after.
    `human_steps`: rows in which a person moved the arm; where there are any, `plan` is
    made from what was executed, and z, t and eps did not make that motion.
    """

    episode_id: str
    decision: int
    features: Float32Array
    z: Float32Array
    t_context: float
    eps_context: Float32Array
    plan: Float32Array
    executed: FloatArray
    source: ChunkSource
    reward: float
    next_features: Float32Array
    next_plans: Float32Array
    terminated: bool
    truncated: bool
    parameters_version: int
    success_episode: bool
    edited: bool = False
    actor: str = ""
    progress: float = 0.0
    next_progress: float = 0.0
    human_steps: int = 0

    @property
    def by_base(self) -> bool:
        """Whether the frozen policy acted alone, with noise for every row of the chunk."""
        return self.actor == "base"


@dataclass(frozen=True)
class AssembledEpisode:
    """Rows of an episode in order of decision, and how many were left out, by reason.

    Reasons: `chunk`, `outcome`, `reward`, `next_chunk` (the message is missing), `invalid_reward`,
    `not_executed` (stopped part way or rejected), `after_end` (the episode had ended),
    `not_finite`.
    """

    episode_id: str
    ended: Episode | None
    transitions: list[Transition]
    dropped: Counter[str] = field(default_factory=Counter)
