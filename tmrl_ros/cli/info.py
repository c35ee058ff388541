"""Commands that only print: the resolved configuration, the environment, versions."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import yaml

from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.load import config_hash, load_config

SHOWN = (
    "tmrl_ros",
    "ros-tmrl-msgs",
    "ros-rclpy",
    "ros-fastrtps",
    "torch",
    "mujoco",
    "numpy",
    "rosbags",
)


def print_config(overrides: Sequence[str]) -> int:
    """Print the configuration a session with these overrides would have, with its hash."""
    config = load_config(overrides)
    print(f"# hash {config_hash(config)}")
    yaml.safe_dump(config.model_dump(mode="json"), sys.stdout, sort_keys=False)
    return 0


def print_environment(overrides: Sequence[str]) -> int:
    """Print the variables of the graph's processes, for a shell that wants to join its domain."""
    for name, value in node_environment(load_config(overrides)).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def print_versions() -> int:
    """Print versions of what matters for a result."""
    for name, number in versions().items():
        print(f"{name} {number}")
    return 0


def versions() -> dict[str, str]:
    """Installed versions by package; `not installed` where a package is missing."""
    found = {"python": platform.python_version()}
    for name in SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
