"""What is said of a real arm, from signals that each tell only a part."""

import pytest

from tmrl_ros.core.types import RobotMode
from tmrl_ros.robots.franka.faults import REASON_WAIT_S, Fault, FaultModel

HARDWARE, CONTROLLER = "FrankaHardwareInterface", "cartesian_controller"
REFLEX_LINE = 'libfranka: Move command aborted: motion aborted by reflex! ["cartesian_reflex"]'


@pytest.fixture
def faults():
    model = FaultModel(HARDWARE, CONTROLLER)
    model.on_activity({HARDWARE: True}, {CONTROLLER: True}, 0.0)
    model.on_mode(RobotMode.MOVE, ())
    return model


def go_down(model, now_s=1.0):
    """What every fault ends with: nothing is active, and the state is silent."""
    model.on_activity({HARDWARE: False}, {CONTROLLER: False}, now_s)
    model.on_silence()


def come_back(model):
    model.on_activity({HARDWARE: True}, {CONTROLLER: True}, 50.0)
    model.on_mode(RobotMode.MOVE, ())


def test_a_healthy_arm_is_healthy(faults):
    report = faults.report(1.0)
    assert report.healthy and report.mode is RobotMode.MOVE
    assert faults.may_hold and not faults.needs_recovery


@pytest.mark.parametrize("log_first", [True, False])
def test_a_silent_reflex_is_known_from_the_log(faults, log_first):
    if log_first:
        faults.on_log(REFLEX_LINE)
    go_down(faults)
    if not log_first:
        assert faults.report(1.0 + REASON_WAIT_S / 2) is None  # its reason may still come
        faults.on_log(REFLEX_LINE)
    report = faults.report(1.0 + REASON_WAIT_S / 2)
    assert report.mode is RobotMode.REFLEX
    assert report.faults == ("cartesian_reflex",)


def test_hardware_without_a_reason_is_unconfigured(faults):
    go_down(faults)
    report = faults.report(1.0 + 2 * REASON_WAIT_S)
    assert report.mode is RobotMode.UNCONFIGURED
    assert Fault.HARDWARE_INACTIVE in report.faults
    assert not faults.may_hold


def test_a_reflex_that_the_robot_clears_by_itself_stays_until_a_person_recovers(faults):
    faults.on_mode(RobotMode.REFLEX, ("joint_reflex",))
    come_back(faults)
    report = faults.report(60.0)
    assert report.mode is RobotMode.REFLEX and report.faults == ("joint_reflex",)
    assert faults.needs_recovery and not faults.may_hold
    faults.cleared()
    assert faults.report(60.0).healthy


def test_a_stop_button_counts_after_its_release(faults):
    faults.on_mode(RobotMode.USER_STOPPED, ())
    assert faults.report(1.0).mode is RobotMode.USER_STOPPED
    faults.on_mode(RobotMode.IDLE, ())
    report = faults.report(2.0)
    assert report.mode is RobotMode.IDLE
    assert report.faults == (Fault.USER_STOP_NOT_RECOVERED,)
    faults.cleared()
    assert faults.report(3.0).healthy


def test_a_stop_button_in_motion_is_known_from_the_log(faults):
    faults.on_log("libfranka: Move command aborted: User Stop pressed!")
    go_down(faults)
    report = faults.report(1.0)
    assert report.mode is RobotMode.UNCONFIGURED
    assert Fault.USER_STOP_NOT_RECOVERED in report.faults


def test_other_log_lines_mean_nothing(faults):
    faults.on_log("the arm was not stopped by a reflex, and nobody pressed the user stop")
    assert faults.report(1.0).healthy


def test_hardware_that_is_active_again_is_not_recovered(faults):
    go_down(faults)
    come_back(faults)
    report = faults.report(60.0)
    assert report.faults == (Fault.NOT_RECOVERED,)
    assert not report.healthy


def test_an_inactive_controller_is_a_fault(faults):
    faults.on_activity({HARDWARE: True}, {CONTROLLER: False}, 1.0)
    assert faults.report(2.0).faults == (Fault.CONTROLLER_INACTIVE,)
    assert not faults.may_hold


def test_a_component_that_is_not_reported_is_not_active(faults):
    faults.on_activity({}, {}, 1.0)
    assert faults.report(2.0).mode is RobotMode.UNCONFIGURED


def test_flags_come_and_go(faults):
    faults.flag(Fault.SECOND_PUBLISHER, True)
    assert faults.report(1.0).faults == (Fault.SECOND_PUBLISHER,)
    assert faults.may_hold  # a stop must still reach the controller
    faults.flag(Fault.SECOND_PUBLISHER, False)
    assert faults.report(1.0).healthy


def test_guiding_by_hand_is_passed_on(faults):
    faults.on_mode(RobotMode.GUIDING, ())
    report = faults.report(1.0)
    assert report.mode is RobotMode.GUIDING and not report.healthy
