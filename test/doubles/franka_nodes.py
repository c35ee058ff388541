"""The nodes of franka_ros2, ros2_control and crisp_controllers around a `franka_arm.Arm`.

Names, types and QoS are theirs.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import rclpy
from controller_manager_msgs.msg import (
    ControllerManagerActivity,
    ControllerState,
    NamedLifecycleState,
)
from controller_manager_msgs.srv import (
    ListControllers,
    SetHardwareComponentState,
    SwitchController,
)
from franka_arm import (
    CONTROLLER,
    CONTROLLERS,
    POSE_BROADCASTER,
    STATE_BROADCASTER,
    Arm,
    FingerGoal,
)
from franka_msgs.action import ErrorRecovery, Grasp, Homing, Move
from franka_msgs.msg import FrankaRobotState
from geometry_msgs.msg import PoseStamped, Vector3, Wrench, WrenchStamped
from lifecycle_msgs.msg import State
from rclpy.action import ActionServer
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import JointState

from tmrl_ros.core.types import RobotSample
from tmrl_ros.data import decode
from tmrl_ros.nodes.convert import header, pose_to_msg
from tmrl_ros.robots.franka.model import POSITION_LIMITS_RAD, joint_names

HARDWARE = "FrankaHardwareInterface"
BASE = "fr3_link0"
FINGERS = ["fr3_finger_joint1", "fr3_finger_joint2"]
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ACTIVE = State(id=State.PRIMARY_STATE_ACTIVE, label="active")
INACTIVE = State(id=State.PRIMARY_STATE_INACTIVE, label="inactive")
UNCONFIGURED = State(id=State.PRIMARY_STATE_UNCONFIGURED, label="unconfigured")


def description(model: str = "fr3") -> str:
    """As much of a URDF as has joint limits."""
    joints = "".join(
        f'<joint name="{name}" type="revolute"><limit lower="{low}" upper="{high}"/></joint>'
        for name, (low, high) in zip(joint_names(model), POSITION_LIMITS_RAD[model], strict=True)
    )
    return f'<robot name="{model}">{joints}</robot>'


class ControllerManager:
    """Lists, switches and reports controllers and the hardware component."""

    def __init__(self, arm: Arm) -> None:
        self.node = node = rclpy.create_node("controller_manager")
        self._arm = arm
        self.refuse = False
        self._activity = node.create_publisher(ControllerManagerActivity, "~/activity", LATCHED)
        node.create_service(ListControllers, "~/list_controllers", self._on_list)
        node.create_service(SwitchController, "~/switch_controller", self._on_switch)
        node.create_service(
            SetHardwareComponentState, "~/set_hardware_component_state", self._on_hardware
        )
        self.report()

    def report(self) -> None:
        """Publish the activity."""
        arm = self._arm
        self._activity.publish(
            ControllerManagerActivity(
                header=header(self.node.get_clock().now().nanoseconds),
                controllers=[
                    NamedLifecycleState(name=name, state=ACTIVE if name in arm.active else INACTIVE)
                    for name in CONTROLLERS
                ],
                hardware_components=[
                    NamedLifecycleState(
                        name=HARDWARE, state=ACTIVE if arm.hardware_active else UNCONFIGURED
                    )
                ],
            )
        )

    def _on_list(self, _: Any, response: ListControllers.Response) -> ListControllers.Response:
        kinds = {
            CONTROLLER: "crisp_controllers/CartesianController",
            POSE_BROADCASTER: "crisp_controllers/PoseBroadcaster",
        }
        response.controller = [
            ControllerState(
                name=name,
                state="active" if name in self._arm.active else "inactive",
                type=kinds.get(name, "broadcaster"),
            )
            for name in CONTROLLERS
        ]
        return response

    def _on_switch(
        self, request: SwitchController.Request, response: SwitchController.Response
    ) -> SwitchController.Response:
        if self.refuse:
            response.message = "refused"
            return response
        self._arm.active -= set(request.deactivate_controllers)
        response.message = self._arm.activate(list(request.activate_controllers))
        response.ok = not response.message
        self.report()
        return response

    def _on_hardware(
        self,
        request: SetHardwareComponentState.Request,
        response: SetHardwareComponentState.Response,
    ) -> SetHardwareComponentState.Response:
        known = request.name == HARDWARE and request.target_state.label == "active"
        response.ok = known and not self.refuse and self._arm.activate_hardware()
        response.state = ACTIVE if self._arm.hardware_active else UNCONFIGURED
        self.report()
        return response


class CartesianController:
    """crisp's controller: parameters, and a target topic that obeys one publisher only."""

    def __init__(self, arm: Arm, error_clip_m: float, model: str = "fr3") -> None:
        self.node = node = rclpy.create_node(CONTROLLER)
        self._arm = arm
        self.received = self.ignored = 0
        values: dict[str, Any] = {
            "joints": list(joint_names(model)),
            "base_frame": "base",
            "end_effector_frame": f"{model}_hand_tcp",
            "limit_error": True,
            "limit_torques": True,
            "stop_commands": False,
            "use_operational_space": False,
        }
        for axis in "xyz":
            values[f"task.k_pos_{axis}"] = 500.0
            values[f"task.error_clip.{axis}"] = error_clip_m
        for name, value in values.items():
            node.declare_parameter(name, value)
        node.create_subscription(PoseStamped, "/target_pose", self._on_target, 1)

    def _on_target(self, msg: PoseStamped) -> None:
        if self.node.count_publishers("/target_pose") > 1:
            self.ignored += 1
            self.node.get_logger().warning("Multiple publishers on target_pose: it is ignored")
            return
        self.received += 1
        self._arm.on_pose(decode.pose(msg.pose))


class Broadcasters:
    """State topics; each speaks while its controller is active."""

    def __init__(self, arm: Arm) -> None:
        self.node = node = rclpy.create_node(STATE_BROADCASTER)
        self._arm = arm
        self.silent = False
        self._states = node.create_publisher(FrankaRobotState, "~/robot_state", 10)
        self._joints = node.create_publisher(JointState, "~/measured_joint_states", BEST_EFFORT)
        self._wrench = node.create_publisher(
            WrenchStamped, "~/external_wrench_in_base_frame", BEST_EFFORT
        )
        self._poses = node.create_publisher(PoseStamped, "/current_pose", 10)

    def publish(self, sample: RobotSample, stamp_ns: int) -> None:
        """Say how the arm is."""
        arm = self._arm
        if self.silent:
            return
        pose = PoseStamped(header=header(stamp_ns, "base"), pose=pose_to_msg(sample.ee_pose))
        if POSE_BROADCASTER in arm.active:
            self._poses.publish(pose)
        if STATE_BROADCASTER not in arm.active:
            return
        fx, fy, fz, tx, ty, tz = (float(value) for value in sample.wrench)
        at = header(stamp_ns, BASE)
        force, torque = Vector3(x=fx, y=fy, z=fz), Vector3(x=tx, y=ty, z=tz)
        wrench = WrenchStamped(header=at, wrench=Wrench(force=force, torque=torque))
        joints = JointState(
            header=at,
            name=list(joint_names("fr3")),
            position=array.array("d", sample.q),
            velocity=array.array("d", sample.dq),
            effort=array.array("d", sample.tau),
        )
        state = FrankaRobotState(
            header=at,
            measured_joint_state=joints,
            o_t_ee=pose,
            o_f_ext_hat_k=wrench,
            control_command_success_rate=1.0,
            robot_mode=int(arm.mode),
        )
        for name in arm.errors:
            setattr(state.current_errors, name, True)
        for name in arm.last_errors:
            setattr(state.last_motion_errors, name, True)
        self._joints.publish(joints)
        self._wrench.publish(wrench)
        self._states.publish(state)


class Describer:
    """robot_state_publisher, as far as others ask it."""

    def __init__(self, model: str = "fr3") -> None:
        self.node = rclpy.create_node("robot_state_publisher")
        self.node.declare_parameter("robot_description", description(model))


class ErrorRecoveryServer:
    """The action of the robot's own error recovery."""

    def __init__(self, arm: Arm, changed: Callable[[], None]) -> None:
        self.node = rclpy.create_node("action_server")
        self._arm, self._changed = arm, changed
        self._server = ActionServer(
            self.node, ErrorRecovery, "~/error_recovery", execute_callback=self._execute
        )

    def _execute(self, handle: Any) -> ErrorRecovery.Result:
        (handle.succeed if self._arm.recover_errors() else handle.abort)()
        self._changed()
        return ErrorRecovery.Result()


class Hand:
    """The gripper node: every goal is taken and begun at once; one under way then breaks."""

    def __init__(self, arm: Arm) -> None:
        self.node = node = rclpy.create_node("franka_gripper")
        self._arm = arm
        self._running: list[tuple[FingerGoal, Future]] = []
        self._states = node.create_publisher(JointState, "~/joint_states", 1)
        group = ReentrantCallbackGroup()
        self._servers = [
            ActionServer(node, kind, f"~/{word}", execute_callback=act, callback_group=group)
            for kind, word, act in (
                (Grasp, "grasp", self._grasp),
                (Move, "move", self._move),
                (Homing, "homing", self._home),
            )
        ]

    def publish(self, sample: RobotSample, stamp_ns: int) -> None:
        """Say how wide the fingers are, and end goals that are done."""
        half_m = sample.gripper_width_m / 2
        self._states.publish(
            JointState(
                header=header(stamp_ns),
                name=FINGERS,
                position=array.array("d", [half_m, half_m]),
                velocity=array.array("d", [0.0, 0.0]),
                effort=array.array("d", [0.0, 0.0]),
            )
        )
        for goal, done in self._running:
            if goal.result is not None:
                done.set_result(goal.result)
        self._running = [item for item in self._running if not item[1].done()]

    async def _grasp(self, handle: Any) -> Grasp.Result:
        asked = handle.request
        epsilon = asked.epsilon
        return await self._run(handle, "grasp", asked.width, Grasp, epsilon.inner, epsilon.outer)

    async def _move(self, handle: Any) -> Move.Result:
        return await self._run(handle, "move", handle.request.width, Move, 0.0, 0.0)

    async def _home(self, handle: Any) -> Homing.Result:
        return await self._run(handle, "homing", 0.08, Homing, 0.0, 0.0)

    async def _run(
        self, handle: Any, word: str, width_m: float, kind: Any, inner_m: float, outer_m: float
    ) -> Any:
        goal = self._arm.finger_goal(word, FingerGoal(width_m, inner_m, outer_m))
        done = Future()
        self._running.append((goal, done))
        success = bool(await done)
        (handle.succeed if success else handle.abort)()
        return kind.Result(success=success, error="" if success else "command failed")
