"""From demonstrations with pictures to what a VLA is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import ByteArray, Float32Array
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.dataset import Demonstration, load_demonstrations
from tmrl_ros.exchange.lerobot_read import is_lerobot, load_lerobot
from tmrl_ros.policies.demonstrations import control_steps
from tmrl_ros.vla.processing import Statistics


@dataclass(frozen=True)
class VlaData:
    """One row per observation.

    `images` are uint8 (h, w, 3) by camera, `state` (N, 4) x y z in metres and gripper opening 0..1,
    `actions` (N, H, 4) targets relative to that position, and opening.
    """

    images: list[dict[str, ByteArray]]
    state: Float32Array
    prompts: list[str]
    actions: Float32Array
    demonstrations: int

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in order."""
        return tuple(sorted(self.images[0]))

    @property
    def sha256(self) -> str:
        """Hash of states and actions."""
        return hashlib.sha256(self.state.tobytes() + self.actions.tobytes()).hexdigest()

    def statistics(self) -> dict[str, Statistics]:
        """Statistics of state and actions."""
        rows = self.actions.reshape(-1, self.actions.shape[-1])
        return {"observation.state": Statistics.of(self.state), "action": Statistics.of(rows)}


def load_data(folder: Path, config: Config, horizon: int) -> VlaData:
    """Read successful demonstrations below a folder of bags, or of a LeRobot data set.

    Raises:
        OperatorError: There are none, or they have no pictures.
    """
    width_m = config.robot.gripper_max_width_m
    try:
        if is_lerobot(folder):
            found = load_lerobot(folder, pictures=True, gripper_max_width_m=width_m)
        else:
            sessions = sorted(path.parent for path in folder.glob("*/episodes")) or [folder]
            found = [
                item for session in sessions for item in load_demonstrations(session, pictures=True)
            ]
        return data_of(found, horizon, width_m)
    except (ValueError, BagError) as error:
        remedy = "record some with `tmrl demonstrate recorder.cameras=all`"
        raise OperatorError(f"{folder}: {error}; {remedy}.") from None


def data_of(demonstrations: Sequence[Demonstration], horizon: int, width_m: float) -> VlaData:
    """Pair every observation with the targets that followed it.

    Raises:
        ValueError: Nothing usable, no pictures, or cameras that differ.
    """
    images: list[dict[str, ByteArray]] = []
    states: list[Float32Array] = []
    chunks: list[Float32Array] = []
    prompts: list[str] = []
    used = 0
    for episode in demonstrations:
        steps = control_steps(episode, horizon, width_m)
        if steps is None:
            continue  # a stopped episode lost part of its targets: rows could not be matched
        if not episode.observations or not episode.observations[0].images:
            raise ValueError(f"episode {episode.episode_id} was recorded without camera images")
        used += 1
        for seen, start in zip(episode.observations, steps.starts, strict=True):
            images.append(seen.images)
            states.append(steps.states[start])
            chunks.append(steps.chunks[start])
            prompts.append(episode.prompt)
    if not used:
        raise ValueError("there is no successful demonstration to learn from")
    names = {tuple(sorted(item)) for item in images}
    if len(names) > 1:
        raise ValueError(f"cameras differ between observations: {sorted(names)}")
    return VlaData(images, np.stack(states), prompts, np.stack(chunks), used)
