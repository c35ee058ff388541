"""`labels.jsonl` of a session: who labelled what and when, beside what the model had said.

The labels themselves are in the bags, as events of their episodes; this is the page to read them
from, and what a restarted reward node knows the model's record by.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from tmrl_ros.core.types import EpisodeOutcome
from tmrl_ros.data.episodes_log import append_line
from tmrl_ros.rewards.agreement import Label

LABELS_FILE = "labels.jsonl"


def append_label(
    folder: Path, label: Label, *, model: str, model_hash: str, at: datetime | None = None
) -> None:
    """Add one line.

    Args:
        folder: The session.
        label: The label.
        model: Name of the model it was compared with.
        model_hash: Hash of that model.
        at: When it was given; now by default.

    Raises:
        OSError: The file system refuses.
    """
    line = {
        "episode_id": label.episode_id,
        "outcome": label.outcome,
        "labelled_by": label.by,
        "labelled_at": (at or datetime.now(UTC)).isoformat(timespec="milliseconds"),
        "model_success": label.model_success,
        "success_probability": label.peak,
        "model": model,
        "model_hash": model_hash,
    }
    append_line(folder / LABELS_FILE, line)


def read_labels(folder: Path, *, model: str, model_hash: str) -> list[Label]:
    """Labels of a session that were compared with this very model, oldest first.

    A torn line, left by a crash, is skipped. No file means no labels.
    """
    path = folder / LABELS_FILE
    if not path.exists():
        return []
    found = []
    for text in path.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
            label = Label(
                str(line["episode_id"]),
                EpisodeOutcome[str(line["outcome"]).upper()],
                str(line["labelled_by"]),
                line["model_success"],
                line["success_probability"],
            )
            if (line["model"], line["model_hash"]) == (model, model_hash):
                found.append(label)
        except (ValueError, KeyError, TypeError):
            continue
    return found
