"""A gate in a known cell, and inputs for it that are sound unless told otherwise."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from tmrl_ros.core.config import KeepOutConfig, RobotConfig, SafetyConfig
from tmrl_ros.core.types import (
    Chunk,
    ChunkResult,
    ChunkSource,
    Outcome,
    Pose,
    RobotSample,
    Target,
)
from tmrl_ros.safety.gate import Gate
from tmrl_ros.safety.geometry import unit_quaternion
from tmrl_ros.safety.limits import Limits
from tmrl_ros.safety.status import Effect, GateState
from tmrl_ros.sim.kinematics import Q_NOMINAL, ArmKinematics

ROBOT = RobotConfig()
# The box stands where the other tests do not go.
BOX = KeepOutConfig(name="lamp", min_m=[0.55, 0.10, 0.0], max_m=[0.65, 0.30, 0.30])
SAFETY = SafetyConfig(
    workspace_min_m=[0.28, -0.40, 0.005],
    workspace_max_m=[0.72, 0.40, 0.60],
    keep_out=[BOX],
    max_joint_speed_share=1.0,
)
PERIOD_NS = 50_000_000
PERIOD_S = 0.05
HOME = (0.45, 0.0, 0.20)
TOOL_DOWN = np.array([1.0, 0.0, 0.0, 0.0])
MAX_TARGET_STEP_M = SAFETY.max_speed_mps / ROBOT.control_rate_hz
MAX_TARGET_TURN_RAD = SAFETY.max_turn_rate_radps / ROBOT.control_rate_hz

LIMITS = Limits.of(SAFETY, ROBOT)
ELBOW_UP = tuple(Q_NOMINAL)
ARM = ArmKinematics()


@functools.lru_cache(maxsize=4096)
def joints_for(position: tuple[float, ...], quaternion: tuple[float, ...]) -> np.ndarray:
    """Joints of the arm with its tool there, or near there where it cannot be."""
    if unit_quaternion(np.array(quaternion)) is None or not all(abs(x) < 2.0 for x in position):
        return Q_NOMINAL.copy()
    at = np.array(position), np.array(quaternion)
    return ARM.inverse(*at, start=Q_NOMINAL, iterations=40, tolerance=1e-6)


def pose(position: tuple[float, ...] = HOME) -> Pose:
    """Tool pointing down at a position."""
    return Pose(np.array(position), TOOL_DOWN.copy())


def sample(tick: int = 1, position: tuple[float, ...] = HOME, **changes: Any) -> RobotSample:
    """A healthy robot state at a tick; its joints are those of its pose unless given."""
    at = changes.get("ee_pose") or pose(position)
    key = tuple(at.position.tolist()), tuple(at.quaternion.tolist())
    healthy = RobotSample(
        stamp_ns=tick * PERIOD_NS,
        tick=tick,
        q=joints_for(*key).copy(),
        dq=np.zeros(7),
        tau=np.zeros(7),
        ee_pose=pose(position),
        ee_twist=np.zeros(6),
        wrench=np.zeros(6),
        gripper_width_m=0.04,
        frame_id=ROBOT.base_frame,
    )
    return replace(healthy, **changes)


def rows(steps: int = 4, *, dx: float = 0.0, opening: float = 1.0) -> np.ndarray:
    """Rows that go `dx` metres further along x with each step."""
    actions = np.zeros((steps, 4))
    actions[:, 0] = dx * np.arange(1, steps + 1)
    actions[:, 3] = opening
    return actions


def chunk(sequence: int = 1, tick: int = 1, **changes: Any) -> Chunk:
    """A sound chunk that answers the robot state at a tick."""
    sound = Chunk(
        stamp_ns=tick * PERIOD_NS,
        sequence=sequence,
        episode_id="train_000001",
        decision=sequence,
        source=ChunkSource.POLICY,
        action_space="cartesian_relative",
        reference_pose=pose(),
        orientation=TOOL_DOWN.copy(),
        actions=rows(),
        execute_steps=4,
        control_rate_hz=ROBOT.control_rate_hz,
        frame_id=ROBOT.base_frame,
    )
    return replace(sound, **changes)


def targets(effects: list[Effect]) -> list[Target]:
    """The targets among effects."""
    return [effect for effect in effects if isinstance(effect, Target)]


def tracks(effects: list[Effect]) -> list[Target]:
    """The targets that move the arm."""
    return [target for target in targets(effects) if not target.hold]


def holds(effects: list[Effect]) -> list[Target]:
    """The targets that stop the arm."""
    return [target for target in targets(effects) if target.hold]


def outcomes(effects: list[Effect]) -> list[Outcome]:
    """The outcomes among effects."""
    return [effect for effect in effects if isinstance(effect, Outcome)]


def ready_gate(safety: SafetyConfig = SAFETY, **first: Any) -> Gate:
    """A gate that has seen a state at tick 1 and was reset, at wall time 0."""
    gate = Gate(safety, ROBOT)
    gate.on_state(sample(1, **first), 0.0)
    ok, message = gate.on_reset(0.0)
    assert ok, message
    return gate


def assert_latched(
    gate: Gate, effects: list[Effect], code: str, *, result: ChunkResult | None = None
) -> None:
    """The gate latched because of `code`: hold first, a sentence, the outcome if there is one."""
    status = gate.status(0.0)
    assert (status.state, status.code) == (GateState.LATCHED, code)
    assert isinstance(effects[0], Target) and effects[0].hold, "the hold comes first"
    assert len(targets(effects)) == 1
    assert status.message.endswith(".") and len(status.message) > 20
    found = [(item.result, item.reason) for item in outcomes(effects)]
    assert found == ([] if result is None else [(result, code)])
