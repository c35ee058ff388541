"""Starts the robot's test doubles and what talks to them, each in a process of its own.

Their interface packages lie beside the environment (`make test` builds them into `.venv/doubles`),
so that they are found by these processes alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tmrl_ros.core.config import Config
from tmrl_ros.core.environment import node_environment

ROOT = Path(__file__).resolve().parents[2]
DOUBLES = ROOT / "test" / "doubles"
PATIENCE_S = 20.0


def interfaces() -> Path:
    """Where the interface packages were built; `$TMRL_DOUBLES` names another place."""
    return Path(os.environ.get("TMRL_DOUBLES") or Path(sys.prefix) / "doubles")


def environment(config: Config) -> dict[str, str]:
    """Variables of a process that speaks the robot's interfaces."""
    prefix = interfaces()
    packages = prefix / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    if not (packages / "franka_msgs").is_dir():
        pytest.fail(
            f"The interfaces of the robot's doubles are not in {prefix}: make test builds them "
            "(make .venv/.stamps/doubles), or TMRL_DOUBLES names another folder."
        )
    # Without the mark the wheels' Python looks for its libraries again, and keeps ours.
    inherited = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    libraries = [str(prefix / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    path = [str(ROOT), str(DOUBLES), str(packages)]
    return {
        **inherited,
        **node_environment(config),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "PYTHONPATH": os.pathsep.join(path),
    }


class Processes:
    """Processes of one test module; what they print goes into files.

    Args:
        config: Their configuration.
        config_file: File that holds it.
    """

    def __init__(self, config: Config, config_file: Path) -> None:
        self.config, self.config_file = config, config_file
        self._running: list[subprocess.Popen[bytes]] = []
        self._named: dict[str, subprocess.Popen[bytes]] = {}

    def cell(self, *options: str) -> subprocess.Popen[bytes]:
        """The robot with its controllers, and a person."""
        words = [str(DOUBLES / "franka_cell.py"), "--config", str(self.config_file), *options]
        return self._start("cell", words)

    def node(self, name: str) -> subprocess.Popen[bytes]:
        """A node of ours."""
        words = ["-m", f"tmrl_ros.nodes.{name}", "--ros-args"]
        return self._start(name, [*words, "-p", f"config_file:={self.config_file}"])

    def kill(self, name: str) -> None:
        """End one without a chance to clean up."""
        self._named[name].kill()
        self._named[name].wait()

    def said(self, name: str) -> str:
        """What a process has printed."""
        return (self.config_file.parent / f"{name}.log").read_text(errors="replace")

    def end(self) -> None:
        """End them all, the last first."""
        for process in reversed(self._running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, words: list[str]) -> subprocess.Popen[bytes]:
        with (self.config_file.parent / f"{name}.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *words],
                env=environment(self.config),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        self._named[name] = process
        return process
