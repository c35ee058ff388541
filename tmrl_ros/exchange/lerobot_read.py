"""Demonstrations from a LeRobotDataset v3.x, ours or anybody's, without the `lerobot` package."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image

from tmrl_ros.core.types import EpisodeOutcome, FloatArray
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.dataset import Demonstration
from tmrl_ros.exchange import lerobot_format as v3
from tmrl_ros.exchange.imported import ImportedEpisode, demonstration_of, stamps_at
from tmrl_ros.exchange.video import read_video


@dataclass(frozen=True)
class Columns:
    """Where a data set has what we need.

    Attributes:
        position: Numbers of x y z in state and action.
        gripper: Number of the gripper in both; -1 is the last one.
        relative: Actions are steps from the measured position, not positions.
        scale_m: What an action of 1 means.
        closed: What of the gripper's column means closed, and what `open`.
        open: See `closed`.
    """

    position: tuple[int, int, int] = (0, 1, 2)
    gripper: int = -1
    relative: bool = False
    scale_m: float = 1.0
    closed: float = 0.0
    open: float = 1.0

    def rows(self, values: FloatArray) -> FloatArray:
        """Position and opening, (L, 4); a finger that overshoots is a little outside 0..1."""
        opening = (values[:, self.gripper] - self.closed) / (self.open - self.closed)
        return np.concatenate([values[:, list(self.position)], opening[:, None]], axis=1)


def is_lerobot(folder: Path) -> bool:
    """Whether a folder is a LeRobot data set of any version."""
    return (folder / v3.INFO_PATH).is_file()


def load_lerobot(
    folder: Path,
    *,
    columns: Columns | None = None,
    only_successful: bool = True,
    pictures: bool = False,
    gripper_max_width_m: float = 0.08,
) -> list[Demonstration]:
    """Read every episode of a data set.

    Episodes of a data set that does not say how they ended count as successful: demonstrations are.
    One that does not say when something was observed was observed in every row.

    Args:
        folder: With `meta/info.json`.
        columns: Where position and gripper are; those of our own data sets by default.
        only_successful: Leave out episodes that say they failed.
        pictures: Read cameras too.
        gripper_max_width_m: Width that counts as opening 1.

    Raises:
        BagError: It is no such data set, or lacks something.
    """
    try:
        info = json.loads((folder / v3.INFO_PATH).read_text())
        version = str(info["codebase_version"])
        if not version.startswith("v3."):
            raise BagError(
                f"{folder} is a LeRobot data set of version {version}, not {v3.VERSION}: convert "
                "it with lerobot's own `convert_dataset_v21_to_v30`."
            )
        reader = _Reader(folder, info, columns or Columns())
        found = []
        for line in reader.episodes:
            episode = reader.read(line, pictures=pictures)
            if only_successful and episode.outcome is not EpisodeOutcome.SUCCESS:
                continue
            if (ours := demonstration_of(episode, gripper_max_width_m)) is not None:
                found.append(ours)
        return found
    except (OSError, ValueError, KeyError, IndexError, pa.ArrowException) as error:
        why = f"{type(error).__name__}: {error}"
        raise BagError(f"{folder} is no complete LeRobot data set ({why}).") from None


class _Reader:
    """The files of a data set."""

    def __init__(self, folder: Path, info: Mapping[str, Any], columns: Columns) -> None:
        self._folder, self._info, self._columns = folder, info, columns
        self._features: Mapping[str, v3.Feature] = info["features"]
        self._fps = float(info["fps"])
        self._tables: dict[Path, pa.Table] = {}
        lines = []
        for file in sorted((folder / "meta" / "episodes").glob("*/*.parquet")):
            lines += pa.parquet.read_table(file).to_pylist()
        self.episodes = sorted(lines, key=lambda line: int(line["episode_index"]))
        if len(self.episodes) != int(info["total_episodes"]):
            raise ValueError(f"{len(self.episodes)} of {info['total_episodes']} episodes are there")

    def read(self, line: Mapping[str, Any], *, pictures: bool) -> ImportedEpisode:
        """One episode, by its line in `meta/episodes`."""
        table = self._rows(line)
        count = table.num_rows
        if count != int(line["length"]):
            raise ValueError(
                f"episode {line['episode_index']} has {count} rows of {line['length']}"
            )
        state = self._columns.rows(_matrix(table, v3.STATE))
        action = self._columns.rows(_matrix(table, v3.ACTION))
        if self._columns.relative:
            action[:, :3] = state[:, :3] + self._columns.scale_m * action[:, :3]
        names, objects, visible = self._objects(table)
        everywhere = np.ones(count, bool)
        fresh = _flags(table, "fresh", everywhere)
        stamps = stamps_at(self._fps, count)
        if "robot_stamp_ns" in table.column_names:
            stamps = _matrix(table, "robot_stamp_ns")[:, 0].astype(np.int64)
        succeeded = bool(_flags(table, "next.success", everywhere).any())
        return ImportedEpisode(
            episode_id=str(line.get("episode_id") or f"episode_{int(line['episode_index']):06d}"),
            prompt=str(line["tasks"][0]),
            outcome=EpisodeOutcome.SUCCESS if succeeded else EpisodeOutcome.FAILURE,
            stamp_ns=stamps,
            state=state,
            action=action,
            object_names=names,
            objects=objects,
            visible=visible,
            fresh=fresh,
            hold=_flags(table, "hold", ~everywhere),
            images=self._pictures(table, line, np.flatnonzero(fresh)) if pictures else {},
        )

    def _rows(self, line: Mapping[str, Any]) -> pa.Table:
        path = self._folder / self._info["data_path"].format(
            chunk_index=line["data/chunk_index"], file_index=line["data/file_index"]
        )
        if path not in self._tables:
            self._tables = {path: pa.parquet.read_table(path)}  # files are read one after the other
        table = self._tables[path]
        index = table["episode_index"].to_numpy()
        return table.filter(pa.array(index == line["episode_index"]))

    def _objects(
        self, table: pa.Table
    ) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.bool_]]:
        """Names, (L, K, 3) and (L, K); no objects where the columns are not named `<object>.x`."""
        count = table.num_rows
        axes = (self._features.get(v3.OBJECTS) or {}).get("names") or []
        names = tuple(name.removesuffix(".x") for name in axes if name.endswith(".x"))
        if [f"{name}.{axis}" for name in names for axis in "xyz"] != list(axes) or not names:
            return (), np.zeros((count, 0, 3), np.float32), np.zeros((count, 0), bool)
        objects = _matrix(table, v3.OBJECTS).reshape(count, len(names), 3).astype(np.float32)
        visible = np.ones((count, len(names)), bool)
        if v3.VISIBLE in table.column_names:
            visible = _matrix(table, v3.VISIBLE).astype(bool)
        return names, objects, visible

    def _pictures(
        self, table: pa.Table, line: Mapping[str, Any], rows: NDArray[np.int64]
    ) -> dict[str, NDArray[np.uint8]]:
        found = {}
        for key, item in self._features.items():
            if item["dtype"] == "image":
                data = table[key].take(pa.array(rows)).to_pylist()
                pictures = [
                    np.asarray(Image.open(io.BytesIO(d["bytes"])).convert("RGB")) for d in data
                ]
            elif item["dtype"] == "video":
                pictures = list(self._decode(key, line, rows.tolist()))
            else:
                continue
            found[key.removeprefix(v3.IMAGES)] = np.stack(pictures)
        return found

    def _decode(
        self, key: str, line: Mapping[str, Any], rows: Sequence[int]
    ) -> Iterator[NDArray[np.uint8]]:
        path = self._folder / self._info["video_path"].format(
            video_key=key,
            chunk_index=line[f"videos/{key}/chunk_index"],
            file_index=line[f"videos/{key}/file_index"],
        )
        begin_s = float(line[f"videos/{key}/from_timestamp"])
        wanted = iter(rows)
        row = next(wanted)
        for time_s, picture in read_video(path):
            if time_s > begin_s + (row - 0.5) / self._fps:
                yield picture
                if (row := next(wanted, -1)) < 0:
                    return
        raise ValueError(f"{path.name} ends before row {row}")


def _matrix(table: pa.Table, name: str) -> NDArray[Any]:
    """A column as (L, D)."""
    column = table[name].combine_chunks()
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(len(column), -1)
    return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(-1, 1)


def _flags(table: pa.Table, name: str, otherwise: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if name not in table.column_names:
        return otherwise
    return _matrix(table, name)[:, 0].astype(bool)
