"""Outcomes as they count in a report: judged again since, or checked against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tmrl_ros.core.config import Config
from tmrl_ros.core.types import EpisodeOutcome
from tmrl_ros.data.recount import outcome_by
from tmrl_ros.data.reward_sidecar import chosen, read_sidecar
from tmrl_ros.data.truth import check
from tmrl_ros.session.records import EpisodeRecord, of_phase, still_valid
from tmrl_ros.session.statistics import success_rate

BEFORE, AFTER = "evaluate_before", "evaluate_after"


def recount(
    folder: Path, records: Sequence[EpisodeRecord]
) -> tuple[list[EpisodeRecord], dict[str, Any] | None]:
    """Records with the outcomes of the estimates that count now, and what that changed, if any.

    Raises:
        BagError: A file beside a bag is damaged.
    """
    model_hash = chosen(folder)
    if not model_hash:
        return list(records), None
    found, changed, model = [], [], ""
    for record in records:
        sidecar = read_sidecar(folder / "episodes" / record.episode_id, model_hash)
        if sidecar is not None and record.labelled_by in ("", "reward"):
            model = sidecar.model
            before = EpisodeOutcome[record.outcome.upper()]
            now = outcome_by(sidecar.rewards, before)
            if now is not before:
                changed.append(record.episode_id)
                record = replace(record, outcome=now.name.lower())
        found.append(record)
    return found, {"model": model, "model_hash": model_hash, "changed": changed}


def by_truth(
    folder: Path, config: Config, records: Sequence[EpisodeRecord]
) -> tuple[list[EpisodeRecord], dict[str, Any]]:
    """Evaluations by the simulator's truth, where a model judged them and the truth was recorded.

    Training keeps the model's word, which is what the learner had. A person's word stays, too.

    Returns:
        The records, and who judged the evaluations; if it is the truth, also what the model had
        said and how often it was wrong.
    """
    said = {"judged_by": config.reward.backend}
    if config.reward.backend == "simulator":
        return list(records), said
    found, false, missed, checked = [], 0, 0, 0
    for record in records:
        bag = folder / "episodes" / record.episode_id
        mine = record.phase in (BEFORE, AFTER) and record.labelled_by in ("", "reward")
        truth = check(bag) if mine and not record.aborted and bag.is_dir() else None
        if truth is not None:
            checked += 1
            false += record.success and not truth.then
            missed += truth.really and not record.success
            if record.success != truth.really:
                now = EpisodeOutcome.SUCCESS if truth.really else EpisodeOutcome.FAILURE
                record = replace(record, outcome=now.name.lower())
        found.append(record)
    if not checked:
        return list(records), said
    valid = still_valid(records, config.method.name)
    return found, {
        "judged_by": "simulator's truth",
        "said_by": config.reward.backend,
        "said_before": rate_of(valid, BEFORE),
        "said_after": rate_of(valid, AFTER),
        "checked": checked,
        "false_successes": false,
        "missed_successes": missed,
    }


def rate_of(records: Sequence[EpisodeRecord], phase: str) -> dict[str, Any]:
    """Success rate of a phase with its interval."""
    return success_rate([record.success for record in of_phase(records, phase)]).as_dict()
