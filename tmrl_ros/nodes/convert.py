"""Translate the plain types of `core/types.py` into messages; `data/decode.py` reads them."""

from __future__ import annotations

import array

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Quaternion, Twist, Vector3, Wrench
from geometry_msgs.msg import Pose as PoseMsg
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    RewardEstimate,
    RobotState,
    RobotTarget,
    TeleopCommand,
)
from tmrl_ros.core import types
from tmrl_ros.core.types import (
    NANOSECONDS,
    Chunk,
    Episode,
    FloatArray,
    Outcome,
    Pose,
    Reward,
    RobotSample,
    Target,
)


def to_time(stamp_ns: int) -> Time:
    """Integer nanoseconds as a stamp."""
    return Time(sec=int(stamp_ns // NANOSECONDS), nanosec=int(stamp_ns % NANOSECONDS))


def header(stamp_ns: int, frame_id: str = "") -> Header:
    """Header with the stamp of the data's origin."""
    return Header(stamp=to_time(stamp_ns), frame_id=frame_id)


def pose_to_msg(pose: Pose) -> PoseMsg:
    """Pose message from a pose."""
    x, y, z = (float(v) for v in pose.position)
    return PoseMsg(position=Point(x=x, y=y, z=z), orientation=quaternion_to_msg(pose.quaternion))


def quaternion_to_msg(quaternion: FloatArray) -> Quaternion:
    """Quaternion message from (x, y, z, w)."""
    x, y, z, w = (float(v) for v in quaternion)
    return Quaternion(x=x, y=y, z=z, w=w)


def image_to_msg(image: NDArray[np.generic], encoding: str, stamp_ns: int, frame_id: str) -> Image:
    """Image message from an (height, width[, channels]) array; the data is copied once."""
    image = np.ascontiguousarray(image)
    data = array.array("B")
    data.frombytes(memoryview(image).cast("B"))
    return Image(
        header=header(stamp_ns, frame_id),
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=image.strides[0],
        data=data,
    )


def robot_to_msg(sample: RobotSample) -> RobotState:
    """`RobotState` from a sample."""
    lx, ly, lz, ax, ay, az = (float(v) for v in sample.ee_twist)
    fx, fy, fz, tx, ty, tz = (float(v) for v in sample.wrench)
    return RobotState(
        header=header(sample.stamp_ns, sample.frame_id),
        tick=sample.tick,
        joint_names=list(sample.joint_names),
        joint_positions=array.array("d", sample.q),
        joint_velocities=array.array("d", sample.dq),
        joint_efforts=array.array("d", sample.tau),
        ee_pose=pose_to_msg(sample.ee_pose),
        ee_twist=Twist(linear=Vector3(x=lx, y=ly, z=lz), angular=Vector3(x=ax, y=ay, z=az)),
        external_wrench=Wrench(force=Vector3(x=fx, y=fy, z=fz), torque=Vector3(x=tx, y=ty, z=tz)),
        gripper_width_m=float(sample.gripper_width_m),
        mode=int(sample.mode),
        faults=list(sample.faults),
    )


def target_to_msg(target: Target) -> RobotTarget:
    """`RobotTarget` from a target."""
    return RobotTarget(
        header=header(target.stamp_ns, target.frame_id),
        sequence=target.sequence,
        kind=RobotTarget.KIND_HOLD if target.hold else RobotTarget.KIND_TRACK,
        pose=pose_to_msg(target.pose),
        gripper_width_m=float(target.gripper_width_m),
    )


def chunk_to_msg(chunk: Chunk) -> ActionChunk:
    """`ActionChunk` from a chunk."""
    return ActionChunk(
        header=header(chunk.stamp_ns, chunk.frame_id),
        sequence=chunk.sequence,
        episode_id=chunk.episode_id,
        decision=chunk.decision,
        source=int(chunk.source),
        action_space=chunk.action_space,
        reference_pose=pose_to_msg(chunk.reference_pose),
        orientation=quaternion_to_msg(chunk.orientation),
        horizon=chunk.actions.shape[0],
        action_dim=chunk.actions.shape[1],
        actions=array.array("d", chunk.actions.ravel()),
        execute_steps=chunk.execute_steps,
        control_rate_hz=float(chunk.control_rate_hz),
        features=array.array("f", chunk.features),
        z=array.array("f", chunk.z),
        t_context=float(chunk.t_context),
        eps_context=array.array("f", chunk.eps_context),
        edit=array.array("f", chunk.edit),
        candidates=array.array("f", chunk.candidates.ravel()),
        deterministic=chunk.deterministic,
        actor=chunk.actor,
        parameters_version=chunk.parameters_version,
        bundle_hash=chunk.bundle_hash,
        inference_ms=float(chunk.inference_ms),
        committed_steps=chunk.committed_steps,
    )


def outcome_to_msg(outcome: Outcome, action_dim: int) -> ChunkOutcome:
    """`ChunkOutcome` from an outcome."""
    return ChunkOutcome(
        header=header(outcome.stamp_ns),
        sequence=outcome.sequence,
        episode_id=outcome.episode_id,
        decision=outcome.decision,
        source=int(outcome.source),
        result=int(outcome.result),
        reason=outcome.reason,
        steps_sent=outcome.steps_sent,
        steps_clipped=outcome.steps_clipped,
        action_dim=action_dim,
        executed=array.array("d", outcome.executed.ravel()),
        sources=array.array("B", outcome.sources.tolist()),
        measured=array.array("d", outcome.measured.ravel()),
        duration_s=float(outcome.duration_s),
        chunk_age_s=float(outcome.chunk_age_s),
    )


def teleop_to_msg(command: types.TeleopCommand, stamp_ns: int) -> TeleopCommand:
    """`TeleopCommand` from a command, with a stamp of the wall clock."""
    x, y, z = (float(v) for v in command.linear_mps)
    return TeleopCommand(
        header=header(stamp_ns, command.frame_id),
        device=command.device,
        engaged=command.engaged,
        linear=Vector3(x=x, y=y, z=z),
        gripper=float(command.gripper),
    )


def reward_to_msg(reward: Reward) -> RewardEstimate:
    """`RewardEstimate` from a reward."""
    return RewardEstimate(
        header=header(reward.stamp_ns),
        sequence=reward.sequence,
        episode_id=reward.episode_id,
        decision=reward.decision,
        valid=reward.valid,
        error=reward.error,
        progress=float(reward.progress),
        success_probability=float(reward.success_probability),
        success=reward.success,
        failure=reward.failure,
        model=reward.model,
        model_hash=reward.model_hash,
        latency_ms=float(reward.latency_ms),
    )


def episode_to_msg(episode: Episode) -> EpisodeEvent:
    """`EpisodeEvent` from an episode."""
    return EpisodeEvent(
        header=header(episode.stamp_ns),
        episode_id=episode.episode_id,
        index=episode.index,
        phase=int(episode.phase),
        state=int(episode.state),
        outcome=int(episode.outcome),
        reason=episode.reason,
        seed=episode.seed,
        task=episode.task,
        prompt=episode.prompt,
        method=episode.method,
        learn=episode.learn,
        deterministic=episode.deterministic,
        max_decisions=episode.max_decisions,
        decisions=episode.decisions,
        robot_seconds=float(episode.robot_seconds),
        labelled_by=episode.labelled_by,
    )
