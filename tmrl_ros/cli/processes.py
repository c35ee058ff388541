"""Start, watch, restart and stop the processes of a graph. No process outlives the launcher.

One thread only: the kernel's parent-death signal belongs to the thread that started the child.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmrl_ros.cli.spawn import signal_group, spawn, start_guard

EXIT_BAD_INPUT = 2
LOG_TAIL_BYTES = 4096
STARTING = "--- starting"


@dataclass(frozen=True)
class Command:
    """One process: how it is started and what its end means."""

    name: str
    argv: Sequence[str]
    restart: bool = True
    required: bool = False
    stop_last: bool = False
    optional: bool = False
    terminal: bool = False  # reads the launcher's standard input


@dataclass(frozen=True)
class Patience:
    """How long is waited, in seconds of wall time, and how often a process is started again."""

    first_delay_s: float = 0.5
    longest_delay_s: float = 8.0
    maximum_restarts: int = 5
    steady_after_s: float = 60.0
    first_wave_s: float = 1.5
    interrupt_s: float = 3.0
    terminate_s: float = 4.0
    kill_s: float = 4.8


@dataclass(frozen=True)
class RunEnd:
    """Why the run is over."""

    exit_code: int
    message: str


@dataclass
class Child:
    """A command and the process that runs it now."""

    command: Command
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float | None = None
    restarts: int = 0
    restarts_in_a_row: int = 0
    given_up: bool = False
    signals: set[signal.Signals] = field(default_factory=set)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def health(self) -> str:
        """State in a word or two, for the display."""
        if self.due is not None:
            return f"restarting ({self.restarts}x)"
        if self.given_up:
            return "gone"
        if not self.is_alive:
            return "ended" if self.process is not None else "waiting"
        return f"restarted {self.restarts}x" if self.restarts else "ok"

    def last_line(self) -> str:
        """Last line of the log, which usually says why a process died."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
            said = (line.strip() for line in reversed(lines) if not line.startswith(STARTING))
            return next(filter(None, said), "it said nothing")
        return "it said nothing"


class Processes:
    """All processes of one run.

    Use as a context manager: leaving it stops everything that still runs.
    """

    def __init__(
        self,
        commands: Sequence[Command],
        environment: Mapping[str, str],
        logs: Path,
        *,
        patience: Patience | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._environment = {**os.environ, **environment}
        self._patience = patience or Patience()
        self._say = say
        logs.mkdir(parents=True, exist_ok=True)
        self.children = [Child(command, logs / f"{command.name}.log") for command in commands]
        self._guard = start_guard()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every process, in the order of the commands."""
        for child in self.children:
            self._start(child)

    def poll(self) -> RunEnd | None:
        """Restart what died; tell when the run is over."""
        now = time.monotonic()
        for child in self.children:
            if child.due is not None:
                if now >= child.due:
                    self._start(child)
            elif child.process is not None and child.process.poll() is not None:
                end = None if child.given_up else self._died(child, now)
                if end is not None and child.command.optional:
                    child.given_up = True
                    self._say(f"{end.message} The run goes on without it.")
                elif end is not None:
                    return end
        return None

    def health(self) -> dict[str, str]:
        """State of every process: `ok`, `restarted 1x`, `restarting (1x)`, `ended`, `gone`."""
        return {child.command.name: child.health for child in self.children}

    def pids(self) -> dict[str, int]:
        """Process ids of what runs now."""
        return {
            child.command.name: child.process.pid
            for child in self.children
            if child.process is not None and child.is_alive
        }

    def stop(self) -> float:
        """Stop everything: interrupt (what drives and records last), terminate, kill.

        Returns:
            Seconds it took; below 5 whatever the processes do.
        """
        begin = time.monotonic()
        patience = self._patience
        for child in self.children:
            child.due = None
        early = [child for child in self.children if not child.command.stop_last]
        for group, number, until in (
            (early, signal.SIGINT, patience.first_wave_s),
            (self.children, signal.SIGINT, patience.interrupt_s),
            (self.children, signal.SIGTERM, patience.terminate_s),
            (self.children, signal.SIGKILL, patience.kill_s),
        ):
            self._signal(group, number)
            while any(child.is_alive for child in group) and time.monotonic() - begin < until:
                time.sleep(0.01)
        for child in self.children:
            self._forget(child)
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
            self._guard.wait()
        return time.monotonic() - begin

    def _signal(self, children: Sequence[Child], number: signal.Signals) -> None:
        """Signal each process once; the second interrupt goes only to those that had none."""
        for child in children:
            if not child.is_alive or child.process is None:
                continue
            if number not in child.signals:
                child.signals.add(number)
                if child.command.terminal:
                    child.process.send_signal(number)
                else:
                    signal_group(child.process.pid, number)
                if number == signal.SIGKILL:
                    self._say(f"{child.command.name} did not end by itself and was killed.")

    def _start(self, child: Child) -> None:
        self._forget(child)
        with child.log.open("ab", buffering=0) as log:
            log.write(f"{STARTING} {time.strftime('%H:%M:%S')} {child.command.name}\n".encode())
            child.process = spawn(
                child.command.argv, self._environment, log, terminal=child.command.terminal
            )
        child.due = None
        child.signals = set()
        child.started = time.monotonic()
        self._tell_guard("+", child.process.pid)

    def _died(self, child: Child, now: float) -> RunEnd | None:
        name, patience = child.command.name, self._patience
        code = _exit_code(child)
        reason = child.last_line()
        if child.command.required:
            return RunEnd(code, f"{name} ended with exit code {code}: {reason}" if code else "")
        if code == EXIT_BAD_INPUT or not child.command.restart:
            return RunEnd(code or 1, f"{name} cannot go on: {reason}")
        if now - child.started > patience.steady_after_s:
            child.restarts_in_a_row = 0
        if child.restarts_in_a_row >= patience.maximum_restarts:
            return RunEnd(
                1,
                f"{name} died {child.restarts_in_a_row + 1} times in a row, the last time with "
                f"exit code {code}; its log is {child.log}. Last line: {reason}",
            )
        delay = min(patience.first_delay_s * 2.0**child.restarts_in_a_row, patience.longest_delay_s)
        child.restarts += 1
        child.restarts_in_a_row += 1
        child.due = now + delay
        self._say(f"{name} died (exit code {code}) and is started again in {delay:g} s: {reason}")
        return None

    def _forget(self, child: Child) -> None:
        """End what a dead process left behind and take it off the guard's list."""
        if child.process is not None:
            if child.command.terminal:
                child.process.kill()
            else:
                signal_group(child.process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(0.1)
            self._tell_guard("-", child.process.pid)

    def _tell_guard(self, change: str, pid: int) -> None:
        pipe = self._guard.stdin
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(OSError):
                pipe.write(f"{change}{pid}\n".encode())
                pipe.flush()


def _exit_code(child: Child) -> int:
    code = child.process.returncode if child.process is not None else 0
    return 128 - code if code < 0 else code
