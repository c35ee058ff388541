"""Which context timestep the first episodes take: what was tried of each, and what to try next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tmrl_ros.data.steering import T_LEVELS
from tmrl_ros.data.transitions import Transition


@dataclass(frozen=True)
class Exploration:
    """How warm-up episodes choose their context timestep: Thompson sampling over a few levels.

    Attributes:
        levels: Context timesteps to choose from.
        successes: Successes at each level, prior included.
        failures: Failures at each level, prior included.
    """

    levels: tuple[float, ...]
    successes: tuple[float, ...]
    failures: tuple[float, ...]

    def choose(self, rng: np.random.Generator) -> float:
        """The level whose success rate, drawn from its Beta posterior, is the highest."""
        drawn = [rng.beta(a, b) for a, b in zip(self.successes, self.failures, strict=True)]
        return self.levels[int(np.argmax(drawn))]

    def to_json(self) -> dict[str, object]:
        """Plain values for `PolicyParameters.metadata_json`."""
        return {
            "levels": list(self.levels),
            "successes": list(self.successes),
            "failures": list(self.failures),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Exploration:
        """The reverse of `to_json`."""

        def numbers(key: str) -> tuple[float, ...]:
            found = values[key]
            if not isinstance(found, Sequence):
                raise ValueError(f"exploration {key} is {found!r}, not a list")
            return tuple(float(value) for value in found)

        return cls(numbers("levels"), numbers("successes"), numbers("failures"))


def prior() -> Exploration:
    """Before anything was tried: the level of precise imitation is favoured."""
    return Exploration(T_LEVELS, (2.0, 1.0, 1.0), (1.0, 1.0, 1.0))


Counts = dict[str, list[float]]
"""Level -> [successes, failures]."""


def count(counts: Counts, rows: Sequence[Transition], times: float = 1.0) -> None:
    """Add an episode to the counts if it was one of warm-up; `times` = -1 takes it back.

    How an episode ends in which a person took the arm says nothing about its level.
    """
    if any(row.human_steps for row in rows):
        return
    if rows and all(row.parameters_version == 0 and not row.by_base for row in rows):
        level = counts.setdefault(f"{rows[0].t_context:g}", [0.0, 0.0])
        level[0 if rows[0].success_episode else 1] += times


def tried(counts: Counts) -> dict[float, tuple[int, int]]:
    """Successes and episodes of every level."""
    seen = {level: counts.get(f"{level:g}", [0.0, 0.0]) for level in T_LEVELS}
    return {level: (round(good), round(good + bad)) for level, (good, bad) in seen.items()}


def exploration(counts: Counts) -> Exploration:
    """What warm-up episodes showed about each level, prior included."""
    start = prior()
    seen = [counts.get(f"{level:g}", [0.0, 0.0]) for level in start.levels]
    return Exploration(
        start.levels,
        tuple(a + each[0] for a, each in zip(start.successes, seen, strict=True)),
        tuple(b + each[1] for b, each in zip(start.failures, seen, strict=True)),
    )
