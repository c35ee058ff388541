"""The newest picture of every camera, for whoever looks at the page."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Pictures:
    """JPEG files by camera, with a number that grows with every new one.

    Attributes:
        viewers: Open pages that show cameras. Nothing is encoded while there are none.
    """

    viewers: int = 0
    _newest: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, camera: str, jpeg: bytes) -> None:
        """A camera has another picture."""
        with self._lock:
            number = self._newest.get(camera, (0, b""))[0] + 1
            self._newest[camera] = (number, jpeg)

    def newer(self, seen: dict[str, int]) -> list[tuple[str, bytes]]:
        """Pictures that are newer than those of `seen`, which is brought up to date."""
        with self._lock:
            found = [
                (camera, jpeg)
                for camera, (number, jpeg) in self._newest.items()
                if number > seen.get(camera, 0)
            ]
            seen.update({camera: number for camera, (number, _) in self._newest.items()})
        return found
