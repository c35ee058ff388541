"""Ask a running graph for something: stop, reset, label. rclpy runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tmrl_ros.cli.session_folder import CONFIG_FILE, find_session, newest_session
from tmrl_ros.core.config import Config
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.load import change_config, load_config, read_config

MAY_CHANGE = ("session.domain_id", "session.localhost_only", "session.keys")


def call(command: Sequence[str], overrides: Sequence[str], session: str | None) -> int:
    """Run one command of `tmrl_ros.nodes.tool` in the domain of a graph.

    Args:
        command: E.g. `["stop"]`.
        overrides: `session.domain_id=...` reaches a graph that runs elsewhere.
        session: Whose graph; by default the newest one that runs in `sessions/`.

    Raises:
        ConfigurationError: There is no such session, or an override is wrong.
    """
    config = graph_config(overrides, session)
    return subprocess.run(
        [sys.executable, "-m", "tmrl_ros.nodes.tool", *command],
        env={**os.environ, **node_environment(config)},
        check=False,
    ).returncode


def graph_config(overrides: Sequence[str], session: str | None) -> Config:
    """Configuration of the graph that is meant."""
    folder = find_session(session) if session else newest_session(running=True)
    if folder is None:
        return load_config(overrides)
    return change_config(read_config(folder / CONFIG_FILE), overrides, MAY_CHANGE)
