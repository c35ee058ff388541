"""A terminal that gives every key at once."""

from __future__ import annotations

import os
import select
import sys
import termios
from types import TracebackType

from tmrl_ros.core.errors import OperatorError


class RawTerminal:
    """While entered, keys are not echoed, not collected to lines, and Ctrl-C is a key like others.

    Raises:
        OperatorError: The standard input is no terminal.
    """

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        if not os.isatty(self._fd):
            raise OperatorError("`tmrl teleop` reads keys: start it in a terminal.")

    def __enter__(self) -> RawTerminal:
        self._before = termios.tcgetattr(self._fd)
        raw = termios.tcgetattr(self._fd)
        raw[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 0, 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, raw)
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def typed(self) -> str:
        """What was typed since the last time, "" if nothing.

        Raises:
            EOFError: The terminal has gone.
        """
        if not select.select([self._fd], [], [], 0.0)[0]:
            return ""
        found = os.read(self._fd, 1024)
        if not found:
            raise EOFError
        return found.decode(errors="replace")
