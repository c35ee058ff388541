"""Demonstrations for pre-training that are no bags: a LeRobot data set or a robomimic file."""

from __future__ import annotations

from pathlib import Path

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.data.dataset import Demonstration
from tmrl_ros.exchange.lerobot_read import is_lerobot, load_lerobot
from tmrl_ros.exchange.robomimic import Robomimic, is_robomimic, load_robomimic


def is_foreign(path: Path) -> bool:
    """Whether a path holds demonstrations that are not bags."""
    return is_lerobot(path) or is_robomimic(path)


def load_foreign(path: Path, config: Config) -> list[Demonstration]:
    """Successful demonstrations of a LeRobot data set or an HDF5 file, for a task.

    What the files do not say is taken from the task: its prompt, and for HDF5 its wanted object,
    whose position is what the column `object` begins with.

    Raises:
        BagError: The data set is damaged.
        ConfigurationError: The task's policy looks at points or images, for which these formats
            lack the cameras' intrinsics and poses.
    """
    if config.task.pretraining.observation != "objects":
        raise ConfigurationError(
            f"{path} says nothing of its cameras' lenses and poses: "
            "task.pretraining.observation=objects is what it can be used for."
        )
    width_m = config.robot.gripper_max_width_m
    if is_lerobot(path):
        return load_lerobot(path, gripper_max_width_m=width_m)
    how = Robomimic(config.task.prompt, {config.task.wanted_object: 0})
    return load_robomimic(path, how, gripper_max_width_m=width_m)
