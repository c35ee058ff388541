"""The values that travel between the parts of the stack, as plain Python.

The ROS messages in `tmrl_msgs` carry the same fields; `nodes/convert.py` translates. Stamps are
integer nanoseconds on the robot's clock, so that two parts can agree on "the same observation"
exactly.
Quaternions are (x, y, z, w). Positions are metres in the arm's base frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ByteArray = NDArray[np.uint8]
Float32Array = NDArray[np.float32]

NANOSECONDS = 1_000_000_000

HOLD_RELEASED = "HOLD_RELEASED"
"""Reason of a chunk that ended, or was refused, because nobody held the hold-to-run button."""


class RobotMode(IntEnum):
    """Mode of the arm, with the values of `RobotState.MODE_*`."""

    OTHER = 0
    IDLE = 1
    MOVE = 2
    GUIDING = 3
    REFLEX = 4
    USER_STOPPED = 5
    RECOVERING = 6
    UNCONFIGURED = 7


class ChunkSource(IntEnum):
    """Who asked for a motion, with the values of `ActionChunk.SOURCE_*`."""

    POLICY = 0
    RESET = 1
    HUMAN = 2
    REPLAY = 3


class ChunkResult(IntEnum):
    """What became of a chunk, with the values of `ChunkOutcome.RESULT_*`."""

    EXECUTED = 0
    ABORTED = 1
    REJECTED = 2
    SKIPPED = 3


class EpisodeState(IntEnum):
    """State of an episode, with the values of `EpisodeEvent.STATE_*`."""

    IDLE = 0
    RESETTING = 1
    READY = 2
    RUNNING = 3
    ENDED = 4


class EpisodeOutcome(IntEnum):
    """How an episode ended, with the values of `EpisodeEvent.OUTCOME_*`."""

    NONE = 0
    SUCCESS = 1
    FAILURE = 2
    TIMEOUT = 3
    ABORTED = 4


class Phase(IntEnum):
    """What an episode is for, with the values of `EpisodeEvent.PHASE_*`."""

    TRAIN = 0
    EVALUATE_BEFORE = 1
    EVALUATE_AFTER = 2
    COLLECT = 3
    OTHER = 4


@dataclass(frozen=True)
class Pose:
    """A pose in the base frame: `position` (3,) in metres, `quaternion` (4,) unit, x y z w."""

    position: FloatArray
    quaternion: FloatArray


@dataclass(frozen=True)
class RobotSample:
    """One measurement of the arm; `wrench`, `ee_twist` are (6,), base frame, N, Nm, m/s, rad/s."""

    stamp_ns: int
    tick: int
    q: FloatArray
    dq: FloatArray
    tau: FloatArray
    ee_pose: Pose
    ee_twist: FloatArray
    wrench: FloatArray
    gripper_width_m: float
    mode: RobotMode = RobotMode.MOVE
    faults: tuple[str, ...] = ()
    frame_id: str = ""
    joint_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """One target for the arm during the next control period."""

    stamp_ns: int
    sequence: int
    hold: bool
    pose: Pose
    gripper_width_m: float
    frame_id: str = ""


@dataclass(frozen=True)
class Chunk:
    """A policy's answer to one observation; `actions` is (horizon, action_dim).

    The chunk before carries out the first `committed_steps` rows while this one is computed;
    execution begins behind them.
    """

    stamp_ns: int
    sequence: int
    episode_id: str
    decision: int
    source: ChunkSource
    action_space: str
    reference_pose: Pose
    orientation: FloatArray
    actions: FloatArray
    execute_steps: int
    control_rate_hz: float
    frame_id: str = ""
    features: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))
    z: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))
    t_context: float = 0.0
    eps_context: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))
    edit: Float32Array = field(default_factory=lambda: np.zeros(0, np.float32))
    candidates: Float32Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    deterministic: bool = False
    actor: str = "base"
    parameters_version: int = 0
    bundle_hash: str = ""
    inference_ms: float = 0.0
    committed_steps: int = 0


@dataclass(frozen=True)
class TeleopCommand:
    """How a person moves the arm (`TeleopCommand`).

    `linear_mps` is the wanted velocity of the tool (3,), base frame; `gripper` the wanted opening
    0..1, NaN leaves it as it is. Without `engaged` the person gives the arm back.
    """

    device: str
    engaged: bool
    linear_mps: FloatArray
    gripper: float
    frame_id: str = ""


@dataclass(frozen=True)
class Outcome:
    """What the supervisor did with a chunk; `executed` and `measured` (steps_sent, action_dim).

    `sources` (steps_sent,) holds a `ChunkSource` per row: HUMAN where a person moved the arm.
    """

    stamp_ns: int
    sequence: int
    episode_id: str
    decision: int
    source: ChunkSource
    result: ChunkResult
    reason: str
    steps_sent: int
    steps_clipped: int
    executed: FloatArray
    measured: FloatArray
    duration_s: float
    chunk_age_s: float
    sources: ByteArray = field(default_factory=lambda: np.zeros(0, np.uint8))

    @property
    def human_steps(self) -> int:
        """Rows in which a person took the arm from whoever had asked for the chunk."""
        if self.source is ChunkSource.HUMAN:  # a demonstrator's, from its first row to its last
            return 0
        return int(np.count_nonzero(self.sources == ChunkSource.HUMAN))


@dataclass(frozen=True)
class Reward:
    """The reward model's word on one observation; numbers mean nothing unless `valid`."""

    stamp_ns: int
    sequence: int
    episode_id: str
    decision: int
    valid: bool
    progress: float
    success_probability: float
    success: bool
    failure: bool
    error: str = ""
    model: str = ""
    model_hash: str = ""
    latency_ms: float = 0.0


@dataclass(frozen=True)
class Episode:
    """State of an episode at one change (`EpisodeEvent`)."""

    stamp_ns: int
    episode_id: str
    index: int
    phase: Phase
    state: EpisodeState
    outcome: EpisodeOutcome
    reason: str
    seed: int
    task: str
    prompt: str
    method: str
    learn: bool
    deterministic: bool
    max_decisions: int
    decisions: int
    robot_seconds: float
    labelled_by: str = ""
