"""The data behind every plot of a bag report, one table per plot, named like its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tmrl_ros.analysis.digest import Digest
from tmrl_ros.analysis.key_frames import shown_episodes
from tmrl_ros.analysis.rows import (
    CameraAgeRow,
    DecisionRow,
    EpisodeRow,
    LabelRow,
    MessageRow,
    SafetyRow,
    table_of,
)
from tmrl_ros.session.plots import WINDOW, learner_series
from tmrl_ros.session.records import EpisodeRecord, of_phase
from tmrl_ros.session.statistics import rolling

OF_EPISODE = ["order", "episode_id"]
OF_DECISION = [*OF_EPISODE, "attempt", "decision"]
ROW = ("x", "y", "z", "gripper")
TEXT, WHOLE, NUMBER = pa.string(), pa.int64(), pa.float64()


def figure_tables(
    digest: Digest, records: Sequence[EpisodeRecord], report: Mapping[str, Any], phase: str
) -> dict[str, pa.Table]:
    """Tables by the stem of the plot's file.

    Args:
        digest: What the bags say.
        records: The records that the session's own plots are drawn from.
        report: Figures of the report.
        phase: Whose episodes the plots over episodes show.
    """
    episodes = table_of(digest.episodes, EpisodeRow)
    decisions = table_of(digest.decisions, DecisionRow)
    executed = [f"executed_{name}" for name in ROW]
    shown = of_phase(records, phase)
    return {
        "before_after": _before_after(report),
        "success": _success(shown),
        "robot_time": _rows(
            {"episode_id": TEXT, "reset_s": NUMBER, "robot_s": NUMBER},
            [(r.episode_id, r.reset_seconds, r.robot_seconds) for r in shown],
        ),
        "t_context": _rows(
            {"episode_id": TEXT, "index": WHOLE, "chunk": WHOLE, "t_context": NUMBER},
            [(r.episode_id, r.index, k, t) for r in shown for k, t in enumerate(r.t_context)],
        ),
        "learner": _rows(
            {"metric": TEXT, "episode": WHOLE, "value": NUMBER},
            [
                (name, number, value)
                for name, points in learner_series(shown).items()
                for number, value in points
            ],
        ),
        "wall_time": episodes.select(
            [*OF_EPISODE, *(name for name in episodes.column_names if name.startswith("wall_"))]
        ),
        "progress": decisions.select([*OF_DECISION, "progress", "success_probability"]),
        "actions": decisions.select(
            [*OF_DECISION, *(f"asked_{name}" for name in ROW), *executed, "steps_clipped"]
        ),
        "tracking": decisions.select(
            [*OF_DECISION, *executed, *(f"measured_{name}" for name in ROW)]
        ),
        "clips": decisions.select([*OF_DECISION, "steps_sent", "steps_clipped"]),
        "latency": decisions.select(
            [*OF_DECISION, "latency_ms", "processing_ms", "inference_ms", "reward_latency_ms"]
        ),
        "camera_age": table_of(digest.camera_ages, CameraAgeRow),
        "labels": table_of(digest.labels, LabelRow),
        "safety": table_of(digest.safety, SafetyRow),
        "messages": table_of(digest.messages, MessageRow),
        "key_frames": _key_frames(digest),
    }


def _before_after(report: Mapping[str, Any]) -> pa.Table:
    rates = [(when, report[f"success_{when}"]) for when in ("before", "after")]
    return _rows(
        {"when": TEXT, "rate": NUMBER, "low": NUMBER, "high": NUMBER, "n": WHOLE},
        [(when, rate["rate"], rate["low"], rate["high"], rate["n"]) for when, rate in rates],
    )


def _success(records: Sequence[EpisodeRecord]) -> pa.Table:
    rates = rolling([record.success for record in records], WINDOW)
    return _rows(
        {
            "episode_id": TEXT,
            "index": WHOLE,
            "outcome": TEXT,
            "rate": NUMBER,
            "low": NUMBER,
            "high": NUMBER,
            "n": WHOLE,
        },
        [
            (
                record.episode_id,
                record.index,
                record.outcome,
                rate.rate,
                rate.low,
                rate.high,
                rate.n,
            )
            for record, rate in zip(records, rates, strict=True)
        ],
    )


def _key_frames(digest: Digest) -> pa.Table:
    chosen = set(shown_episodes(digest))
    return _rows(
        {"order": WHOLE, "episode_id": TEXT, "decision": WHOLE, "progress": NUMBER},
        [
            (frame.order, frame.episode_id, frame.decision, frame.progress)
            for frame in digest.key_frames
            if frame.order in chosen
        ],
    )


def _rows(columns: Mapping[str, pa.DataType], rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    schema = pa.schema(list(columns.items()))
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema)
