"""The limits of one arm in one cell, worked out once from the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tmrl_ros.core.config import RobotConfig, SafetyConfig
from tmrl_ros.core.types import NANOSECONDS
from tmrl_ros.safety.geometry import Vec3
from tmrl_ros.safety.joint_rules import JointLimits, joint_limits

GRIPPER_EXCESS = 0.05
"""A gripper opening outside 0..1 by more is a mistake; by less it is clipped."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A box that the tool must not enter."""

    name: str
    low_m: Vec3
    high_m: Vec3


@dataclass(frozen=True, slots=True)
class Limits:
    """What a target may be. Lengths in metres, times in seconds, angles in rad, forces in N."""

    base_frame: str
    control_rate_hz: float
    gripper_max_width_m: float
    state_timeout_s: float
    low_m: Vec3
    high_m: Vec3
    max_excess_m: float
    keep_out: tuple[Forbidden, ...]
    keep_out_margin_m: float
    max_target_step_m: float
    max_asked_step_m: float
    max_start_offset_m: float
    max_asked_turn_rad: float
    max_target_turn_rad: float
    max_start_turn_rad: float
    max_chunk_age_s: float
    max_force_n: float
    progress_timeout_s: float
    max_step_change_m: float
    min_reversal_ns: int
    period_ns: int
    max_reflexes_per_min: int
    joints: JointLimits

    @classmethod
    def of(cls, safety: SafetyConfig, robot: RobotConfig) -> Limits:
        """Limits of a cell.

        `max_asked_*` is what may be asked for from one target to the next before it counts as a
        mistake; `max_target_*` is what is sent per control period, so that speed limits are kept.
        """
        period_s = 1.0 / robot.control_rate_hz
        joints = joint_limits(
            robot.model,
            robot.tool_offset_m,
            robot.tool_quaternion_xyzw,
            margin_rad=safety.joint_margin_rad,
            max_speed_share=safety.max_joint_speed_share,
            period_s=period_s,
            max_error_m=safety.max_model_error_m,
            max_error_rad=safety.max_model_error_rad,
        )
        accel_mps2 = min(safety.max_accel_mps2, joints.model.max_tool_accel_mps2)
        return cls(
            base_frame=robot.base_frame,
            control_rate_hz=robot.control_rate_hz,
            gripper_max_width_m=robot.gripper_max_width_m,
            state_timeout_s=robot.state_timeout_s,
            low_m=_vec3(safety.workspace_min_m),
            high_m=_vec3(safety.workspace_max_m),
            max_excess_m=safety.max_workspace_excess_m,
            keep_out=tuple(
                Forbidden(box.name, _vec3(box.min_m), _vec3(box.max_m)) for box in safety.keep_out
            ),
            keep_out_margin_m=safety.keep_out_margin_m,
            max_target_step_m=min(safety.max_speed_mps / robot.control_rate_hz, safety.max_step_m),
            max_asked_step_m=safety.max_step_m,
            max_start_offset_m=safety.max_start_offset_m,
            max_asked_turn_rad=safety.max_rotation_step_rad,
            max_target_turn_rad=min(
                safety.max_turn_rate_radps / robot.control_rate_hz, safety.max_rotation_step_rad
            ),
            max_start_turn_rad=safety.max_start_rotation_rad,
            max_chunk_age_s=safety.max_chunk_age_s,
            max_force_n=safety.max_force_n,
            progress_timeout_s=safety.chunk_progress_timeout_s,
            max_step_change_m=accel_mps2 * period_s * period_s,
            min_reversal_ns=round(safety.min_gripper_reversal_s * NANOSECONDS),
            period_ns=round(period_s * NANOSECONDS),
            max_reflexes_per_min=safety.max_reflexes_per_min,
            joints=joints,
        )


def _vec3(values: Sequence[float]) -> Vec3:
    x, y, z = values
    return (x, y, z)
