"""A joystick or SpaceMouse: a person takes the arm, steers, and gives it back.

A thin shell around `teleop.joystick.Joystick`. What is asked for passes the safety supervisor like
everything else; the hardware stop button comes first.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Joy

from tmrl_msgs.msg import RobotState, RobotTarget, TeleopCommand
from tmrl_ros.console.buttons import Answer
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import FloatArray
from tmrl_ros.core.types import TeleopCommand as Command
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import NEWEST, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import teleop_to_msg
from tmrl_ros.nodes.operator import OperatorCalls
from tmrl_ros.nodes.polling import PolledSubscription
from tmrl_ros.teleop.actions import LABELS, Press
from tmrl_ros.teleop.guiding import Guiding
from tmrl_ros.teleop.joystick import Joystick
from tmrl_ros.teleop.keyboard import Keyboard

COMPLAIN_S = 5.0
# spacenav's driver says its state a thousand times a second, and a button's change only once: it is
# polled, and nothing of what came between two polls may be lost.
DEVICE = QoSProfile(
    depth=200, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE
)


class PersonNode(ConfiguredNode):
    """Says what a person does at a device, and presses the buttons they press."""

    def __init__(self, name: str, config: Config | None = None) -> None:
        """Say nothing before somebody does something."""
        super().__init__(name, config=config)
        self._commands = self.create_publisher(TeleopCommand, topics.TELEOP_COMMAND, NEWEST)
        self._targets = PolledSubscription(self, RobotTarget, topics.ROBOT_TARGET, NEWEST)
        self._operator = OperatorCalls(self, self.config, "operator")
        self._opening = 1.0
        self._states = PolledSubscription(self, RobotState, topics.ROBOT_STATE, NEWEST)
        self._guiding = Guiding(self.config.teleop)
        self._sent: FloatArray | None = None
        self._tool: FloatArray | None = None

    @property
    def opening(self) -> float:
        """The gripper's, as it was last commanded (0..1); open before the first command."""
        self._look_around()
        return self._opening

    def _look_around(self) -> None:
        """Take what was sent to the arm last, and where it is."""
        for target in self._targets.take():
            self._opening = target.gripper_width_m / self.config.robot.gripper_max_width_m
            self._sent = decode.pose(target.pose).position
        for state in self._states.take():
            self._tool = decode.pose(state.ee_pose).position

    def _guided(self, command: Command) -> Command:
        """The command with the velocity that a hand on the arm asks for."""
        self._look_around()
        if self._sent is None or self._tool is None:
            return replace(command, linear_mps=np.zeros(3))
        return replace(command, linear_mps=self._guiding.speed(self._sent, self._tool))

    def say(self, device: Joystick | Keyboard) -> None:
        """Say where the person steers and whether they hold; call it many times a second."""
        now_s = time.monotonic()
        command, held = device.command(now_s), device.hold(now_s)
        if held is not None:
            self._operator.hold(held)
        if command is not None:
            if command.engaged and device.guiding:
                command = self._guided(command)
            self._commands.publish(teleop_to_msg(command, time.time_ns()))

    def press(self, button: Press) -> None:
        """Do what a button is for."""
        if button is Press.STOP:
            self._operator.stop().add_done_callback(self._tell)
        elif button is not Press.QUIT:
            self._operator.label(LABELS[button], "").add_done_callback(self._tell)

    def tell(self, answer: Answer) -> None:
        """Say what came of a press."""
        say = self.get_logger().info if answer.success else self.get_logger().warning
        say(answer.message)

    def _tell(self, answered: Future[Answer]) -> None:
        self.tell(answered.result())


class Teleop(PersonNode):
    """Feeds `sensor_msgs/Joy` to the joystick."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Listen to the device's driver."""
        super().__init__("teleop", config)
        teleop = self.config.teleop
        self._joystick = Joystick(teleop, self.config.robot.base_frame)
        self._device = PolledSubscription(self, Joy, teleop.topic, DEVICE)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / teleop.rate_hz, self._look, clock=steady)

    def _look(self) -> None:
        said = list(self._device.take())
        if len(said) >= DEVICE.depth:
            self._joystick.lose()
            self.get_logger().warning("The device said more than could be read: let go.")
        for msg in said:
            self._read(msg)
        self.say(self._joystick)

    def _read(self, msg: Joy) -> None:
        try:
            pressed = self._joystick.read(msg.axes, msg.buttons, self.opening, time.monotonic())
        except ValueError as error:
            self.get_logger().error(str(error), throttle_duration_sec=COMPLAIN_S)
            return
        for button in pressed:
            self.press(button)


def main() -> int:
    """Run the node; return the exit code."""
    return run_node(Teleop)


if __name__ == "__main__":
    sys.exit(main())
