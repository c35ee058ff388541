"""`trims.jsonl` of a session: episodes whose end a person cut off after they were recorded.

Bags never change. Of an episode the last line counts; one that keeps no number of decisions takes
the cut back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tmrl_ros.core.types import Episode, EpisodeOutcome
from tmrl_ros.data.episodes_log import append_line

TRIMS_FILE = "trims.jsonl"
NONE, ABORTED = EpisodeOutcome.NONE, EpisodeOutcome.ABORTED


@dataclass(frozen=True)
class Trim:
    """Where an episode ends now.

    Attributes:
        episode_id: The episode.
        decisions: Decisions that are kept, from the first one on; None takes a cut back.
        by: Who said so.
        outcome: How the episode ended there; NONE as it had ended.
        replaced: Outcome, and who had said that, when it was cut: a label that is given after the
            cut differs from it.
    """

    episode_id: str
    decisions: int | None
    by: str
    outcome: EpisodeOutcome = NONE
    replaced: tuple[EpisodeOutcome, str] = (NONE, "")

    def outcome_of(self, outcome: EpisodeOutcome, by: str) -> tuple[EpisodeOutcome, str]:
        """How the episode ended, and who says so, given what is said of the whole of it.

        The later word of two persons counts; both stand above every estimate.
        """
        later = by not in ("", "reward") and (outcome, by) != self.replaced
        if self.outcome is NONE or later or outcome is ABORTED:
            return outcome, by
        return self.outcome, self.by


def trimmed_end(ended: Episode, trim: Trim) -> Episode:
    """The ENDED event as a person would have said it where the episode ends now."""
    if trim.decisions is None or ended.outcome is ABORTED:
        return ended
    outcome, by = trim.outcome_of(ended.outcome, ended.labelled_by)
    by = by if by not in ("", "reward") else trim.by
    kept = min(ended.decisions, trim.decisions)
    return replace(ended, outcome=outcome, labelled_by=by, decisions=kept)


def append_trim(session: Path, trim: Trim) -> None:
    """Add a line.

    Raises:
        OSError: The file system refuses.
    """
    outcome, by = trim.replaced
    line = {
        "episode_id": trim.episode_id,
        "decisions": trim.decisions,
        "outcome": trim.outcome,
        "by": trim.by,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "replaced": {"outcome": outcome, "labelled_by": by},
    }
    append_line(session / TRIMS_FILE, line)


def read_trims(session: Path) -> dict[str, Trim]:
    """The cuts that count, by episode; torn lines, left by a crash, are skipped."""
    path = session / TRIMS_FILE
    found: dict[str, Trim] = {}
    for text in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            trim = _from_json(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        found.pop(trim.episode_id, None)
        if trim.decisions is not None:
            found[trim.episode_id] = trim
    return found


def _from_json(line: dict[str, object]) -> Trim:
    replaced, decisions = line["replaced"], line["decisions"]
    if not isinstance(replaced, dict) or not (decisions is None or isinstance(decisions, int)):
        raise ValueError(f"not a cut: {line}")
    return Trim(
        str(line["episode_id"]),
        decisions,
        str(line["by"]),
        EpisodeOutcome[str(line["outcome"]).upper()],
        (EpisodeOutcome[str(replaced["outcome"]).upper()], str(replaced["labelled_by"])),
    )
