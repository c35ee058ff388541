"""MP4 files, frame by frame, with PyAV (FFmpeg's libraries in a wheel)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.errors import OperatorError

CODEC, PIXELS = "libx264", "yuv420p"
QUALITY = "20"  # x264's constant rate factor: 18 can hardly be told from the original
KEY_FRAME_EVERY = 2  # as LeRobot writes them: a reader may ask for any frame
Picture = NDArray[np.uint8]


class VideoWriter:
    """One H.264 file of equally long frames. Use as a context manager.

    Args:
        path: The file; its folder is made.
        rate_hz: Frames per second.
        width: Pixels, even.
        height: Pixels, even.
        key_frame_every: Frames between pictures that need no other to be decoded.

    Raises:
        OperatorError: Width or height is odd, which H.264 in this form does not take.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate_hz: int,
        width: int,
        height: int,
        key_frame_every: int = KEY_FRAME_EVERY,
    ) -> None:
        if width % 2 or height % 2:
            raise OperatorError(
                f"Pictures of {width} x {height} cannot become a video: both must be even "
                "(cameras.image_width, cameras.image_height)."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.frames = 0
        self._file: Any = av.open(str(path), "w")
        options = {"crf": QUALITY, "g": str(key_frame_every), "preset": "fast"}
        stream: Any = self._file.add_stream(CODEC, rate=rate_hz, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
        stream.thread_count = 1
        self._stream = stream
        self._tick = Fraction(1, rate_hz)

    def write(self, picture: Picture) -> None:
        """Append one picture (h, w, 3) RGB."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = self.frames, self._tick
        self._file.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder still holds; does nothing when already closed."""
        if self._file is not None:
            self._file.mux(self._stream.encode(None))
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        """The open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, whatever happened."""
        self.close()


def read_video(path: Path) -> Iterator[tuple[float, Picture]]:
    """Time in seconds and picture (h, w, 3) RGB of every frame, in order.

    Raises:
        OperatorError: The file is no video.
    """
    try:
        with av.open(str(path)) as file:
            frames: Iterator[Any] = file.decode(video=0)
            for frame in frames:
                yield float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError, IndexError) as error:
        raise OperatorError(f"{path} cannot be read as a video ({error}).") from None
