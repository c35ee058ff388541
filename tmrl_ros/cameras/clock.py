"""A camera's own clock, told in the host's time without the two drifting apart.

A picture arrives some time after it was taken, and that delay varies, but it never is shorter than
the transfer takes. The smallest difference between arrival and camera time of the last seconds is
therefore the offset of the clocks plus the shortest transfer. Taking it from a window bounds what
the drift of the clocks can add: 50 ppm over 10 s are 0.5 ms, after any number of hours.
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 10.0
BIN_S = 0.5
JUMP_S = 2.0
"""A camera time this far from what the offset expects, or before the last one, means that its clock
was set or restarted."""
MILLISECOND = 1_000_000
SECOND = 1_000_000_000


class ClockMap:
    """Camera time to host time; knows no clock but what it is told."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_ns = round(window_s * SECOND)
        self._bins: deque[tuple[int, int]] = deque()
        self._last_ns = self._camera_ns = 0

    def host_ns(self, camera_ms: float, arrived_ns: int) -> int:
        """When a picture was taken, host clock, never before the picture before it.

        Args:
            camera_ms: Its time stamp on the camera's clock.
            arrived_ns: When it arrived, host clock.
        """
        camera_ns = round(camera_ms * MILLISECOND)
        offset_ns = arrived_ns - camera_ns
        jumped = self._bins and abs(offset_ns - self._offset_ns) > JUMP_S * SECOND
        if jumped or camera_ns < self._camera_ns:
            self._bins.clear()
        self._camera_ns = camera_ns
        self._add(arrived_ns, offset_ns)
        stamp_ns = min(camera_ns + self._offset_ns, arrived_ns)
        self._last_ns = max(stamp_ns, self._last_ns + 1)
        return self._last_ns

    @property
    def _offset_ns(self) -> int:
        return min(offset for _, offset in self._bins)

    def _add(self, arrived_ns: int, offset_ns: int) -> None:
        """Keep the smallest offset of every half second of the window."""
        start_ns = arrived_ns - arrived_ns % round(BIN_S * SECOND)
        if self._bins and self._bins[-1][0] == start_ns:
            self._bins[-1] = (start_ns, min(offset_ns, self._bins[-1][1]))
        else:
            self._bins.append((start_ns, offset_ns))
        while self._bins[0][0] < arrived_ns - self._window_ns:
            self._bins.popleft()
