"""`tmrl teleop` in a real terminal, with a supervisor that listens."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from tmrl_msgs.msg import TeleopCommand
from tmrl_ros.core import topics
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.nodes.common import RELIABLE

PATIENCE_S = 60.0  # keeps a broken test from hanging; nothing is measured by it


class Terminal:
    """A terminal with `tmrl teleop` in it, and a node that hears what it says."""

    def __init__(self, session: Path) -> None:
        rclpy.init()
        self.node = rclpy.create_node("listener")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.commands: list[TeleopCommand] = []
        self.holds: list[bool] = []
        self.stops = 0
        listen = self.node.create_subscription
        listen(TeleopCommand, topics.TELEOP_COMMAND, self.commands.append, RELIABLE)
        listen(Bool, topics.HOLD_TO_RUN, lambda msg: self.holds.append(msg.data), RELIABLE)
        self.node.create_service(Trigger, topics.STOP, self.on_stop)
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        argv = [sys.executable, "-m", "tmrl_ros.cli.main", "teleop", "--session", str(session)]
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.set_blocking(self.master, False)
        self.shown = ""

    def on_stop(self, _, response):
        self.stops += 1
        response.success, response.message = True, "Stopped."
        return response

    def look(self) -> None:
        self.executor.spin_once(timeout_sec=0.02)
        with contextlib.suppress(OSError):  # nothing to read
            self.shown += os.read(self.master, 65536).decode(errors="replace")

    def until(self, condition, what, typing=""):
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.shown}"
            if typing:
                os.write(self.master, typing.encode())
            self.look()
        return found

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()


@pytest.fixture
def terminal(tmp_path, domain_id):
    session = tmp_path / "session"
    config = load_config(["task=lift", f"session.dir={session}", f"session.domain_id={domain_id}"])
    write_config(config, session / "config.yaml")
    terminal = Terminal(session)
    yield terminal
    terminal.close()


def test_keys_take_the_arm_steer_stop_and_leave(terminal):
    terminal.until(lambda: "SPACE is the software stop" in terminal.shown, "the help")
    assert terminal.shown.index("hardware stop button") < terminal.shown.index("software stop")
    terminal.until(lambda: terminal.node.count_publishers(topics.TELEOP_COMMAND), "the keyboard")
    terminal.look()
    assert not terminal.commands, "nobody has taken the arm"
    terminal.types("h")
    terminal.until(lambda: terminal.commands and terminal.commands[-1].engaged, "the arm")
    assert terminal.commands[-1].device == "keyboard"
    assert terminal.commands[-1].header.frame_id == "panda_link0"
    terminal.until(lambda: terminal.commands[-1].linear.z > 0.0, "a motion up", typing="r")
    terminal.until(lambda: terminal.commands[-1].linear.z == 0.0, "its end")
    assert not any(terminal.holds) or not terminal.holds[-1]
    terminal.until(lambda: terminal.holds[-1:] == [True], "hold-to-run", typing="\r")
    terminal.until(lambda: terminal.holds[-1:] == [False], "its release")
    terminal.types(" ")
    terminal.until(lambda: terminal.stops == 1, "the stop")
    terminal.until(lambda: not terminal.commands[-1].engaged, "the arm to be given back")
    terminal.until(lambda: "Stopped." in terminal.shown, "the answer")
    terminal.types("\x03")
    terminal.until(lambda: terminal.process.poll() is not None, "its end")
    assert terminal.process.returncode == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before, "the terminal is as it was"


def test_without_a_terminal_it_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tmrl_ros.cli.main", "teleop"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "`tmrl teleop` reads keys: start it in a terminal.\n"
