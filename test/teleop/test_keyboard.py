"""Keys of a terminal, which repeat while they are held and tell nothing of a release."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tmrl_ros.teleop.actions import Press
from tmrl_ros.teleop.keyboard import HELD_S, HELP, Keyboard

SPEED = 0.2


class Typist:
    """Somebody at a keyboard, and a clock."""

    def __init__(self):
        self.keys = Keyboard(SPEED, "panda_link0")
        self.now_s = 10.0

    def types(self, text, after_s=0.03, opening=1.0):
        self.now_s += after_s
        return self.keys.type(text, opening, self.now_s)

    @property
    def command(self):
        return self.keys.command(self.now_s)

    @property
    def hold(self):
        return self.keys.hold(self.now_s)


@pytest.mark.parametrize(
    ("key", "way"),
    [
        ("w", (1, 0, 0)),
        ("\x1b[A", (1, 0, 0)),
        ("\x1b[B", (-1, 0, 0)),
        ("A", (0, 1, 0)),
        ("\x1bOD", (0, 1, 0)),
        ("\x1b[C", (0, -1, 0)),
        ("r", (0, 0, 1)),
        ("f", (0, 0, -1)),
    ],
)
def test_keys_steer_while_they_come_and_for_a_moment_after(key, way):
    typist = Typist()
    typist.types(key)
    assert typist.command is None, "h takes the arm first"
    typist.types("h", after_s=1.0)
    assert not typist.command.linear_mps.any()
    typist.types(key)
    np.testing.assert_allclose(typist.command.linear_mps, SPEED * np.array(way, float))
    typist.now_s += HELD_S + 0.01
    assert typist.command.engaged and not typist.command.linear_mps.any()


def test_two_keys_are_no_faster_than_one():
    typist = Typist()
    typist.types("hwa")
    assert np.linalg.norm(typist.command.linear_mps) == pytest.approx(SPEED)


def test_h_gives_the_arm_back_and_says_so_once():
    typist = Typist()
    typist.types("h")
    assert typist.command.engaged
    typist.types("h")
    assert not typist.command.engaged
    assert typist.command is None


@pytest.mark.parametrize("key", [" ", "q", "\x03"])
def test_stop_and_quit_give_the_arm_back_too(key):
    typist = Typist()
    typist.types("h")
    assert typist.command.engaged
    (pressed,) = typist.types(key)
    assert pressed is (Press.STOP if key == " " else Press.QUIT)
    assert not typist.command.engaged


def test_words_about_the_episode():
    assert Typist().types("yn") == [Press.SUCCESS, Press.FAILURE]


def test_the_gripper_moves_only_with_the_arm():
    typist = Typist()
    typist.types("g")
    typist.types("h")
    assert math.isnan(typist.command.gripper)
    typist.types("g", opening=0.9)
    assert typist.command.gripper == 0.0
    typist.types("g", opening=0.9)
    assert typist.command.gripper == 1.0


def test_hold_to_run_needs_a_key_that_repeats_and_ends_soon_after_it():
    typist = Typist()
    typist.types("\n")
    assert typist.hold is None, "a tap is no hold"
    typist.types("\n", after_s=0.5)
    assert typist.hold is None, "nor is a second one"
    typist.types("\n")
    assert typist.hold is True
    typist.now_s += HELD_S + 0.01
    assert typist.hold is False
    assert typist.hold is None


def test_a_key_that_steers_and_repeats_holds_too():
    typist = Typist()
    typist.types("h")
    typist.types("w")
    typist.types("w")
    assert typist.hold is True


def test_the_help_names_the_hardware_button_first():
    assert HELP.startswith("The hardware stop button comes first.")
