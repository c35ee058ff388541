"""The same graph for `ros2 launch`: the files in `launch/` only name what they run.

Restart rules are `core/graph.py`'s. What `tmrl` has beyond this: figures on the terminal, memory in
the report, and an end to nodes that hang when the launcher is killed.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from tmrl_ros.cli.checks import check_start
from tmrl_ros.cli.collect import collect_overrides
from tmrl_ros.cli.evaluate import evaluation_overrides
from tmrl_ros.cli.session_folder import check_disk, session_for
from tmrl_ros.cli.workcell import workcell_urdf
from tmrl_ros.core import parent
from tmrl_ros.core.config import Config
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.graph import PACKAGE, Kind, NodeSpec, nodes_for
from tmrl_ros.core.load import DEFAULTS, config_folder

CHOICES = ("robot", "task", "method", "reward")
RESPAWN_DELAY_S = 1.0
RESPAWN_MAXIMUM = 5
ARGUMENTS = {
    "robot": (DEFAULTS["robot"], "file of config/robots, by name or path"),
    "task": (DEFAULTS["task"], "file of config/tasks, by name or path"),
    "method": (DEFAULTS["method"], "file of config/methods, by name or path"),
    "reward": ("", "file of config/rewards, by name or path; the task's own by default"),
    "session_dir": ("", "folder of the session; a new one in sessions/ by default"),
    "resume": ("", "folder of a session that is to go on; the arguments above are then its own"),
    "seed": ("", "seed of the session"),
    "overrides": ("", "section.key=value ..., separated by spaces"),
    "namespace": ("", "prefix of every node and topic"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "use_sim_time": ("false", "take ROS time from /clock; stamps of the robot need no ROS time"),
    "rviz": ("false", "open RViz with config/rviz/tmrl.rviz"),
}
OTHER_ARGUMENTS: dict[str, dict[str, tuple[str, str]]] = {
    "collect": {"method": ("", "file of config/methods: who acts; by default a person drives")},
    "evaluate": {
        "policies": ("", "name=path of each bundle or session to compare, separated by spaces"),
        "task": ("", "file of config/tasks; by default the one of a session among the policies"),
        "method": ("", "never needed: every policy acts as it has learned to"),
    },
}


def description(kind: Kind) -> LaunchDescription:
    """Everything a launch file returns for one kind of graph."""
    arguments = {**ARGUMENTS, **OTHER_ARGUMENTS.get(kind, {})}
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in arguments.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_graph, args=[kind])])


def overrides_from(values: dict[str, str]) -> list[str]:
    """What the launch arguments would be on the command line of `tmrl`."""
    overrides = shlex.split(values["overrides"])
    if values["rviz"] == "true":  # its buttons and markers have nodes of their own
        overrides.append("session.rviz=true")
    if values["resume"]:
        return overrides
    chosen = [f"{section}={values[section]}" for section in CHOICES if values[section]]
    if values["seed"]:
        chosen.append(f"session.seed={values['seed']}")
    if values["session_dir"]:
        chosen.append(f"session.dir={values['session_dir']}")
    return [*chosen, *overrides]


def _graph(context: LaunchContext, kind: Kind) -> list[Any]:
    """Check as the command line does, then hand the nodes to launch_ros."""
    names = {**ARGUMENTS, **OTHER_ARGUMENTS.get(kind, {})}
    values = {name: context.perform_substitution(LaunchConfiguration(name)) for name in names}
    overrides = overrides_from(values)
    if kind == "evaluate" and values["policies"]:
        learned = TemporaryDirectory(prefix="tmrl-evaluate-")  # lasts as long as the launch
        context.extend_globals({"tmrl_learned": learned})
        words = [*shlex.split(values["policies"]), *overrides]
        overrides = evaluation_overrides(words, Path(learned.name))
    if kind == "collect" and not values["resume"]:
        overrides = collect_overrides(overrides)
    session = session_for(kind, overrides, values["resume"])
    nodes = nodes_for(session.config, session.config_file, kind)
    session.open()  # the lock is held until this process ends
    context.extend_globals({"tmrl_session": session})
    try:
        check_disk(session)
        check_start(session.config, session.config_file, [node.name for node in nodes])
    except BaseException:
        session.discard()
        raise
    environment = {**node_environment(session.config), parent.PARENT: str(os.getpid())}
    actions: list[Any] = [
        SetEnvironmentVariable(name, value) for name, value in environment.items()
    ]
    # First, because a missing RViz is an error that must come before anything has started.
    actions += _viewer(values, session.config, session.config_file)
    for spec in nodes:
        node = _node(spec, values)
        actions.append(node)
        if spec.required:
            actions.append(RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_end)))
    return actions


def _node(spec: NodeSpec, values: dict[str, str]) -> Node:
    return Node(
        package=PACKAGE,
        executable=spec.executable,
        name=spec.name,
        namespace=values["namespace"],
        parameters=[{**spec.parameters, "use_sim_time": values["use_sim_time"] == "true"}],
        arguments=["--ros-args", "--log-level", values["log_level"]],
        output="screen",
        respawn=spec.restart,
        respawn_delay=RESPAWN_DELAY_S,
        respawn_max_retries=RESPAWN_MAXIMUM,
    )


def _end(event: Any, context: LaunchContext) -> list[Any]:
    """End with the required node; a failure of it makes the exit code of `ros2 launch` 1."""
    if context.is_shutdown:  # a person has ended it all
        return []
    if event.returncode and event.returncode > 0:
        return [
            Shutdown(reason=f"{event.process_name} failed"),
            OpaqueFunction(function=_fail, args=[event.process_name, event.returncode]),
        ]
    return [Shutdown(reason=f"{event.process_name} is done")]


def _fail(_: LaunchContext, name: str, code: int) -> None:
    raise RuntimeError(f"{name} ended with exit code {code}; the last lines above say why.")


def _viewer(values: dict[str, str], config: Config, config_file: Path) -> list[Any]:
    """RViz with the arm's model, which the graph itself does not need.

    The model has frames of its own (`model/...`), because the driver publishes the tool's frame too
    and a frame may have only one parent.
    """
    folder = config_folder()
    wanted = {"namespace": values["namespace"], "condition": IfCondition(values["rviz"])}
    model: list[dict[str, Any]] = []
    if values["rviz"] == "true":
        urdf = workcell_urdf(config, config_file)
        description = ParameterValue(urdf, value_type=str)
        model = [{"robot_description": description, "frame_prefix": "model/"}]
    return [
        Node(
            package="robot_state_publisher",
            executable="robot_state_publisher",
            parameters=model,
            output="log",
            **wanted,
        ),
        Node(
            package="tf2_ros",
            executable="static_transform_publisher",
            arguments=["--frame-id", config.robot.base_frame, "--child-frame-id", "model/world"],
            output="log",
            **wanted,
        ),
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", str(folder / "rviz" / "tmrl.rviz")],
            output="log",
            **wanted,
        ),
    ]
