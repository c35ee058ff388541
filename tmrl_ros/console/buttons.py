"""What buttons ask for, on the page and in RViz alike, and what comes of a press."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """What became of a command, in a sentence."""

    success: bool
    message: str


class Operator(Protocol):
    """The buttons. Every method returns at once; the answer comes with the future."""

    def stop(self) -> Future[Answer]:
        """Press the software stop."""

    def reset(self) -> Future[Answer]:
        """Release it."""

    def start(self) -> Future[Answer]:
        """Let episodes go on."""

    def pause(self) -> Future[Answer]:
        """Hold back further episodes."""

    def prompt(self, text: str) -> Future[Answer]:
        """Tell the policy something else from the next episode on; "" is the task's own."""

    def hold(self, held: bool) -> None:
        """The hold-to-run button is held, or has been released."""

    def label(self, outcome: str, episode: str) -> Future[Answer]:
        """Say how an episode ended; "" is the running or else the latest one."""
