"""The Franka Hand over its actions `~/grasp`, `~/move`, `~/homing`."""

from __future__ import annotations

import time

from rclpy.node import Node
from std_srvs.srv import Trigger

from tmrl_ros.core import topics
from tmrl_ros.core.franka_config import FrankaConfig
from tmrl_ros.nodes.calls import Action, Calls
from tmrl_ros.nodes.franka_interfaces import Grasp, Homing, Move
from tmrl_ros.robots.franka.gripper import GripperCommander, GripperGoal


class GripperActions:
    """Sends the goals that a `GripperCommander` decides on; `robot/home_gripper` is a person's.

    Args:
        node: The driver.
        calls: Its bounded calls.
        franka: Names and limits.
        max_width_m: Width of the open gripper.
    """

    def __init__(self, node: Node, calls: Calls, franka: FrankaConfig, max_width_m: float) -> None:
        self.commander = GripperCommander(franka.gripper, max_width_m)
        self._node, self._calls = node, calls
        self._timeout_s = franka.gripper.goal_timeout_s
        name = franka.gripper_node
        self._grasp = calls.action_client(Grasp, franka.name(f"{name}/grasp"))
        self._move = calls.action_client(Move, franka.name(f"{name}/move"))
        self._homing = calls.action_client(Homing, franka.name(f"{name}/homing"))
        node.create_service(Trigger, topics.HOME_GRIPPER, self._on_home, callback_group=calls.group)

    def tick(self) -> None:
        """Send the next goal, if there is one."""
        goal = self.commander.next_goal(time.monotonic())
        if goal is None:
            return
        action = self._grasp if goal.grasp else self._move
        self._node.executor.create_task(self._run(action, goal))

    async def _run(self, action: Action, goal: GripperGoal) -> None:
        number = self.commander.goals
        result, why_not = await self._calls.action(action, _message(goal), self._timeout_s)
        success = result is not None and result.success
        if not success:
            why = why_not or result.error or "no reason given"
            self._node.get_logger().warning(f"Gripper: {why}")
        if number == self.commander.goals:
            self.commander.ended(success=success)

    async def _on_home(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Find the fingers' end positions; the hand must be empty."""
        if not self.commander.begin_homing(time.monotonic()):
            response.message = "The gripper does something else: try again when it has ended."
            return response
        result, why_not = await self._calls.action(self._homing, Homing.Goal(), self._timeout_s)
        response.success = result is not None and result.success
        response.message = "The gripper is homed." if response.success else why_not
        self.commander.end_homing(success=response.success)
        return response


def _message(goal: GripperGoal) -> object:
    if not goal.grasp:
        return Move.Goal(width=goal.width_m, speed=goal.speed_mps)
    message = Grasp.Goal(width=goal.width_m, speed=goal.speed_mps, force=goal.force_n)
    message.epsilon.inner = message.epsilon.outer = goal.tolerance_m
    return message
