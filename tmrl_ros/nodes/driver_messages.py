"""Messages that a robot driver publishes besides `robot/state` and pictures."""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import Transform, TransformStamped, Vector3
from sensor_msgs.msg import CameraInfo, JointState

from tmrl_msgs.msg import GroundTruth as GroundTruthMsg
from tmrl_ros.core.types import FloatArray, Pose, RobotSample
from tmrl_ros.nodes.convert import header, quaternion_to_msg
from tmrl_ros.robots.simulated_franka import FINGER_JOINTS, Picture
from tmrl_ros.sim import GroundTruth


def optical_frame(camera: str) -> str:
    """Name of a camera's optical frame, as in urdf/cameras.xacro."""
    return f"{camera}_optical_frame"


def transform_to_msg(parent: str, child: str, pose: Pose, stamp_ns: int) -> TransformStamped:
    """Where `child` is in `parent`."""
    x, y, z = (float(value) for value in pose.position)
    return TransformStamped(
        header=header(stamp_ns, parent),
        child_frame_id=child,
        transform=Transform(
            translation=Vector3(x=x, y=y, z=z), rotation=quaternion_to_msg(pose.quaternion)
        ),
    )


def camera_info_to_msg(picture: Picture, frame_id: str) -> CameraInfo:
    """Pinhole intrinsics without distortion."""
    height, width = picture.depth_mm.shape
    size, undistorted = (width, height), np.zeros(5)
    return intrinsics_to_msg(picture.intrinsics, undistorted, size, picture.stamp_ns, frame_id)


def intrinsics_to_msg(
    k: FloatArray, distortion: FloatArray, size: tuple[int, int], stamp_ns: int, frame_id: str
) -> CameraInfo:
    """Pinhole intrinsics K (3, 3) with Brown-Conrady distortion (5,); `size` is width, height."""
    return CameraInfo(
        header=header(stamp_ns, frame_id),
        height=size[1],
        width=size[0],
        distortion_model="plumb_bob",
        d=array.array("d", distortion),
        k=k.ravel(),
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[k[0, 0], 0.0, k[0, 2], 0.0, 0.0, k[1, 1], k[1, 2], 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def joints_to_msg(sample: RobotSample) -> JointState:
    """The arm's joints and both fingers, which robot_state_publisher needs."""
    finger_m = sample.gripper_width_m / 2.0
    return JointState(
        header=header(sample.stamp_ns, sample.frame_id),
        name=[*sample.joint_names, *FINGER_JOINTS],
        position=array.array("d", [*sample.q, finger_m, finger_m]),
        velocity=array.array("d", [*sample.dq, 0.0, 0.0]),
        effort=array.array("d", [*sample.tau, 0.0, 0.0]),
    )


def truth_to_msg(truth: GroundTruth, sample: RobotSample) -> GroundTruthMsg:
    """What only the simulation knows, with the stamp of the state that it belongs to."""
    names = list(truth.object_positions)
    positions = [float(value) for name in names for value in truth.object_positions[name]]
    return GroundTruthMsg(
        header=header(sample.stamp_ns, sample.frame_id),
        success=truth.success,
        failure=truth.failure,
        progress=float(truth.progress),
        object_names=names,
        object_positions=array.array("d", positions),
    )
