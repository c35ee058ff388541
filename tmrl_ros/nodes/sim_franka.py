"""The simulated Franka cell as a driver: what its real counterpart publishes and serves.

In lockstep one `robot/target` advances robot time by one control period and pictures are taken
when `camera/trigger` asks for them. With `robot.realtime` a wall timer does both. The parameters
`fault.*` break things on purpose, for tests.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock as ClockMsg
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header

from tmrl_msgs.msg import GroundTruth, RobotState, RobotTarget
from tmrl_msgs.srv import ResetScene
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import NANOSECONDS, Pose, RobotMode, RobotSample
from tmrl_ros.data import decode
from tmrl_ros.nodes.common import IMAGES, LATCHED, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import image_to_msg, robot_to_msg, to_time
from tmrl_ros.nodes.driver_messages import (
    camera_info_to_msg,
    joints_to_msg,
    optical_frame,
    transform_to_msg,
    truth_to_msg,
)
from tmrl_ros.robots.simulated_franka import SimulatedFranka
from tmrl_ros.sim import SceneBlockedError

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

REPEAT_S = 0.1


class SimFranka(ConfiguredNode):
    """Shell around `robots.simulated_franka.SimulatedFranka`."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Start the simulation with the arm at home."""
        super().__init__("sim_franka", config=config)
        self._driver = SimulatedFranka(self.config)
        self._silent = False
        self._published = False
        self._declare_parameters()
        self._connect()
        self._publish_static_transforms()
        self._publish_state()

    def _declare_parameters(self) -> None:
        faults: dict[str, str | bool | float] = {
            "freeze_camera": "",
            "black_camera": "",
            "swap_cameras": False,
            "clock_jump_s": 0.0,
            "silent": False,
            "mode": "move",
        }
        for name, healthy in faults.items():
            about = ParameterDescriptor(description="test only")
            self.declare_parameter(f"fault.{name}", healthy, about)
        what = ParameterDescriptor(
            description="off where robot_state_publisher says the same from joint_states",
            read_only=True,
        )
        self.declare_parameter("publish_tf", True, what)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._on_parameters([self.get_parameter(f"fault.{name}") for name in faults])

    def _connect(self) -> None:
        robot, cameras = self.config.robot, self.config.cameras
        self._states = self.create_publisher(RobotState, topics.ROBOT_STATE, RELIABLE)
        self._truths = self.create_publisher(GroundTruth, topics.GROUND_TRUTH, RELIABLE)
        self._joints = self.create_publisher(JointState, topics.JOINT_STATES, RELIABLE)
        self._clocks = self.create_publisher(ClockMsg, "/clock", RELIABLE)
        self._tf = self._tf_static = None
        if TFMessage is not None and self.get_parameter("publish_tf").value:
            self._tf = self.create_publisher(TFMessage, "/tf", RELIABLE)
            self._tf_static = self.create_publisher(TFMessage, "/tf_static", LATCHED)
        self._pictures: dict[str, tuple[Any, Any, Any]] = {
            camera.name: (
                self.create_publisher(CameraInfo, topics.camera_info(camera.name), LATCHED),
                self.create_publisher(Image, topics.color(camera.name), IMAGES),
                self.create_publisher(Image, topics.depth(camera.name), IMAGES),
            )
            for camera in cameras.cameras
        }
        self.create_subscription(RobotTarget, topics.ROBOT_TARGET, self._on_target, RELIABLE)
        self.create_service(ResetScene, topics.RESET_SCENE, self._on_reset_scene)
        wall = Clock(clock_type=ClockType.STEADY_TIME)
        if robot.realtime:
            self.create_timer(1.0 / robot.control_rate_hz, self._advance, clock=wall)
            self.create_timer(1.0 / cameras.realtime_rate_hz, self._publish_pictures, clock=wall)
        else:
            self.create_subscription(Header, topics.CAMERA_TRIGGER, self._on_trigger, RELIABLE)
        self.create_timer(REPEAT_S, self._on_repeat, clock=wall)

    def close(self) -> None:
        """Free the renderer."""
        self._driver.close()

    # what comes in

    def _on_target(self, msg: RobotTarget) -> None:
        try:
            accepted = self._driver.accept(decode.target(msg))
        except ValueError as error:
            self.get_logger().error(str(error))
            return
        if accepted and not self.config.robot.realtime:
            self._advance()

    def _on_trigger(self, _: Header) -> None:
        self._publish_pictures()

    def _on_reset_scene(
        self, request: ResetScene.Request, response: ResetScene.Response
    ) -> ResetScene.Response:
        """Put the objects back; the arm stays where it was last told to be, and time goes by."""
        task = self.config.task.name
        if request.task not in ("", task):
            response.message = f"This cell is set up for task {task!r}, not {request.task!r}."
            return response
        start_ns = self._driver.stamp_ns
        try:
            self._driver.place_objects(request.seed)
        except SceneBlockedError as error:
            response.message = str(error)
            return response
        began_s = time.monotonic()
        for period in range(1, self._driver.reset_periods + 1):
            self._advance()
            if self.config.robot.realtime:
                due_s = began_s + period / self.config.robot.control_rate_hz
                time.sleep(max(0.0, due_s - time.monotonic()))
        response.success = True
        response.duration_s = (self._driver.stamp_ns - start_ns) / 1e9
        return response

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        names = ["", *(camera.name for camera in self.config.cameras.cameras)]
        for parameter in parameters:
            name, value = parameter.name, parameter.value
            if name.endswith("_camera") and value not in names:
                why = f"{name}: no camera {value!r}, only {names[1:]}"
                return SetParametersResult(successful=False, reason=why)
            if name == "fault.mode" and value.upper() not in RobotMode.__members__:
                why = f"{name}: no mode {value!r}, only {', '.join(RobotMode.__members__).lower()}"
                return SetParametersResult(successful=False, reason=why)
        for parameter in parameters:
            value = parameter.value
            match parameter.name:
                case "fault.freeze_camera":
                    self._driver.frozen_camera = value
                case "fault.black_camera":
                    self._driver.black_camera = value
                case "fault.swap_cameras":
                    self._driver.cameras_swapped = value
                case "fault.clock_jump_s":
                    self._driver.clock_jump_ns = round(value * NANOSECONDS)
                case "fault.silent":
                    self._silent = value
                case "fault.mode":
                    self._driver.mode = RobotMode[value.upper()]
        return SetParametersResult(successful=True)

    # what goes out

    def _advance(self) -> None:
        self._driver.advance()
        self._publish_state()

    def _on_repeat(self) -> None:
        """Say the state again when time stands still, so that silence always means a fault."""
        if not self._published:
            self._publish_state()
        self._published = False

    def _publish_state(self) -> None:
        """The truth first, so that whoever has the state of a stamp can have its truth too."""
        if self._silent:
            return
        self._published = True
        sample, truth = self._driver.sample(), self._driver.ground_truth()
        self._truths.publish(truth_to_msg(truth, sample))
        self._states.publish(robot_to_msg(sample))
        self._publish_for_tools(sample)

    def _publish_for_tools(self, sample: RobotSample) -> None:
        """Joint states, clock and transforms: made only while somebody listens."""
        if self._joints.get_subscription_count():
            self._joints.publish(joints_to_msg(sample))
        if self._clocks.get_subscription_count():
            self._clocks.publish(ClockMsg(clock=to_time(sample.stamp_ns)))
        if self._tf is not None and self._tf.get_subscription_count():
            tool = self.config.robot.ee_frame
            at = transform_to_msg(sample.frame_id, tool, sample.ee_pose, sample.stamp_ns)
            self._tf.publish(TFMessage(transforms=[at]))

    def _publish_static_transforms(self) -> None:
        """Where the cameras are, as the configuration says."""
        if self._tf_static is None:
            return
        robot = self.config.robot
        mounts = {"base": robot.base_frame, "ee": robot.ee_frame}
        self._tf_static.publish(
            TFMessage(
                transforms=[
                    transform_to_msg(
                        mounts[camera.mount],
                        optical_frame(camera.name),
                        Pose(np.array(camera.position_m), np.array(camera.quaternion_xyzw)),
                        self._driver.stamp_ns,
                    )
                    for camera in self.config.cameras.cameras
                ]
            )
        )

    def _publish_pictures(self) -> None:
        for picture in self._driver.take_pictures():
            info, color, depth = self._pictures[picture.camera]
            frame_id = optical_frame(picture.camera)
            info.publish(camera_info_to_msg(picture, frame_id))
            color.publish(image_to_msg(picture.color, "rgb8", picture.stamp_ns, frame_id))
            depth.publish(image_to_msg(picture.depth_mm, "16UC1", picture.stamp_ns, frame_id))


def main() -> int:
    """Run the node; return the exit code."""
    return run_node(SimFranka)


if __name__ == "__main__":
    sys.exit(main())
