"""Buttons in RViz, beside the arm: STOP, RESET, START, SUCCESS, FAILURE.

A software stop in a viewer that may freeze: the hardware stop button comes first.
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from geometry_msgs.msg import Point, Vector3
from geometry_msgs.msg import Pose as PoseMsg
from rclpy.clock import Clock, ClockType
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import (
    InteractiveMarker,
    InteractiveMarkerControl,
    InteractiveMarkerFeedback,
    Marker,
)

from tmrl_msgs.msg import EpisodeEvent, SafetyState
from tmrl_ros.console.buttons import Answer
from tmrl_ros.console.label_target import LabelTarget
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import EVENTS, LATCHED, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import header
from tmrl_ros.nodes.interactive_markers import InteractiveMarkers
from tmrl_ros.nodes.operator import OperatorCalls

WORDS = "words"
WORDS_PER_LINE = 44
SAFETY_SILENT_S = 1.0
LOOK_PERIOD_S = 0.2
GREY = (0.35, 0.35, 0.35)
# Beside the workspace, away from the arm's base; metres in the base frame.
COLUMN_X_M = 0.55
GAP_M = 0.25
WORDS_ABOVE_M = 0.15


@dataclass(frozen=True)
class Button:
    """A cube with a word on it; `place` is (across, up) in metres from the column's foot."""

    name: str
    color: tuple[float, float, float]
    size_m: float
    place: tuple[float, float]


BUTTONS = (
    Button("STOP", (0.9, 0.08, 0.08), 0.16, (0.0, 0.45)),
    Button("RESET", (0.95, 0.7, 0.0), 0.09, (-0.12, 0.27)),
    Button("START", (0.15, 0.45, 0.9), 0.09, (0.12, 0.27)),
    Button("SUCCESS", (0.1, 0.65, 0.3), 0.09, (-0.12, 0.12)),
    Button("FAILURE", (0.6, 0.2, 0.2), 0.09, (0.12, 0.12)),
)


class RvizButtons(ConfiguredNode):
    """Shows the buttons, carries out clicks and writes the answers above them."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Show every button."""
        super().__init__("rviz_buttons", config=config)
        self._operator = OperatorCalls(self, self.config, "operator")
        self._target = LabelTarget()
        self._state = ""
        self._safety_s = float("-inf")
        self._words = ""
        self._server = InteractiveMarkers(self, topics.BUTTONS, self._on_feedback)
        self.create_subscription(SafetyState, topics.SAFETY_STATE, self._on_safety, LATCHED)
        self.create_subscription(EpisodeEvent, topics.EPISODE, self._on_episode, EVENTS)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_PERIOD_S, self._show, clock=steady)
        self._show()

    def _on_safety(self, msg: SafetyState) -> None:
        latched = msg.state == SafetyState.STATE_LATCHED
        self._safety_s = time.monotonic()
        if latched and (self._state != "latched"):
            self._words = msg.message
        self._state = "latched" if latched else "released"

    def _on_episode(self, msg: EpisodeEvent) -> None:
        self._target.on_episode(decode.episode(msg))

    def _on_feedback(self, msg: InteractiveMarkerFeedback) -> None:
        is_click = msg.event_type == InteractiveMarkerFeedback.BUTTON_CLICK
        is_press = msg.event_type == InteractiveMarkerFeedback.MOUSE_DOWN
        if msg.marker_name == "STOP" and (is_click or is_press):
            self._press(msg.marker_name)  # at once, not when the mouse button comes up again
        elif is_click and msg.marker_name in self._actions():
            self._press(msg.marker_name)

    def _press(self, name: str) -> None:
        self._actions()[name]().add_done_callback(self._on_answer)

    def _actions(self) -> dict[str, Callable[[], Future[Answer]]]:
        operator, episode = self._operator, self._target.name
        return {
            "STOP": operator.stop,
            "RESET": operator.reset,
            "START": operator.start,
            "SUCCESS": lambda: operator.label("success", episode),
            "FAILURE": lambda: operator.label("failure", episode),
        }

    def _on_answer(self, answered: Future[Answer]) -> None:
        self._words = answered.result().message
        self._show()

    def _show(self) -> None:
        silent = time.monotonic() - self._safety_s > SAFETY_SILENT_S
        words = "The supervisor is silent: use the hardware stop button." if silent else self._words
        usable = {
            "STOP": True,  # never looks as if it did not work
            "RESET": self._state == "latched" and not silent,
            "START": True,
            "SUCCESS": bool(self._target.name),
            "FAILURE": bool(self._target.name),
        }
        side_m = self.config.safety.workspace_max_m[1] + GAP_M
        frame = self.config.robot.base_frame
        markers = [button_marker(b, frame, side_m, usable=usable[b.name]) for b in BUTTONS]
        markers.append(words_marker(words, frame, side_m))
        self._server.show(markers)


def button_marker(
    button: Button, frame: str, side_m: float, *, usable: bool = True
) -> InteractiveMarker:
    """A cube that can be clicked, with its word in front; grey when a click would do nothing."""
    across, up = button.place
    size = button.size_m
    red, green, blue = button.color if usable else GREY
    cube = Marker(type=Marker.CUBE, scale=Vector3(x=size, y=0.03, z=0.8 * size))
    cube.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    word = Marker(type=Marker.TEXT_VIEW_FACING, text=button.name, scale=Vector3(z=0.3 * size))
    word.pose.position.z = 0.55 * size
    word.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    control = InteractiveMarkerControl(
        name="click",
        interaction_mode=InteractiveMarkerControl.BUTTON,
        always_visible=True,
        markers=[cube, word],
    )
    return _marker(button.name, frame, [COLUMN_X_M + across, side_m, up], control)


def words_marker(words: str, frame: str, side_m: float) -> InteractiveMarker:
    """What the last press came to, above the buttons; nothing to click."""
    text = Marker(type=Marker.TEXT_VIEW_FACING, scale=Vector3(z=0.035))
    text.text = textwrap.fill(words, WORDS_PER_LINE)
    text.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    control = InteractiveMarkerControl(
        name="text",
        interaction_mode=InteractiveMarkerControl.NONE,
        always_visible=True,
        markers=[text] if words else [],
    )
    top = max(button.place[1] + button.size_m for button in BUTTONS)
    return _marker(WORDS, frame, [COLUMN_X_M, side_m, top + WORDS_ABOVE_M], control)


def _marker(
    name: str, frame: str, position: list[float], control: InteractiveMarkerControl
) -> InteractiveMarker:
    x, y, z = position
    return InteractiveMarker(
        header=header(0, frame),
        pose=PoseMsg(position=Point(x=x, y=y, z=z)),
        name=name,
        scale=0.2,
        controls=[control],
    )


def main() -> int:
    """Run the node."""
    return run_node(RvizButtons)


if __name__ == "__main__":
    sys.exit(main())
