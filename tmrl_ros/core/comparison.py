"""Which policies a blind comparison has, and under which letters they act."""

from __future__ import annotations

import random
from pathlib import Path
from string import ascii_uppercase
from typing import Annotated

from pydantic import Field, field_validator

from tmrl_ros.core.method_config import MethodConfig
from tmrl_ros.core.section import Section

METHOD_PREFIX = "contender "
"""Before the letter in `EpisodeEvent.method`."""


class ContenderConfig(Section):
    """A frozen policy, and what was learned on top of it, if anything."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    bundle: Path
    method: MethodConfig = MethodConfig(name="base", warmup_episodes=0)
    weights: Path | None = Field(None, description="what `tmrl evaluate` took of a session")


class ComparisonConfig(Section):
    """Policies that act in turns on the same start states."""

    contenders: list[ContenderConfig] = Field([], max_length=8)
    starts: int = Field(50, ge=1, le=10_000, description="start states, one attempt of each policy")
    alpha: float = Field(
        0.05, gt=0, lt=0.5, description="chance of a difference being named where there is none"
    )

    @field_validator("contenders")
    @classmethod
    def _can_be_compared(cls, value: list[ContenderConfig]) -> list[ContenderConfig]:
        names = [item.name for item in value]
        if len(set(names)) != len(names):
            raise ValueError(f"two contenders have the same name: {names}")
        if len(names) == 1:
            raise ValueError(f"{names[0]} alone cannot be compared: name another one")
        return value

    def coded(self, seed: int) -> dict[str, ContenderConfig]:
        """Contenders by letter; which is which depends on the seed, so that nobody knows."""
        shuffled = random.Random(f"letters {seed}").sample(self.contenders, len(self.contenders))
        return dict(zip(ascii_uppercase, shuffled, strict=False))

    def order(self, seed: int, start: int) -> list[str]:
        """Letters in the order in which they act on a start state."""
        letters = list(ascii_uppercase[: len(self.contenders)])
        return random.Random(f"order {seed} {start}").sample(letters, len(letters))


def letter_of(method: str) -> str | None:
    """Letter of the contender that acts in an episode, if one does."""
    return method.removeprefix(METHOD_PREFIX) if method.startswith(METHOD_PREFIX) else None
