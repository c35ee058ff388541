"""Keep a camera open: read frame after frame, and open it again after it was unplugged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tmrl_ros.cameras.health import Health
from tmrl_ros.cameras.source import CameraAbout, CameraFaultError, CameraFrame, CameraSource

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0
STALL_S = 2.0
"""Time without a frame after which a camera is opened anew."""


class CameraLoop:
    """Calls what listens, from the thread that runs it.

    Args:
        source: The camera.
        health: Where everything is counted.
        on_frame: Is given every frame.
        on_change: Is given a sentence when the camera comes or goes; True says that it came.
        first_wait_s: Before it is opened again; doubles up to `LONGEST_WAIT_S`.
        stall_s: Time without a frame after which it is opened anew.
    """

    def __init__(
        self,
        source: CameraSource,
        health: Health,
        on_frame: Callable[[CameraFrame], None],
        on_change: Callable[[bool, str], None],
        *,
        first_wait_s: float = FIRST_WAIT_S,
        stall_s: float = STALL_S,
    ) -> None:
        self.health = health
        self._source, self._on_frame, self._on_change = source, on_frame, on_change
        self._first_wait_s, self._wait_s, self._stall_s = first_wait_s, first_wait_s, stall_s
        self._said = ""
        self._stopped = threading.Event()

    def run(self) -> None:
        """Go on until `stop`, or until the source has nothing more.

        Raises:
            OperatorError: The configuration is wrong; trying again would not help.
        """
        try:
            while not self._stopped.is_set():
                if self._once():
                    return
        finally:
            self._source.close()

    def stop(self) -> None:
        """End `run` after the frame it waits for."""
        self._stopped.set()

    def _once(self) -> bool:
        """From opening to losing the camera; True at the end of what it has."""
        try:
            self._came(self._source.open())
            while not self._stopped.is_set():
                frame = self._source.read(self._stall_s)
                if frame is None:
                    return True
                self._wait_s = self._first_wait_s
                self.health.saw(frame)
                self._on_frame(frame)
        except CameraFaultError as fault:
            self._source.close()
            self._went(str(fault))
        return False

    def _came(self, about: CameraAbout) -> None:
        self.health.opened(about)
        usb = f", USB {about.usb}" if about.usb else ""
        self._said = ""
        self._on_change(True, f"{about.model} {about.serial}{usb} takes pictures.")
        for warning in about.warnings:
            self._on_change(False, warning)

    def _went(self, why: str) -> None:
        """Say it once, and wait a little longer every time."""
        self.health.failed(why)
        if why != self._said:
            self._on_change(False, f"{why} It is tried again until it works.")
            self._said = why
        self._stopped.wait(self._wait_s)
        self._wait_s = min(2.0 * self._wait_s, LONGEST_WAIT_S)


def now_ns() -> int:
    """Host clock, as stamps of pictures and of a real arm's states are."""
    return time.time_ns()
