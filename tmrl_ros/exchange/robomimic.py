"""Demonstrations from an HDF5 file in robomimic's layout: `data/demo_0/{obs,actions}`.

https://robomimic.github.io/docs/datasets/overview.html. Actions are those of robosuite's OSC
controllers: steps of the tool from where it is, -1..1, and a gripper that closes at 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.types import EpisodeOutcome
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.dataset import Demonstration
from tmrl_ros.exchange.imported import ImportedEpisode, demonstration_of, stamps_at

SUFFIXES = (".hdf5", ".h5")
STEP_M, RATE_HZ = 0.05, 20.0
"""What an action of 1 means, and rows per second, where the file does not say."""
POSITION, FINGERS, OBJECT = "robot0_eef_pos", "robot0_gripper_qpos", "object"


@dataclass(frozen=True)
class Robomimic:
    """How to read a file.

    Attributes:
        prompt: What the demonstrations show; the format has no words.
        objects: Where in the column `object` the position x y z of an object begins, by name.
        base_m: Where the arm's base stands in the world of the file; robosuite's Panda at a table.
        finger_travel_m: Joint position of a finger when the gripper is open.
    """

    prompt: str
    objects: Mapping[str, int] = field(default_factory=dict)
    base_m: tuple[float, float, float] = (-0.56, 0.0, 0.912)
    finger_travel_m: float = 0.04


def is_robomimic(path: Path) -> bool:
    """Whether a path is an HDF5 file."""
    return path.is_file() and path.suffix in SUFFIXES


def load_robomimic(
    path: Path, how: Robomimic, *, pictures: bool = False, gripper_max_width_m: float = 0.08
) -> list[Demonstration]:
    """Read every demonstration of a file, in the order of their numbers.

    Args:
        path: The file.
        how: What the file does not say itself.
        pictures: Read every `<camera>_image`, too.
        gripper_max_width_m: Width that counts as opening 1.

    Raises:
        BagError: The file has another layout.
    """
    try:
        with h5py.File(path, "r") as file:
            data = file["data"]
            step_m, rate_hz = _controller(str(data.attrs.get("env_args", "")))
            names = sorted(data, key=lambda name: int(name.rpartition("_")[2]))
            episodes = [_read(name, data[name], how, step_m, rate_hz, pictures) for name in names]
    except (OSError, KeyError, ValueError, IndexError) as error:
        why = f"{type(error).__name__}: {error}"
        raise BagError(
            f"{path} is no HDF5 file in robomimic's layout ({why}): it needs data/demo_<n>/actions "
            f"and obs/{POSITION}, obs/{FINGERS} of every demonstration."
        ) from None
    found = [demonstration_of(episode, gripper_max_width_m) for episode in episodes]
    return [demonstration for demonstration in found if demonstration is not None]


def _read(
    name: str, group: Any, how: Robomimic, step_m: float, rate_hz: float, pictures: bool
) -> ImportedEpisode:
    seen = group["obs"]
    asked = np.asarray(group["actions"], np.float64)
    position = np.asarray(seen[POSITION], np.float64) - how.base_m
    fingers = np.abs(np.asarray(seen[FINGERS], np.float64)).mean(axis=1) / how.finger_travel_m
    count = len(asked)
    if asked.ndim != 2 or asked.shape[1] < 4 or len(position) != count:
        raise ValueError(f"{name} has actions {asked.shape} and {len(position)} positions")
    target = position + step_m * np.clip(asked[:, :3], -1.0, 1.0)
    opening = (1.0 - np.clip(asked[:, -1], -1.0, 1.0)) / 2.0
    known = np.asarray(seen[OBJECT], np.float64) if how.objects else np.zeros((count, 0))
    objects = [known[:, at : at + 3] - how.base_m for at in how.objects.values()]
    if any(item.shape[1] != 3 for item in objects):
        raise ValueError(f"{name} has {known.shape[1]} numbers in {OBJECT}, too few")
    everywhere = np.ones(count, bool)
    return ImportedEpisode(
        episode_id=name,
        prompt=how.prompt,
        outcome=EpisodeOutcome.SUCCESS,
        stamp_ns=stamps_at(rate_hz, count),
        state=np.concatenate([position, np.clip(fingers, 0.0, 1.0)[:, None]], axis=1),
        action=np.concatenate([target, opening[:, None]], axis=1),
        object_names=tuple(how.objects),
        objects=np.stack(objects, axis=1).astype(np.float32)
        if objects
        else np.zeros((count, 0, 3), np.float32),
        visible=np.ones((count, len(objects)), bool),
        fresh=everywhere,
        hold=~everywhere,
        images=_pictures(seen) if pictures else {},
    )


def _pictures(seen: Any) -> dict[str, NDArray[np.uint8]]:
    """Pictures (L, h, w, 3) by camera."""
    return {
        name.removesuffix("_image"): np.asarray(seen[name], np.uint8)
        for name in seen
        if name.endswith("_image")
    }


def _controller(env_args: str) -> tuple[float, float]:
    """Metres of an action of 1, and rows per second, as the file's environment was configured."""
    try:
        options = json.loads(env_args)["env_kwargs"]
    except (ValueError, KeyError, TypeError):
        return STEP_M, RATE_HZ
    controller = options.get("controller_configs") or {}
    most = controller.get("output_max") if isinstance(controller, dict) else None
    step_m = float(most[0]) if isinstance(most, list) and most else STEP_M
    return step_m, float(options.get("control_freq") or RATE_HZ)
