"""Where a real Franka's ROS interfaces are, and how its driver uses them (`robot.kind: franka`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tmrl_ros.core.section import Section


class GripperConfig(Section):
    """How widths that a policy asks for become goals of the gripper's actions.

    A Franka Hand takes one blocking goal at a time, so that only opening and closing are passed on:
    below `close_below` the fingers grasp, above `open_above` they open, between they stay.
    """

    close_below: float = Field(0.4, gt=0, lt=1, description="opening 0..1")
    open_above: float = Field(0.6, gt=0, lt=1, description="opening 0..1")
    min_interval_s: float = Field(0.5, ge=0, le=10, description="between the starts of two goals")
    goal_timeout_s: float = Field(10.0, gt=0, le=60, description="a longer one has failed")
    speed_mps: float = Field(0.1, gt=0, le=0.2, description="of the width")
    force_n: float = Field(20.0, gt=0, le=70, description="continuous grasping force")

    @model_validator(mode="after")
    def _thresholds_are_apart(self) -> GripperConfig:
        if self.close_below >= self.open_above:
            raise ValueError(
                f"robot.franka.gripper.close_below={self.close_below:g} is not below "
                f"open_above={self.open_above:g}: the gripper would chatter"
            )
        return self


class FrankaConfig(Section):
    """Names as franka_ros2 (Jazzy) and crisp_controllers have them; `namespace` prefixes them all.

    `controller_mode: joint` names crisp's joint target topic. Targets in joint space need chunks
    that the supervisor cannot judge yet, so the driver refuses it with a sentence.
    """

    namespace: str = Field("", pattern=r"^[A-Za-z0-9_/]*$", description="of its launch file")
    controller_manager: str = "controller_manager"
    controller: str = Field("cartesian_controller", description="crisp controller that is active")
    controller_mode: Literal["cartesian", "joint"] = "cartesian"
    broadcasters: list[str] = Field(
        ["joint_state_broadcaster", "franka_robot_state_broadcaster", "pose_broadcaster"],
        description="activated again after a fault, together with the controller",
    )
    hardware: str = Field("FrankaHardwareInterface", description="its hardware component")
    base_frames: list[str] = Field(
        ["base", "fr3_link0", "world"], description="its names of robot.base_frame: the same place"
    )
    target_pose: str = "target_pose"
    target_joint: str = "target_joint"
    current_pose: str = Field("current_pose", description="of crisp's pose broadcaster")
    measured_joint_states: str = "franka_robot_state_broadcaster/measured_joint_states"
    external_wrench: str = "franka_robot_state_broadcaster/external_wrench_in_base_frame"
    robot_state: str = "franka_robot_state_broadcaster/robot_state"
    error_recovery: str = "action_server/error_recovery"
    gripper_node: str = "franka_gripper"
    silence_s: float = Field(
        0.2, gt=0, le=2, description="age of the newest state that is no state of now any more"
    )
    start_timeout_s: float = Field(30.0, gt=0, le=600, description="of each check at the start")
    recovery_timeout_s: float = Field(60.0, gt=0, le=600, description="of each recovery call")
    gripper: GripperConfig = GripperConfig()

    def name(self, of: str) -> str:
        """Absolute name of a topic, service or action of the robot."""
        namespace = self.namespace.strip("/")
        return f"/{namespace}/{of}" if namespace else f"/{of}"
