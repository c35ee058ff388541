"""A gamepad or a SpaceMouse: from axes and buttons to what the person asks of the arm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tmrl_ros.core.teleop_config import BUTTONS, TeleopConfig
from tmrl_ros.core.types import FloatArray, TeleopCommand
from tmrl_ros.teleop.actions import Grip, Press, WhileTrue, command

PRESSES = {
    "stop": Press.STOP,
    "success": Press.SUCCESS,
    "failure": Press.FAILURE,
    "discard": Press.DISCARD,
}
NO_SPEED = np.zeros(3)


class Joystick:
    """Reads one device; times are monotonic wall seconds.

    A dead-man button that is down when the device is first heard of, or heard of again, counts only
    after its release: a button that is stuck, or lain upon, moves nothing.
    """

    def __init__(self, config: TeleopConfig, frame_id: str) -> None:
        """Begin with nobody at the device.

        Args:
            config: Axes and buttons.
            frame_id: Base frame of the arm, in which the axes steer.
        """
        self._config = config
        self._frame_id = frame_id
        self._down: dict[str, bool] = dict.fromkeys(BUTTONS, True)
        self._free: dict[str, bool] = dict.fromkeys(BUTTONS, False)  # released since it was heard
        self._speed: FloatArray = NO_SPEED
        self._heard_s = -math.inf
        self._grip = Grip()
        self._engaged, self._held = WhileTrue(), WhileTrue()

    def read(
        self, axes: Sequence[float], buttons: Sequence[int], opening: float, now_s: float
    ) -> list[Press]:
        """Take what the device says.

        Args:
            axes: Of a `sensor_msgs/Joy`.
            buttons: Likewise; anything but 0 is down.
            opening: The gripper's, as it was last commanded (0..1).
            now_s: When it came.

        Returns:
            Buttons that were pressed since the last time.

        Raises:
            ValueError: The device has fewer axes or buttons than configured, or says NaN. Whoever
                held the arm has then let go.
        """
        self._expire(now_s)
        try:
            speed, down = self._speed_of(axes), self._down_of(buttons)
        except ValueError:
            self.lose()
            raise
        pressed = [name for name in down if down[name] and not self._down[name]]
        self._free = {name: self._free[name] or not down[name] for name in down}
        self._down, self._speed, self._heard_s = down, speed, now_s
        if not self._is_held("engage"):
            self._grip.forget()
        elif "gripper" in pressed:
            self._grip.toggle(opening)
        return [PRESSES[name] for name in pressed if name in PRESSES]

    def command(self, now_s: float) -> TeleopCommand | None:
        """What is to be said of the arm now, None while nobody holds it."""
        self._expire(now_s)
        engaged = self._engaged.tell(self._is_held("engage"))
        if engaged is None:
            return None
        speed = self._speed if engaged else NO_SPEED
        return command(self._config.device, self._frame_id, engaged, speed, self._grip.opening)

    @property
    def guiding(self) -> bool:
        """Whether the arm is to follow a hand on it, and not the stick."""
        return self._is_held("engage") and self._is_held("guide")

    def hold(self, now_s: float) -> bool | None:
        """What is to be said of hold-to-run now, None for nothing."""
        self._expire(now_s)
        return self._held.tell(self._is_held("hold") or self._is_held("engage"))

    def _is_held(self, name: str) -> bool:
        return self._down[name] and self._free[name]

    def _expire(self, now_s: float) -> None:
        if now_s - self._heard_s > self._config.timeout_s:
            self.lose()

    def lose(self) -> None:
        """Nothing is known of the device any more: whoever held the arm has let go."""
        self._down = dict.fromkeys(BUTTONS, True)
        self._free = dict.fromkeys(BUTTONS, False)
        self._speed = NO_SPEED

    def _speed_of(self, axes: Sequence[float]) -> FloatArray:
        """Wanted velocity (3,), m/s; no faster than configured in any direction."""
        config = self._config
        wanted = np.zeros(3)
        for place, axis in enumerate((config.x, config.y, config.z)):
            if axis.index >= len(axes):
                raise ValueError(
                    f"{config.device} has {len(axes)} axes, teleop.{'xyz'[place]}.index is "
                    f"{axis.index}: look at `ros2 topic echo {config.topic}` and correct it."
                )
            value = float(axes[axis.index]) / config.full_scale
            if not math.isfinite(value):
                raise ValueError(f"{config.device} says {value} on axis {axis.index}.")
            wanted[place] = (-value if axis.invert else value) * config.max_speed_mps
        size = float(np.linalg.norm(wanted)) / config.max_speed_mps
        if size <= config.deadband:
            return NO_SPEED
        share = min(1.0, (size - config.deadband) / (1.0 - config.deadband))
        return wanted * (share / size)

    def _down_of(self, buttons: Sequence[int]) -> dict[str, bool]:
        config, down = self._config, dict.fromkeys(BUTTONS, False)
        for name in BUTTONS:
            place = getattr(config, f"{name}_button")
            if config.button_events:
                changed = place is not None and place == len(buttons) - 1
                was_down = self._down[name] and self._free[name]
                down[name] = bool(buttons[-1]) if changed else was_down
                continue
            if place is not None and place >= len(buttons):
                raise ValueError(
                    f"{config.device} has {len(buttons)} buttons, teleop.{name}_button is {place}: "
                    f"look at `ros2 topic echo {config.topic}` and correct it."
                )
            down[name] = place is not None and bool(buttons[place])
        return down
