"""Names and seeds of episodes, the same on every machine."""

from __future__ import annotations

import hashlib

from tmrl_ros.core.types import Phase

PHASE_NAMES = {
    Phase.TRAIN: "train",
    Phase.EVALUATE_BEFORE: "evaluate_before",
    Phase.EVALUATE_AFTER: "evaluate_after",
    Phase.COLLECT: "collect",
    Phase.OTHER: "other",
}
# Both evaluations meet the same start states, so that they can be compared.
_SEED_GROUPS = {
    **PHASE_NAMES,
    Phase.EVALUATE_BEFORE: "evaluate",
    Phase.EVALUATE_AFTER: "evaluate",
}


def episode_id(phase: Phase, index: int) -> str:
    """Name of an episode, for example "train_000012"; a repeated episode keeps its name."""
    return f"{PHASE_NAMES[phase]}_{index:06d}"


def split_episode_id(name: str) -> tuple[str, int] | None:
    """Phase name and index of an episode's name, or None if it is not one."""
    phase, _, number = name.rpartition("_")
    if phase not in PHASE_NAMES.values() or not number.isdecimal():
        return None
    return phase, int(number)


def episode_seed(session_seed: int, phase: Phase, index: int) -> int:
    """Seed of one episode's start state and noise, as an unsigned 64-bit number.

    It is the first eight bytes, little endian, of SHA-256 over "tmrl/<session seed>/<group>/<i>".
    The group is the phase's name, and "evaluate" for both evaluations.
    """
    text = f"tmrl/{session_seed}/{_SEED_GROUPS[phase]}/{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
