"""Service and action calls to other programs, each with an end: `await` them in callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future


@dataclass(frozen=True)
class Action:
    """Client of an action, and the action's name for sentences."""

    name: str
    client: ActionClient


class Calls:
    """Clients of one node. Callbacks that await must be in `group`, or nothing else runs meanwhile.

    Args:
        node: Whose executor the answers come through.
    """

    def __init__(self, node: Node) -> None:
        self.group = ReentrantCallbackGroup()
        self._node = node
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)

    def client(self, kind: Any, name: str) -> Any:
        """Client of a service."""
        return self._node.create_client(kind, name, callback_group=self.group)

    def action_client(self, kind: Any, name: str) -> Action:
        """Client of an action."""
        return Action(name, ActionClient(self._node, kind, name, callback_group=self.group))

    async def service(self, client: Any, request: Any, timeout_s: float) -> tuple[Any | None, str]:
        """Answer of a service.

        Returns:
            The answer and "", or None and a sentence.
        """
        if not client.service_is_ready():
            return None, f"nobody offers {client.srv_name}: is the robot's launch file running?"
        future = client.call_async(request)
        if not await self._wait(future, timeout_s):
            client.remove_pending_request(future)
            return None, f"{client.srv_name} did not answer within {timeout_s:g} s."
        return future.result(), ""

    async def action(self, action: Action, goal: Any, timeout_s: float) -> tuple[Any | None, str]:
        """Result of an action's goal that succeeded.

        Returns:
            The result and "", or None and a sentence.
        """
        name, client = action.name, action.client
        if not client.server_is_ready():
            return None, f"nobody offers {name}: is the robot's launch file running?"
        sent = client.send_goal_async(goal)
        if not await self._wait(sent, timeout_s):
            return None, f"{name} did not take the goal within {timeout_s:g} s."
        handle = sent.result()
        if not handle.accepted:
            return None, f"{name} refused the goal."
        result = handle.get_result_async()
        if not await self._wait(result, timeout_s):
            return None, f"{name} did not end within {timeout_s:g} s."
        answer = result.result()
        if answer.status != GoalStatus.STATUS_SUCCEEDED:
            why = getattr(answer.result, "error", "") or f"status {answer.status}"
            return None, f"{name} failed ({why})."
        return answer.result, ""

    async def pause(self, seconds: float) -> None:
        """Let other callbacks run for a while."""
        await self._wait(Future(), seconds)

    async def _wait(self, future: Future, timeout_s: float) -> bool:
        """Whether a future is done in time."""
        woken = Future()

        def wake(*_: Any) -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self._node.create_timer(
            timeout_s, wake, callback_group=self.group, clock=self._clock
        )
        future.add_done_callback(wake)
        try:
            await woken
        finally:
            self._node.destroy_timer(timer)
        return bool(future.done())
