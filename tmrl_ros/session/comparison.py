"""A blind, interleaved comparison of policies: what is run next, and what it says so far.

Every start state is met by every policy, in an order drawn anew, as in the evaluations of robot
foundation models (arXiv 2507.05331). Of two policies only the starts on which they differ count: if
both were equally good, either would win such a start with chance 1/2. The evidence against that is
the mean of theta^wins (1 - theta)^losses 2^(wins + losses) over theta in [0, 1], a test martingale:
whenever one looks, it exceeds 1 / alpha with a chance of at most alpha (Ville's inequality). So the
comparison may be watched, and ends when it is decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from tmrl_ros.core.comparison import METHOD_PREFIX, letter_of
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import FloatArray, Phase
from tmrl_ros.session.records import EpisodeRecord, of_phase
from tmrl_ros.session.runner import Goal
from tmrl_ros.session.seeds import PHASE_NAMES
from tmrl_ros.session.statistics import Rate, wilson

PHASE = Phase.OTHER
GRID = np.linspace(0.0, 1.0, 2001)[1:-1]


@dataclass(frozen=True)
class Pair:
    """Two contenders, over the starts that both have met.

    Attributes:
        first, second: Letters.
        wins: Starts at which the first succeeded and the second did not.
        losses: The other way round.
        evidence: Against both being equally good; 1 says nothing, 20 is strong.
        chance_better: Posterior probability that the first is better (uniform priors).
        decided: Whether the evidence is enough.
    """

    first: str
    second: str
    wins: int
    losses: int
    evidence: float
    chance_better: float
    decided: bool


@dataclass(frozen=True)
class Standing:
    """What a comparison says so far.

    Attributes:
        outcomes: Success by letter, one per start that it has met, in order.
        rates: Their rates with Wilson intervals.
        pairs: All pairs.
        decided: Whether every pair is.
    """

    outcomes: dict[str, dict[int, bool]]
    rates: dict[str, Rate]
    pairs: list[Pair]
    decided: bool


def next_goal(config: Config, records: Sequence[EpisodeRecord]) -> Goal | None:
    """The next episode, or None when the comparison is decided or all starts are used up.

    It ends only after a start that all contenders have met.
    """
    comparison, seed = config.comparison, config.session.seed
    count = len(comparison.contenders)
    done = {record.index for record in of_phase(records, PHASE_NAMES[PHASE])}
    index = next(i for i in range(len(done) + 1) if i not in done)
    start, turn = divmod(index, count)
    if start >= comparison.starts or (turn == 0 and start and standing(config, records).decided):
        return None
    letter = comparison.order(seed, start)[turn]
    return Goal(
        phase=PHASE,
        episodes=1,
        start_index=index,
        seed=seed,
        method=METHOD_PREFIX + letter,
        learn=False,
        deterministic=True,
    )


def standing(config: Config, records: Sequence[EpisodeRecord]) -> Standing:
    """Rates, pairs and whether it is decided."""
    count = len(config.comparison.contenders)
    letters = sorted(config.comparison.coded(config.session.seed))
    outcomes: dict[str, dict[int, bool]] = {letter: {} for letter in letters}
    for record in of_phase(records, PHASE_NAMES[PHASE]):
        letter = letter_of(record.method)
        if letter in outcomes:
            outcomes[letter][record.index // count] = record.success
    rates = {letter: wilson(sum(found.values()), len(found)) for letter, found in outcomes.items()}
    chosen = list(combinations(letters, 2))
    limit = len(chosen) / config.comparison.alpha  # Bonferroni over pairs
    pairs = [_pair(a, b, outcomes, limit) for a, b in chosen]
    return Standing(outcomes, rates, pairs, all(pair.decided for pair in pairs))


def _pair(a: str, b: str, outcomes: dict[str, dict[int, bool]], limit: float) -> Pair:
    both = outcomes[a].keys() & outcomes[b].keys()
    wins = sum(outcomes[a][start] and not outcomes[b][start] for start in both)
    losses = sum(outcomes[b][start] and not outcomes[a][start] for start in both)
    found = evidence(wins, losses)
    chance = chance_better(
        sum(outcomes[a].values()), len(outcomes[a]), sum(outcomes[b].values()), len(outcomes[b])
    )
    return Pair(a, b, wins, losses, found, chance, found >= limit)


def turned(pair: Pair) -> Pair:
    """The same pair, seen from the other."""
    return replace(
        pair,
        first=pair.second,
        second=pair.first,
        wins=pair.losses,
        losses=pair.wins,
        chance_better=1.0 - pair.chance_better,
    )


def evidence(wins: int, losses: int) -> float:
    """Beta(wins + 1, losses + 1) 2^(wins + losses): see the head of this file."""
    log_beta = math.lgamma(wins + 1) + math.lgamma(losses + 1) - math.lgamma(wins + losses + 2)
    return math.exp(log_beta + (wins + losses) * math.log(2))


def chance_better(good_a: int, n_a: int, good_b: int, n_b: int) -> float:
    """Probability that rate a is above rate b, with independent uniform priors."""
    a, b = posterior(good_a, n_a), posterior(good_b, n_b)
    below = np.cumsum(b) - b / 2
    return float((a * below).sum())


def posterior(good: int, n: int) -> FloatArray:
    """Posterior of a rate with a uniform prior, on `GRID`, summing to 1."""
    log = good * np.log(GRID) + (n - good) * np.log1p(-GRID)
    weights = np.exp(log - log.max())
    found: FloatArray = weights / weights.sum()
    return found
