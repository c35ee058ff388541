"""The person beside the cell: puts objects back when asked, resets a stop whose cause is gone."""

from __future__ import annotations

import rclpy
from franka_arm import Arm
from std_msgs.msg import String
from std_srvs.srv import Trigger

from tmrl_msgs.msg import SafetyState
from tmrl_ros.core import topics
from tmrl_ros.nodes.common import LATCHED

LOOKS_EVERY_S = 0.3


class Person:
    """Answers `robot/scene_request`; with `resets`, presses reset too, but never after a stop that
    somebody pressed."""

    def __init__(self, arm: Arm, *, resets: bool) -> None:
        self.node = node = rclpy.create_node("person")
        self._arm, self._resets = arm, resets
        self._asked = ""
        self._safety = SafetyState()
        node.create_subscription(String, topics.SCENE_REQUEST, self._on_request, LATCHED)
        node.create_subscription(SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED)
        self._ready = node.create_client(Trigger, topics.SCENE_READY)
        self._reset = node.create_client(Trigger, topics.RESET)
        node.create_timer(LOOKS_EVERY_S, self._look)

    def _on_request(self, msg: String) -> None:
        self._asked = msg.data

    def _on_safety(self, msg: SafetyState) -> None:
        self._safety = msg

    def _look(self) -> None:
        safety = self._safety
        latched = safety.state == SafetyState.STATE_LATCHED and safety.code != "OPERATOR_STOP"
        if self._resets and latched and safety.code and not safety.present_causes:
            self._reset.call_async(Trigger.Request())
        if self._asked and self._arm.place_objects():
            self._asked = ""
            self._ready.call_async(Trigger.Request())
