"""A node beside the graph that sees what really goes to the robot."""

from __future__ import annotations

import time

import rclpy
from rclpy.executors import SingleThreadedExecutor

from tmrl_msgs.msg import RobotTarget, SafetyState
from tmrl_ros.core import topics
from tmrl_ros.nodes.common import LATCHED, RELIABLE

PATIENCE_S = 180.0  # keeps a broken test from hanging; nothing is measured by it


class Witness:
    """Knows the supervisor's newest state, and the kinds of all targets since they were cleared."""

    def __init__(self, name="witness"):
        rclpy.init()
        self.node = rclpy.create_node(name)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.safety, self.kinds = SafetyState(), []
        listen = self.node.create_subscription
        listen(SafetyState, topics.SAFETY_STATE, self.on_safety, LATCHED)
        listen(RobotTarget, topics.ROBOT_TARGET, lambda m: self.kinds.append(m.kind), RELIABLE)

    def on_safety(self, msg):
        self.safety = msg

    def look(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def until(self, condition, what):
        end = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < end, f"waited in vain for {what}: {self.safety}"
            self.executor.spin_once(timeout_sec=0.02)
        return found

    def until_moving(self):
        self.kinds.clear()
        self.until(lambda: RobotTarget.KIND_TRACK in self.kinds, "motion")

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()
