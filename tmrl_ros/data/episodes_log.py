"""Files that survive a crash: JSON written whole or not at all, and `episodes.jsonl`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.core.types import Episode

EPISODES_FILE = "episodes.jsonl"


def write_json_atomic(path: Path, value: Any, *, durable: bool = True) -> None:
    """Replace a JSON file in one step: a reader sees the old or the new content, never a part.

    Args:
        path: File to (re)place; its folder is made if missing.
        value: JSON types, numpy scalars and arrays, paths and enums; NaN and infinities become
            null.
        durable: Wait until the disk has it (`fsync`). Turn off for files rewritten several times a
            second.

    Raises:
        OSError: The file system refuses; the old file is untouched.
    """
    text = json.dumps(plain(value), indent=2, allow_nan=False) + "\n"
    write_bytes_atomic(path, text.encode(), durable=durable)


def write_bytes_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file in one step (temporary name in the same folder, `fsync`, rename).

    Raises:
        OSError: The file system refuses; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def append_episode(path: Path, episode: Episode, extra: Mapping[str, Any] | None = None) -> None:
    """Add the line of an ended episode to `episodes.jsonl`.

    Enums are written by name in lower case (`"outcome": "success"`). A line torn by a crash is left
    behind on its own line, where `read_episodes` skips it.

    Args:
        path: The log; made if missing.
        episode: The ENDED event.
        extra: More columns (wall time, learner figures); they must not be named like the event's.

    Raises:
        OSError: The file system refuses.
        ValueError: `extra` names a field of the event.
    """
    columns = asdict(episode)
    if extra and (twice := sorted(columns.keys() & extra.keys())):
        raise ValueError(f"columns {twice} are fields of the episode itself")
    append_line(path, {**columns, **(extra or {})})


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one line of JSON to a log, after a torn one on a line of its own.

    Raises:
        OSError: The file system refuses.
    """
    line = json.dumps(plain(value), allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read_episodes(path: Path) -> list[dict[str, Any]]:
    """Lines of `episodes.jsonl` in order.

    Of an episode that was repeated or relabelled the latest line counts. A missing file has no
    lines; torn lines are skipped.
    """
    if not path.exists():
        return []
    latest: dict[str, dict[str, Any]] = {}
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
            key = str(row["episode_id"])
        except (ValueError, KeyError, TypeError):
            continue
        latest.pop(key, None)
        latest[key] = row
    return list(latest.values())


def plain(value: Any) -> Any:
    """The value in JSON's own types."""
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
