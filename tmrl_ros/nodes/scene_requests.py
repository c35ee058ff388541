"""`robot/reset_scene` of a real cell: a person puts the objects back and says so.

What is asked stands on `robot/scene_request` until `robot/scene_ready` is called (`tmrl ready`).
"""

from __future__ import annotations

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

from tmrl_msgs.srv import ResetScene
from tmrl_ros.core import topics
from tmrl_ros.nodes.common import LATCHED

NOBODY_WAITS = "Nobody waits for the objects."
SUPERSEDED = "Another reset was asked for meanwhile."


class SceneRequests:
    """Holds back the answer to a reset until a person has done it.

    Args:
        node: The driver.
        task: Name of the task that the cell is set up for.
        stamp_ns: Robot time now, for the time that it took.
    """

    def __init__(self, node: Node, task: str, stamp_ns: object) -> None:
        self._node, self._task, self._stamp_ns = node, task, stamp_ns
        self._waiting: Future | None = None
        group = ReentrantCallbackGroup()
        self._asks = node.create_publisher(String, topics.SCENE_REQUEST, LATCHED)
        node.create_service(ResetScene, topics.RESET_SCENE, self._on_reset, callback_group=group)
        node.create_service(Trigger, topics.SCENE_READY, self._on_ready, callback_group=group)

    async def _on_reset(
        self, request: ResetScene.Request, response: ResetScene.Response
    ) -> ResetScene.Response:
        if request.task not in ("", self._task):
            response.message = f"This cell is set up for {self._task!r}, not {request.task!r}."
            return response
        if self._waiting is not None:
            self._waiting.set_result(SUPERSEDED)
        waiting = self._waiting = Future()
        began_ns = self._stamp_ns()
        # The seed means nothing to a person's hands.
        self._say(f"Put the objects of task {self._task} back, hands out, then 'tmrl ready'.")
        response.message = await waiting
        if self._waiting is waiting:
            self._waiting = None
            self._say("")
        response.success = not response.message
        response.duration_s = (self._stamp_ns() - began_ns) / 1e9
        return response

    def _on_ready(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._waiting is not None and not self._waiting.done()
        if response.success:
            self._waiting.set_result("")
            response.message = "Thank you: the episode goes on."
        else:
            response.message = NOBODY_WAITS
        return response

    def _say(self, text: str) -> None:
        self._asks.publish(String(data=text))
        if text:
            self._node.get_logger().info(text)
