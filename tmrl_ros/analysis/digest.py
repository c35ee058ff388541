"""Read a session's bags once, one after the other, into rows.

Whatever is wrong with one bag is said of that bag; the others are read all the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.analysis.one_bag import BagDigest, read_bag, tell
from tmrl_ros.analysis.rows import (
    CameraAgeRow,
    DecisionRow,
    EpisodeRow,
    LabelRow,
    MessageRow,
    SafetyRow,
    SkippedRow,
)
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import NANOSECONDS, Episode, EpisodeOutcome, EpisodeState
from tmrl_ros.data.bag_reader import is_label, read_about, recorded_folders
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.stop_buffer import STOPS_FOLDER
from tmrl_ros.session.collector import Collector
from tmrl_ros.session.records import EpisodeRecord, as_cut

COUNTS_FILE = "counts.json"
MOMENTS = 4
"""Key frames of an episode: the first, the last, and evenly between."""


@dataclass(frozen=True)
class KeyFrame:
    """What the cameras saw at one decision, side by side: (h, w, 3) RGB."""

    order: int
    episode_id: str
    decision: int
    progress: float | None
    picture: NDArray[np.uint8]


@dataclass
class Digest:
    """Everything that a report is made from.

    `records` are the session's own records as the log would have them (`session/records.py`), one
    for every row of `episodes`, in the same order.
    """

    about: dict[str, str] = field(default_factory=dict)
    records: list[EpisodeRecord] = field(default_factory=list)
    episodes: list[EpisodeRow] = field(default_factory=list)
    decisions: list[DecisionRow] = field(default_factory=list)
    camera_ages: list[CameraAgeRow] = field(default_factory=list)
    labels: list[LabelRow] = field(default_factory=list)
    safety: list[SafetyRow] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    skipped: list[SkippedRow] = field(default_factory=list)
    key_frames: list[KeyFrame] = field(default_factory=list)
    wall_s: float = 0.0


def digest_session(session: Path, *, tell: Callable[[int, int], None] | None = None) -> Digest:
    """Read every bag of a session, those of aborted attempts included.

    Args:
        session: A session, or a folder of bags.
        tell: Told after every bag how many are read, and of how many.

    Raises:
        BagError: The folder holds no bag at all, or none that ends.
    """
    folders = recorded_folders(session)
    if not folders:
        raise BagError(f"{session} holds no bags: name a session folder or its episodes folder.")
    reader = _Reader()
    for number, folder in enumerate(folders, 1):
        reader.take(folder)
        if tell is not None:
            tell(number, len(folders))
    digest = reader.finish(session)
    if not digest.episodes:
        why = "; ".join(f"{row.bag}: {row.why}" for row in digest.skipped[:3])
        raise BagError(f"{session} has no bag of an ended episode ({why}).")
    return digest


class _Reader:
    """What is known after some of the bags."""

    def __init__(self) -> None:
        self._digest = Digest()
        self._collector = Collector()
        self._begun_ns = 0
        self._ended_ns = 0
        self._last_ns = 0
        self._bags: list[tuple[BagDigest, EpisodeRecord]] = []
        self._relabelled: dict[tuple[str, int], EpisodeRecord] = {}
        self._latched: set[tuple[int, str]] = set()
        self._said: set[tuple[str, str, str, int]] = set()
        self._recorded: Counter[str] = Counter()
        self._counts: dict[str, Counter[str]] = {}

    def take(self, folder: Path) -> None:
        """Read one bag."""
        try:
            found = read_bag(folder)
        except (OperatorError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self._skip(folder, f"it cannot be read ({why or type(error).__name__})")
            return
        self._begun_ns = self._begun_ns or found.begun_ns
        self._last_ns = max(self._last_ns, found.last_ns)
        self._recorded.update(found.counts)
        self._count(folder)
        self._take_stops(found)
        record = self._hear(found)
        if is_label(folder.name):
            return
        if not found.complete:
            what = "is read up to its last whole chunk" if record else "its episode has no end"
            self._skip(folder, f"it was cut off; {what}", left_out=record is None)
        elif record is None:
            self._skip(folder, "its episode has no end")
        if record is None:
            return
        self._digest.about = self._digest.about or read_about(folder)
        self._add(found, record)

    def _hear(self, found: BagDigest) -> EpisodeRecord | None:
        """Tell the session's own collector, and return the record of the bag's episode."""
        record = None
        for stamp_ns, piece in found.told:
            now_s, job_wall_s = stamp_ns / NANOSECONDS, self._since(stamp_ns)
            if isinstance(piece, Episode):
                self._label(found, stamp_ns, piece)
            said = tell(self._collector, piece, now_s, job_wall_s)
            own = said is not None and said.episode_id == found.episode_id
            if own and record is None and not is_label(found.folder.name):
                record = said
            elif said is not None:
                self._relabelled[(said.episode_id, said.attempt)] = said
        return record

    def _label(self, found: BagDigest, stamp_ns: int, event: Episode) -> None:
        if event.state is not EpisodeState.ENDED or event.outcome is EpisodeOutcome.NONE:
            return
        own = event.episode_id == found.episode_id and not is_label(found.folder.name)
        late = not own or stamp_ns != found.ended_ns
        outcome, by = event.outcome.name.lower(), event.labelled_by
        said = (event.episode_id, outcome, by, event.stamp_ns)
        if said not in self._said:  # a label is repeated to whoever joins late
            self._said.add(said)
            self._digest.labels.append(
                LabelRow(*said[:3], event.reason, self._since(stamp_ns), late)
            )

    def _add(self, found: BagDigest, record: EpisodeRecord) -> None:
        order = len(self._bags)
        self._bags.append((found, record))
        decisions = found.decision_rows(order, record.attempt)
        walls = found.wall_split(self._ended_ns)
        periods, idle = found.idle_periods()
        self._ended_ns = found.ended_ns
        progress = [row.progress for row in decisions if row.progress is not None]
        self._digest.decisions += decisions
        self._digest.camera_ages += found.camera_rows(order)
        self._digest.episodes.append(
            EpisodeRow(
                order=order,
                episode_id=record.episode_id,
                attempt=record.attempt,
                phase=record.phase,
                index=record.index,
                method=record.method,
                outcome=record.outcome,
                success=None if record.aborted else record.success,
                labelled_by=record.labelled_by,
                reason=record.reason,
                decisions=record.decisions,
                trimmed_to=None,
                started_s=self._since(found.reset_ns or found.begun_ns),
                robot_s=record.robot_seconds,
                robot_reset_s=record.reset_seconds,
                **walls,
                periods=periods,
                idle_periods=idle,
                steps_sent=record.steps_sent,
                steps_clipped=record.steps_clipped,
                last_progress=progress[-1] if progress else None,
                parameters_version=record.parameters_version,
                bundle_hash=record.bundle_hash,
                bag=found.folder.name,
                complete=found.complete,
            )
        )
        shown = [row for row in decisions if row.sequence in found.pictures]
        places = np.linspace(0, len(shown) - 1, min(MOMENTS, len(shown))).round().astype(int)
        for row in [shown[place] for place in dict.fromkeys(places.tolist())]:
            picture = found.pictures[row.sequence]
            self._digest.key_frames.append(
                KeyFrame(order, row.episode_id, row.decision, row.progress, picture)
            )

    def _take_stops(self, found: BagDigest) -> None:
        for latched_ns, code, message, value in found.stops:
            if (latched_ns, code) not in self._latched:
                self._latched.add((latched_ns, code))
                self._digest.safety.append(
                    SafetyRow(self._since(latched_ns), found.episode_id, code, message, value)
                )

    def _add_stops_between_episodes(self, session: Path) -> None:
        """Stops that no episode's bag saw have bags of their own."""
        folder = session / STOPS_FOLDER
        for bag in sorted(folder.iterdir()) if folder.is_dir() else []:
            about = read_about(bag)
            latched_ns, code = about.get("latched_ns", ""), about.get("code", "")
            if not latched_ns.isdigit() or (int(latched_ns), code) in self._latched:
                continue
            self._digest.safety.append(
                SafetyRow(
                    self._since(int(latched_ns)),
                    about.get("episode_id", ""),
                    code,
                    about.get("message", ""),
                    about.get("value", ""),
                )
            )
        self._digest.safety.sort(key=lambda row: row.latched_s)

    def _count(self, folder: Path) -> None:
        try:
            topics = json.loads((folder / COUNTS_FILE).read_text())["topics"]
            for name, counts in topics.items():
                self._counts.setdefault(name, Counter()).update(
                    {key: int(counts[key]) for key in ("sent", "received", "dropped")}
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # an unfinished bag has no counts: its messages are counted as they are read

    def _skip(self, folder: Path, why: str, *, left_out: bool = True) -> None:
        self._digest.skipped.append(SkippedRow(folder.name, why, left_out))

    def _since(self, stamp_ns: int) -> float:
        return round((stamp_ns - self._begun_ns) / NANOSECONDS, 6)

    def finish(self, session: Path) -> Digest:
        """Put labels and cuts that came late where they belong, and count the messages."""
        digest = self._digest
        self._add_stops_between_episodes(session)
        records = [self._relabelled.get((r.episode_id, r.attempt), r) for _, r in self._bags]
        digest.records = as_cut(session, records)
        digest.episodes = [
            _as_it_counts(row, record)
            for row, record in zip(digest.episodes, digest.records, strict=True)
        ]
        digest.wall_s = max(0.0, self._since(self._last_ns))
        for topic in sorted(self._recorded.keys() | self._counts.keys()):
            said = self._counts.get(topic)
            digest.messages.append(
                MessageRow(
                    topic,
                    self._recorded[topic],
                    said["sent"] if said else None,
                    said["sent"] - said["received"] if said else None,
                    said["dropped"] if said else None,
                )
            )
        return digest


def _as_it_counts(row: EpisodeRow, record: EpisodeRecord) -> EpisodeRow:
    """The row with what was said of the episode after its bag was closed."""
    return replace(
        row,
        outcome=record.outcome,
        success=None if record.aborted else record.success,
        labelled_by=record.labelled_by,
        reason=record.reason,
        trimmed_to=record.trimmed_to,
    )
