"""`labels.jsonl` of a session: who labelled what and when, beside what the model had said.

The labels themselves are in the bags, as events of their episodes; this is the page to read them
from, and what a restarted reward node knows the model's record by.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tmrl_ros.core.types import EpisodeOutcome
from tmrl_ros.data.episodes_log import append_line
from tmrl_ros.rewards.agreement import Label

LABELS_FILE = "labels.jsonl"


class LabelsLog:
    """The labels of one session; nothing is written where there is no session folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._latest = {label.episode_id: _word(label) for _, label in self._lines()}

    def write(
        self, label: Label, *, model: str, model_hash: str, at: datetime | None = None
    ) -> None:
        """Add a label, unless it stands there already and was only said again.

        Args:
            label: The label.
            model: Name of the model it was compared with.
            model_hash: Hash of that model.
            at: When it was given; now by default.

        Raises:
            OSError: The file system refuses.
        """
        if self._latest.get(label.episode_id) == _word(label) or not self._folder.is_dir():
            return
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
        append_line(self._folder / LABELS_FILE, line)
        self._latest[label.episode_id] = _word(label)

    def repeated(self, episode_id: str) -> None:
        """An episode begins anew: a label on it is a new one even if it says the same."""
        self._latest.pop(episode_id, None)

    def compared_with(self, model: str, model_hash: str) -> list[Label]:
        """Labels that were compared with this very model, oldest first."""
        return [label for name, label in self._lines() if name == (model, model_hash)]

    def _lines(self) -> Iterator[tuple[tuple[str, str], Label]]:
        """Model (name, hash) and label of every line; torn lines, left by a crash, are skipped."""
        path = self._folder / LABELS_FILE
        if not path.exists():
            return
        for text in path.read_text(errors="replace").splitlines():
            try:
                line: dict[str, Any] = json.loads(text)
                label = Label(
                    str(line["episode_id"]),
                    EpisodeOutcome[str(line["outcome"]).upper()],
                    str(line["labelled_by"]),
                    line["model_success"],
                    line["success_probability"],
                )
                model = (str(line["model"]), str(line["model_hash"]))
            except (ValueError, KeyError, TypeError):
                continue
            yield model, label


def _word(label: Label) -> tuple[EpisodeOutcome, str]:
    return label.outcome, label.by
