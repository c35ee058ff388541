"""What the messages of franka_ros2, crisp and ros2_control mean to us."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from lifecycle_msgs.msg import State
from sensor_msgs.msg import JointState

from tmrl_ros.core.types import FloatArray, Pose, RobotMode
from tmrl_ros.data import decode
from tmrl_ros.nodes.convert import header, pose_to_msg
from tmrl_ros.robots.franka.readings import JointReading, PoseReading


def pose_reading(msg: PoseStamped) -> PoseReading:
    """Tool pose of a `current_pose`."""
    return PoseReading(decode.to_ns(msg.header.stamp), msg.header.frame_id, decode.pose(msg.pose))


def joint_reading(msg: JointState) -> JointReading:
    """Joints of a `JointState`; a column that is not there is zero."""
    count = len(msg.name)

    def column(values: Any) -> FloatArray:
        return np.array(values, float) if len(values) == count else np.zeros(count)

    return JointReading(
        tuple(msg.name), column(msg.position), column(msg.velocity), column(msg.effort)
    )


def wrench_reading(msg: WrenchStamped) -> FloatArray:
    """(6,) N, Nm."""
    force, torque = msg.wrench.force, msg.wrench.torque
    return np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z])


def error_names(errors: Any) -> tuple[str, ...]:
    """Names of the flags that are set in a `franka_msgs/Errors`."""
    return tuple(name for name in errors.get_fields_and_field_types() if getattr(errors, name))


def robot_mode(value: int) -> RobotMode:
    """Mode of the robot, which has the same numbers as ours; one that is new is OTHER."""
    known = RobotMode.OTHER <= value <= RobotMode.RECOVERING
    return RobotMode(value) if known else RobotMode.OTHER


def active(states: Any) -> dict[str, bool]:
    """Which of the named lifecycle states are active."""
    return {item.name: item.state.id == State.PRIMARY_STATE_ACTIVE for item in states}


def target_message(pose: Pose, stamp_ns: int, frame_id: str) -> PoseStamped:
    """A pose for the controller's target topic."""
    return PoseStamped(header=header(stamp_ns, frame_id), pose=pose_to_msg(pose))
