"""The fine-tuning methods by name: whether they learn, what they need of a policy and of rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

MethodName = Literal[
    "tmrl", "expo", "dsrl", "tmrl_paper", "rlpd", "vgps", "base", "scripted", "person"
]


class Capability(StrEnum):
    """What a policy can be steered by, as its bundle declares it.

    `PLANS`: its chunks are tool positions and openings, which plans can tell (`data/plans.py`).
    `CONTEXT_NOISE`: it takes the context's noise as a vector, which an actor can choose.
    `CONTEXT_SEED`: it takes a seed, so that noise can be held over an episode or drawn afresh.
    `BATCH`: it makes several chunks at one decision.
    `COMMITTED`: it makes chunks that begin with given rows, for `session.overlap_rows`.
    """

    ACTION_NOISE = "action_noise"
    CONTEXT_TIMESTEP = "context_timestep"
    CONTEXT_NOISE = "context_noise"
    CONTEXT_SEED = "context_seed"
    PLANS = "plans"
    BATCH = "batch"
    COMMITTED = "committed"


@dataclass(frozen=True)
class MethodTraits:
    """What a method is, for those who do not run it.

    Attributes:
        needs: Capabilities that the policy must have.
        judges: What its critics judge: the motion of a chunk, the noise it came from, or nothing.
    """

    needs: frozenset[Capability]
    judges: Literal["plan", "noise", ""]

    @property
    def learns(self) -> bool:
        """Whether it fine-tunes anything."""
        return bool(self.judges)


_NOISE, _PLANS, _BATCH = Capability.ACTION_NOISE, Capability.PLANS, Capability.BATCH
_TIMESTEP = Capability.CONTEXT_TIMESTEP
_SEED, _CONTEXT_NOISE = Capability.CONTEXT_SEED, Capability.CONTEXT_NOISE
METHODS: dict[str, MethodTraits] = {
    "tmrl": MethodTraits(frozenset({_NOISE, _TIMESTEP, _SEED, _PLANS, _BATCH}), "plan"),
    "expo": MethodTraits(frozenset({_NOISE, _PLANS, _BATCH}), "plan"),
    "dsrl": MethodTraits(frozenset({_NOISE}), "noise"),
    "tmrl_paper": MethodTraits(frozenset({_NOISE, _TIMESTEP, _CONTEXT_NOISE}), "noise"),
    "rlpd": MethodTraits(frozenset({_PLANS}), "plan"),
    "vgps": MethodTraits(frozenset({_NOISE, _PLANS, _BATCH}), "plan"),
    "base": MethodTraits(frozenset(), ""),
    "scripted": MethodTraits(frozenset(), ""),
    "person": MethodTraits(frozenset(), ""),
}

DEMONSTRATORS = ("scripted", "person")
"""They act without a policy."""
