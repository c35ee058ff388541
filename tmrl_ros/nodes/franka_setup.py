"""What must be right before the driver of a Franka sends anything: looked at once, at the start."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.nodes.common import LATCHED
from tmrl_ros.nodes.franka_interfaces import (
    ControllerManagerActivity,
    ListControllers,
    require_interfaces,
)
from tmrl_ros.robots.franka.controller import OPTIONAL, REQUIRED, controller_fault
from tmrl_ros.robots.franka.model import model_fault

DISCOVERY_S = 3.5
"""How long no other publisher of the target topic must be there: DDS says it again after 3 s where
its first announcement was lost. One of a driver that was killed goes when its lease does, after up
to 20 s."""
DESCRIBER = "robot_state_publisher"


class RobotSetup:
    """Asks the robot's nodes what they are; every wait is bounded.

    Args:
        node: A node that nobody spins yet.
        config: The session's configuration.
    """

    def __init__(self, node: Node, config: Config) -> None:
        require_interfaces()
        self._node, self._config = node, config
        self._franka = config.robot.franka
        self._executor = SingleThreadedExecutor()

    def check(self) -> dict[str, Any]:
        """Look at everything.

        Returns:
            The controller's parameters.

        Raises:
            ConfigurationError: The first thing that is wrong, as a sentence.
        """
        franka = self._franka
        if franka.controller_mode == "joint":
            raise ConfigurationError(
                "robot.franka.controller_mode=joint: only Cartesian targets are supported, for the "
                "supervisor judges no others; set it to cartesian."
            )
        self._executor.add_node(self._node)
        try:
            self._check_components()
            parameters = self._check_controller()
            self._check_model()
            self._check_publishers()
            return parameters
        finally:
            self._executor.remove_node(self._node)
            self._executor.shutdown(timeout_sec=1.0)

    def _check_components(self) -> None:
        """The controller manager knows our hardware component and our controller."""
        franka, node = self._franka, self._node
        heard: list[Any] = []
        topic = franka.name(f"{franka.controller_manager}/activity")
        listener = node.create_subscription(ControllerManagerActivity, topic, heard.append, LATCHED)
        try:
            self._until(lambda: bool(heard), f"Nobody publishes {topic}")
        finally:
            node.destroy_subscription(listener)
        names = [item.name for item in heard[-1].hardware_components]
        if franka.hardware not in names:
            raise ConfigurationError(
                f"robot.franka.hardware={franka.hardware}: the controller manager has only {names}."
            )
        service = franka.name(f"{franka.controller_manager}/list_controllers")
        answer = self._call(ListControllers, service, ListControllers.Request())
        loaded = {item.name: item.type for item in answer.controller}
        if franka.controller not in loaded:
            raise ConfigurationError(
                f"robot.franka.controller={franka.controller} is not loaded, only "
                f"{sorted(loaded)}: load it with ros2 run controller_manager spawner "
                f"{franka.controller}"
            )

    def _check_controller(self) -> dict[str, Any]:
        node = self._franka.name(self._franka.controller)
        parameters = self._parameters(node, REQUIRED)
        for name in OPTIONAL:  # one that is not declared makes the whole answer empty
            parameters |= self._parameters(node, (name,))
        self._refuse(controller_fault(parameters, self._config, node))
        return parameters

    def _check_model(self) -> None:
        node = self._franka.name(DESCRIBER)
        urdf = self._parameters(node, ("robot_description",)).get("robot_description", "")
        self._refuse(model_fault(urdf, self._config.robot.model))

    def _check_publishers(self) -> None:
        topic = self._franka.name(self._franka.target_pose)
        now_s = time.monotonic()
        deadline_s, alone_since_s = now_s + self._franka.start_timeout_s, now_s
        while now_s - alone_since_s < DISCOVERY_S:
            self._executor.spin_once(timeout_sec=0.05)
            now_s = time.monotonic()
            if others := self._node.get_publishers_info_by_topic(topic):
                alone_since_s = now_s
                if now_s > deadline_s:
                    raise ConfigurationError(
                        f"{others[0].node_name} already publishes on {topic}: the controller obeys "
                        "nobody while there are two; stop that program."
                    )

    def _parameters(self, node: str, names: tuple[str, ...]) -> dict[str, Any]:
        request = GetParameters.Request(names=list(names))
        answer = self._call(GetParameters, f"{node}/get_parameters", request)
        values = [parameter_value_to_python(value) for value in answer.values]
        return {
            name: value for name, value in zip(names, values, strict=False) if value is not None
        }

    def _call(self, kind: Any, service: str, request: Any) -> Any:
        client = self._node.create_client(kind, service)
        try:
            self._until(client.service_is_ready, f"Nobody offers {service}")
            future = client.call_async(request)
            self._until(future.done, f"{service} does not answer")
            return future.result()
        finally:
            self._node.destroy_client(client)

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        patience_s = self._franka.start_timeout_s
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"{what} after {patience_s:g} s: start the robot's launch file first, and look "
                    "at robot.franka and session.domain_id (docs/hardware.md)."
                )
            self._executor.spin_once(timeout_sec=0.05)

    def _refuse(self, why: str) -> None:
        if why:
            raise ConfigurationError(why)
