"""A joystick: dead-man first, then axes, buttons and what happens when it falls silent."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from pydantic import ValidationError

from tmrl_ros.core.load import load_config
from tmrl_ros.core.teleop_config import TeleopConfig
from tmrl_ros.teleop.actions import Press
from tmrl_ros.teleop.joystick import Joystick

PAD = load_config(["teleop=gamepad"]).teleop
ENGAGE, GRIPPER, STOP, FAILURE, SUCCESS, HOLD = 5, 0, 1, 2, 3, 4


class Person:
    """Somebody with a gamepad, and a clock."""

    def __init__(self, config=PAD):
        self.joystick = Joystick(config, "panda_link0")
        self.now_s = 100.0
        self.pressed = []

    def does(self, *buttons, x=0.0, y=0.0, z=0.0, opening=1.0):
        self.now_s += 0.05
        axes, down = [y, x, 0.0, 0.0, z, 0.0], [int(i in buttons) for i in range(9)]
        self.pressed = self.joystick.read(axes, down, opening, self.now_s)
        return self.joystick.command(self.now_s)

    def takes(self, **where):
        self.does()
        return self.does(ENGAGE, **where)


def test_nobody_has_the_arm_before_the_dead_man_button_is_pressed():
    person = Person()
    assert person.does(x=1.0) is None
    said = person.does(ENGAGE, x=1.0)
    assert said.engaged and said.frame_id == "panda_link0" and said.device == "gamepad"
    np.testing.assert_allclose(said.linear_mps, [PAD.max_speed_mps, 0, 0])
    assert math.isnan(said.gripper)


def test_letting_go_is_said_once():
    person = Person()
    person.takes(x=1.0)
    said = person.does(x=1.0)
    assert not said.engaged and not said.linear_mps.any()
    assert person.does(x=1.0) is None


def test_a_button_that_is_down_from_the_start_moves_nothing_until_it_was_released():
    person = Person()
    assert person.does(ENGAGE, HOLD, STOP, x=1.0) is None
    assert person.joystick.hold(person.now_s) is None
    assert person.pressed == []
    person.does()
    assert person.does(ENGAGE, x=1.0).engaged


def test_a_device_that_falls_silent_has_let_go_and_must_be_pressed_anew():
    person = Person()
    person.takes(x=1.0)
    person.now_s += PAD.timeout_s + 0.01
    said = person.joystick.command(person.now_s)
    assert not said.engaged and not said.linear_mps.any()
    assert person.does(ENGAGE, x=1.0) is None, "it was down all the time"
    assert person.takes(x=1.0).engaged


@given(st.tuples(*[st.floats(-1.5, 1.5)] * 3))
def test_nobody_steers_faster_than_configured_and_the_dead_band_does_nothing(way):
    x, y, z = way
    said = Person().takes(x=x, y=y, z=z)
    speed = float(np.linalg.norm(said.linear_mps))
    assert speed <= PAD.max_speed_mps * (1 + 1e-9)
    if math.hypot(*way) <= PAD.deadband:
        assert speed == 0.0
    else:
        assert float(said.linear_mps @ np.array(way)) > 0.0


def test_axes_may_be_turned_around():
    config = PAD.model_copy(update={"x": PAD.x.model_copy(update={"invert": True})})
    said = Person(config).takes(x=1.0)
    np.testing.assert_allclose(said.linear_mps, [-PAD.max_speed_mps, 0, 0])


def test_the_gripper_button_does_what_it_is_not_and_is_forgotten_with_the_arm():
    person = Person()
    person.does()
    assert person.does(ENGAGE, GRIPPER, opening=1.0).gripper == 0.0
    assert person.does(ENGAGE, GRIPPER, opening=0.0).gripper == 0.0, "held is pressed once"
    person.does(ENGAGE)
    assert person.does(ENGAGE, GRIPPER, opening=0.0).gripper == 1.0
    person.does()
    assert math.isnan(person.does(ENGAGE).gripper)


def test_buttons_are_pressed_once():
    person = Person()
    person.does()
    person.does(STOP)
    assert person.pressed == [Press.STOP]
    person.does(STOP)
    assert person.pressed == []
    person.does(SUCCESS)
    assert person.pressed == [Press.SUCCESS]
    person.does(FAILURE)
    assert person.pressed == [Press.FAILURE]


def test_a_driver_that_tells_of_changed_buttons_alone():
    mouse = load_config(["teleop=spacemouse"]).teleop
    joystick, now_s = Joystick(mouse, "panda_link0"), 10.0

    def says(*buttons, opening=1.0):
        nonlocal now_s
        now_s += 0.02
        joystick.read([0.68, 0, 0, 0, 0, 0], buttons, opening, now_s)
        return joystick.command(now_s)

    assert says() is None
    assert says(1).engaged, "the left button"
    said = says()
    assert said.engaged, "no word of a button changes nothing"
    np.testing.assert_allclose(said.linear_mps, [mouse.max_speed_mps, 0, 0])
    assert says(0, 1).gripper == 0.0, "the right one; of the left one this says nothing"
    assert says(0, 0).engaged
    assert not says(0).engaged
    assert says() is None
    assert says(1).engaged
    now_s += mouse.timeout_s + 0.01
    assert not joystick.command(now_s).engaged
    assert says() is None, "what was held before the silence is not known any more"


@pytest.mark.parametrize("button", [HOLD, ENGAGE])
def test_hold_to_run_is_said_while_held_and_once_when_released(button):
    person = Person()
    person.does()
    assert person.joystick.hold(person.now_s) is None
    person.does(button)
    assert person.joystick.hold(person.now_s) is True
    assert person.joystick.hold(person.now_s) is True
    person.does()
    assert person.joystick.hold(person.now_s) is False
    assert person.joystick.hold(person.now_s) is None


@pytest.mark.parametrize(
    ("axes", "buttons", "words"),
    [
        ([0.0, 0.0], [0] * 9, "2 axes, teleop.z.index is 4"),
        ([0.0] * 6, [0] * 3, "3 buttons, teleop.engage_button is 5"),
        ([0.0, math.nan, 0.0, 0.0, 0.0, 0.0], [0] * 9, "nan on axis 1"),
    ],
)
def test_a_device_that_is_not_as_configured_lets_go_and_is_named(axes, buttons, words):
    person = Person()
    person.takes(x=1.0)
    with pytest.raises(ValueError, match=words):
        person.joystick.read(axes, buttons, 1.0, person.now_s)
    assert not person.joystick.command(person.now_s).engaged


@pytest.mark.parametrize("name", ["gamepad", "spacemouse"])
def test_the_files_for_devices_enable_them(name):
    config = load_config([f"teleop={name}"]).teleop
    assert config.enabled and config.device == name
    assert not load_config().teleop.enabled


def test_one_button_has_one_meaning():
    with pytest.raises(ValidationError, match="are the same"):
        TeleopConfig(engage_button=1, stop_button=1)
    with pytest.raises(ValidationError, match="axes x, y, z are the same"):
        TeleopConfig(x={"index": 0}, y={"index": 0})
