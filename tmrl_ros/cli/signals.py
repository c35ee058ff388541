"""Ctrl-C and friends as something a loop can wait for."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While entered, SIGINT, SIGTERM and SIGHUP set `received`.

    They end `wait` early, and so does the end of a child. Entering replaces an ignored SIGINT too,
    which is what a background job of a script starts with.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    def __enter__(self) -> Signals:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before = {
            number: signal.signal(number, self._note) for number in (*STOPPING, signal.SIGCHLD)
        }
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    @property
    def exit_code(self) -> int:
        """Exit code of a program that was asked to stop: 130 for Ctrl-C."""
        return 128 + self.received if self.received is not None else 0

    def wait(self, seconds: float) -> None:
        """Sleep until a signal arrives, a child ends, or the time is up."""
        select.select([self._reader], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def _note(self, number: int, _: FrameType | None) -> None:
        if number != signal.SIGCHLD and self.received is None:
            self.received = number
