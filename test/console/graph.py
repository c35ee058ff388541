"""The real graph with the simulated robot, started and ended through the command line."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

PATIENCE_S = 240.0  # keeps a broken test from hanging; nothing is measured by it


class Graph:
    """`tmrl finetune` (or another kind) with a console, in a session of its own.

    The scripted expert needs no bundle, and moves nearly all the time.
    """

    def __init__(self, session: Path, kind: str = "collect", *words: str) -> None:
        self.session = session
        self.output = session.parent / "output.txt"
        argv = [
            *(sys.executable, "-m", "tmrl_ros.cli.main", kind, "--plain", "task=lift"),
            "method.name=scripted",
            "reward=simulator",
            f"session.dir={session}",
            f"session.domain_id={os.environ['ROS_DOMAIN_ID']}",
            "session.console_port=0",
            "session.train_episodes=100000",
            "session.decision_timeout_s=60",
            *words,
        ]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def address(self) -> dict:
        """What `console.json` says, empty before it is there."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.session / "console.json").read_text())
        return {}

    def until(self, condition, what):
        """Wait for something that must happen."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert self.process.poll() is None, f"ended before {what}: {self.output.read_text()}"
            assert time.monotonic() < deadline, f"waited for {what}: {self.output.read_text()}"
            time.sleep(0.05)
        return found

    def url(self) -> str:
        """Address of the page once it is served."""
        return self.until(lambda: self.address.get("url"), "the console")

    def kill_console(self) -> None:
        """SIGKILL the back end of the page."""
        psutil.Process(self.address["pid"]).kill()

    def outcomes(self) -> dict[str, dict]:
        """Newest line of every episode in the session's log."""
        file = self.session / "episodes.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        return {row["episode_id"]: row for row in rows}

    def last_was_aborted(self) -> bool:
        """Whether the last episode that ended was."""
        rows = list(self.outcomes().values())
        return bool(rows) and rows[-1]["outcome"] == "aborted"

    def close(self) -> None:
        """Interrupt the run and wait for its end."""
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30.0)
            for process in [psutil.Process(self.process.pid), *family]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.process.wait()
