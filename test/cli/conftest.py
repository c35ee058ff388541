import os
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tmrl_ros.cli.processes import Command

# A node for tests. Writes what happens to it into `<name>.events`, one word a line, and its pid.
NODE = """
    import os, signal, sys, time
    from pathlib import Path

    name, behaviour, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])

    def tell(word):
        with (folder / f"{name}.events").open("a") as file:
            file.write(f"{word} {time.monotonic():.4f} {os.getpid()}\\n")

    def on_interrupt(*_):
        tell("interrupt")
        if behaviour not in ("deaf", "stubborn"):
            sys.exit(0)

    def on_terminate(*_):
        tell("terminate")
        if behaviour != "stubborn":
            sys.exit(0)

    signal.signal(signal.SIGINT, on_interrupt)
    signal.signal(signal.SIGTERM, on_terminate)
    tell("start")
    print(f"{name} says hello", flush=True)
    starts = (folder / f"{name}.events").read_text().count("start")
    if behaviour == "always dies" or (behaviour == "dies once" and starts == 1):
        print("the camera is gone", flush=True)
        os._exit(7)
    if behaviour == "bad input":
        print("task.bundle is missing.", flush=True)
        os._exit(2)
    if behaviour.startswith("ends with "):
        time.sleep(0.3)
        os._exit(int(behaviour.split()[-1]))
    if behaviour == "has a child" and os.fork() == 0:
        name += "_child"
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tell("start")
    while True:
        time.sleep(0.02)
"""


class Nodes:
    """Fake nodes and what became of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "node.py"
        self.script.write_text(textwrap.dedent(NODE))

    def command(self, name: str, behaviour: str = "runs", **rules: bool) -> Command:
        argv = [sys.executable, "-I", "-S", str(self.script), name, behaviour, str(self.folder)]
        return Command(name, argv, **rules)

    def events(self, name: str) -> list[list[str]]:
        file = self.folder / f"{name}.events"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def words(self, name: str) -> list[str]:
        return [event[0] for event in self.events(name)]

    def pid(self, name: str) -> int:
        return int(self.events(name)[-1][2])


@pytest.fixture
def nodes(tmp_path):
    return Nodes(tmp_path)


def _is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _eventually(condition, seconds=60.0):
    """Wait for something that must happen; the bound only keeps a broken test from hanging."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def is_running():
    return _is_running


@pytest.fixture
def eventually():
    return _eventually


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    """Sessions of a test lie in its own folder."""
    monkeypatch.chdir(tmp_path)
    assert os.environ["PYTHONPATH"]
