"""The success curve and the list of episodes, from the session's log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tmrl_ros.session.records import EpisodeRecord, of_phase
from tmrl_ros.session.seeds import PHASE_NAMES
from tmrl_ros.session.statistics import Rate, rolling, success_rate

WINDOW = 20
TRAIN, BEFORE, AFTER = "train", "evaluate_before", "evaluate_after"


def curves(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Success while training (rolling, with its 95 % interval), and of both evaluations.

    Returns:
        `phase` (the one drawn), `episode`, `rate`, `low`, `high` (one entry per episode, rates in
        0 to 1), `window`, and `before`, `after` as in `report.json`, None while there are none.
    """
    phase = _drawn(records)
    counted = of_phase(records, phase)
    rates = rolling([record.success for record in counted], WINDOW)
    return {
        "phase": phase,
        "window": WINDOW,
        "episode": [record.index + 1 for record in counted],
        "rate": [rate.rate for rate in rates],
        "low": [round(rate.low, 4) for rate in rates],
        "high": [round(rate.high, 4) for rate in rates],
        "before": _whole(records, BEFORE),
        "after": _whole(records, AFTER),
    }


def episode_rows(records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """What the list of episodes shows, newest first."""
    return [
        {
            "id": record.episode_id,
            "attempt": record.attempt,
            "phase": record.phase,
            "outcome": record.outcome,
            "reason": record.reason,
            "labelled_by": record.labelled_by,
            "decisions": record.decisions,
            "trimmed_to": record.trimmed_to,
            "robot_seconds": round(record.robot_seconds, 1),
            "t_context": _mean(record.t_context),
            "clipped": record.steps_clipped,
            "sent": record.steps_sent,
            "human": record.human_steps,
        }
        for record in reversed(records)
    ]


def _drawn(records: Sequence[EpisodeRecord]) -> str:
    """Training as soon as it has begun; before that whatever is there."""
    phases = {record.phase for record in records if not record.aborted}
    order = [TRAIN, AFTER, BEFORE, *PHASE_NAMES.values()]
    return next((phase for phase in order if phase in phases), TRAIN)


def _whole(records: Sequence[EpisodeRecord], phase: str) -> dict[str, float | int | None] | None:
    rate: Rate = success_rate([record.success for record in of_phase(records, phase)])
    return rate.as_dict() if rate.n else None


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None
