"""One episode for the Rerun viewer (https://rerun.io), where `rerun-sdk` is installed."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tmrl_ros.core import topics
from tmrl_ros.core.types import NANOSECONDS, Chunk
from tmrl_ros.data import decode
from tmrl_ros.data.bag_stream import BagStream, is_topic

CLOCK = "robot"
COLOR = ("color/image_raw", "color/image_raw/compressed")
WANTED = (
    topics.OBSERVATION,
    topics.ACTION_CHUNK,
    topics.REWARD,
    topics.ROBOT_STATE,
    topics.ROBOT_TARGET,
    topics.SAFETY_STATE,
    topics.EPISODE,
    *COLOR,
)


def has_rerun() -> bool:
    """Whether the viewer's library is installed."""
    return find_spec("rerun") is not None


def log_episode(bag: Path, out: Path | None = None) -> int:
    """Log a bag: cameras, cloud, arm, targets, chunks, reward, context timestep, stops.

    Args:
        bag: Folder of the bag.
        out: `.rrd` file; None opens the viewer.

    Returns:
        How many messages were logged.
    """
    rerun: Any = importlib.import_module("rerun")
    stream = rerun.RecordingStream(f"tmrl {bag.name}")
    if out is None:
        stream.spawn()
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        stream.save(str(out))
    count = 0
    for message in BagStream(bag, WANTED):
        msg = message.decode()
        stamp_ns = decode.to_ns(msg.header.stamp)
        stream.set_time(CLOCK, duration=stamp_ns / NANOSECONDS)
        _log(rerun, stream, message.topic, msg)
        count += 1
    stream.flush()
    return count


def _log(rerun: Any, stream: Any, topic: str, msg: Any) -> None:
    if decode.is_color_topic(topic):
        stream.log(f"camera/{decode.camera_of(topic)}", rerun.Image(decode.rgb_image(msg)))
    elif is_topic(topic, topics.OBSERVATION):
        seen = decode.observation(msg, images=True)
        stream.log("world/points", rerun.Points3D(seen.points, colors=seen.colors, radii=0.002))
        named = rerun.Points3D(seen.object_positions, labels=seen.object_names, radii=0.01)
        stream.log("world/objects", named)
    elif is_topic(topic, topics.ACTION_CHUNK):
        chunk = decode.chunk(msg)
        stream.log("policy/t_context", rerun.Scalars(chunk.t_context))
        if chunk.execute_steps:
            stream.log("world/chunk", rerun.LineStrips3D([_path(chunk)]))
    elif is_topic(topic, topics.REWARD):
        reward = decode.reward(msg)
        if reward.valid:
            stream.log("reward/progress", rerun.Scalars(reward.progress))
            stream.log("reward/success", rerun.Scalars(reward.success_probability))
    elif is_topic(topic, topics.ROBOT_STATE):
        robot = decode.robot(msg)
        stream.log("world/tool", rerun.Points3D([robot.ee_pose.position], radii=0.012))
        stream.log("arm/gripper_width_m", rerun.Scalars(robot.gripper_width_m))
    elif is_topic(topic, topics.ROBOT_TARGET):
        target = decode.target(msg)
        stream.log("world/target", rerun.Points3D([target.pose.position], radii=0.008))
    elif is_topic(topic, topics.SAFETY_STATE):
        if msg.code:
            stream.log("safety", rerun.TextLog(f"{msg.code}: {msg.message}", level="WARN"))
    else:
        event = decode.episode(msg)
        text = f"{event.episode_id} {event.state.name.lower()} {event.outcome.name.lower()}"
        stream.log("episode", rerun.TextLog(text))


def _path(chunk: Chunk) -> Any:
    """Where a chunk's rows take the tool, (H, 3) in the base frame."""
    return chunk.reference_pose.position + chunk.actions[:, :3]
