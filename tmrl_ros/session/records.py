"""Lines of `episodes.jsonl`: one per ended episode, with what happened at every decision."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tmrl_ros.core.types import Episode, EpisodeOutcome, Phase
from tmrl_ros.data.episodes_log import EPISODES_FILE, append_episode
from tmrl_ros.data.trims import Trim, read_trims
from tmrl_ros.session.seeds import PHASE_NAMES

EVENT_FIELDS = frozenset(Episode.__dataclass_fields__)


@dataclass(frozen=True)
class EpisodeRecord:
    """What is known of one ended episode.

    An episode that was aborted is repeated under the same id with the next `attempt`; one that a
    person relabelled is written again with the same attempt.

    Attributes:
        phase, outcome: Names in lower case.
        stamp_ns: Robot stamp of its end.
        robot_seconds: Robot time, reset included; `reset_seconds` of it before RUNNING.
        wall_s: Wall time from RESETTING to ENDED.
        job_wall_s: Wall time of the whole job up to now, over all resumes.
        t_context: Context timestep of every decision that moved the arm.
        z_norm: Norm of its action noise.
        latency_ms: Wall time from every observation to its chunk, as the session node saw it.
        steps_sent, steps_clipped: Targets sent and slowed down or pulled in by the supervisor.
        human_steps: Targets, resets left out, in which a person moved the arm.
        parameters_version: Learned weights of the last decision.
        learner: Figures of the learner when the episode ended.
        trimmed_to: Decisions that are kept, where a person cut the episode after it had ended; not
            in its line of the log (`data/trims.py`).
    """

    episode_id: str
    index: int
    phase: str
    outcome: str
    stamp_ns: int = 0
    attempt: int = 0
    reason: str = ""
    labelled_by: str = ""
    method: str = ""
    seed: int = 0
    decisions: int = 0
    robot_seconds: float = 0.0
    reset_seconds: float = 0.0
    wall_s: float = 0.0
    job_wall_s: float = 0.0
    t_context: Sequence[float] = ()
    z_norm: Sequence[float] = ()
    latency_ms: Sequence[float] = ()
    steps_sent: int = 0
    steps_clipped: int = 0
    human_steps: int = 0
    parameters_version: int = 0
    bundle_hash: str = ""
    learner: Mapping[str, float | None] = field(default_factory=dict)
    trimmed_to: int | None = None

    @property
    def aborted(self) -> bool:
        """Whether the episode does not count."""
        return self.outcome == "aborted"

    @property
    def success(self) -> bool:
        """Whether the episode succeeded."""
        return self.outcome == "success"


_NAMES = tuple(item.name for item in fields(EpisodeRecord) if item.name != "trimmed_to")


def append_record(folder: Path, record: EpisodeRecord, event: Episode) -> None:
    """Add a record to the session's log.

    Args:
        folder: The session.
        record: What is known of the episode.
        event: Its ENDED event, whose fields come first in the line.
    """
    extra = {name: getattr(record, name) for name in _NAMES if name not in EVENT_FIELDS}
    latency = list(record.latency_ms)
    extra["latency_mean_ms"] = sum(latency) / len(latency) if latency else None
    extra["latency_max_ms"] = max(latency, default=None)
    append_episode(folder / EPISODES_FILE, event, extra)


def load_records(folder: Path) -> list[EpisodeRecord]:
    """All records of a session in order, with the outcomes of episodes that were cut."""
    return as_cut(folder, logged_records(folder))


def as_cut(folder: Path, records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """Records with the outcomes that the session's cuts give them."""
    trims = read_trims(folder)
    return [_as_cut(record, trims.get(record.episode_id)) for record in records]


def _as_cut(record: EpisodeRecord, trim: Trim | None) -> EpisodeRecord:
    if trim is None or record.aborted:
        return record
    said = EpisodeOutcome[record.outcome.upper()]
    outcome, by = trim.outcome_of(said, record.labelled_by)
    return replace(record, outcome=outcome.name.lower(), labelled_by=by, trimmed_to=trim.decisions)


def logged_records(folder: Path) -> list[EpisodeRecord]:
    """All records of a session in order; of an attempt written twice (relabelled) the last.

    A torn line, left by a crash, is skipped. No file means no records.
    """
    path = folder / EPISODES_FILE
    if not path.exists():
        return []
    found: dict[tuple[str, int], EpisodeRecord] = {}
    for line in path.read_text(errors="replace").splitlines():
        try:
            values = json.loads(line)
            record = EpisodeRecord(**{k: v for k, v in values.items() if k in _NAMES})
        except (ValueError, TypeError, AttributeError):
            continue
        found[record.episode_id, record.attempt] = record
    return list(found.values())


def of_phase(records: Sequence[EpisodeRecord], phase: str) -> list[EpisodeRecord]:
    """Records of a phase that count: the last attempt of every index, in order, none aborted."""
    latest: dict[int, EpisodeRecord] = {}
    for record in records:
        if record.phase == phase and not record.aborted:
            latest[record.index] = record
    return [latest[index] for index in sorted(latest)]


def still_valid(records: Sequence[EpisodeRecord], method: str = "") -> list[EpisodeRecord]:
    """Records without evaluations that more training, or another method, made out of date.

    Args:
        records: All of a session.
        method: What is evaluated after training now; "" = whatever was.
    """
    last = max((i for i, record in enumerate(records) if _is_training(record)), default=-1)
    return [
        record
        for i, record in enumerate(records)
        if record.phase != PHASE_NAMES[Phase.EVALUATE_AFTER]
        or (i > last and (not method or record.method in ("", method)))
    ]


def methods_of(records: Sequence[EpisodeRecord]) -> list[dict[str, Any]]:
    """The methods that trained, in order: name, first and last episode of each stretch.

    Episodes in which the base policy acted instead belong to the method that learned from them.
    """
    found: list[dict[str, Any]] = []
    for record in of_phase(records, PHASE_NAMES[Phase.TRAIN]):
        if record.method == "base":
            continue
        if not found or found[-1]["method"] != record.method:
            found.append({"method": record.method, "first": record.index, "last": record.index})
        found[-1]["last"] = record.index
    return found


def _is_training(record: EpisodeRecord) -> bool:
    return record.phase == PHASE_NAMES[Phase.TRAIN] and not record.aborted


def robot_seconds(records: Sequence[EpisodeRecord], *phases: str) -> float:
    """Robot time of phases, aborted episodes and resets included."""
    return float(sum(record.robot_seconds for record in records if record.phase in phases))


def numbers(values: Sequence[Any]) -> list[float]:
    """The values that are numbers."""
    return [float(value) for value in values if isinstance(value, int | float)]
