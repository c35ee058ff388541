import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tmrl_ros.cli.processes import Patience, Processes

QUICK = Patience(first_delay_s=0.02, longest_delay_s=0.04, maximum_restarts=3)


@pytest.fixture
def run(nodes, tmp_path):
    """Start processes; whatever a test does, nothing is left over."""
    started = []

    def start(*commands, patience=QUICK, say=lambda _: None):
        processes = Processes(commands, {}, tmp_path / "logs", patience=patience, say=say)
        started.append(processes)
        processes.start()
        return processes

    yield start
    for processes in started:
        processes.stop()


def end_of(processes, eventually):
    ends = []
    assert eventually(lambda: ends.append(processes.poll()) or ends[-1] is not None)
    return ends[-1]


def test_a_node_that_dies_is_started_again_and_said_so(run, nodes, eventually):
    said = []
    processes = run(nodes.command("camera", "dies once"), say=said.append)
    assert eventually(
        lambda: processes.poll() is None and processes.health()["camera"] == "restarted 1x"
    )
    assert eventually(lambda: nodes.words("camera") == ["start", "start"])
    assert "camera" in said[0]
    assert "exit code 7" in said[0]
    assert "the camera is gone" in said[0]


def test_a_killed_node_is_started_again(run, nodes, eventually):
    processes = run(nodes.command("arm"))
    assert eventually(lambda: nodes.words("arm"))
    os.kill(nodes.pid("arm"), signal.SIGKILL)
    assert eventually(lambda: processes.poll() is None and len(nodes.words("arm")) == 2)


def test_a_node_that_keeps_dying_ends_the_run_with_its_log(run, nodes, eventually):
    processes = run(nodes.command("camera", "always dies"), nodes.command("arm"))
    end = end_of(processes, eventually)
    assert end.exit_code == 1
    assert "camera died 4 times" in end.message
    assert "camera.log" in end.message
    assert "the camera is gone" in end.message
    assert len(nodes.words("camera")) == 4


def test_a_node_with_bad_input_is_not_started_again(run, nodes, eventually):
    end = end_of(run(nodes.command("policy", "bad input")), eventually)
    assert end.exit_code == 2
    assert "task.bundle is missing." in end.message
    assert nodes.words("policy") == ["start"]


@pytest.mark.parametrize("code", [0, 5])
def test_the_required_node_ends_the_run_with_its_exit_code(run, nodes, eventually, code):
    session = nodes.command("session", f"ends with {code}", restart=False, required=True)
    end = end_of(run(nodes.command("arm"), session), eventually)
    assert end.exit_code == code
    assert bool(end.message) == bool(code)


def test_the_logs_hold_what_the_nodes_print(run, nodes, tmp_path, eventually):
    run(nodes.command("arm"))
    assert eventually(lambda: "arm says hello" in (tmp_path / "logs" / "arm.log").read_text())


def test_what_drives_and_records_is_stopped_after_the_others(run, nodes, eventually):
    processes = run(nodes.command("arm", stop_last=True), nodes.command("gate"))
    assert eventually(lambda: nodes.words("arm") and nodes.words("gate"))
    processes.stop()
    assert nodes.words("arm") == nodes.words("gate") == ["start", "interrupt"]
    assert float(nodes.events("gate")[-1][1]) < float(nodes.events("arm")[-1][1])


def test_stopping_takes_no_longer_than_the_nodes_need(run, nodes, eventually):
    names = [f"node{i}" for i in range(4)]
    processes = run(*(nodes.command(name) for name in names))
    assert eventually(lambda: all(nodes.words(name) for name in names))
    processes.stop()
    assert all(nodes.words(name) == ["start", "interrupt"] for name in names)


def test_a_deaf_node_is_terminated_and_a_stubborn_one_killed(run, nodes, eventually, is_running):
    patience = Patience(first_wave_s=0.2, interrupt_s=0.4, terminate_s=0.8, kill_s=60.0)
    said = []
    processes = run(
        nodes.command("deaf", "deaf"),
        nodes.command("stubborn", "stubborn"),
        patience=patience,
        say=said.append,
    )
    assert eventually(lambda: nodes.words("deaf") and nodes.words("stubborn"))
    processes.stop()
    assert nodes.words("deaf") == ["start", "interrupt", "terminate"]
    assert nodes.words("stubborn") == ["start", "interrupt", "terminate"]
    assert said == ["stubborn did not end by itself and was killed."]
    assert not is_running(nodes.pid("deaf"))
    assert not is_running(nodes.pid("stubborn"))


def test_what_a_node_started_ends_with_it(run, nodes, eventually, is_running):
    processes = run(nodes.command("arm", "has a child"))
    assert eventually(lambda: nodes.words("arm_child"))
    processes.stop()
    assert eventually(lambda: not is_running(nodes.pid("arm_child")))


def test_nothing_is_started_again_while_stopping(run, nodes, eventually):
    slow = Patience(first_delay_s=0.3, maximum_restarts=99)
    processes = run(nodes.command("camera", "always dies"), patience=slow)
    assert eventually(
        lambda: processes.poll() is None and "restarting" in processes.health()["camera"]
    )
    processes.stop()
    assert nodes.words("camera") == ["start"]


LAUNCHER = """
    import sys, time
    from pathlib import Path
    from tmrl_ros.cli.processes import Command, Processes

    folder = Path(sys.argv[1])
    commands = [
        Command(name, [sys.executable, "-I", "-S", str(folder / "node.py"), name, how, str(folder)])
        for name, how in (word.split("=") for word in sys.argv[2:])
    ]
    processes = Processes(commands, {}, folder / "logs")
    processes.start()
    while True:
        processes.poll()
        time.sleep(0.05)
"""


@pytest.mark.parametrize("behaviour", ["runs", "deaf", "stubborn", "has a child"])
def test_a_killed_launcher_leaves_nothing_behind(
    nodes, tmp_path, eventually, is_running, behaviour
):
    script = tmp_path / "launcher.py"
    script.write_text(textwrap.dedent(LAUNCHER))
    launcher = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), f"arm={behaviour}", "gate=runs"]
    )
    names = ["arm", "gate"] + ["arm_child"] * (behaviour == "has a child")
    try:
        assert eventually(lambda: all(nodes.words(name) for name in names))
    finally:
        launcher.kill()
        launcher.wait()
    for name in names:
        assert eventually(lambda name=name: not is_running(nodes.pid(name))), name
    assert nodes.words("gate") == ["start", "terminate"]  # asked, so that it can hold the arm
