"""The rows that are read from bags, and their tables as CSV and Parquet."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


@dataclass(frozen=True)
class EpisodeRow:
    """One attempt at an episode.

    `success` is None for an aborted one. `robot_s` counts the robot's clock, `wall_*_s` that of the
    recorder: between the end of the episode before and this one's beginning (`waiting`), until it
    runs (`reset`), for pictures (`seeing`), until the chunk is there (`deciding`), while it is
    executed (`moving`), and what is left (`other`). Of the control periods from the first to the
    last target (`periods`) the arm waited for a chunk in `idle_periods`. `started_s` counts from
    the first bag's beginning. `complete` is False for a bag that was read up to its last whole
    chunk.
    """

    order: int
    episode_id: str
    attempt: int
    phase: str
    index: int
    method: str
    outcome: str
    success: bool | None
    labelled_by: str
    reason: str
    decisions: int
    trimmed_to: int | None
    started_s: float
    robot_s: float
    robot_reset_s: float
    wall_waiting_s: float
    wall_reset_s: float
    wall_seeing_s: float
    wall_deciding_s: float
    wall_moving_s: float
    wall_other_s: float
    periods: int
    idle_periods: int
    steps_sent: int
    steps_clipped: int
    last_progress: float | None
    parameters_version: int
    bundle_hash: str
    bag: str
    complete: bool


@dataclass(frozen=True)
class DecisionRow:
    """One observation and what followed; None where a message is missing or says nothing.

    `stamp_s` is the robot's clock. Of the targets sent `steps_human` were a person's. `latency_ms`
    is wall time from observation to chunk as the recorder saw it. `asked`, `executed` and
    `measured` are the last row that was sent: x y z in metres from the measured pose, gripper
    opening 0..1.
    """

    order: int
    episode_id: str
    attempt: int
    decision: int
    sequence: int
    stamp_s: float
    actor: str
    deterministic: bool
    t_context: float
    z_norm: float
    execute_steps: int
    result: str
    reason: str
    steps_sent: int
    steps_clipped: int
    steps_human: int
    chunk_age_s: float | None
    processing_ms: float | None
    latency_ms: float | None
    inference_ms: float
    reward_latency_ms: float | None
    progress: float | None
    success_probability: float | None
    reward_success: bool | None
    asked_x: float | None = None
    asked_y: float | None = None
    asked_z: float | None = None
    asked_gripper: float | None = None
    executed_x: float | None = None
    executed_y: float | None = None
    executed_z: float | None = None
    executed_gripper: float | None = None
    measured_x: float | None = None
    measured_y: float | None = None
    measured_z: float | None = None
    measured_gripper: float | None = None


@dataclass(frozen=True)
class CameraAgeRow:
    """How much older than the robot state a camera's frame was, ms of the robot's clock."""

    order: int
    episode_id: str
    decision: int
    camera: str
    age_ms: float


@dataclass(frozen=True)
class LabelRow:
    """One word on how an episode ended; `said_s` as `EpisodeRow.started_s`.

    `late`: it came when the episode had ended.
    """

    episode_id: str
    outcome: str
    labelled_by: str
    reason: str
    said_s: float
    late: bool


@dataclass(frozen=True)
class SafetyRow:
    """One time that the software stop latched; `latched_s` as `EpisodeRow.started_s`."""

    latched_s: float
    episode_id: str
    code: str
    message: str
    value: str


@dataclass(frozen=True)
class MessageRow:
    """Messages of one topic over all bags.

    `sent` is None where no bag says so. `lost` never came to the recorder, `dropped` it could not
    write.
    """

    topic: str
    recorded: int
    sent: int | None
    lost: int | None
    dropped: int | None


@dataclass(frozen=True)
class SkippedRow:
    """A bag that could not be read as it should be, and whether it is left out."""

    bag: str
    why: str
    left_out: bool


def table_of(rows: Sequence[Any], kind: type) -> pa.Table:
    """The rows as a table whose columns are those of the dataclass, also when there are none."""
    hints = get_type_hints(kind)
    schema = pa.schema([(item.name, _arrow(hints[item.name])) for item in fields(kind)])
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)


def write_table(table: pa.Table, stem: Path) -> tuple[Path, Path]:
    """Write `<stem>.csv` and `<stem>.parquet`.

    Raises:
        OSError: The file system refuses.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    csv, parquet = stem.with_suffix(".csv"), stem.with_suffix(".parquet")
    pa.csv.write_csv(table, csv)
    pa.parquet.write_table(table, parquet, compression="zstd")
    return csv, parquet


def _arrow(hint: Any) -> pa.DataType:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(item for item in get_args(hint) if item is not type(None))
    return ARROW[hint]
