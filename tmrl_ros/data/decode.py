"""Turn messages into the core types, without ROS.

A message may be a live one or come from a bag, by the bag's own definitions
(`definitions.deserialise`): the fields are those of `tmrl_msgs` either way.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from tmrl_ros.core.types import (
    NANOSECONDS,
    Chunk,
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Float32Array,
    FloatArray,
    Outcome,
    Phase,
    Pose,
    Reward,
    RobotMode,
    RobotSample,
    Target,
    TeleopCommand,
)
from tmrl_ros.data.plans import PLAN_SIZE

BoolArray = NDArray[np.bool_]
ColorArray = NDArray[np.uint8]


@dataclass(frozen=True)
class RecordedObservation:
    """One `Observation` as it was recorded, or as it came.

    `state` is (4,): end effector x y z in metres and gripper opening 0..1. `object_positions` is
    (K, 3) in metres, base frame; `object_visible` (K,); `object_age_s` (K,); `camera_age_s` one per
    camera. `images` are (height, width, 3) uint8 by camera name, empty unless they were asked for.
    `points` is (N, 3) metres and `colors` (N, 3) RGB, likewise.
    """

    stamp_ns: int
    sequence: int
    episode_id: str
    decision: int
    robot: RobotSample
    prompt: str
    state: Float32Array
    object_names: tuple[str, ...]
    object_positions: Float32Array
    object_visible: BoolArray
    object_age_s: FloatArray
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    points: Float32Array = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    colors: ColorArray = field(default_factory=lambda: np.zeros((0, 3), np.uint8))
    camera_age_s: FloatArray = field(default_factory=lambda: np.zeros(0))


def chunk(msg: Any) -> Chunk:
    """Chunk from an `ActionChunk`.

    Raises:
        ValueError: `actions` does not have horizon x action_dim values.
    """
    horizon, action_dim = int(msg.horizon), int(msg.action_dim)
    if len(msg.actions) != horizon * action_dim:
        raise ValueError(
            f"chunk {msg.sequence} has {len(msg.actions)} values, not {horizon} x {action_dim}"
        )
    return Chunk(
        stamp_ns=to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        episode_id=str(msg.episode_id),
        decision=int(msg.decision),
        source=ChunkSource(msg.source),
        action_space=str(msg.action_space),
        reference_pose=pose(msg.reference_pose),
        orientation=quaternion(msg.orientation),
        actions=np.array(msg.actions, np.float64).reshape(horizon, action_dim),
        execute_steps=int(msg.execute_steps),
        control_rate_hz=float(msg.control_rate_hz),
        frame_id=str(msg.header.frame_id),
        features=np.array(msg.features, np.float32),
        z=np.array(msg.z, np.float32),
        t_context=float(msg.t_context),
        # Bags of older sessions have none of these.
        eps_context=np.array(getattr(msg, "eps_context", ()), np.float32),
        edit=np.array(getattr(msg, "edit", ()), np.float32),
        candidates=np.array(getattr(msg, "candidates", ()), np.float32).reshape(-1, PLAN_SIZE),
        deterministic=bool(msg.deterministic),
        actor=str(msg.actor),
        parameters_version=int(msg.parameters_version),
        bundle_hash=str(msg.bundle_hash),
        inference_ms=float(msg.inference_ms),
        committed_steps=int(getattr(msg, "committed_steps", 0)),
    )


def outcome(msg: Any) -> Outcome:
    """Outcome from a `ChunkOutcome`.

    Bags of older sessions do not say who asked for each row: then it was the chunk's source.

    Raises:
        ValueError: `executed`, `measured` or `sources` does not have `steps_sent` rows.
    """
    shape = (int(msg.steps_sent), int(msg.action_dim))
    sources = np.array(getattr(msg, "sources", ()), np.uint8)
    if not sources.size:
        sources = np.full(shape[0], int(msg.source), np.uint8)
    if len(sources) != shape[0]:
        raise ValueError(
            f"outcome {msg.sequence} names the sources of {len(sources)} rows and sent {shape[0]}"
        )
    return Outcome(
        stamp_ns=to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        episode_id=str(msg.episode_id),
        decision=int(msg.decision),
        source=ChunkSource(msg.source),
        result=ChunkResult(msg.result),
        reason=str(msg.reason),
        steps_sent=int(msg.steps_sent),
        steps_clipped=int(msg.steps_clipped),
        executed=np.array(msg.executed, np.float64).reshape(shape),
        measured=np.array(msg.measured, np.float64).reshape(shape),
        duration_s=float(msg.duration_s),
        chunk_age_s=float(msg.chunk_age_s),
        sources=sources,
    )


def teleop(msg: Any) -> TeleopCommand:
    """Command from a `TeleopCommand`."""
    return TeleopCommand(
        device=str(msg.device),
        engaged=bool(msg.engaged),
        linear_mps=_vector(msg.linear),
        gripper=float(msg.gripper),
        frame_id=str(msg.header.frame_id),
    )


def reward(msg: Any) -> Reward:
    """Reward from a `RewardEstimate`."""
    return Reward(
        stamp_ns=to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        episode_id=str(msg.episode_id),
        decision=int(msg.decision),
        valid=bool(msg.valid),
        progress=float(msg.progress),
        success_probability=float(msg.success_probability),
        success=bool(msg.success),
        failure=bool(msg.failure),
        error=str(msg.error),
        model=str(msg.model),
        model_hash=str(msg.model_hash),
        latency_ms=float(msg.latency_ms),
    )


def episode(msg: Any) -> Episode:
    """Episode from an `EpisodeEvent`."""
    return Episode(
        stamp_ns=to_ns(msg.header.stamp),
        episode_id=str(msg.episode_id),
        index=int(msg.index),
        phase=Phase(msg.phase),
        state=EpisodeState(msg.state),
        outcome=EpisodeOutcome(msg.outcome),
        reason=str(msg.reason),
        seed=int(msg.seed),
        task=str(msg.task),
        prompt=str(msg.prompt),
        method=str(msg.method),
        learn=bool(msg.learn),
        deterministic=bool(msg.deterministic),
        max_decisions=int(msg.max_decisions),
        decisions=int(msg.decisions),
        robot_seconds=float(msg.robot_seconds),
        labelled_by=str(msg.labelled_by),
    )


def robot(msg: Any) -> RobotSample:
    """Sample from a `RobotState`."""
    twist, wrench = msg.ee_twist, msg.external_wrench
    return RobotSample(
        stamp_ns=to_ns(msg.header.stamp),
        tick=int(msg.tick),
        q=np.array(msg.joint_positions, np.float64),
        dq=np.array(msg.joint_velocities, np.float64),
        tau=np.array(msg.joint_efforts, np.float64),
        ee_pose=pose(msg.ee_pose),
        ee_twist=np.concatenate([_vector(twist.linear), _vector(twist.angular)]),
        wrench=np.concatenate([_vector(wrench.force), _vector(wrench.torque)]),
        gripper_width_m=float(msg.gripper_width_m),
        mode=RobotMode(msg.mode),
        faults=tuple(str(name) for name in msg.faults),
        frame_id=str(msg.header.frame_id),
        joint_names=tuple(str(name) for name in msg.joint_names),
    )


def target(msg: Any) -> Target:
    """Target from a `RobotTarget`."""
    return Target(
        stamp_ns=to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        hold=int(msg.kind) == 1,
        pose=pose(msg.pose),
        gripper_width_m=float(msg.gripper_width_m),
        frame_id=str(msg.header.frame_id),
    )


def observation(msg: Any, *, images: bool) -> RecordedObservation:
    """Observation from an `Observation`; images and points only if asked for."""
    pictures = {}
    if images:
        pictures = {
            str(name): rgb_image(image)
            for name, image in zip(msg.camera_names, msg.images, strict=True)
        }
    return RecordedObservation(
        stamp_ns=to_ns(msg.header.stamp),
        sequence=int(msg.sequence),
        episode_id=str(msg.episode_id),
        decision=int(msg.decision),
        robot=robot(msg.robot),
        prompt=str(msg.prompt),
        state=np.array(msg.state, np.float32),
        object_names=tuple(str(name) for name in msg.object_names),
        object_positions=np.array(msg.object_positions, np.float32).reshape(-1, 3),
        object_visible=np.array(msg.object_visible, np.bool_),
        object_age_s=np.array(msg.object_age_s, np.float64),
        camera_age_s=np.array(msg.camera_age_s, np.float64),
        images=pictures,
        points=xyz_points(msg.points) if images else np.zeros((0, 3), np.float32),
        colors=rgb_points(msg.points) if images else np.zeros((0, 3), np.uint8),
    )


def image(msg: Any) -> NDArray[np.generic]:
    """View of an image message's pixels: rgb8 (h, w, 3) uint8 or 16UC1 (h, w) uint16.

    Raises:
        ValueError: The encoding is not known or the data has the wrong length.
    """
    dtype: np.dtype[Any]
    if msg.encoding in ("rgb8", "bgr8"):
        dtype, channels = np.dtype(np.uint8), 3
    elif msg.encoding in ("16UC1", "mono16"):
        dtype, channels = np.dtype(">u2" if msg.is_bigendian else "<u2"), 1
    else:
        raise ValueError(f"image encoding {msg.encoding!r} is not one of rgb8, bgr8, 16UC1")
    height, width = int(msg.height), int(msg.width)
    row = width * channels * dtype.itemsize
    if msg.step < row or len(msg.data) != msg.step * height:
        raise ValueError(
            f"image {width}x{height} {msg.encoding} has {len(msg.data)} bytes, step {msg.step}"
        )
    rows = np.frombuffer(msg.data, np.uint8).reshape(height, int(msg.step))[:, :row]
    pixels = np.ascontiguousarray(rows).view(dtype).reshape(height, width, channels)
    if msg.encoding == "bgr8":
        pixels = pixels[..., ::-1]
    return pixels if channels > 1 else pixels[..., 0]


def is_color_topic(topic: str) -> bool:
    """Whether a topic holds a camera's colour images, raw or as JPEG."""
    return topic.removesuffix("/compressed").endswith("/color/image_raw")


def camera_of(topic: str) -> str:
    """Name of the camera whose colour images a topic holds."""
    return topic.partition("/color/")[0].rpartition("/")[2]


def rgb_image(msg: Any) -> NDArray[np.uint8]:
    """Pixels of an rgb8 image or of a JPEG, (height, width, 3) uint8, a copy.

    Raises:
        ValueError: Another encoding, or data of the wrong length.
    """
    if hasattr(msg, "format"):
        try:
            return np.array(PilImage.open(io.BytesIO(bytes(msg.data))).convert("RGB"))
        except OSError as error:
            raise ValueError(f"compressed image {msg.format!r} cannot be read: {error}") from None
    if msg.encoding != "rgb8":
        raise ValueError(f"image {msg.width}x{msg.height} {msg.encoding!r} is not an rgb8 image")
    return image(msg).astype(np.uint8)


def xyz_points(msg: Any) -> Float32Array:
    """Positions of a point cloud, (N, 3) float32 in metres; (0, 3) for an empty message."""
    offsets = {str(item.name): int(item.offset) for item in msg.fields}
    count = int(msg.width) * int(msg.height)
    if count == 0 or not {"x", "y", "z"} <= offsets.keys():
        return np.zeros((0, 3), np.float32)
    raw = np.frombuffer(msg.data, np.uint8).reshape(count, int(msg.point_step))
    columns = [
        np.ascontiguousarray(raw[:, offsets[axis] : offsets[axis] + 4]).view("<f4")
        for axis in "xyz"
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def rgb_points(msg: Any) -> ColorArray:
    """Colours of a point cloud, (N, 3) RGB; (0, 3) for a cloud without."""
    offsets = {str(item.name): int(item.offset) for item in msg.fields}
    count = int(msg.width) * int(msg.height)
    if count == 0 or "rgb" not in offsets:
        return np.zeros((0, 3), np.uint8)
    raw = np.frombuffer(msg.data, np.uint8).reshape(count, int(msg.point_step))
    first = offsets["rgb"]  # packed as 0x00RRGGBB, little-endian: blue comes first
    return np.ascontiguousarray(raw[:, first : first + 3][:, ::-1])


def to_ns(stamp: Any) -> int:
    """Stamp as integer nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def _vector(msg: Any) -> FloatArray:
    return np.array([msg.x, msg.y, msg.z], np.float64)


def quaternion(msg: Any) -> FloatArray:
    """(x, y, z, w) from a quaternion message."""
    return np.array([msg.x, msg.y, msg.z, msg.w], np.float64)


def pose(msg: Any) -> Pose:
    """Pose from a pose message."""
    return Pose(_vector(msg.position), quaternion(msg.orientation))
