"""Keys of a terminal: what was typed, as what the person asks of the arm.

A terminal tells that a key was typed, again and again while it is held, and never that it was
released. A key therefore counts as held for a moment after each time it came.
"""

from __future__ import annotations

import re

import numpy as np

from tmrl_ros.core.types import TeleopCommand
from tmrl_ros.teleop.actions import Grip, Press, WhileTrue, command

HELP = """\
The hardware stop button comes first. SPACE is the software stop.
  SPACE          STOP
  h              take the arm, give it back
  m              follow a hand on the arm, follow the keys again
  w s, up down   away from the base, towards it
  a d, left right
  r f            up, down
  g              open or close the gripper
  ENTER          held down: hold-to-run
  y n x          the episode is a success, a failure, thrown away
  q, Ctrl-C      give the arm back and leave
"""
DEVICE = "keyboard"
HELD_S = 0.15
"""A key counts as held for so long after it came; terminals repeat about every 0.03 s."""
REPEAT_S = 0.12
"""Hold-to-run needs a key that repeats: coming again within so long."""

_KEYS = re.compile(r"\x1b[\[O][A-D]|.", re.DOTALL)
_MOVES: dict[str, tuple[float, float, float]] = {
    "w": (1.0, 0.0, 0.0),
    "s": (-1.0, 0.0, 0.0),
    "a": (0.0, 1.0, 0.0),
    "d": (0.0, -1.0, 0.0),
    "r": (0.0, 0.0, 1.0),
    "f": (0.0, 0.0, -1.0),
}
_ARROWS = {"A": "w", "B": "s", "D": "a", "C": "d"}
_HOLD = ("\r", "\n")
_PRESSES = {
    " ": Press.STOP,
    "y": Press.SUCCESS,
    "n": Press.FAILURE,
    "x": Press.DISCARD,
    "q": Press.QUIT,
    "\x03": Press.QUIT,
    "\x04": Press.QUIT,
}


class Keyboard:
    """Follows what is typed; times are monotonic wall seconds."""

    def __init__(self, speed_mps: float, frame_id: str) -> None:
        """Begin without the arm.

        Args:
            speed_mps: Of the tool while a key is held.
            frame_id: Base frame of the arm.
        """
        self.engaged = self.guiding = False
        self._speed_mps = speed_mps
        self._frame_id = frame_id
        self._came_s: dict[str, float] = {}
        self._repeating_s = -np.inf
        self._grip = Grip()
        self._said, self._held = WhileTrue(), WhileTrue()

    def type(self, text: str, opening: float, now_s: float) -> list[Press]:
        """Take what was typed; `opening` is the gripper's, as it was last commanded (0..1)."""
        pressed = []
        for key in _KEYS.findall(text):
            name = _ARROWS[key[-1]] if len(key) > 1 else key.lower()
            if name in _PRESSES:
                pressed.append(_PRESSES[name])
                self.engaged = self.guiding = False  # the arm goes home next, or nowhere
            elif name in _MOVES or name in _HOLD:
                if now_s - self._came_s.get(name, -np.inf) <= REPEAT_S:
                    self._repeating_s = now_s
                self._came_s[name] = now_s
            elif name == "h":
                self.engaged, self.guiding = not self.engaged, False
                self._grip.forget()
            elif name == "m" and self.engaged:
                self.guiding = not self.guiding
            elif name == "g" and self.engaged:
                self._grip.toggle(opening)
        return pressed

    def command(self, now_s: float) -> TeleopCommand | None:
        """What is to be said of the arm now, None while nobody has taken it."""
        engaged = self._said.tell(self.engaged)
        if engaged is None:
            return None
        moves = [
            np.array(move)
            for key, move in _MOVES.items()
            if now_s - self._came_s.get(key, -np.inf) <= HELD_S
        ]
        wanted = np.sum(moves, axis=0) if moves and engaged else np.zeros(3)
        speed = wanted * self._speed_mps / max(1.0, float(np.linalg.norm(wanted)))
        return command(DEVICE, self._frame_id, engaged, speed, self._grip.opening)

    def hold(self, now_s: float) -> bool | None:
        """What is to be said of hold-to-run now, None for nothing: some key repeats."""
        return self._held.tell(now_s - self._repeating_s <= HELD_S)
