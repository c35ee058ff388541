"""Where the figures of a session come from: versions, hashes and the commands to repeat it."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import config_hash, load_config

ORIGIN_FILE = "origin.json"
MADE = ("finetune", "collect")  # targets of the Makefile
NOT_REPEATED = ("session.dir", "session.domain_id", "session.seed")
PACKAGES = ("torch", "numpy", "mujoco", "tmrl_ros")


def versions() -> dict[str, str | None]:
    """Versions of what computed the figures; None for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        found[package] = _version(package)
    found["rclpy"] = _version("rclpy") or _version("ros-rclpy")
    found["git_commit"] = git_commit(Path(__file__).parent)
    return found


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout a folder lies in, with "+changes" if files differ; None elsewhere."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit + ("+changes" if changed else "")


def origin(config: Config, kind: str = "finetune") -> dict[str, Any]:
    """Everything a report needs beside episodes: to be written when a session starts."""
    return {
        "task": config.task.name,
        "method": config.method.name,
        "seed": config.session.seed,
        "config_hash": config_hash(config),
        "versions": versions(),
        "command": command(config, kind),
    }


def command(config: Config, kind: str = "finetune") -> str:
    """Command that runs the same job again: its files, and every value that differs from them."""
    chosen = [f"task={config.task.name}", f"method={config.method.name}"]
    changes = [f"session.seed={config.session.seed}"]
    try:
        usual = load_config(chosen).model_dump(mode="json")
    except OperatorError:  # the files are not here; config.yaml still says everything
        usual = {}
    for section, values in config.model_dump(mode="json").items():
        for key, value in values.items():
            same = usual.get(section, {}).get(key, value) == value
            if not same and f"{section}.{key}" not in NOT_REPEATED:
                changes.append(f"{section}.{key}={json.dumps(value).replace(' ', '')}")
    arguments = " ".join(chosen + changes)
    return f"make {kind} ARGS='{arguments}'" if kind in MADE else f"tmrl {kind} {arguments}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=5.0,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
