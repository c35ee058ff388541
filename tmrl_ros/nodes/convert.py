"""Translate between `tmrl_msgs` messages and the plain types of `core/types.py`, both ways."""

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
)
from tmrl_ros.core.types import (
    NANOSECONDS,
    Chunk,
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    FloatArray,
    Outcome,
    Phase,
    Pose,
    Reward,
    RobotMode,
    RobotSample,
    Target,
)
from tmrl_ros.data.plans import PLAN_SIZE


def to_ns(stamp: Time) -> int:
    """Stamp as integer nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


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


def pose_from_msg(msg: PoseMsg) -> Pose:
    """Pose from a pose message."""
    p = msg.position
    return Pose(np.array([p.x, p.y, p.z]), quaternion_from_msg(msg.orientation))


def quaternion_to_msg(quaternion: FloatArray) -> Quaternion:
    """Quaternion message from (x, y, z, w)."""
    x, y, z, w = (float(v) for v in quaternion)
    return Quaternion(x=x, y=y, z=z, w=w)


def quaternion_from_msg(msg: Quaternion) -> FloatArray:
    """(x, y, z, w) from a quaternion message."""
    return np.array([msg.x, msg.y, msg.z, msg.w])


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


def image_from_msg(msg: Image) -> NDArray[np.generic]:
    """View of an image message's pixels: rgb8 (h, w, 3) uint8 or 16UC1 (h, w) uint16.

    Raises:
        ValueError: The encoding is not known or the data has the wrong length.
    """
    if msg.encoding in ("rgb8", "bgr8"):
        dtype, channels = np.dtype(np.uint8), 3
    elif msg.encoding in ("16UC1", "mono16"):
        dtype, channels = np.dtype(">u2" if msg.is_bigendian else "<u2"), 1
    else:
        raise ValueError(f"image encoding {msg.encoding!r} is not one of rgb8, bgr8, 16UC1")
    row = msg.width * channels * dtype.itemsize
    if msg.step < row or len(msg.data) != msg.step * msg.height:
        raise ValueError(
            f"image {msg.width}x{msg.height} {msg.encoding} has {len(msg.data)} bytes, "
            f"step {msg.step}"
        )
    rows = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)[:, :row]
    pixels = np.ascontiguousarray(rows).view(dtype).reshape(msg.height, msg.width, channels)
    if msg.encoding == "bgr8":
        pixels = pixels[..., ::-1]
    return pixels if channels > 1 else pixels[..., 0]


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


def robot_from_msg(msg: RobotState) -> RobotSample:
    """Sample from `RobotState`."""
    lin, ang = msg.ee_twist.linear, msg.ee_twist.angular
    force, torque = msg.external_wrench.force, msg.external_wrench.torque
    return RobotSample(
        stamp_ns=to_ns(msg.header.stamp),
        tick=int(msg.tick),
        q=np.array(msg.joint_positions),
        dq=np.array(msg.joint_velocities),
        tau=np.array(msg.joint_efforts),
        ee_pose=pose_from_msg(msg.ee_pose),
        ee_twist=np.array([lin.x, lin.y, lin.z, ang.x, ang.y, ang.z]),
        wrench=np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z]),
        gripper_width_m=float(msg.gripper_width_m),
        mode=RobotMode(msg.mode),
        faults=tuple(msg.faults),
        frame_id=msg.header.frame_id,
        joint_names=tuple(msg.joint_names),
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


def target_from_msg(msg: RobotTarget) -> Target:
    """Target from `RobotTarget`."""
    return Target(
        stamp_ns=to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        hold=msg.kind == RobotTarget.KIND_HOLD,
        pose=pose_from_msg(msg.pose),
        gripper_width_m=float(msg.gripper_width_m),
        frame_id=msg.header.frame_id,
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
    )


def chunk_from_msg(msg: ActionChunk) -> Chunk:
    """Chunk from `ActionChunk`.

    Raises:
        ValueError: `actions` does not have horizon x action_dim values.
    """
    if len(msg.actions) != msg.horizon * msg.action_dim:
        raise ValueError(
            f"chunk {msg.sequence} has {len(msg.actions)} values, "
            f"not {msg.horizon} x {msg.action_dim}"
        )
    return Chunk(
        stamp_ns=to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        episode_id=msg.episode_id,
        decision=int(msg.decision),
        source=ChunkSource(msg.source),
        action_space=msg.action_space,
        reference_pose=pose_from_msg(msg.reference_pose),
        orientation=quaternion_from_msg(msg.orientation),
        actions=np.array(msg.actions, np.float64).reshape(msg.horizon, msg.action_dim),
        execute_steps=int(msg.execute_steps),
        control_rate_hz=float(msg.control_rate_hz),
        frame_id=msg.header.frame_id,
        features=np.array(msg.features, np.float32),
        z=np.array(msg.z, np.float32),
        t_context=float(msg.t_context),
        eps_context=np.array(msg.eps_context, np.float32),
        edit=np.array(msg.edit, np.float32),
        candidates=np.array(msg.candidates, np.float32).reshape(-1, PLAN_SIZE),
        deterministic=bool(msg.deterministic),
        actor=msg.actor,
        parameters_version=int(msg.parameters_version),
        bundle_hash=msg.bundle_hash,
        inference_ms=float(msg.inference_ms),
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
        measured=array.array("d", outcome.measured.ravel()),
        duration_s=float(outcome.duration_s),
        chunk_age_s=float(outcome.chunk_age_s),
    )


def outcome_from_msg(msg: ChunkOutcome) -> Outcome:
    """Outcome from `ChunkOutcome`."""
    shape = (int(msg.steps_sent), int(msg.action_dim))
    return Outcome(
        stamp_ns=to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        episode_id=msg.episode_id,
        decision=int(msg.decision),
        source=ChunkSource(msg.source),
        result=ChunkResult(msg.result),
        reason=msg.reason,
        steps_sent=int(msg.steps_sent),
        steps_clipped=int(msg.steps_clipped),
        executed=np.array(msg.executed, np.float64).reshape(shape),
        measured=np.array(msg.measured, np.float64).reshape(shape),
        duration_s=float(msg.duration_s),
        chunk_age_s=float(msg.chunk_age_s),
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


def reward_from_msg(msg: RewardEstimate) -> Reward:
    """Reward from `RewardEstimate`."""
    return Reward(
        stamp_ns=to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        episode_id=msg.episode_id,
        decision=int(msg.decision),
        valid=bool(msg.valid),
        progress=float(msg.progress),
        success_probability=float(msg.success_probability),
        success=bool(msg.success),
        failure=bool(msg.failure),
        error=msg.error,
        model=msg.model,
        model_hash=msg.model_hash,
        latency_ms=float(msg.latency_ms),
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


def episode_from_msg(msg: EpisodeEvent) -> Episode:
    """Episode from `EpisodeEvent`."""
    return Episode(
        stamp_ns=to_ns(msg.header.stamp),
        episode_id=msg.episode_id,
        index=int(msg.index),
        phase=Phase(msg.phase),
        state=EpisodeState(msg.state),
        outcome=EpisodeOutcome(msg.outcome),
        reason=msg.reason,
        seed=int(msg.seed),
        task=msg.task,
        prompt=msg.prompt,
        method=msg.method,
        learn=bool(msg.learn),
        deterministic=bool(msg.deterministic),
        max_decisions=int(msg.max_decisions),
        decisions=int(msg.decisions),
        robot_seconds=float(msg.robot_seconds),
        labelled_by=msg.labelled_by,
    )
