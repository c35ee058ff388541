"""The target follows a hand on the arm, against an arm that is a spring."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrl_ros.core.teleop_config import TeleopConfig
from tmrl_ros.teleop.guiding import Guiding
from tmrl_ros.teleop.keyboard import Keyboard

PERIOD_S, STIFFNESS = 0.05, 500.0
CONFIG = TeleopConfig()


def pushed(force_n, seconds, start=(0.5, 0.0, 0.2)):
    """Target and tool after a force (3,) on an arm that follows its target like a spring."""
    guiding = Guiding(CONFIG)
    target = np.array(start)
    tool = target + np.array(force_n) / STIFFNESS
    for _ in range(round(seconds / PERIOD_S)):
        target = target + PERIOD_S * guiding.speed(target, tool)
        tool = target + np.array(force_n) / STIFFNESS
    return target, tool


def test_an_arm_that_hangs_a_little_does_not_sink():
    target, _ = pushed([0.0, 0.0, -3.9], 60.0)
    assert target.tolist() == [0.5, 0.0, 0.2]


def test_it_goes_where_it_is_pushed_and_stops_when_let_go():
    target, tool = pushed([0.0, 15.0, 0.0], 1.0)
    assert target[1] == pytest.approx(4.0 * (15.0 / STIFFNESS - 0.008), rel=1e-6)
    assert Guiding(CONFIG).speed(target, target + [0.0, 0.004, 0.0]).tolist() == [0.0, 0.0, 0.0]
    assert tool[1] > target[1]


@given(st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3))
def test_it_is_never_faster_than_a_stick_and_never_goes_past_the_tool(offset):
    away = np.array(offset)
    speed = Guiding(CONFIG).speed(np.zeros(3), away)
    assert np.linalg.norm(speed) <= CONFIG.max_speed_mps + 1e-9
    assert np.linalg.norm(PERIOD_S * speed) <= np.linalg.norm(away) + 1e-12
    assert float(speed @ away) >= 0.0


def test_only_who_has_taken_the_arm_guides_it_and_giving_it_back_ends_it():
    keys = Keyboard(0.15, "panda_link0")
    keys.type("m", 1.0, 0.0)
    assert not keys.guiding
    keys.type("hm", 1.0, 0.1)
    assert keys.engaged and keys.guiding
    keys.type("m", 1.0, 0.2)
    assert not keys.guiding
    for end in ("h", " ", "y", "x", "q"):
        keys = Keyboard(0.15, "panda_link0")
        keys.type("hm", 1.0, 0.0)
        keys.type(end, 1.0, 0.1)
        assert not keys.guiding and not keys.engaged, end
