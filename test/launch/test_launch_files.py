"""The launch files, where ROS's launch is installed (it is not on PyPI)."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tmrl_ros.core.graph import nodes_for
from tmrl_ros.core.load import load_config

pytest.importorskip("launch.actions", reason="launch is not installed; it comes with an apt ROS")
pytest.importorskip("launch_ros.actions", reason="launch_ros is not installed")

KINDS = ("finetune", "deploy", "evaluate", "collect")
# `ros2 launch FILE NAME:=VALUE ...` without the rest of ros2cli.
ROS2_LAUNCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
arguments = [tuple(word.split(":=")) for word in sys.argv[2:]]
service = LaunchService(noninteractive=True)
source = AnyLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


@pytest.fixture
def launch(root, tmp_path):
    def start(kind, *words):
        return subprocess.Popen(
            [sys.executable, "-c", ROS2_LAUNCH, str(root / "launch" / f"{kind}.launch.py"), *words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "AMENT_PREFIX_PATH": sys.prefix},
        )

    return start


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_has_a_description(root, kind):
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    file = str(root / "launch" / f"{kind}.launch.py")
    arguments = get_launch_description_from_python_launch_file(file).get_launch_arguments()
    names = {argument.name for argument in arguments}
    assert {"robot", "task", "method", "session_dir", "seed", "overrides", "rviz"} <= names
    assert all(argument.description for argument in arguments)


def test_replay_takes_a_session_and_says_what_is_missing(launch, tmp_path):
    output, _ = (process := launch("replay")).communicate()
    assert process.returncode == 1 and "session:= is empty" in output
    output, _ = (process := launch("replay", f"session:={tmp_path}")).communicate()
    assert process.returncode == 1 and "cannot be read" in output


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("task:=juggle", "tasks/juggle.yaml"),
        ("overrides:=method.batchsize=3", "method.batchsize"),
        ("seed:=many", "'many'"),
        ("resume:=nothing", "'nothing'"),
        ("overrides:=task.bundle=nowhere/bundle", "nowhere/bundle"),
    ],
)
def test_a_mistake_is_a_sentence_and_nothing_starts(launch, tmp_path, word, expected):
    process = launch("finetune", word)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert expected in output
    assert "process started" not in output
    assert not list(tmp_path.glob("sessions/*"))


@pytest.fixture
def graph(launch, tmp_path, domain_id):
    """A running graph and its pids. The scripted expert needs no bundle."""
    process = launch(
        "collect",
        f"overrides:=session.domain_id={domain_id} method.name=scripted recorder.cameras=none",
    )
    wanted = {node.name for node in nodes_for(load_config(), tmp_path, "collect")}
    pids, seen = {}, ""
    for line in process.stdout:
        seen += line
        started = re.search(r"\[(\w+)-\d+\]: process started with pid \[(\d+)\]", line)
        if started:
            pids[started[1]] = int(started[2])
        if len(pids) == len(wanted):
            break
    assert wanted == pids.keys(), seen
    yield process, pids
    process.kill()
    process.wait()


def wait_until_gone(pids):
    while any(Path(f"/proc/{pid}/cmdline").is_file() and _words(pid) for pid in pids):
        time.sleep(0.05)


def _words(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for what only waits to be reaped
    except OSError:
        return b""


def test_a_killed_launch_leaves_nothing_behind(graph):
    process, pids = graph
    process.kill()
    wait_until_gone(pids.values())


def test_ctrl_c_ends_the_graph(graph, tmp_path, domain_id):
    process, pids = graph
    process.send_signal(signal.SIGINT)
    process.communicate()
    wait_until_gone(pids.values())
    config = next((tmp_path / "sessions").iterdir()) / "config.yaml"
    assert "collect-" in config.parent.name
    assert f"domain_id: {domain_id}" in config.read_text()
