"""`tmrl teleop`: steer the arm of a running graph with the keys of this terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tmrl_ros.cli.session_folder import CONFIG_FILE, find_session, newest_session
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.load import change_config, read_config, write_config
from tmrl_ros.core.parent import end_with_parent

MODULE = "tmrl_ros.nodes.keyboard"
MAY_CHANGE = ("session.domain_id", "session.localhost_only", "teleop.max_speed_mps")


def teleop(overrides: Sequence[str], session: str | None) -> int:
    """Read keys until q or Ctrl-C; rclpy runs in a process of its own.

    Args:
        overrides: Keys of `MAY_CHANGE`, such as `teleop.max_speed_mps=0.05`.
        session: Whose graph; by default the newest one that runs in `sessions/`.

    Raises:
        OperatorError: This is no terminal, no graph runs, or an override is wrong.
    """
    if not sys.stdin.isatty():
        raise OperatorError("`tmrl teleop` reads keys: start it in a terminal.")
    folder = find_session(session) if session else newest_session(running=True)
    if folder is None:
        raise ConfigurationError("No graph runs here: start one, or name its --session.")
    config = change_config(read_config(folder / CONFIG_FILE), overrides, MAY_CHANGE)
    before = termios.tcgetattr(sys.stdin)
    try:
        with TemporaryDirectory(prefix="tmrl-teleop-") as changed:
            file = Path(changed) / CONFIG_FILE
            write_config(config, file)
            return subprocess.run(
                [sys.executable, "-m", MODULE, "--ros-args", "-p", f"config_file:={file}"],
                env={**os.environ, **node_environment(config)},
                preexec_fn=partial(end_with_parent, os.getpid()),
                check=False,
            ).returncode
    finally:  # also when the other process was killed
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
