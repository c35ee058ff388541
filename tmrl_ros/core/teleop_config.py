"""The configuration of a joystick with which a person takes the arm."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from tmrl_ros.core.section import Section

Button = Annotated[int, Field(ge=0, le=63)]
BUTTONS = ("engage", "gripper", "stop", "success", "failure", "discard", "hold", "guide")


class AxisConfig(Section):
    """One axis of the device: its place in `sensor_msgs/Joy` and its sense."""

    index: int = Field(ge=0, le=63)
    invert: bool = False


class TeleopConfig(Section):
    """A gamepad or a SpaceMouse (`sensor_msgs/Joy`); axes are those of the arm's base frame.

    Buttons are places in `Joy.buttons`, empty for one that the device lacks. The arm is the
    person's only while `engage_button` is down.
    """

    enabled: bool = False
    device: str = Field("joystick", min_length=1, max_length=40, description="as bags name it")
    topic: str = Field("joy", min_length=1, description="of its driver")
    x: AxisConfig = AxisConfig(index=1)
    y: AxisConfig = AxisConfig(index=0)
    z: AxisConfig = AxisConfig(index=4)
    full_scale: float = Field(1.0, gt=0, le=1, description="value of an axis at its stop")
    deadband: float = Field(0.1, ge=0, lt=0.9, description="share of the way that does nothing")
    max_speed_mps: float = Field(0.15, gt=0, le=1.7, description="at full deflection")
    engage_button: Button = 5
    gripper_button: Button | None = Field(0, description="opens and closes in turns")
    stop_button: Button | None = 1
    success_button: Button | None = 3
    failure_button: Button | None = 2
    discard_button: Button | None = Field(None, description="thrown away, and run again")
    hold_button: Button | None = Field(4, description="hold-to-run; engage_button counts too")
    guide_button: Button | None = Field(
        None, description="held with engage_button: the arm follows your hand on it"
    )
    guide_gain_per_s: float = Field(
        4.0, gt=0, le=10, description="speed of the target for each m that the tool is pushed off"
    )
    guide_deadband_m: float = Field(
        0.008, ge=0.002, le=0.05, description="the arm hangs so far beside its target by itself"
    )
    button_events: bool = Field(
        False, description="a message tells of its last button alone, when that has changed"
    )
    rate_hz: float = Field(50.0, ge=20, le=100, description="commands per second while engaged")
    timeout_s: float = Field(0.3, gt=0, le=2, description="a driver silent for longer has let go")

    @model_validator(mode="after")
    def _controls_differ(self) -> TeleopConfig:
        buttons = [getattr(self, f"{name}_button") for name in BUTTONS]
        used = [button for button in buttons if button is not None]
        if len(set(used)) != len(used):
            raise ValueError(f"two of the buttons {', '.join(BUTTONS)} are the same: {buttons}")
        axes = [self.x.index, self.y.index, self.z.index]
        if len(set(axes)) != len(axes):
            raise ValueError(f"two of the axes x, y, z are the same: {axes}")
        return self
