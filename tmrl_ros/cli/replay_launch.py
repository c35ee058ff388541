"""`tmrl replay` for `ros2 launch`: one process, whose exit code is the launch's.

Nothing is published and nothing moves: recorded sensors go through the code of perception and
policy without a graph, so that a robot may stand beside it switched on.
"""

from __future__ import annotations

import sys
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration

from tmrl_ros.cli.offline import replay_words

ARGUMENTS = {
    "session": ("", "folder of the session to play"),
    "bundle": ("", "another policy than the one that acted"),
    "episodes": ("", "the newest so many; all by default"),
    "overrides": ("", "what else `tmrl replay` takes, separated by spaces"),
}


def replay_description() -> LaunchDescription:
    """Everything `launch/replay.launch.py` returns."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_process)])


def _process(context: LaunchContext) -> list[Any]:
    values = {name: context.perform_substitution(LaunchConfiguration(name)) for name in ARGUMENTS}
    words = replay_words(values)
    process = ExecuteProcess(
        cmd=[sys.executable, "-m", "tmrl_ros.replay.run", *words], output="screen", name="replay"
    )
    return [process, RegisterEventHandler(OnProcessExit(target_action=process, on_exit=_end))]


def _end(event: Any, context: LaunchContext) -> list[Any]:
    """End with the process; what it found to differ makes the exit code of `ros2 launch` 1."""
    if context.is_shutdown:
        return []
    if event.returncode:
        return [Shutdown(reason="something differs"), OpaqueFunction(function=_differs)]
    return [Shutdown(reason="the same came out")]


def _differs(_: LaunchContext) -> None:
    raise RuntimeError("What came out differs from what was recorded; the last lines say how.")
