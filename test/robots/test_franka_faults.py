"""What is said of a real arm, from signals that each tell only a part."""

import pytest

from tmrl_ros.core.types import RobotMode
from tmrl_ros.robots.franka.faults import Fault, FaultModel

HARDWARE, CONTROLLER = "FrankaHardwareInterface", "cartesian_controller"


@pytest.fixture
def faults():
    model = FaultModel(HARDWARE, CONTROLLER)
    model.on_activity({HARDWARE: True}, {CONTROLLER: True})
    model.on_mode(RobotMode.MOVE, ())
    return model


def go_down(model):
    """What every fault ends with: nothing is active, and the state is silent."""
    model.on_activity({HARDWARE: False}, {CONTROLLER: False})
    model.on_silence()


def come_back(model):
    model.on_activity({HARDWARE: True}, {CONTROLLER: True})
    model.on_mode(RobotMode.MOVE, ())


def test_a_healthy_arm_is_healthy(faults):
    report = faults.report()
    assert report.healthy and report.mode is RobotMode.MOVE
    assert faults.may_hold and not faults.needs_recovery


def test_a_reflex_that_the_state_shows_has_its_name(faults):
    faults.on_mode(RobotMode.REFLEX, ("joint_reflex",))
    go_down(faults)
    report = faults.report()
    assert report.mode is RobotMode.REFLEX
    assert report.faults == ("joint_reflex",)


def test_hardware_without_a_reason_is_unconfigured(faults):
    go_down(faults)
    report = faults.report()
    assert report.mode is RobotMode.UNCONFIGURED
    assert Fault.HARDWARE_INACTIVE in report.faults
    assert not faults.may_hold


def test_a_reflex_that_the_robot_clears_by_itself_stays_until_a_person_recovers(faults):
    faults.on_mode(RobotMode.REFLEX, ("joint_reflex",))
    come_back(faults)
    report = faults.report()
    assert report.mode is RobotMode.REFLEX and report.faults == ("joint_reflex",)
    assert faults.needs_recovery and not faults.may_hold
    faults.cleared()
    assert faults.report().healthy


def test_a_stop_button_counts_after_its_release(faults):
    faults.on_mode(RobotMode.USER_STOPPED, ())
    assert faults.report().mode is RobotMode.USER_STOPPED
    faults.on_mode(RobotMode.IDLE, ())
    report = faults.report()
    assert report.mode is RobotMode.IDLE
    assert report.faults == (Fault.USER_STOP_NOT_RECOVERED,)
    faults.cleared()
    assert faults.report().healthy


def test_a_stop_button_that_the_state_showed_counts_when_the_hardware_goes_down(faults):
    faults.on_mode(RobotMode.USER_STOPPED, ())
    go_down(faults)
    report = faults.report()
    assert report.mode is RobotMode.UNCONFIGURED
    assert report.faults == (Fault.HARDWARE_INACTIVE, Fault.USER_STOP_NOT_RECOVERED)


def test_hardware_that_is_active_again_is_not_recovered(faults):
    go_down(faults)
    come_back(faults)
    report = faults.report()
    assert report.faults == (Fault.NOT_RECOVERED,)
    assert not report.healthy


def test_an_inactive_controller_is_a_fault(faults):
    faults.on_activity({HARDWARE: True}, {CONTROLLER: False})
    assert faults.report().faults == (Fault.CONTROLLER_INACTIVE,)
    assert not faults.may_hold


def test_a_component_that_is_not_reported_is_not_active(faults):
    faults.on_activity({}, {})
    assert faults.report().mode is RobotMode.UNCONFIGURED


def test_flags_come_and_go(faults):
    faults.flag(Fault.SECOND_PUBLISHER, True)
    assert faults.report().faults == (Fault.SECOND_PUBLISHER,)
    assert faults.may_hold  # a stop must still reach the controller
    faults.flag(Fault.SECOND_PUBLISHER, False)
    assert faults.report().healthy


def test_guiding_by_hand_is_passed_on(faults):
    faults.on_mode(RobotMode.GUIDING, ())
    report = faults.report()
    assert report.mode is RobotMode.GUIDING and not report.healthy
