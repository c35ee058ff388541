"""The nodes of a session, listed once: `launch/` and the command line start what stands here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from tmrl_ros.core.config import Config
from tmrl_ros.core.hosts import ALL, LINK, runs_on

PACKAGE = "tmrl_ros"
Kind = Literal["finetune", "deploy", "evaluate", "collect", "up"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph.

    Attributes:
        name: Node name; also names its log and its console script.
        parameters: ROS parameters.
        restart: Started again when it dies, whatever it died of.
        required: The run ends, with this process' exit code, when it does.
        stop_last: Stopped after the others, so that it still sees the last hold: what drives the
            arm and what records it.
        optional: The run goes on without it when it cannot be kept alive.
        program: What it runs where several processes run the same; its name otherwise.
    """

    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    restart: bool = True
    required: bool = False
    stop_last: bool = False
    optional: bool = False
    program: str = ""

    @property
    def module(self) -> str:
        """Module that `python -m` starts."""
        return f"{PACKAGE}.nodes.{self.executable}"

    @property
    def executable(self) -> str:
        """Console script that `ros2 run tmrl_ros` and launch_ros start."""
        return self.program or self.name

    def arguments(self, *, namespace: str = "", log_level: str = "info") -> list[str]:
        """Command-line arguments of the process, for launchers without launch_ros.

        The name is not remapped where it need not be: a process may hold more than one node. Log
        files of rclpy are off, because the launcher already writes what the process prints into the
        session's folder.
        """
        found = ["--ros-args", "--disable-external-lib-logs", "--log-level", log_level]
        for key, value in self.parameters.items():
            found += ["-p", f"{key}:={value}"]
        if self.program:
            found += ["-r", f"__node:={self.name}"]
        if namespace:
            found += ["-r", f"__ns:=/{namespace.strip('/')}"]
        return found


def nodes_for(config: Config, config_file: Path, kind: Kind = "finetune") -> list[NodeSpec]:
    """List the processes of a graph that run on this computer, in the order in which they start.

    Args:
        config: The resolved configuration.
        config_file: File that holds it, which every node reads.
        kind: `finetune` learns; `deploy` runs what was learned (the learner hands out the weights
            of its checkpoint, and learns nothing from these episodes); `evaluate` compares
            policies; `collect` records episodes without learning, with a person in
            the policy's place where `method=person`; `up` is the graph of `finetune`
            with nobody who asks it to run episodes.
    """
    file = {"config_file": str(config_file)}
    nodes = [
        NodeSpec("safety_supervisor", file),
        NodeSpec(config.robot.driver, file, stop_last=True),
        *_cameras(config, file),
        NodeSpec("perception", file),
        *([NodeSpec("reward", file)] if config.judged else []),
        NodeSpec("demonstrator" if config.by_person else "policy_server", file),
        NodeSpec("episode_manager", file),
    ]
    if config.recorder.enabled:
        nodes.append(NodeSpec("recorder", file, stop_last=True))
    if kind != "collect" and config.method.learns:
        nodes.append(NodeSpec("learner", file))
    if config.teleop.enabled:
        nodes.append(NodeSpec("teleop", file, optional=True))
    if config.session.console:
        nodes.append(NodeSpec("console", file, optional=True))
    if config.session.rviz:
        nodes += [NodeSpec(name, file, optional=True) for name in ("rviz_buttons", "rviz_scene")]
    if kind != "up":
        nodes.append(NodeSpec("session", {**file, "kind": kind}, restart=False, required=True))
    host = config.session.host
    if host != ALL:  # first, so that two different configurations part before anything moves
        nodes.insert(0, NodeSpec(LINK, file))
    return [node for node in nodes if runs_on(node.name, host)]


def _cameras(config: Config, file: dict[str, str]) -> list[NodeSpec]:
    """One process per camera, where the graph itself drives them."""
    if config.camera_driver not in ("realsense", "bag"):
        return []
    return [
        NodeSpec(f"camera_{camera.name}", {**file, "camera": camera.name}, program="camera")
        for camera in config.cameras.cameras
    ]
