"""Mistakes on the command line: one sentence, exit code 2, nothing started, nothing left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from tmrl_ros.cli import services
from tmrl_ros.cli.main import main, parse


def tmrl(*words):
    return subprocess.run(
        [sys.executable, "-m", "tmrl_ros.cli.main", *words], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["finetune", "method.batchsize=3"], "method.batchsize"),
        (["finetune", "session.seed=abc"], "'abc'"),
        (["finetune", "method.discount=1.5"], "1.5"),
        (["finetune", "task=juggle"], "tasks/juggle.yaml"),
        (["finetune", "robot=nowhere/arm.yaml"], "nowhere/arm.yaml"),
        (["deploy", "task.wanted_object=teapot"], "teapot"),
        (["finetune", "task.bundle=nowhere/bundle"], "nowhere/bundle"),
        (["finetune", "--resume", "nothing"], "'nothing'"),
        (["deploy"], "method=base"),
        (["stop", "--session", "nothing"], "'nothing'"),
        (["report"], "sessions/"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_starts(words, expected):
    done = tmrl(*words)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path("sessions").glob("*"))


def test_a_full_disk_is_said_before_anything_starts():
    done = tmrl("finetune", "recorder.min_free_mb=1e15")
    assert done.returncode == 2
    assert "recorder.min_free_mb" in done.stderr
    assert not list(Path("sessions").glob("*"))


@pytest.mark.parametrize("content", ["config.yaml", "holiday.jpg"])
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, content):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / content).write_text("precious")
    done = tmrl("finetune", "session.dir=taken")
    assert done.returncode == 2
    assert "taken" in done.stderr
    assert [item.read_text() for item in (tmp_path / "taken").iterdir()] == ["precious"]


def test_a_resumed_session_keeps_what_it_was_started_with(tmp_path):
    from tmrl_ros.core.load import load_config, write_config

    write_config(load_config(), tmp_path / "mine" / "config.yaml")
    before = (tmp_path / "mine" / "config.yaml").read_text()
    done = tmrl("finetune", "--resume", "mine", "method.hidden=64")
    assert done.returncode == 2
    assert "method.hidden" in done.stderr
    assert (tmp_path / "mine" / "config.yaml").read_text() == before


def test_overrides_may_stand_anywhere():
    args = parse(["finetune", "task=lift", "--plain", "session.seed=1"])
    assert args.overrides == ["task=lift", "session.seed=1"]
    assert args.plain


@pytest.mark.parametrize(("words", "who"), [([], "operator"), (["--by", "ada"], "ada")])
def test_a_label_says_whose_it_is(monkeypatch, words, who):
    asked = []
    monkeypatch.setattr(services, "call", lambda command, *_: asked.append(command) or 0)
    assert main(["label", "success", "--episode", "train_000003", *words]) == 0
    assert asked == [["label", "success", "--episode", "train_000003", "--by", who]]


def test_an_unknown_option_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["finetune", "--fast"])
    assert end.value.code == 2
    assert "--fast" in capsys.readouterr().err


def test_config_prints_what_a_session_would_have(capsys):
    assert main(["config", "task=lift", "session.seed=5"]) == 0
    output = capsys.readouterr().out
    assert "seed: 5" in output
    assert "hash" in output


def test_env_prints_what_a_shell_needs_to_join_the_domain(capsys):
    assert main(["env", "session.domain_id=7"]) == 0
    assert "export ROS_DOMAIN_ID=7\n" in capsys.readouterr().out


def test_version_prints_versions(capsys):
    assert main(["version"]) == 0
    assert "rclpy 7.1" in capsys.readouterr().out


def test_the_command_starts_without_heavy_libraries():
    program = (
        "import sys; from tmrl_ros.cli.main import main; import tmrl_ros.cli.run; main(['config']);"
        "print(*({'torch', 'rclpy', 'mujoco', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--decisions", "3"], "needs the episode"),
        (["--episode", "train_000001"], "either --decisions"),
        (["--episode", "train_000001", "--decisions", "3", "--undo"], "either --decisions"),
        (["--episode", "train_000001", "--undo"], "no session in sessions/"),
        (["--episode", "train_000001", "--undo", "--session", "absent"], "no session 'absent'"),
    ],
)
def test_a_cut_that_is_not_whole_is_refused(monkeypatch, tmp_path, capsys, words, why):
    monkeypatch.chdir(tmp_path)
    assert main(["label", "trim", *words]) == 2
    said = capsys.readouterr().err
    assert why in said and said.count("\n") == 1
