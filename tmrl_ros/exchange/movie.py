"""`tmrl bag video`: what the cameras recorded, side by side, and what was decided from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tmrl_ros.core import topics
from tmrl_ros.core.types import NANOSECONDS, Chunk, Episode, EpisodeState, Reward
from tmrl_ros.data import decode
from tmrl_ros.data.bag_reader import read_about
from tmrl_ros.data.bag_stream import BagError, BagStream, is_topic
from tmrl_ros.exchange.video import VideoWriter

RATE_HZ = 20
KEY_FRAME_EVERY = 20
BAND = 36
COLOR = ("color/image_raw", "color/image_raw/compressed")
INK, PAPER = (240, 240, 240), (27, 30, 35)
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Moment:
    """Pictures of one instant of the robot's clock, by camera, and the words below them."""

    stamp_ns: int
    pictures: dict[str, Picture]
    words: tuple[str, str]


def write_movie(bags: Sequence[Path], out: Path, *, rate_hz: int = RATE_HZ) -> int:
    """Write the camera images of episodes, one after the other, at the pace of the robot's clock.

    A picture stays until the next one comes. Resets are left out: pictures begin with the episode.

    Args:
        bags: Folders of the bags.
        out: The MP4 file; replaced if it is there.
        rate_hz: Frames per second.

    Returns:
        How many frames were written.

    Raises:
        BagError: No bag holds camera images.
        OperatorError: Pictures have an odd width or height.
    """
    writer: VideoWriter | None = None
    try:
        for bag in bags:
            for frame in frames(bag, rate_hz):
                if writer is None:
                    height, width, _ = frame.shape
                    writer = VideoWriter(
                        out,
                        rate_hz=rate_hz,
                        width=width,
                        height=height,
                        key_frame_every=KEY_FRAME_EVERY,
                    )
                writer.write(frame)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise BagError(f"{bags[0] if bags else out} holds no camera images (recorder.cameras=all).")
    return writer.frames


def frames(bag: Path, rate_hz: int) -> Iterator[Picture]:
    """Frames of one episode at a steady rate: (h, w, 3) RGB, cameras side by side."""
    begin_ns, written = 0, 0
    picture: Picture | None = None
    for moment in moments(bag):
        begin_ns = begin_ns or moment.stamp_ns
        due = round((moment.stamp_ns - begin_ns) / NANOSECONDS * rate_hz)
        while picture is not None and written < due:
            written += 1
            yield picture
        picture = compose(moment)
    for _ in range(rate_hz if picture is not None else 0):  # the end stays for a second
        assert picture is not None
        yield picture


def moments(bag: Path) -> Iterator[Moment]:
    """Every instant at which a camera gave a picture, from RUNNING to the end of the bag.

    The words are those that were known when the next picture came: what was decided from this one.
    """
    told = _Told(read_about(bag).get("episode_id") or bag.name)
    images: dict[str, Picture] = {}
    shown_ns = -1
    wanted = [topics.EPISODE, topics.ACTION_CHUNK, topics.REWARD, *COLOR]
    for message in BagStream(bag, wanted):
        msg = message.decode()
        if not decode.is_color_topic(message.topic):
            told.take(message.topic, msg)
            continue
        if not told.running:
            continue
        stamp_ns = decode.to_ns(msg.header.stamp)
        if images and stamp_ns != shown_ns:
            yield Moment(shown_ns, dict(images), told.words)
        images[decode.camera_of(message.topic)] = decode.rgb_image(msg)
        shown_ns = stamp_ns
    if images:
        yield Moment(shown_ns, dict(images), told.words)


@dataclass
class _Told:
    """What has been said of an episode so far."""

    name: str
    running: bool = False
    chunk: Chunk | None = None
    reward: Reward | None = None
    event: Episode | None = None

    def take(self, topic: str, msg: Any) -> None:
        """Hear one message of the episode itself."""
        if str(msg.episode_id) != self.name:
            return
        if is_topic(topic, topics.REWARD):
            self.reward = decode.reward(msg)
        elif is_topic(topic, topics.ACTION_CHUNK):
            self.chunk = decode.chunk(msg)
        else:
            self.event = decode.episode(msg)
            self.running = self.running or self.event.state is EpisodeState.RUNNING

    @property
    def words(self) -> tuple[str, str]:
        """Two lines: the episode, and the decision."""
        parts = []
        if self.chunk is not None:
            parts += [f"decision {self.chunk.decision}", f"context t {self.chunk.t_context:.2f}"]
        if self.reward is not None and self.reward.valid:
            parts.append(f"progress {self.reward.progress:.2f}")
        event = self.event
        ended = event is not None and event.state is EpisodeState.ENDED
        what = "" if event is None else event.outcome.name.lower() if ended else event.prompt
        return f"{self.name}: {what}", ", ".join(parts)


def compose(moment: Moment) -> Picture:
    """Cameras side by side above a band with words; both sides even, as H.264 wants them."""
    pictures = [moment.pictures[name] for name in sorted(moment.pictures)]
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures)
    canvas = Image.new("RGB", (width + width % 2, height + height % 2 + BAND), PAPER)
    left = 0
    for picture in pictures:
        canvas.paste(Image.fromarray(picture), (left, 0))
        left += picture.shape[1]
    pen = ImageDraw.Draw(canvas)
    for row, words in enumerate(moment.words):
        pen.text((6, height + 3 + 16 * row), words, fill=INK)
    return np.asarray(canvas)
