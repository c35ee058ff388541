"""The whole command with fake nodes: real processes, real signals, no ROS."""

import json
import os
import pty
import signal
import subprocess
import sys
import textwrap

import pytest

NODES = (
    "safety_supervisor",
    "sim_franka",
    "perception",
    "reward",
    "policy_server",
    "episode_manager",
    "recorder",
    "learner",
    "console",
    "session",
)

TMRL = """
    import sys
    from pathlib import Path
    from tmrl_ros.cli import main, run
    from tmrl_ros.cli.processes import Command

    folder, behaviours = Path(sys.argv[1]), dict(word.split("=") for word in sys.argv[2].split(","))

    def command(node):
        argv = [sys.executable, "-I", "-S", str(folder / "node.py"), node.name]
        argv += [behaviours.get(node.name, "runs"), str(folder)]
        return Command(node.name, argv, node.restart, node.required, node.stop_last)

    run.command, run.check_start = command, lambda *_: None
    sys.exit(main.main(sys.argv[3:]))
"""


class Tmrl:
    """A `tmrl` whose nodes are fakes."""

    def __init__(self, folder):
        self.folder = folder
        self.script = folder / "tmrl.py"
        self.script.write_text(textwrap.dedent(TMRL))
        self.started = []

    def start(self, *words, behaviours="session=runs", **options):
        argv = [sys.executable, str(self.script), str(self.folder), behaviours, *words]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        self.started.append(subprocess.Popen(argv, cwd=self.folder, **options))
        return self.started[-1]

    def session(self):
        return next((self.folder / "sessions").iterdir())


@pytest.fixture
def tmrl(tmp_path, nodes):
    found = Tmrl(tmp_path)
    yield found
    for process in found.started:
        process.kill()
        process.communicate()


def test_the_run_ends_with_the_session(tmrl, nodes):
    process = tmrl.start("finetune", "task=lift", behaviours="session=ends with 0")
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors == ""
    assert "lift the red cube" in output
    assert nodes.words("session") == ["start"]
    assert tmrl.session().name.startswith("lift-")
    assert (tmrl.session() / "config.yaml").exists()
    memory = json.loads((tmrl.session() / "memory.json").read_text())
    assert memory["peak_memory_mb"] > 0
    assert "launcher" in memory["nodes"]


def test_the_session_s_exit_code_is_the_run_s(tmrl):
    process = tmrl.start("finetune", behaviours="session=ends with 4")
    output, errors = process.communicate()
    assert process.returncode == 4, errors
    assert "session ended with exit code 4" in errors
    assert "make finetune RESUME=sessions/" in output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_every_node_and_says_how_to_go_on(
    tmrl, nodes, eventually, is_running, number, code
):
    process = tmrl.start("finetune")
    assert eventually(lambda: all(nodes.words(name) for name in NODES))
    process.send_signal(number)
    output, errors = process.communicate()
    assert process.returncode == code
    assert errors == ""
    assert f"make finetune RESUME=sessions/{tmrl.session().name}" in output
    assert not any(is_running(nodes.pid(name)) for name in NODES)
    assert all(nodes.words(name) == ["start", "interrupt"] for name in NODES)


def test_ctrl_c_works_where_a_script_started_the_run_in_the_background(tmrl, nodes, eventually):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = tmrl.start("finetune")
    finally:
        signal.signal(signal.SIGINT, before)
    assert eventually(lambda: nodes.words("session"))
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130


def test_an_interrupted_session_goes_on_and_may_get_a_larger_budget(tmrl, nodes, eventually):
    process = tmrl.start("finetune", "session.seed=3", "session.dir=mine")
    assert eventually(lambda: nodes.words("session"))
    process.send_signal(signal.SIGINT)
    process.communicate()
    process = tmrl.start(
        "finetune", "--resume", "mine", "session.train_episodes=9", behaviours="session=ends with 0"
    )
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    config = (tmrl.folder / "mine" / "config.yaml").read_text()
    assert "train_episodes: 9" in config
    assert "seed: 3" in config


def test_a_second_run_in_the_same_folder_is_refused(tmrl, nodes, eventually):
    tmrl.start("finetune", "session.dir=mine")
    assert eventually(lambda: nodes.words("session"))
    for words in (["session.dir=mine"], ["--resume", "mine"]):
        process = tmrl.start("finetune", *words)
        _, errors = process.communicate()
        assert process.returncode == 2
        assert "mine" in errors
        assert errors.count("\n") == 1
    assert nodes.words("session") == ["start"]


def test_plain_lines_follow_the_status(tmrl, nodes, eventually):
    process = tmrl.start("finetune", "--plain", "session.dir=mine")
    assert eventually(lambda: nodes.words("session"))
    status = {
        "phase": "train",
        "episode": 7,
        "episodes_total": 200,
        "success_rate": {"rate": 0.5, "low": 0.25, "high": 0.75, "n": 20},
        "safety": {"state": "READY", "code": "", "message": ""},
    }
    (tmrl.folder / "mine" / "status.json").write_text(json.dumps(status))
    line = next(text for text in process.stdout if "train" in text)
    assert "7/200" in line
    assert "50% [25%, 75%] of 20" in line
    process.send_signal(signal.SIGINT)
    process.communicate()


def test_a_terminal_shows_a_panel(tmrl, nodes, eventually):
    outer, inner = pty.openpty()
    process = tmrl.start("finetune", "session.dir=mine", stdout=inner, stderr=inner)
    os.close(inner)
    assert eventually(lambda: nodes.words("session"))
    seen = ""
    while f"{len(NODES)} ok" not in seen:
        seen += os.read(outer, 65536).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    while "RESUME" not in seen:
        seen += os.read(outer, 65536).decode(errors="replace")
    process.wait()
    os.close(outer)
    assert process.returncode == 130
    assert "tmrl finetune" in seen
