"""May what was learned be trusted? The figures that status, console and report show of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tmrl_ros.session.fallback import Rule, fallbacks
from tmrl_ros.session.records import EpisodeRecord, of_phase
from tmrl_ros.session.statistics import success_rate

WINDOW = 20


def base_success(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Success of the base policy in its evaluation, with the 95 % interval."""
    return success_rate([r.success for r in of_phase(records, "evaluate_before")]).as_dict()


def critic(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """What of the learner's figures is about its critics.

    Returns:
        `expected` and `seen`: mean value of the decisions of the last 20 episodes before they were
        learned from, and mean discounted return that came of them (Monte Carlo); `disagreement`:
        mean standard deviation of the ensemble. None where it is not known (yet).
    """
    names = {
        "expected": "value_expected",
        "seen": "return_seen",
        "disagreement": "disagreement",
    }
    return {key: figures.get(name) for key, name in names.items()}


def clip_rate(records: Sequence[EpisodeRecord], phase: str) -> float | None:
    """Share of the targets of the last episodes of a phase that the supervisor changed."""
    recent = of_phase(records, phase)[-WINDOW:]
    sent = sum(record.steps_sent for record in recent)
    return sum(record.steps_clipped for record in recent) / sent if sent else None


def fallback_rows(rule: Rule, records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """Every time that the base policy took over, for a report."""
    return [
        {
            "from_episode": item.index + 1,
            "episodes": item.episodes,
            "successes": item.why.successes,
            "n": item.why.n,
            "base_successes": item.why.base_successes,
            "base_n": item.why.base_n,
            "p_value": item.why.p_value if item.why.n else None,
            "level": item.why.level,
        }
        for item in fallbacks(rule, records)
    ]
