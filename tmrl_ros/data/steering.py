"""How far a policy may be steered: what probing showed, and the range that is left.

Fine-tuning steers a frozen policy by action noise that is repeated over the chunk, and by a context
timestep t. Some policies fail under such noise although they were trained with noise of the same
size that is drawn anew for every row. Whether this one does is asked before anything is learned:

* t: by the warm-up episodes, which hold one t each, with small noise repeated over the chunk;
* z: where an actor chooses the noise, by a few episodes with noise from all of its range
  (`probe_z_<scale>`), then from half and a quarter of it while that is destructive.

What an actor chooses is executed, so its range is narrowed. Where critics choose among candidates,
the policy's plain answer always among them, the range stays: what fails when drawn at random, many
times in a row, is what they are there to avoid.

A size is destructive if the policy succeeds significantly less often under it than in the
evaluation before (one-sided Fisher test; 5 % over all sizes of a kind together, and at least five
episodes).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.significance import below
from tmrl_ros.core.types import Episode, EpisodeOutcome, EpisodeState, Phase

Z_SCALES = (1.0, 0.5, 0.25)
T_LEVELS = (0.0, 0.5, 1.0)
ERROR = 0.05
LEAST = 5
"""Episodes without which nothing is called destructive, however good the base policy is."""
PREFIX = "probe_z_"

Count = tuple[int, int]
"""Successes and episodes."""


@dataclass(frozen=True)
class Range:
    """What is left of the method's range: a factor on its noise, and the highest t."""

    z_scale: float = 1.0
    t_max: float = 1.0

    def narrowed(self, method: MethodConfig) -> MethodConfig:
        """The method within this range, if an actor steers; else the method as it is."""
        if not method.judges_noise:
            return method
        bound, t_max = self.z_scale * method.z_bound, min(self.t_max, method.t_max)
        return method.model_copy(update={"z_bound": bound, "t_max": t_max})


FULL = Range()


def probe_name(scale: float) -> str:
    """`EpisodeEvent.method` of an episode that probes noise of that size."""
    return f"{PREFIX}{scale:g}"


def probed_scale(method: str) -> float | None:
    """Size of the noise that an episode probes, None if it is no probe."""
    text = method.removeprefix(PREFIX)
    known = {f"{scale:g}": scale for scale in Z_SCALES}
    return known.get(text) if text != method else None


@dataclass(frozen=True)
class Trial:
    """Success at one size of one kind ("z" or "t"), beside the base policy's."""

    kind: str
    level: float
    successes: int
    n: int
    base: Count

    @property
    def p_value(self) -> float:
        """Chance of so few successes if this size did no harm."""
        return below(self.successes, self.n, *self.base)

    @property
    def destructive(self) -> bool:
        """Whether the policy succeeds significantly less often."""
        return self.n >= LEAST and self.p_value < _level(self.kind)

    @property
    def can_tell(self) -> bool:
        """Whether so many episodes could show harm at all: if every one of them had failed."""
        return self.n >= LEAST and below(0, self.n, *self.base) < _level(self.kind)


def episodes_to_tell(base: Count, most: int) -> int | None:
    """How many failures in a row show that noise is destructive; None if not even `most` do.

    A base policy that rarely succeeds has little that could be destroyed.
    """
    found = (n for n in range(1, most + 1) if Trial("z", 1.0, 0, n, base).can_tell)
    return next(found, None)


@dataclass
class Evidence:
    """What is known of the base policy, of probes and of warm-up."""

    base: Count = (0, 0)
    z: dict[float, Count] = field(default_factory=dict)
    t: dict[float, Count] = field(default_factory=dict)

    def trials(self) -> list[Trial]:
        """Every size that was tried, in order."""
        tried = [("z", level, self.z) for level in Z_SCALES]
        tried += [("t", level, self.t) for level in T_LEVELS]
        return [
            Trial(kind, level, *counts[level], self.base)
            for kind, level, counts in tried
            if level in counts and counts[level][1]
        ]

    def range(self) -> Range:
        """The largest range whose ends were not found destructive; the least one if all were.

        The range of t ends at the highest level that was not: what fails at 0.5 and works at 1 may
        still be steered through.
        """
        bad = {(trial.kind, trial.level) for trial in self.trials() if trial.destructive}
        z_scale = next((s for s in Z_SCALES if ("z", s) not in bad), Z_SCALES[-1])
        t_max = next((t for t in reversed(T_LEVELS) if ("t", t) not in bad), T_LEVELS[0])
        return Range(z_scale, t_max)


class Heard:
    """The base policy's and the probes' episodes, as their events tell them."""

    def __init__(self) -> None:
        self._base: dict[str, bool] = {}
        self._probes: dict[str, tuple[float, bool]] = {}

    def add(self, event: Episode) -> None:
        """Take the newest word on an episode."""
        scale = probed_scale(event.method)
        is_base = event.phase is Phase.EVALUATE_BEFORE
        if event.state is not EpisodeState.ENDED or not (is_base or scale is not None):
            return
        self._base.pop(event.episode_id, None)
        self._probes.pop(event.episode_id, None)
        success = event.outcome is EpisodeOutcome.SUCCESS
        if event.outcome is EpisodeOutcome.ABORTED:
            return
        if scale is not None:
            self._probes[event.episode_id] = scale, success
        else:
            self._base[event.episode_id] = success

    def evidence(self, t: dict[float, Count] | None = None) -> Evidence:
        """What they show; `t` is what warm-up showed."""
        base = sum(self._base.values()), len(self._base)
        probes = list(self._probes.values())
        z = {scale: count([ok for s, ok in probes if s == scale]) for scale in Z_SCALES}
        return Evidence(base, z, t or {})


def count(outcomes: list[bool]) -> Count:
    """Successes and episodes of outcomes."""
    return sum(outcomes), len(outcomes)


def _level(kind: str) -> float:
    return ERROR / len(Z_SCALES if kind == "z" else T_LEVELS)
