"""Driver of a real Franka: franka_ros2 (Jazzy) with crisp's Cartesian controller.

A thin shell around `robots/franka`: our `robot/target` becomes the controller's target pose and
goals of the gripper, the robot's topics become our `robot/state` once per control period. The
hardware stop button comes first; what runs here is ordinary software.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped, WrenchStamped
from rcl_interfaces.msg import ParameterEvent
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import JointState

from tmrl_msgs.msg import RobotState, RobotTarget
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import Pose
from tmrl_ros.data import decode
from tmrl_ros.nodes.calls import Calls
from tmrl_ros.nodes.common import LATCHED, RELIABLE, ConfiguredNode, run_node
from tmrl_ros.nodes.convert import robot_to_msg
from tmrl_ros.nodes.franka_gripper import GripperActions
from tmrl_ros.nodes.franka_interfaces import (
    ControllerManagerActivity,
    FrankaRobotState,
    require_interfaces,
)
from tmrl_ros.nodes.franka_messages import (
    active,
    error_names,
    joint_reading,
    pose_reading,
    robot_mode,
    target_message,
    wrench_reading,
)
from tmrl_ros.nodes.franka_recovery import RecoveryServices
from tmrl_ros.nodes.franka_setup import RobotSetup
from tmrl_ros.nodes.newest import Newest
from tmrl_ros.nodes.scene_requests import SceneRequests
from tmrl_ros.robots.franka.controller import controller_fault
from tmrl_ros.robots.franka.faults import Fault, FaultModel
from tmrl_ros.robots.franka.model import joint_names
from tmrl_ros.robots.franka.readings import PoseReading, Readings, Source
from tmrl_ros.robots.franka.targets import TargetFilter

LOOK_AROUND_S = 0.5
SAY_AGAIN_S = 10.0
GRIPPER_SILENCE_S = 1.0


class Franka(ConfiguredNode):
    """Feeds the robot's topics to the plain parts, and carries out what they decide."""

    def __init__(self, *, config: Config | None = None) -> None:
        """Check the robot, then begin; the arm holds until targets come.

        Raises:
            ConfigurationError: The robot is not as configured, as one sentence.
        """
        super().__init__("franka", config=config)
        require_interfaces()
        robot, franka = self.config.robot, self.config.robot.franka
        self._of_controller = RobotSetup(self, self.config).check()
        self._frames = (robot.base_frame, *franka.base_frames)
        self._faults = FaultModel(franka.hardware, franka.controller)
        self._readings = Readings(joint_names(robot.model), franka.silence_s)
        self._filter = TargetFilter(robot.base_frame)
        self._published_ns = 0
        self._mode_came_s = float("-inf")
        self._stopped_by: tuple[str, ...] = ()
        self._said_s = float("-inf")
        self._stale_ticks = 0
        self._calls = Calls(self)
        self._gripper = GripperActions(self, self._calls, franka, robot.gripper_max_width_m)
        self._recovery = RecoveryServices(
            self, self._calls, franka, self._faults, self._seed, lambda: self._stopped_by
        )
        self._scene = SceneRequests(self, self.config.task.name, lambda: self._published_ns)
        self._listener = Node("franka_listener", use_global_arguments=False)
        self._connect()

    def _connect(self) -> None:
        robot, franka = self.config.robot, self.config.robot.franka
        self._states = self.create_publisher(RobotState, topics.ROBOT_STATE, RELIABLE)
        self._targets = self.create_publisher(PoseStamped, franka.name(franka.target_pose), 1)
        sources: tuple[tuple[Any, str, Callable[[Any, float], None]], ...] = (
            (FrankaRobotState, franka.robot_state, self._on_robot_state),
            (PoseStamped, franka.current_pose, self._on_pose),
            (JointState, franka.measured_joint_states, self._on_joints),
            (WrenchStamped, franka.external_wrench, self._on_wrench),
            (JointState, f"{franka.gripper_node}/joint_states", self._on_fingers),
        )
        self._sources = [
            (Newest(self._listener, kind, franka.name(topic)), read)
            for kind, topic, read in sources
        ]
        activity = franka.name(f"{franka.controller_manager}/activity")
        self.create_subscription(ControllerManagerActivity, activity, self._on_activity, LATCHED)
        self.create_subscription(ParameterEvent, "/parameter_events", self._on_parameters, RELIABLE)
        self.create_subscription(RobotTarget, topics.ROBOT_TARGET, self._on_target, RELIABLE)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / robot.control_rate_hz, self._on_tick, clock=steady)
        self.create_timer(LOOK_AROUND_S, self._look_around, clock=steady)

    def close(self) -> None:
        """Leave the controller with its last pose: it holds there by itself."""
        self._listener.destroy_node()

    # what the robot says

    def _listen(self, now_s: float) -> None:
        """Take the newest message of every source."""
        for source, read in self._sources:
            if (msg := source.take()) is not None:
                read(msg, now_s)

    def _on_robot_state(self, msg: FrankaRobotState, now_s: float) -> None:
        self._mode_came_s = now_s
        self._stopped_by = error_names(msg.last_motion_errors)
        self._faults.on_mode(robot_mode(msg.robot_mode), error_names(msg.current_errors))

    def _on_pose(self, msg: PoseStamped, now_s: float) -> None:
        self._faults.flag(Fault.WRONG_FRAME, msg.header.frame_id not in self._frames)
        self._readings.on_pose(pose_reading(msg), now_s)

    def _on_joints(self, msg: JointState, now_s: float) -> None:
        self._readings.on_joints(joint_reading(msg), now_s)

    def _on_wrench(self, msg: WrenchStamped, now_s: float) -> None:
        self._readings.on_wrench(wrench_reading(msg), now_s)

    def _on_fingers(self, msg: JointState, now_s: float) -> None:
        self._readings.on_fingers(joint_reading(msg).q, now_s)

    def _on_activity(self, msg: ControllerManagerActivity) -> None:
        before = self._faults.hardware_active
        self._faults.on_activity(active(msg.hardware_components), active(msg.controllers))
        if before is not False and self._faults.hardware_active is False:
            self._recovery.recovery.fault_came()

    def _on_parameters(self, msg: ParameterEvent) -> None:
        """Somebody has changed the controller: it may press harder than at the start."""
        node = self.config.robot.franka.name(self.config.robot.franka.controller)
        if msg.node != node:
            return
        for item in (*msg.new_parameters, *msg.changed_parameters):
            self._of_controller[item.name] = parameter_value_to_python(item.value)
        why = controller_fault(self._of_controller, self.config, node)
        self._faults.flag(Fault.CONTROLLER_CHANGED, bool(why))
        if why:
            self.get_logger().error(why)

    # what the supervisor says

    def _on_target(self, msg: RobotTarget) -> None:
        now_s = time.monotonic()
        self._listen(now_s)
        target = decode.target(msg)
        try:
            pose = self._filter.pose_for(
                target,
                self._fresh_pose(now_s),
                may_hold=self._faults.may_hold,
                may_move=self._faults.report().healthy and self._faults.may_hold,
            )
        except ValueError as error:
            self.get_logger().error(str(error))
            return
        if pose is not None:
            self._send(pose)
            if not target.hold:
                self._gripper.commander.ask(target.gripper_width_m)

    def _send(self, pose: Pose) -> None:
        stamp_ns = self.get_clock().now().nanoseconds
        self._targets.publish(target_message(pose, stamp_ns, self._frames[1]))

    def _seed(self) -> bool:
        """Send the pose measured now; False when there is none."""
        now_s = time.monotonic()
        self._listen(now_s)
        measured = self._fresh_pose(now_s)
        if measured is not None:
            self._send(measured.pose)
        return measured is not None

    def _fresh_pose(self, now_s: float) -> PoseReading | None:
        return None if self._readings.is_stale(Source.POSE, now_s) else self._readings.pose

    # what goes out

    def _on_tick(self) -> None:
        now_s = time.monotonic()
        self._listen(now_s)
        self._flag(now_s)
        self._gripper.tick()
        report = self._faults.report()
        silent = self._readings.is_stale(Source.POSE, now_s)
        if silent and report.healthy:
            return  # silence for which nobody has an explanation is the supervisor's to judge
        sample = self._readings.sample(report, self.config.robot.base_frame)
        if sample is None:
            self._say_what_is_missing(now_s)
            return
        self._published_ns = sample.stamp_ns
        self._states.publish(robot_to_msg(sample))

    def _flag(self, now_s: float) -> None:
        """Look for faults that show in what does not come."""
        readings, faults = self._readings, self._faults
        if now_s - self._mode_came_s > self.config.robot.franka.silence_s:
            faults.on_silence()
        talks = not readings.is_stale(Source.POSE, now_s)
        stale = any(readings.is_stale(item, now_s) for item in (Source.JOINTS, Source.WRENCH))
        # After a pause of everything, one of them is the first to speak again.
        self._stale_ticks = self._stale_ticks + 1 if talks and stale else 0
        faults.flag(Fault.STATE_STALE, self._stale_ticks > 1)
        fingers = readings.is_stale(Source.GRIPPER, now_s, GRIPPER_SILENCE_S)
        faults.flag(Fault.GRIPPER_SILENT, talks and fingers)
        faults.flag(Fault.GRIPPER_FAILED, self._gripper.commander.failed)

    def _look_around(self) -> None:
        topic = self.config.robot.franka.name(self.config.robot.franka.target_pose)
        self._faults.flag(Fault.SECOND_PUBLISHER, self.count_publishers(topic) > 1)

    def _say_what_is_missing(self, now_s: float) -> None:
        if now_s - self._said_s < SAY_AGAIN_S:
            return
        self._said_s = now_s
        silent = ", ".join(source.topic for source, _ in self._sources)
        self.get_logger().warning(
            f"The robot has not said yet where it is: something of {silent} is silent. If its "
            "hardware is not active: tmrl recover errors."
        )


def main() -> int:
    """Run the node; return the exit code."""
    return run_node(Franka)


if __name__ == "__main__":
    sys.exit(main())
