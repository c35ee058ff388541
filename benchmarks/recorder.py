"""Does the recorder keep up with two RGB-D cameras, clouds and all state?

Starts the recorder as a process, publishes what two 640 x 480 RGB-D cameras at 30 Hz, two clouds
and the arm say, and reads from the bag's counts what was lost. Pictures carry sensor noise: smooth
ones would compress better than a real camera's.

    python benchmarks/recorder.py [--seconds 120] [--rate 30] [--out FILE]
"""

from __future__ import annotations

import argparse
import array
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import rclpy
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, JointState, PointCloud2, PointField
from std_msgs.msg import String

from tmrl_msgs.msg import (
    ActionChunk,
    ChunkOutcome,
    EpisodeEvent,
    Observation,
    RewardEstimate,
    RobotState,
    RobotTarget,
)
from tmrl_ros.core import topics
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.nodes.common import EVENTS, IMAGES, LATCHED, RELIABLE
from tmrl_ros.nodes.convert import to_time

WIDTH, HEIGHT, POINTS, FRAMES = 640, 480, 20_000, 6
STATE_HZ, JOINTS_HZ = 20.0, 100.0
CAMERAS = ("exterior", "wrist")
PATIENCE_S = 60.0


@dataclass
class Stream:
    """One topic, its prepared messages, and when the next one is due."""

    publisher: object
    messages: list
    rate_hz: float
    sent: int = 0

    def due(self, elapsed_s: float) -> int:
        return int(elapsed_s * self.rate_hz) - self.sent

    def send(self) -> None:
        message = self.messages[self.sent % len(self.messages)]
        if hasattr(message, "header"):
            message.header.stamp = to_time(time.time_ns())
        self.publisher.publish(message)
        self.sent += 1


def bytes_of(values: np.ndarray) -> array.array:
    data = array.array("B")
    data.frombytes(values.tobytes())
    return data


def pictures(rng: np.random.Generator) -> tuple[list[Image], list[Image]]:
    """Colour and depth images with the noise of a sensor."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    base = np.stack([rows // 3, columns // 4, (rows + columns) // 6], axis=-1) % 256
    color, depth = [], []
    for _ in range(FRAMES):
        noisy = np.clip(base + rng.normal(0, 2, base.shape), 0, 255).astype(np.uint8)
        far = (700 + rows / 2 + rng.normal(0, 2, rows.shape)).astype("<u2")
        color.append(image(bytes_of(noisy), "rgb8", 3))
        depth.append(image(bytes_of(far), "16UC1", 2))
    return color, depth


def image(data: array.array, encoding: str, bytes_each: int) -> Image:
    return Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=WIDTH * bytes_each, data=data)


def cloud(rng: np.random.Generator) -> PointCloud2:
    fields = [
        PointField(name=name, offset=4 * place, datatype=7, count=1)
        for place, name in enumerate(("x", "y", "z", "rgb"))
    ]
    points = rng.normal(size=(POINTS, 4)).astype("<f4")
    return PointCloud2(
        height=1,
        width=POINTS,
        fields=fields,
        point_step=16,
        row_step=16 * POINTS,
        data=bytes_of(points),
        is_dense=True,
    )


def streams(node: Node, rate_hz: float) -> list[Stream]:
    rng = np.random.default_rng(0)
    joints = {"joint_positions": [0.1] * 7, "joint_velocities": [0.0] * 7}
    state = RobotState(joint_names=[f"joint{k}" for k in range(7)], **joints)

    def stream(kind, name, messages, hz, qos=RELIABLE):
        return Stream(node.create_publisher(kind, name, qos), messages, hz)

    found = [
        stream(RobotState, topics.ROBOT_STATE, [state], STATE_HZ),
        stream(RobotTarget, topics.ROBOT_TARGET, [RobotTarget()], STATE_HZ),
        stream(JointState, topics.JOINT_STATES, [JointState(position=[0.1] * 7)], JOINTS_HZ),
        stream(PointCloud2, topics.POINTS, [cloud(rng) for _ in range(FRAMES)], 2 * rate_hz),
    ]
    for name in CAMERAS:
        color, depth = pictures(rng)
        found += [
            stream(Image, topics.color(name), color, rate_hz, IMAGES),
            stream(Image, topics.depth(name), depth, rate_hz, IMAGES),
            stream(CameraInfo, topics.camera_info(name), [CameraInfo()], rate_hz),
        ]
    return found


def silent(node: Node) -> None:
    """Publishers that the recorder waits for, and that say nothing here."""
    for kind, name in (
        (Observation, topics.OBSERVATION),
        (ActionChunk, topics.ACTION_CHUNK),
        (ActionChunk, topics.RESET_CHUNK),
        (ChunkOutcome, topics.CHUNK_OUTCOME),
        (RewardEstimate, topics.REWARD),
    ):
        node.create_publisher(kind, name, RELIABLE)


def record(
    session: Path, seconds: float, rate_hz: float, overrides: list[str]
) -> dict[str, object]:
    """Publish for so long into a recorder of its own process."""
    node = rclpy.create_node("load")
    flow, status = streams(node, rate_hz), {}
    silent(node)
    events = node.create_publisher(EpisodeEvent, topics.EPISODE, EVENTS)
    node.create_subscription(
        String, topics.RECORDER_STATUS, lambda msg: status.update(json.loads(msg.data)), LATCHED
    )
    config = load_config(["task=lift", f"session.dir={session}", *overrides])
    write_config(config, session / "config.yaml")
    argv = [sys.executable, "-m", "tmrl_ros.nodes.recorder", "--ros-args"]
    argv += ["-p", f"config_file:={session / 'config.yaml'}"]
    with subprocess.Popen(argv, env=os.environ) as process:
        give_up = time.monotonic() + PATIENCE_S
        while not status.get("ok"):
            assert time.monotonic() < give_up, f"the recorder does not start: {status}"
            rclpy.spin_once(node, timeout_sec=0.05)
        said = {"episode_id": "collect_000000", "task": "lift", "phase": 3}
        events.publish(EpisodeEvent(state=EpisodeEvent.STATE_RESETTING, **said))
        time.sleep(1.0)
        recorder = psutil.Process(process.pid)
        before, started = sum(recorder.cpu_times()[:2]), time.monotonic()
        late, most_mb = 0, 0.0
        while (elapsed := time.monotonic() - started) < seconds:
            behind = sum(stream.due(elapsed) for stream in flow)
            for stream in flow:
                if stream.due(elapsed) > 0:
                    stream.send()
            late = max(late, behind)
            if behind == 0:
                time.sleep(0.001)
                most_mb = max(most_mb, recorder.memory_info().rss / 1e6)
        spent = sum(recorder.cpu_times()[:2]) - before
        events.publish(EpisodeEvent(state=EpisodeEvent.STATE_ENDED, outcome=1, **said))
        events.publish(EpisodeEvent(state=EpisodeEvent.STATE_IDLE))
        file = session / "episodes/collect_000000/counts.json"
        give_up = time.monotonic() + PATIENCE_S
        while not file.exists():
            assert time.monotonic() < give_up, "the recorder does not close its bag"
            time.sleep(0.1)
        process.terminate()
        process.wait(PATIENCE_S)
    counts = json.loads(file.read_text())
    result = summary(counts, flow, seconds, spent, most_mb, late)
    node.destroy_node()
    return result


def summary(counts, flow, seconds, spent_s, most_mb, late) -> dict[str, object]:
    every = counts["topics"].values()
    mb = {stream.publisher.topic_name: size_of(stream.messages[0]) / 1e6 for stream in flow}
    received_mb = sum(
        (item["received"] - item["dropped"]) * mb.get(name.removesuffix("/compressed"), 0.0)
        for name, item in counts["topics"].items()
    )
    published = sum(stream.sent for stream in flow)
    return {
        "seconds": seconds,
        "published": published,
        "published_per_s": round(published / seconds, 1),
        "sent": sum(item["sent"] for item in every),
        "lost": sum(item["sent"] - item["received"] for item in every),
        "dropped": sum(item["dropped"] for item in every),
        "published_mb_per_s": round(
            sum(stream.sent * mb[stream.publisher.topic_name] for stream in flow) / seconds, 1
        ),
        "disk_mb_per_s": round(counts["file_bytes"] / seconds / 1e6, 1),
        "recorder_cpu_share_of_one_core": round(spent_s / seconds, 3),
        "recorder_cpu_ms_per_mb_received": round(1e3 * spent_s / received_mb, 2),
        "recorder_memory_mb": round(most_mb),
        "most_messages_behind": late,
        "nice": os.nice(0),
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "cores": os.cpu_count(),
    }


def size_of(message: object) -> int:
    """Bytes of a message on the wire."""
    return len(serialize_message(message))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=30.0, help="of the cameras, Hz")
    parser.add_argument("--domain", type=int, default=77, help="DDS domain")
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", help="recorder.jpeg_quality=0 and the like")
    args = parser.parse_args()
    os.environ.update(
        node_environment(load_config(["task=lift", f"session.domain_id={args.domain}"]))
    )
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        result = record(Path(folder), args.seconds, args.rate, args.overrides)
    rclpy.try_shutdown()
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
