"""Fill an `Observation` and a `PointCloud2` from what perception made of a bundle."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from tmrl_msgs.msg import Observation
from tmrl_ros.core.types import RobotSample
from tmrl_ros.nodes.convert import header, image_to_msg, robot_to_msg
from tmrl_ros.perception.cloud import Cloud
from tmrl_ros.perception.perceiver import Percept
from tmrl_ros.perception.requests import Due
from tmrl_ros.perception.synchroniser import Bundle

POINT_FIELDS = [
    PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
    for k, name in enumerate(("x", "y", "z", "rgb"))
]
POINT_STEP = 16


def cloud_to_msg(cloud: Cloud, stamp_ns: int, frame_id: str) -> PointCloud2:
    """Cloud message with x, y, z and packed rgb, 4 bytes each."""
    packed = np.empty((len(cloud), 4), np.float32)
    packed[:, :3] = cloud.points
    red, green, blue = cloud.colors.T.astype(np.uint32)
    packed[:, 3] = ((red << 16) | (green << 8) | blue).view(np.float32)
    data = array.array("B")
    data.frombytes(packed.tobytes())
    return PointCloud2(
        header=header(stamp_ns, frame_id),
        height=1,
        width=len(cloud),
        fields=POINT_FIELDS,
        is_bigendian=False,
        point_step=POINT_STEP,
        row_step=POINT_STEP * len(cloud),
        data=data,
        is_dense=True,
    )


def observation_to_msg(
    due: Due, bundle: Bundle, percept: Percept, object_names: tuple[str, ...]
) -> Observation:
    """The message of one decision; `processing_ms` is left to the caller."""
    robot: RobotSample = bundle.robot
    positions = [value for seen in percept.sightings for value in seen.position]
    return Observation(
        header=header(robot.stamp_ns, robot.frame_id),
        sequence=due.sequence,
        episode_id=due.episode.episode_id,
        decision=due.decision,
        robot=robot_to_msg(robot),
        prompt=due.episode.prompt,
        state=array.array("f", percept.state),
        object_names=list(object_names),
        object_positions=array.array("f", positions),
        object_visible=[seen.visible for seen in percept.sightings],
        object_age_s=array.array("d", [seen.age_s for seen in percept.sightings]),
        camera_names=list(bundle.frames),
        images=[
            image_to_msg(image, "rgb8", frame.stamp_ns, f"{name}_optical_frame")
            for image, (name, frame) in zip(percept.images, bundle.frames.items(), strict=True)
        ],
        camera_age_s=array.array("d", percept.camera_age_s),
        points=cloud_to_msg(percept.cloud, robot.stamp_ns, robot.frame_id),
    )
