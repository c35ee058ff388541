"""`tmrl collect` in a terminal of its own: one person, one screen, the keys of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil
import pytest

from tmrl_ros.core.types import ChunkSource
from tmrl_ros.data.bag_reader import read_episode
from tmrl_ros.session.records import load_records
from tmrl_ros.session.runner import TAKE_THE_ARM
from tmrl_ros.session.status import read_json

PATIENCE_S = 300.0  # keeps a broken test from hanging; nothing is measured by it


class Screen:
    """A controlling terminal with `tmrl collect` in it."""

    def __init__(self, folder: Path, domain_id: int) -> None:
        self.session = folder / "session"
        self.shown = ""
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        words = [
            *("collect", "task=lift", f"session.dir={self.session}"),
            *(f"session.domain_id={domain_id}", "session.console=false"),
            *("recorder.cameras=none", "cameras.realtime_rate_hz=5"),
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tmrl_ros.cli.main", *words],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.set_blocking(self.master, False)

    @property
    def status(self) -> dict:
        return read_json(self.session / "status.json")

    @property
    def records(self):
        return load_records(self.session)

    def until(self, condition, what, typing=""):
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.shown[-3000:]}"
            if typing:
                os.write(self.master, typing.encode())
            with contextlib.suppress(OSError):  # nothing to read
                self.shown += os.read(self.master, 65536).decode(errors="replace")
            time.sleep(0.05)
        return found

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screen(tmp_path, domain_id):
    screen = Screen(tmp_path, domain_id)
    yield screen
    screen.close()


def test_keys_begin_throw_away_keep_and_end(screen):
    def ready():
        return screen.status.get("message") == TAKE_THE_ARM

    def kept():
        return [item for item in screen.records if not item.aborted]

    screen.until(lambda: "The hardware stop button comes first" in screen.shown, "the help")
    screen.until(ready, "the first start")
    assert not screen.records, "nothing begins by itself"
    screen.types("h")
    screen.until(lambda: not ready(), "an episode")
    screen.types("x")
    screen.until(lambda: screen.records, "the end of what was thrown away")
    assert screen.records[0].aborted and not kept()
    screen.until(ready, "the same start again")
    screen.types("h")
    screen.until(lambda: not ready(), "an episode", typing="r")
    for _ in range(20):
        screen.types("r")
        time.sleep(0.05)
    screen.types("n")
    screen.until(kept, "its end")
    screen.until(ready, "the next start")
    screen.types("y")  # it was a success after all
    screen.until(lambda: kept()[0].success, "the other label")
    screen.until(lambda: "1 kept" in screen.status.get("collected", ""), "the count")
    screen.types("q")
    screen.until(lambda: screen.process.poll() is not None, "the end")
    assert screen.process.returncode == 0, screen.shown[-2000:]
    assert termios.tcgetattr(screen.slave) == screen.before, "the terminal is as it was"
    assert "1 demonstrations, 1 of them successes" in screen.shown
    (record,) = kept()
    assert (record.episode_id, record.attempt, record.labelled_by) == (
        *("collect_000000", 1, "operator"),
    )
    bag = read_episode(screen.session / "episodes" / record.episode_id, robot=True)
    moves = [item for item in bag.outcomes if item.source is not ChunkSource.RESET]
    assert moves and all(item.source is ChunkSource.HUMAN for item in moves)
    heights = [target.pose.position[2] for target in bag.targets if not target.hold]
    assert max(heights) > heights[0], "r goes up"
    aside = {path.name for path in (screen.session / "episodes").iterdir()}
    assert f"{record.episode_id}.aborted-1" in aside
