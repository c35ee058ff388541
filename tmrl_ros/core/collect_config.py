"""How a person's demonstrations are collected, and what a good one looks like."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from tmrl_ros.core.section import Section

PERSON = "person"
"""The method with which a person drives and nobody else."""


class QualityConfig(Section):
    """Beyond these a demonstration is found wanting; `data/quality.py` measures."""

    min_length_s: float = Field(1.0, ge=0, description="of motion, pauses left out")
    max_length_s: float = Field(60.0, gt=0, description="of motion, pauses left out")
    max_idle_share: float = Field(0.5, ge=0, le=1, description="of the time in which nothing moves")
    max_jump_m: float = Field(
        0.05, gt=0, description="of the measured tool from one control period to the next"
    )
    max_gap_s: float = Field(0.25, gt=0, description="between two measured states")
    max_clipped_share: float = Field(
        0.3, ge=0, le=1, description="of targets that the supervisor made slower or pulled in"
    )
    max_camera_age_s: float = Field(0.2, gt=0, description="of a picture in an observation")
    needs_grasp: bool = Field(True, description="the gripper has to close at least once")

    @model_validator(mode="after")
    def _lengths_agree(self) -> QualityConfig:
        if self.min_length_s >= self.max_length_s:
            raise ValueError(
                f"min_length_s={self.min_length_s} is not below max_length_s={self.max_length_s}"
            )
        return self


class CollectConfig(Section):
    """`tmrl collect`: episodes in which a person drives the arm."""

    rows: int = Field(
        8, ge=2, le=64, description="control periods from one observation to the next"
    )
    max_episode_s: float = Field(60.0, gt=0, le=300, description="then the episode ends by itself")
    still_m: float = Field(0.0005, gt=0, le=0.01, description="a target that moves less is idle")
    pause_s: float = Field(
        0.5, ge=0, le=10, description="what is longer inside a demonstration is cut to this"
    )
    quality: QualityConfig = QualityConfig()


def person_overrides(overrides: Sequence[str], *, simulated: bool) -> list[str]:
    """What `collect` asks for beside a person's own overrides, which count before it.

    Without another method a person drives. Then nobody judges but them, and a simulated arm moves
    in real time, for nobody can steer faster.

    Args:
        overrides: `section=name` and `section.key=value`.
        simulated: The arm is.
    """
    named = [text.partition("=") for text in overrides]
    methods = [value for key, _, value in named if key in ("method", "method.name")]
    if methods and methods[-1] != PERSON:
        return list(overrides)
    keys = {key for key, _, _ in named}
    found = [] if methods else [f"method={PERSON}"]
    if not any(key.partition(".")[0] == "reward" for key in keys):
        found.append("reward=none")
    if simulated and "robot.realtime" not in keys:
        found.append("robot.realtime=true")
    return [*found, *overrides]
