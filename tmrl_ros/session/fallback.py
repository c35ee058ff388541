"""When the base policy acts in training: what was learned succeeds significantly less often.

A pure function of the session's log, so that a resumed session decides the same. It looks after
every `every` episodes that what was learned has acted in, warm-up left out, and compares the last
`window` of them with the evaluation of the base policy by Fisher's exact test. The error that one
look may make is the 5 % of the whole run divided by the planned number of looks (Bonferroni): a run
that is as good as its base falls back with a probability of at most 5 %, however often it is looked
at. Episodes acted by the base policy are learned from too; after `episodes` of them what was
learned by then is tried again, and compared anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tmrl_ros.core.config import Config
from tmrl_ros.core.significance import below
from tmrl_ros.session.records import EpisodeRecord, of_phase

BASE = "base"
ERROR = 0.05
"""Chance that a run which is as good as its base ever falls back."""


@dataclass(frozen=True)
class Rule:
    """When to look, at how much, and for how long to fall back.

    Attributes:
        method: What is learned; episodes that another one acted in are not compared.
        warmup: First training episodes, which do not count.
        window: Latest episodes that are compared; 0 = never.
        every: Episodes between looks.
        episodes: Acted by the base policy before what was learned is tried again.
        looks: Planned in all.
    """

    method: str
    warmup: int
    window: int
    every: int
    episodes: int
    looks: int

    @property
    def level(self) -> float:
        """P value below which one look falls back."""
        return ERROR / self.looks


@dataclass(frozen=True)
class Comparison:
    """Training against the base policy at one look."""

    successes: int
    n: int
    base_successes: int
    base_n: int
    level: float

    @property
    def p_value(self) -> float:
        """Chance of so few successes if training were as good as the base policy."""
        return below(self.successes, self.n, self.base_successes, self.base_n)

    @property
    def is_below(self) -> bool:
        """Whether training is significantly below the base policy."""
        return self.p_value < self.level

    def __str__(self) -> str:
        return (
            f"{self.successes} of the last {self.n} training episodes succeeded, "
            f"{self.base_successes} of {self.base_n} with the base policy "
            f"(one-sided Fisher test: p = {self.p_value:.2g}, below {self.level:.2g})"
        )


@dataclass(frozen=True)
class Fallback:
    """The base policy took over with episode `index`, because of `why`; `episodes` done so far."""

    index: int
    why: Comparison
    episodes: int


@dataclass(frozen=True)
class Next:
    """Who acts next, and for how many episodes at most until it is looked at again."""

    by_base: bool
    episodes: int


def rule_of(config: Config) -> Rule:
    """The rule of a session's configuration."""
    session, warmup = config.session, config.method.warmup_episodes
    looks = (session.train_episodes - warmup) // session.fallback_every
    return Rule(
        method=config.method.name,
        warmup=warmup,
        window=session.fallback_window,
        every=session.fallback_every,
        episodes=session.fallback_episodes,
        looks=max(1, looks),
    )


def next_block(rule: Rule, records: Sequence[EpisodeRecord], left: int) -> Next:
    """Who acts in the next training episodes.

    Args:
        rule: The rule.
        records: The session's log.
        left: Training episodes that are left, at least 1.
    """
    training = of_phase(records, "train")
    if (by_base := _trailing_base(training)) and by_base < rule.episodes:
        return Next(True, min(left, rule.episodes - by_base))
    outcomes = _outcomes(rule, training)
    now = _look(rule, outcomes, records)
    if now is not None and now.is_below:
        return Next(True, min(left, rule.episodes))
    return Next(False, min(left, _until_look(rule, records, training, outcomes, left)))


def notice(rule: Rule, records: Sequence[EpisodeRecord]) -> str:
    """While the base policy acts, or is about to: since when, why, and for how long; else ""."""
    if not next_block(rule, records, 1).by_base:
        return ""
    training = of_phase(records, "train")
    taken = fallbacks(rule, records) if _trailing_base(training) else []
    if taken:
        why, index = taken[-1].why, taken[-1].index
    else:
        why = _compare(rule, _outcomes(rule, training), _base(records))
        index = training[-1].index + 1
    return (
        f"The base policy acts in training episodes {index + 1} to {index + rule.episodes}: {why}. "
        "Then what was learned is tried again."
    )


def fallbacks(rule: Rule, records: Sequence[EpisodeRecord]) -> list[Fallback]:
    """Every time that the base policy took over, with the figures as they count now."""
    found: list[Fallback] = []
    base = _base(records)
    training = of_phase(records, "train")
    for place, record in enumerate(training):
        if record.method != BASE:
            continue
        before = training[:place]
        if before and before[-1].method == BASE:
            found[-1] = replace(found[-1], episodes=found[-1].episodes + 1)
            continue
        learned = replace(rule, method=before[-1].method) if before else rule
        found.append(Fallback(record.index, _compare(rule, _outcomes(learned, before), base), 1))
    return found


def _look(
    rule: Rule, outcomes: Sequence[bool], records: Sequence[EpisodeRecord]
) -> Comparison | None:
    """The comparison, if it is time for one and the base policy was measured."""
    base = _base(records)
    is_time = rule.window and outcomes and len(outcomes) % rule.every == 0
    return _compare(rule, outcomes, base) if is_time and base[1] else None


def _compare(rule: Rule, outcomes: Sequence[bool], base: tuple[int, int]) -> Comparison:
    recent = outcomes[-rule.window :] if rule.window else []
    return Comparison(sum(recent), len(recent), *base, rule.level)


def _until_look(
    rule: Rule,
    records: Sequence[EpisodeRecord],
    training: Sequence[EpisodeRecord],
    outcomes: list[bool],
    left: int,
) -> int:
    """Episodes until the first look that would fall back if they all failed.

    Looks before it cannot, so that nothing has to be interrupted for them.
    """
    warmup_left = sum(1 for i in range(rule.warmup) if i >= len(training))
    for more in range(1, left - warmup_left + 1):
        look = _look(rule, [*outcomes, *([False] * more)], records)
        if look is not None and look.is_below:
            return warmup_left + more
    return left


def _base(records: Sequence[EpisodeRecord]) -> tuple[int, int]:
    """Successes and episodes of the evaluation of the base policy."""
    evaluated = of_phase(records, "evaluate_before")
    return sum(record.success for record in evaluated), len(evaluated)


def _outcomes(rule: Rule, training: Sequence[EpisodeRecord]) -> list[bool]:
    """Success in the latest episodes in a row that the method acted in, behind warm-up.

    How an episode ends in which a person took the arm says nothing about what was learned.
    """
    others = (i for i, record in enumerate(training) if record.method != rule.method)
    latest = training[max(others, default=-1) + 1 :]
    return [
        record.success
        for record in latest
        if record.index >= rule.warmup and not record.human_steps
    ]


def _trailing_base(training: Sequence[EpisodeRecord]) -> int:
    """Episodes at the end that the base policy acted in."""
    count = 0
    for record in reversed(training):
        if record.method != BASE:
            break
        count += 1
    return count
