import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tmrl_ros.cli.display import LiveDisplay, PlainDisplay, panel
from tmrl_ros.cli.status import Status, read_status

FULL = {
    "phase": "train",
    "episode": 40,
    "episodes_total": 200,
    "success_rate": {"rate": 0.65, "low": 0.43, "high": 0.82, "n": 20},
    "robot_minutes": 12.34,
    "wall_minutes": 5.0,
    "t_context": [0.0, 0.5, 1.0],
    "updates_per_second": 410.0,
    "updates_owed": 30,
    "transitions": 480,
    "safety": {"state": "LATCHED", "code": "FORCE", "message": "The hand felt 70 N."},
    "base": {"rate": 0.2, "low": 0.13, "high": 0.29, "n": 100},
    "critic": {"expected": 0.71, "seen": 0.42, "disagreement": 0.05},
    "clip_rate": 0.031,
    "fallback": "The base policy acts in training episodes 31 to 50: it is better.",
    "aborted": 2,
    "problem": {"at": "10:12:33", "text": "train_000039 was aborted: perception is silent"},
    "message": "resetting the scene",
}


@pytest.fixture
def status(tmp_path):
    (tmp_path / "status.json").write_text(json.dumps(FULL))
    return read_status(tmp_path / "status.json")


def drawn(status, nodes=None, notes=()):
    console = Console(file=io.StringIO(), width=100)
    console.print(panel("tmrl finetune", "sessions/a", status, nodes or {}, 800.0, list(notes)))
    return console.file.getvalue()


def test_the_panel_shows_everything_a_person_needs(status):
    text = drawn(status, {"arm": "ok", "camera": "restarted 1x"}, ["camera died"])
    for expected in (
        "40 of 200",
        "65% [43%, 82%] of 20; base policy 20% [13%, 29%] of 100",
        "expect 0.71, came 0.42, differ by 0.05",
        "3.1% of targets",
        "The base policy acts in training episodes 31 to 50: it is better.",
        "12.3 min robot",
        "▁▅█ 0.50",
        "480 transitions",
        "LATCHED FORCE: The hand felt 70 N.",
        "10:12:33 train_000039 was aborted: perception is silent. (2 aborted so far)",
        "camera restarted 1x",
        "1 ok",
        "800 MB",
        "resetting the scene",
        "camera died",
    ):
        assert expected in text


def test_text_with_brackets_is_shown_as_it_is():
    text = drawn(Status(message="[red]lift[/red] [/]", safety_state="READY", safety_code="[x]"))
    assert "[red]lift[/red] [/]" in text
    assert "READY [x]" in text


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"t_context": 3}', '{"safety": [1]}', '{"problem": [1]}', '{"episode": [1]}'],
)
def test_a_half_written_status_is_no_status(tmp_path, content):
    (tmp_path / "status.json").write_text(content)
    assert read_status(tmp_path / "status.json") is None
    assert read_status(tmp_path / "absent.json") is None


def test_absent_and_null_values_are_survived(tmp_path):
    (tmp_path / "status.json").write_text(
        json.dumps({"success_rate": {"rate": None, "n": 0}, "t_context": None, "safety": None})
    )
    status = read_status(tmp_path / "status.json")
    assert "no episodes yet" in status.line()
    assert drawn(status)


def test_plain_lines_come_once_per_episode(status):
    console = Console(file=io.StringIO(), soft_wrap=True)
    display = PlainDisplay("tmrl finetune", Path("sessions/a"), console)
    for episode in (1, 1, 1, 2):
        display.update(Status(phase="train", episode=episode, message=str(episode)), {}, 0.0)
    assert console.file.getvalue().count("\n") == 1 + 2


def test_plain_output_tells_a_problem_once_and_at_once(status):
    console = Console(file=io.StringIO(), soft_wrap=True)
    display = PlainDisplay("tmrl finetune", Path("sessions/a"), console)
    display.update(Status(phase="train", episode=40), {}, 0.0)
    for _ in range(3):
        display.update(status, {}, 0.0)
    text = console.file.getvalue()
    assert text.count("problem: 10:12:33 train_000039 was aborted: perception is silent.") == 1


def test_a_sentence_is_drawn_although_nothing_else_follows():
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    display = LiveDisplay("tmrl finetune", Path("sessions/a"), console)
    display.update(Status(message="waiting"), {}, 0.0)
    display.note("Stopping: the arm holds")
    display.close()
    assert "Stopping: the arm holds" in console.file.getvalue()
