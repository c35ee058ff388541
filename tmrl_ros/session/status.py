"""What the terminal display shows: `status.json`, rewritten a few times a second."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmrl_ros.data.episodes_log import write_json_atomic
from tmrl_ros.session.records import EpisodeRecord, numbers, of_phase, robot_seconds
from tmrl_ros.session.seeds import PHASE_NAMES
from tmrl_ros.session.statistics import success_rate
from tmrl_ros.session.trust import base_success, clip_rate, critic

STATUS_FILE = "status.json"
WINDOW = 20


@dataclass
class Status:
    """The fields of `status.json`.

    Attributes:
        phase: Name of the phase that goes on, "" before the first and after the last.
        episode: Number of the episode in its phase, counted from 1.
        wall_minutes: Of the whole job, over all resumes.
        learner: The learner's newest figures.
        safety: State ("latched", "ready", "running", "unknown"), code and message of the stop.
        messages_lost: Messages lost by node, as far as known.
        problem: The latest stop or aborted episode in words, and the time of day (`at`).
        fallback: Why the base policy acts in training, "" while it does not.
        collected: What of a person's demonstrations there is, "" where none are collected.
        steering: What of the steering range is destructive, "" if nothing is known to be.
    """

    phase: str = ""
    episode: int = 0
    episodes_total: int = 0
    wall_minutes: float = 0.0
    t_context: Sequence[float] = ()
    learner: Mapping[str, float | None] = field(default_factory=dict)
    safety: Mapping[str, str] = field(
        default_factory=lambda: {"state": "unknown", "code": "", "message": ""}
    )
    messages_lost: Mapping[str, int] = field(default_factory=dict)
    problem: Mapping[str, str] = field(default_factory=dict)
    fallback: str = ""
    steering: str = ""
    collected: str = ""
    message: str = ""
    done: bool = False

    def write(self, folder: Path, records: Sequence[EpisodeRecord]) -> None:
        """Replace the session's `status.json` in one step."""
        outcomes = [record.success for record in of_phase(records, self.phase)]
        used_s = robot_seconds(records, *PHASE_NAMES.values())
        write_json_atomic(
            folder / STATUS_FILE,
            {
                "phase": self.phase,
                "episode": self.episode,
                "episodes_total": self.episodes_total,
                "success_rate": success_rate(outcomes, WINDOW).as_dict(),
                "robot_minutes": round(used_s / 60.0, 3),
                "wall_minutes": round(self.wall_minutes, 3),
                "t_context": list(self.t_context),
                "updates_per_second": self.learner.get("updates_per_second"),
                "updates_owed": self.learner.get("updates_owed"),
                "transitions": self.learner.get("transitions"),
                "base": base_success(records),
                "critic": critic(self.learner),
                "clip_rate": clip_rate(records, self.phase),
                "human_episodes": sum(r.human_steps > 0 for r in of_phase(records, self.phase)),
                "fallback": self.fallback,
                "steering": self.steering,
                "collected": self.collected,
                "safety": dict(self.safety),
                "messages_lost": dict(self.messages_lost),
                "aborted": sum(record.aborted for record in records),
                "problem": dict(self.problem),
                "message": self.message,
                "done": self.done,
            },
            durable=False,
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; an empty one when it is missing or damaged."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def wall_seconds_before(folder: Path, records: Sequence[EpisodeRecord]) -> float:
    """Wall time a job has used already, from what it left behind."""
    shown = numbers([read_json(folder / STATUS_FILE).get("wall_minutes")])
    logged = [record.job_wall_s for record in records]
    return max([60.0 * value for value in shown] + logged, default=0.0)
