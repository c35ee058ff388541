"""What the supervisor lets through: limits of one arm in one cell, with units and ranges."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from tmrl_ros.core.section import Section

Vector3 = Annotated[list[float], Field(min_length=3, max_length=3)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]


class KeepOutConfig(Section):
    """A box (m, base frame) that the tool must not enter."""

    name: Name
    min_m: Vector3
    max_m: Vector3

    @model_validator(mode="after")
    def _box_has_volume(self) -> KeepOutConfig:
        for axis, low, high in zip("xyz", self.min_m, self.max_m, strict=True):
            if low >= high:
                raise ValueError(f"box {self.name}: min_m {axis}={low} is not below max_m {high}")
        return self


class SafetyConfig(Section):
    """What the supervisor lets through. It is a software stop: the hardware button comes first."""

    workspace_min_m: Vector3
    workspace_max_m: Vector3
    max_speed_mps: float = Field(0.6, gt=0, le=1.7, description="faster targets are slowed down")
    max_accel_mps2: float = Field(
        13.0, gt=0, le=13.0, description="what speeds up or turns more abruptly is slowed down"
    )
    max_step_m: float = Field(0.15, gt=0, description="a target further from the last one latches")
    max_start_offset_m: float = Field(0.10, gt=0, description="first target to measured pose")
    max_workspace_excess_m: float = Field(
        0.05, ge=0, description="targets outside by less are pulled in, by more latch"
    )
    keep_out: list[KeepOutConfig] = Field([], description="boxes inside the workspace to stay out")
    keep_out_margin_m: float = Field(
        0.02, ge=0, le=0.5, description="what is asked for stays this far from a box"
    )
    max_rotation_step_rad: float = Field(
        0.2, gt=0, le=3.2, description="an orientation asked for further from the last one latches"
    )
    max_turn_rate_radps: float = Field(
        1.0, gt=0, le=2.5, description="faster turns are slowed down"
    )
    max_start_rotation_rad: float = Field(
        1.0, gt=0, le=3.2, description="a tool turned away by less is led back, by more it latches"
    )
    joint_margin_rad: float = Field(
        0.05, ge=0, le=0.5, description="a target that brings a joint nearer to its end latches"
    )
    max_joint_speed_share: float = Field(
        0.95, gt=0, le=1, description="of what robot.model's joints can; faster is slowed down"
    )
    max_model_error_m: float = Field(
        0.01, gt=0, le=0.1, description="reported tool to where robot.model's joints put it"
    )
    max_model_error_rad: float = Field(0.05, gt=0, le=0.5, description="the same for its rotation")
    min_gripper_reversal_s: float = Field(
        0.15, ge=0, le=5, description="robot time before the gripper turns back; earlier waits"
    )
    max_reflexes_per_min: int = Field(
        3, ge=0, description="more keep the stop latched for a minute"
    )
    policy_timeout_s: float = Field(
        0.0,
        ge=0,
        description="wall time of a running episode without a chunk that latches; 0 = never",
    )
    reward_timeout_s: float = Field(0.0, ge=0, description="the same without a reward")
    learner_timeout_s: float = Field(0.0, ge=0, description="the same without the learner's status")
    max_chunk_age_s: float = Field(0.5, gt=0, description="robot time since its observation")
    max_force_n: float = Field(60.0, gt=0)
    chunk_progress_timeout_s: float = Field(
        5.0, gt=0, description="wall time in which the robot must answer a target"
    )

    teleop_timeout_s: float = Field(
        0.3, gt=0, le=2, description="a person's command older than this has let go"
    )
    teleop_blend_s: float = Field(
        0.25, ge=0, le=2, description="in which a person's share grows and fades"
    )
    hold_to_run: bool = Field(False, description="the arm moves only while a person holds a button")
    hold_timeout_s: float = Field(
        0.3, gt=0, le=1, description="without a word of the button it counts as released"
    )
    hold_grace_s: float = Field(
        0.5, ge=0, le=2, description="robot time of a release after which the chunk still goes on"
    )

    @model_validator(mode="after")
    def _box_has_volume(self) -> SafetyConfig:
        for axis, low, high in zip("xyz", self.workspace_min_m, self.workspace_max_m, strict=True):
            if low >= high:
                raise ValueError(
                    f"workspace_min_m {axis}={low} is not below workspace_max_m {high}"
                )
        return self
