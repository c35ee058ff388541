"""LeRobotDataset v3.0: names of files and columns, `info.json`, statistics.

https://huggingface.co/docs/lerobot/lerobot-dataset-v3: several episodes share a file, and
`meta/episodes` says where each of them lies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_MB, VIDEO_MB = 100, 200
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO_PATH, STATS_PATH, TASKS_PATH = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
TASK_INDEX_COLUMN = "__index_level_0__"  # what pandas calls an index without a name
STATE, ACTION, OBJECTS = "observation.state", "action", "observation.environment_state"
VISIBLE, IMAGES = "observation.objects_visible", "observation.images."
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
ARROW = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}
COUNTED = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""Columns that every data set has."""
Feature = dict[str, Any]
Stats = dict[str, NDArray[Any]]


def feature(dtype: str, names: Sequence[str] | None = None, size: int = 1) -> Feature:
    """A column of vectors, or of single values."""
    size = len(names) if names is not None else size
    return {"dtype": dtype, "shape": [size], "names": list(names) if names is not None else None}


def picture_feature(height: int, width: int, *, fps: int, video: bool) -> Feature:
    """A camera's column."""
    found: Feature = {
        "dtype": "video" if video else "image",
        "shape": [height, width, 3],
        "names": ["height", "width", "channels"],
    }
    if video:
        found["info"] = {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        }
    return found


def counted_features() -> dict[str, Feature]:
    """The columns that every data set has."""
    return {name: feature(dtype) for name, dtype in COUNTED.items()}


def info(
    features: Mapping[str, Feature],
    *,
    fps: int,
    robot_type: str,
    episodes: int,
    frames: int,
    tasks: int,
) -> dict[str, Any]:
    """`meta/info.json`."""
    video = any(item["dtype"] == "video" for item in features.values())
    return {
        "codebase_version": VERSION,
        "robot_type": robot_type,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if video else None,
        "features": dict(features),
    }


def data_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Schema of the data files; videos lie beside them."""
    fields = []
    for name, item in features.items():
        if item["dtype"] == "video":
            continue
        if item["dtype"] == "image":
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        elif item["shape"] == [1]:
            kind = ARROW[item["dtype"]]
        else:
            kind = pa.list_(ARROW[item["dtype"]], item["shape"][0])
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """`meta/tasks.parquet`: a pandas table whose index is the task's text."""
    about = {
        "index_columns": [TASK_INDEX_COLUMN],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [
            _pandas("task_index", "task_index", "int64", "int64"),
            _pandas(None, TASK_INDEX_COLUMN, "unicode", "object"),
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    schema = pa.schema(
        [("task_index", pa.int64()), (TASK_INDEX_COLUMN, pa.string())],
        metadata={"pandas": json.dumps(about)},
    )
    columns = [pa.array(range(len(tasks)), pa.int64()), pa.array(tasks, pa.string())]
    return pa.Table.from_arrays(columns, schema=schema)


def column_stats(values: NDArray[Any]) -> Stats:
    """Statistics of a column (L, D) or (L,), each (D,); quantiles are exact."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    return {
        "min": rows.min(0),
        "max": rows.max(0),
        "mean": rows.mean(0),
        "std": rows.std(0),
        "count": np.array([len(rows)]),
        **{name: np.quantile(rows, share, axis=0) for name, share in QUANTILES.items()},
    }


def picture_stats(pictures: NDArray[np.uint8]) -> Stats:
    """Statistics of pictures (N, h, w, 3) per channel, each (3, 1, 1), in 0..1."""
    found = column_stats(pictures.reshape(-1, 3) / 255.0)
    count = np.array([len(pictures)])
    return {
        name: count if name == "count" else value.reshape(3, 1, 1) for name, value in found.items()
    }


def merged_stats(parts: Sequence[Stats]) -> Stats:
    """Statistics of all rows from those of each episode.

    Quantiles are the mean of the episodes', weighted by their rows, as LeRobot merges them.
    """
    counts = np.array([float(part["count"][0]) for part in parts])
    shares = counts / counts.sum()

    def mean(name: str) -> NDArray[Any]:
        stacked = np.stack([part[name] for part in parts])
        return np.tensordot(shares, stacked, axes=1)

    means = np.stack([part["mean"] for part in parts])
    spread = np.stack([part["std"] for part in parts]) ** 2 + (means - mean("mean")) ** 2
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean("mean"),
        "std": np.sqrt(np.tensordot(shares, spread, axes=1)),
        "count": np.array([int(counts.sum())]),
        **{name: mean(name) for name in QUANTILES},
    }


def _pandas(name: str | None, field: str, kind: str, numpy_type: str) -> dict[str, Any]:
    return {
        "name": name,
        "field_name": field,
        "pandas_type": kind,
        "numpy_type": numpy_type,
        "metadata": None,
    }
