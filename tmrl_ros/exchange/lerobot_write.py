"""Write episodes as a LeRobotDataset v3.0 (`lerobot_format.py`)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.types import EpisodeOutcome
from tmrl_ros.data.episodes_log import write_json_atomic
from tmrl_ros.exchange import lerobot_format as v3
from tmrl_ros.exchange.frames import STATE_NAMES, EpisodeFrames
from tmrl_ros.exchange.video import VideoWriter

BYTES_PER_MB = 1e6
STATS_PICTURES = 100
"""Pictures of an episode that its statistics are taken from, evenly spread."""


@dataclass
class Place:
    """Which file is being written: chunk and file number."""

    chunk: int = 0
    file: int = 0

    def next(self) -> Place:
        """The file after this one."""
        if self.file + 1 == v3.FILES_PER_CHUNK:
            return Place(self.chunk + 1, 0)
        return Place(self.chunk, self.file + 1)

    def path(self, root: Path, pattern: str, key: str = "") -> Path:
        """Where it lies; `key` is the camera's column."""
        name = pattern.format(video_key=key, chunk_index=self.chunk, file_index=self.file)
        return root / name


def write_lerobot(
    episodes: Sequence[EpisodeFrames], out: Path, *, robot_type: str, video: bool = True
) -> dict[str, Any]:
    """Write a data set.

    Args:
        episodes: At least one; all of the same objects, cameras and rate.
        out: Folder of the data set; it must not exist, or be empty.
        robot_type: e.g. `panda`.
        video: Cameras as H.264 videos, which lose a little; else as PNG in the data files.

    Returns:
        What `meta/info.json` holds.

    Raises:
        ConfigurationError: The folder is in use, or the episodes do not fit together.
        OSError: The file system refuses.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} is not an empty folder: name a new one.")
    features = features_of(episodes, video=video)
    writer = _Writer(out, features, fps=_rate(episodes[0]))
    for episode in episodes:
        writer.add(episode)
    return writer.finish(robot_type)


def features_of(episodes: Sequence[EpisodeFrames], *, video: bool) -> dict[str, v3.Feature]:
    """Columns of a data set.

    Raises:
        ConfigurationError: Episodes differ in objects, cameras, picture sizes or rate.
    """
    first = episodes[0]
    for other in episodes[1:]:
        if _shape(other) != _shape(first):
            raise ConfigurationError(
                f"Episodes {first.episode_id} and {other.episode_id} do not fit into one data set: "
                f"objects, pictures and rate are {_shape(first)} and {_shape(other)}. Export them "
                "one by one."
            )
    axes = [f"{name}.{axis}" for name in first.object_names for axis in "xyz"]
    found = {
        v3.STATE: v3.feature("float32", STATE_NAMES),
        v3.ACTION: v3.feature("float32", STATE_NAMES),
    }
    if first.object_names:
        found[v3.OBJECTS] = v3.feature("float32", axes)
        found[v3.VISIBLE] = v3.feature("bool", first.object_names)
    for camera, pictures in first.images.items():
        _, height, width, _ = pictures.shape
        found[v3.IMAGES + camera] = v3.picture_feature(height, width, fps=_rate(first), video=video)
    for name in ("progress", "t_context"):
        found[name] = v3.feature("float32")
    for name in ("decision", "robot_stamp_ns"):
        found[name] = v3.feature("int64")
    for name in ("fresh", "hold", "human"):
        found[name] = v3.feature("bool")
    found["next.reward"] = v3.feature("float32")
    for name in ("next.success", "next.done"):
        found[name] = v3.feature("bool")
    return {**found, **v3.counted_features()}


class _Writer:
    """The files of a data set, episode by episode."""

    def __init__(self, out: Path, features: Mapping[str, v3.Feature], *, fps: int) -> None:
        self._out, self._features, self._fps = out, features, fps
        self._schema = v3.data_schema(features)
        self._tasks: list[str] = []
        self._episodes: list[dict[str, Any]] = []
        self._stats: dict[str, list[v3.Stats]] = {name: [] for name in features}
        self._frames = 0
        self._data = Place()
        self._parquet: pa.parquet.ParquetWriter | None = None
        self._places = {name: Place() for name in features if self._is_video(name)}
        self._videos: dict[str, VideoWriter] = {}

    def add(self, episode: EpisodeFrames) -> None:
        """Append one episode."""
        if episode.task not in self._tasks:
            self._tasks.append(episode.task)
        columns = self._columns(episode)
        stats = {
            name: v3.column_stats(columns[name])
            for name, item in self._features.items()
            if item["dtype"] not in ("video", "image")
        }
        line: dict[str, Any] = {
            "episode_index": len(self._episodes),
            "tasks": [episode.task],
            "length": len(episode),
            "episode_id": episode.episode_id,
            "outcome": episode.outcome.name.lower(),
            "phase": episode.phase.name.lower(),
        }
        for camera, pictures in episode.images.items():
            key = v3.IMAGES + camera
            some = np.linspace(0, len(pictures) - 1, min(len(pictures), STATS_PICTURES))
            stats[key] = v3.picture_stats(pictures[some.round().astype(int)])
            if key in self._places:
                line |= self._add_video(key, pictures, episode.row)
            else:
                columns[key] = np.array([_png(picture) for picture in pictures], object)[
                    episode.row
                ]
        line |= self._add_rows(columns)
        for name, found in stats.items():
            self._stats[name].append(found)
            line |= {f"stats/{name}/{key}": value.tolist() for key, value in found.items()}
        line |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        self._episodes.append(line)
        self._frames += len(episode)

    def finish(self, robot_type: str) -> dict[str, Any]:
        """Close the files and write what stands in `meta/`."""
        if self._parquet is not None:
            self._parquet.close()
        for video in self._videos.values():
            video.close()
        meta = Place().path(self._out, v3.EPISODES_PATH)
        meta.parent.mkdir(parents=True, exist_ok=True)
        pa.parquet.write_table(pa.Table.from_pylist(self._episodes), meta)
        pa.parquet.write_table(v3.tasks_table(self._tasks), self._out / v3.TASKS_PATH)
        merged = {name: v3.merged_stats(parts) for name, parts in self._stats.items()}
        write_json_atomic(self._out / v3.STATS_PATH, merged)
        info = v3.info(
            self._features,
            fps=self._fps,
            robot_type=robot_type,
            episodes=len(self._episodes),
            frames=self._frames,
            tasks=len(self._tasks),
        )
        write_json_atomic(self._out / v3.INFO_PATH, info)
        return info

    def _columns(self, episode: EpisodeFrames) -> dict[str, NDArray[Any]]:
        count = len(episode)
        done = np.arange(count) == count - 1
        number = np.arange(count, dtype=np.int64)
        return {
            v3.STATE: episode.state,
            v3.ACTION: episode.action,
            v3.OBJECTS: episode.objects.reshape(count, -1),
            v3.VISIBLE: episode.visible,
            "progress": episode.progress,
            "t_context": episode.t_context,
            "decision": episode.decision,
            "robot_stamp_ns": episode.stamp_ns,
            "fresh": episode.fresh,
            "hold": episode.hold,
            "human": episode.human,
            "next.reward": episode.reward,
            "next.success": done & (episode.outcome is EpisodeOutcome.SUCCESS),
            "next.done": done,
            "timestamp": (number / self._fps).astype(np.float32),
            "frame_index": number,
            "episode_index": np.full(count, len(self._episodes), np.int64),
            "index": number + self._frames,
            "task_index": np.full(count, self._tasks.index(episode.task), np.int64),
        }

    def _add_rows(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        path = self._data.path(self._out, v3.DATA_PATH)
        if self._parquet is not None and path.stat().st_size >= v3.DATA_MB * BYTES_PER_MB:
            self._parquet.close()
            self._parquet, self._data = None, self._data.next()
            path = self._data.path(self._out, v3.DATA_PATH)
        if self._parquet is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._parquet = pa.parquet.ParquetWriter(path, self._schema, compression="snappy")
        arrays = [_arrow(columns[item.name], item.type) for item in self._schema]
        self._parquet.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        count = len(columns["index"])
        return {
            "data/chunk_index": self._data.chunk,
            "data/file_index": self._data.file,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + count,
        }

    def _add_video(
        self, key: str, pictures: NDArray[np.uint8], row: NDArray[np.int64]
    ) -> dict[str, Any]:
        video = self._videos.get(key)
        if video is not None and video.path.stat().st_size >= v3.VIDEO_MB * BYTES_PER_MB:
            video.close()
            video, self._places[key] = None, self._places[key].next()
        place = self._places[key]
        if video is None:
            _, height, width, _ = pictures.shape
            path = place.path(self._out, v3.VIDEO_PATH, key)
            video = VideoWriter(path, rate_hz=self._fps, width=width, height=height)
            self._videos[key] = video
        begin = video.frames
        for number in row:
            video.write(pictures[number])
        return {
            f"videos/{key}/chunk_index": place.chunk,
            f"videos/{key}/file_index": place.file,
            f"videos/{key}/from_timestamp": begin / self._fps,
            f"videos/{key}/to_timestamp": video.frames / self._fps,
        }

    def _is_video(self, name: str) -> bool:
        return bool(self._features[name]["dtype"] == "video")


def _arrow(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
    if pa.types.is_struct(kind):
        return pa.array([{"bytes": data, "path": None} for data in values], kind)
    return pa.array(values.reshape(-1), kind)


def _png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _shape(episode: EpisodeFrames) -> tuple[Any, ...]:
    pictures = {name: item.shape[1:] for name, item in episode.images.items()}
    return (episode.object_names, pictures, episode.rate_hz)


def _rate(episode: EpisodeFrames) -> int:
    if abs(episode.rate_hz - round(episode.rate_hz)) > 1e-6:
        raise ConfigurationError(
            f"{episode.rate_hz:g} rows a second cannot be exported: LeRobot counts whole frames "
            "per second (robot.control_rate_hz)."
        )
    return round(episode.rate_hz)
