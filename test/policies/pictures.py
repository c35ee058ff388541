"""Observations with made-up pictures for the tests of encoders."""

from __future__ import annotations

import numpy as np

from tmrl_ros.core.types import Pose, RobotSample
from tmrl_ros.data.decode import RecordedObservation

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
TOOL = np.array([0.45, 0.0, 0.2])


def observed(rng: np.random.Generator, **changes: object) -> RecordedObservation:
    """An observation with noise for cloud and images."""
    zeros = np.zeros(7)
    robot = RobotSample(0, 0, zeros, zeros, zeros, Pose(TOOL, DOWN), zeros[:6], zeros[:6], 0.08)
    values: dict[str, object] = {
        "stamp_ns": 0,
        "sequence": 1,
        "episode_id": "train_000000",
        "decision": 0,
        "robot": robot,
        "prompt": "lift the red cube",
        "state": np.array([*TOOL, 1.0], np.float32),
        "object_names": ("red",),
        "object_positions": np.array([[0.5, 0.0, 0.02]], np.float32),
        "object_visible": np.ones(1, bool),
        "object_age_s": np.zeros(1),
        "images": {
            name: rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
            for name in ("exterior", "wrist")
        },
        "points": rng.uniform([0.3, -0.3, 0.0], [0.7, 0.3, 0.4], (200, 3)).astype(np.float32),
        "colors": rng.integers(0, 256, (200, 3), dtype=np.uint8),
        **changes,
    }
    return RecordedObservation(**values)


def scene(rng: np.random.Generator, place: np.ndarray, points: int = 200) -> tuple:
    """A cloud of a small red ball at `place` among grey points: positions and colours."""
    is_red = np.arange(points) < points // 8
    spread = rng.uniform([0.3, -0.3, 0.0], [0.7, 0.3, 0.4], (points, 3))
    ball = place + rng.uniform(-0.02, 0.02, (points, 3))
    grey = rng.integers(60, 230, (points, 1)).repeat(3, 1)
    red = np.array([200, 20, 20]) + rng.integers(-20, 20, (points, 3))
    cloud = np.where(is_red[:, None], ball, spread).astype(np.float32)
    return cloud, np.where(is_red[:, None], red, grey).astype(np.uint8)
