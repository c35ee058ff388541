"""Read one recorded episode for the page's player.

Run as a process of its own (`python -m tmrl_ros.console.playback BAG`), so that decoding a bag
never holds up the stop button. Prints one JSON object.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from tmrl_ros.core import topics
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import NANOSECONDS, ChunkSource, EpisodeState
from tmrl_ros.data import decode
from tmrl_ros.data.bag_stream import BagStream, is_topic

JPEG_QUALITY = 80
FRAME_EVERY_S = 0.2
NICENESS = 10


def read_playback(bag: Path) -> dict[str, Any]:
    """Frames, progress and context timesteps of an episode over time.

    Args:
        bag: Folder of the bag.

    Returns:
        `duration_s`; `frames` by camera, each `{"t", "jpeg"}` (seconds since the episode began to
        run, base64); `rewards` with `t`, `progress`, `success_probability`; `chunks` with `t`,
        `t_context`. From the cameras where they were recorded, else from the observations.

    Raises:
        BagError: There is no bag.
    """
    found = _Collected()
    for message in BagStream(bag, None):
        found.take(message)
    return found.as_dict()


class _Collected:
    def __init__(self) -> None:
        self.began_ns = 0
        self.last_ns = 0
        self.cameras: dict[str, list[tuple[int, bytes]]] = {}
        self.small: dict[str, list[tuple[int, bytes]]] = {}
        self.rewards: list[tuple[int, float, float]] = []
        self.chunks: list[tuple[int, float]] = []

    def take(self, message: Any) -> None:
        topic = message.topic
        if topic.endswith("/color/image_raw"):
            self._picture(topic.split("/")[-3], message)
        elif is_topic(topic, topics.OBSERVATION):
            self._observation(message.decode())
        elif is_topic(topic, topics.EPISODE):
            event = decode.episode(message.decode())
            if event.state is EpisodeState.RUNNING and not self.began_ns:
                self.began_ns = event.stamp_ns
        elif is_topic(topic, topics.REWARD):
            reward = decode.reward(message.decode())
            if reward.valid:
                values = (reward.stamp_ns, reward.progress, reward.success_probability)
                self.rewards.append(values)
        elif is_topic(topic, topics.ACTION_CHUNK):
            chunk = decode.chunk(message.decode())
            if chunk.source is not ChunkSource.RESET and chunk.execute_steps > 0:
                self.chunks.append((chunk.stamp_ns, chunk.t_context))

    def _picture(self, camera: str, message: Any) -> None:
        picture = message.decode()
        stamp_ns = stamp(picture)
        frames = self.cameras.setdefault(camera, [])
        if not frames or stamp_ns - frames[-1][0] >= FRAME_EVERY_S * NANOSECONDS:
            frames.append((stamp_ns, jpeg(decode.rgb_image(picture))))

    def _observation(self, msg: Any) -> None:
        for name, picture in zip(msg.camera_names, msg.images, strict=True):
            frames = self.small.setdefault(str(name), [])
            frames.append((stamp(msg), jpeg(decode.rgb_image(picture))))

    def as_dict(self) -> dict[str, Any]:
        cameras = self.cameras or self.small
        stamps = [ns for frames in cameras.values() for ns, _ in frames]
        stamps += [item[0] for item in self.rewards]
        began = self.began_ns or min(stamps, default=0)

        def seconds(stamp_ns: int) -> float:
            return round((stamp_ns - began) / NANOSECONDS, 3)

        return {
            "duration_s": max([seconds(ns) for ns in stamps], default=0.0),
            "frames": {
                name: [
                    {"t": seconds(ns), "jpeg": base64.b64encode(data).decode()}
                    for ns, data in frames
                    if seconds(ns) >= -FRAME_EVERY_S
                ]
                for name, frames in cameras.items()
            },
            "rewards": [
                {"t": seconds(ns), "progress": progress, "success_probability": success}
                for ns, progress, success in self.rewards
            ],
            "chunks": [{"t": seconds(ns), "t_context": t} for ns, t in self.chunks],
        }


def jpeg(pixels: Any) -> bytes:
    """An (height, width, 3) uint8 picture as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def stamp(msg: Any) -> int:
    """Stamp of a decoded message with a header, in nanoseconds."""
    return int(msg.header.stamp.sec) * NANOSECONDS + int(msg.header.stamp.nanosec)


def main() -> int:
    """Print the episode, or a sentence and exit code 2."""
    os.nice(NICENESS)
    try:
        print(json.dumps(read_playback(Path(sys.argv[1]))))
    except OperatorError as error:
        print(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
