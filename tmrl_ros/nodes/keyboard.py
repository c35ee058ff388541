"""Keys of a terminal: a person takes the arm, steers and stops it.

Started by `tmrl teleop`, and by `tmrl collect`, which shows what there is to see itself.

The hardware stop button comes first; SPACE is the software stop.
"""

from __future__ import annotations

import sys
import time

from rclpy.clock import Clock, ClockType

from tmrl_msgs.msg import SafetyState
from tmrl_ros.console.buttons import Answer
from tmrl_ros.core import topics
from tmrl_ros.nodes.common import LATCHED, run_node
from tmrl_ros.nodes.teleop import PersonNode
from tmrl_ros.teleop.actions import Press
from tmrl_ros.teleop.keyboard import HELP, Keyboard
from tmrl_ros.teleop.terminal import RawTerminal

PERIOD_S = 0.02
STATES = ("LATCHED", "READY", "MOVING")
WIDTH = 100


class KeyboardNode(PersonNode):
    """Reads the terminal fifty times a second and shows one line of state."""

    def __init__(self) -> None:
        """Take over the terminal."""
        super().__init__("keyboard")
        self._alone = bool(self.declare_parameter("alone", True).value)
        self._terminal = RawTerminal().__enter__()
        robot, teleop = self.config.robot, self.config.teleop
        self._keys = Keyboard(teleop.max_speed_mps, robot.base_frame)
        self._state, self._answer, self._shown = "NO SUPERVISOR", "", ""
        self.create_subscription(SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED)
        self.create_timer(PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        if self._alone:
            print(HELP, flush=True)

    def close(self) -> None:
        """Give the arm and the terminal back."""
        self._keys.engaged = False
        self.say(self._keys)
        self._terminal.__exit__(None, None, None)
        if self._alone:
            print(flush=True)

    def tell(self, answer: Answer) -> None:
        """Show what came of a press."""
        self._answer = answer.message
        if not self._alone:
            super().tell(answer)

    def _on_safety(self, msg: SafetyState) -> None:
        name = STATES[msg.state] if msg.state < len(STATES) else "?"
        self._state = f"{name} {msg.code}".strip()

    def _look(self) -> None:
        try:
            typed = self._terminal.typed()
        except EOFError:
            raise KeyboardInterrupt from None
        for button in self._keys.type(typed, self.opening, time.monotonic()):
            if button is Press.QUIT:
                raise KeyboardInterrupt
            self.press(button)
        self.say(self._keys)
        if self._alone:
            self._show()

    def _show(self) -> None:
        who = "YOURS" if self._keys.engaged else "the policy's"
        line = f"arm: {who} | {self._state} | {self._answer}"
        if line != self._shown:
            self._shown = line
            print(f"\r{line[:WIDTH]:<{WIDTH}}", end="", flush=True)


def main() -> int:
    """Run the node; return the exit code."""
    return run_node(KeyboardNode)


if __name__ == "__main__":
    sys.exit(main())
