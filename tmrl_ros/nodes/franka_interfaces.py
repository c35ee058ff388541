"""The interfaces of franka_ros2 and ros2_control, which come with the robot's own packages."""

from __future__ import annotations

from tmrl_ros.core.errors import ConfigurationError

MISSING = ""
try:
    from controller_manager_msgs.msg import ControllerManagerActivity
    from controller_manager_msgs.srv import (
        ListControllers,
        SetHardwareComponentState,
        SwitchController,
    )
    from franka_msgs.action import ErrorRecovery, Grasp, Homing, Move
    from franka_msgs.msg import FrankaRobotState
except ImportError as error:
    MISSING = str(error.name or error).partition(".")[0]
    ControllerManagerActivity = ListControllers = SetHardwareComponentState = None
    SwitchController = ErrorRecovery = Grasp = Homing = Move = FrankaRobotState = None

__all__ = [
    "ControllerManagerActivity",
    "ErrorRecovery",
    "FrankaRobotState",
    "Grasp",
    "Homing",
    "ListControllers",
    "Move",
    "SetHardwareComponentState",
    "SwitchController",
]


def require_interfaces() -> None:
    """Refuse to go on where the robot's interfaces are not installed.

    Raises:
        ConfigurationError: Which package is missing, and where it comes from.
    """
    if MISSING:
        raise ConfigurationError(
            f"robot.kind=franka needs the ROS package {MISSING}, which is not here: build "
            "franka_ros2 (branch jazzy) in a workspace, install ros-jazzy-ros2-control, and source "
            "both before this command (docs/hardware.md)."
        )
