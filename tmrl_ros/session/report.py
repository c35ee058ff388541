"""`report.json`, `report.html` and the plots, from the files of a session alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import read_config
from tmrl_ros.data.episodes_log import write_bytes_atomic, write_json_atomic
from tmrl_ros.session.comparison_report import build_comparison
from tmrl_ros.session.fallback import rule_of
from tmrl_ros.session.judged import AFTER, BEFORE, by_truth, rate_of, recount
from tmrl_ros.session.origin import ORIGIN_FILE, origin
from tmrl_ros.session.page import Picture, render_page
from tmrl_ros.session.plots import draw_plots
from tmrl_ros.session.probe import steering_notice, steering_rows
from tmrl_ros.session.records import (
    EpisodeRecord,
    load_records,
    methods_of,
    of_phase,
    robot_seconds,
    still_valid,
)
from tmrl_ros.session.statistics import percentile
from tmrl_ros.session.status import STATUS_FILE, read_json, wall_seconds_before
from tmrl_ros.session.trust import critic, fallback_rows

CONFIG_FILE, MEMORY_FILE = "config.yaml", "memory.json"
TRAIN, PROBE = "train", "other"


def build_report(session_dir: Path) -> dict[str, Any]:
    """Write `report.json`, `plots/*.png` and `report.html` of a session, finished or not.

    Args:
        session_dir: Folder of the session, with `config.yaml` and `episodes.jsonl`.

    Returns:
        What `report.json` holds.

    Raises:
        ConfigurationError: The folder has no readable configuration, or no episode has ended.
        BagError: Estimates that were chosen for it are damaged.
    """
    config = read_config(session_dir / CONFIG_FILE)
    records, relabelled = recount(session_dir, load_records(session_dir))
    if not records:
        raise ConfigurationError(
            f"{session_dir} has no ended episode to report: let it run for a while first."
        )
    if config.comparison.contenders:
        return build_comparison(session_dir, config, records)
    judged, evaluation = by_truth(session_dir, config, records)
    report = {
        **figures(config, judged, session_dir),
        "relabelled": relabelled,
        "evaluation": evaluation,
    }
    plots = draw_plots(still_valid(records, config.method.name), report, session_dir / "plots")
    write_json_atomic(session_dir / "report.json", report)
    pictures = [Picture(title, path) for title, path in plots.items()]
    page = render_page(report, config.task.prompt, pictures)
    write_bytes_atomic(session_dir / "report.html", page.encode())
    return report


def figures(config: Config, records: Sequence[EpisodeRecord], folder: Path) -> dict[str, Any]:
    """The figures of `report.json`."""
    source = {**origin(config), **read_json(folder / ORIGIN_FILE)}
    memory = read_json(folder / MEMORY_FILE)
    status = read_json(folder / STATUS_FILE)
    valid = still_valid(records, config.method.name)
    return {
        "task": source["task"],
        "method": source["method"],
        "seed": source["seed"],
        "finished": bool(status.get("done", False)),
        **episode_figures(records, config.method.name),
        "wall_minutes": wall_seconds_before(folder, records) / 60.0,
        "fallbacks": fallback_rows(rule_of(config), valid),
        "steering": steering_rows(config, valid),
        "steering_notice": steering_notice(config, valid),
        "messages_lost": status.get("messages_lost") or {},
        "peak_memory_mb": memory.get("peak_memory_mb"),
        "memory_mb": memory.get("nodes") or {},
        "config_hash": source["config_hash"],
        "versions": source["versions"],
        "command": source["command"],
    }


def episode_figures(records: Sequence[EpisodeRecord], method: str) -> dict[str, Any]:
    """What of `report.json` the episodes alone tell, whether from the log or from bags.

    Args:
        records: All of a session.
        method: What is evaluated after training (`records.still_valid`).
    """
    valid = still_valid(records, method)
    training = of_phase(valid, TRAIN)
    counted = [record for record in valid if not record.aborted]
    sent = sum(record.steps_sent for record in records)
    clipped = sum(record.steps_clipped for record in records)
    hashes = [record.bundle_hash for record in records if record.bundle_hash]
    return {
        "methods": methods_of(valid),
        "success_before": rate_of(valid, BEFORE),
        "success_after": rate_of(valid, AFTER),
        "success_training": rate_of(valid, TRAIN),
        "episodes": len(training),
        "robot_minutes": robot_seconds(records, TRAIN) / 60.0,
        "robot_minutes_resets": sum(r.reset_seconds for r in records if r.phase == TRAIN) / 60.0,
        "robot_minutes_probe": robot_seconds(records, PROBE) / 60.0,
        "robot_minutes_evaluation": robot_seconds(records, BEFORE, AFTER) / 60.0,
        "decisions": sum(record.decisions for record in counted),
        "outcomes": dict(Counter(record.outcome for record in records)),
        "clip_rate": clipped / sent if sent else None,
        "human_steps": sum(record.human_steps for record in records),
        "human_episodes": human_episodes(valid),
        "critic": critic(training[-1].learner if training else {}),
        "latency_ms": latency([value for record in records for value in record.latency_ms]),
        "aborted": [
            {
                "episode_id": r.episode_id,
                "attempt": r.attempt,
                "reason": r.reason,
                "labelled_by": r.labelled_by,
            }
            for r in records
            if r.aborted
        ],
        "trimmed": [
            {
                "episode_id": r.episode_id,
                "kept": r.trimmed_to,
                "decisions": r.decisions,
                "outcome": r.outcome,
            }
            for r in records
            if r.trimmed_to is not None
        ],
        "bundle_hash": hashes[-1] if hashes else None,
        "bundle_hashes": len(set(hashes)),
    }


def human_episodes(records: Sequence[EpisodeRecord]) -> dict[str, int]:
    """Counted episodes of each phase in which a person moved the arm for a while."""
    phases = [record.phase for record in records if record.human_steps and not record.aborted]
    return dict(Counter(phases))


def latency(values: Sequence[float]) -> dict[str, Any]:
    """Percentiles of the wall time from an observation to its chunk, ms."""
    return {
        "n": len(values),
        "mean": sum(values) / len(values) if values else None,
        "p50": percentile(values, 50),
        "p95": percentile(values, 95),
        "p99": percentile(values, 99),
        "max": max(values, default=None),
    }
