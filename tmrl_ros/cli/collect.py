"""What `tmrl collect` has beyond the graph: the keys of this terminal, and its last words."""

from __future__ import annotations

import contextlib
import sys
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

from tmrl_ros.cli.processes import Command
from tmrl_ros.cli.session_folder import SessionFolder, shown
from tmrl_ros.core.collect_config import person_overrides
from tmrl_ros.core.load import load_config
from tmrl_ros.session.records import EpisodeRecord, load_records

KEYS = "tmrl_ros.nodes.keyboard"
KEYS_HELP = """\
The hardware stop button comes first; SPACE is the software stop.
h take the arm (begins), give it back | w s a d, arrows: to the sides | r f: up, down | g: gripper
m the arm follows your hand on it, and the keys again
y keep as success | n keep as failure | x throw away | q quit | ENTER held: hold-to-run"""


def collect_overrides(overrides: Sequence[str]) -> list[str]:
    """The overrides of a run that collects: a person drives unless another method is asked for.

    Raises:
        ConfigurationError: A wrong override.
    """
    simulated = load_config(person_overrides(overrides, simulated=False)).robot.kind == "sim"
    return person_overrides(overrides, simulated=simulated)


def keyboard(session: SessionFolder) -> Command:
    """The process that reads this terminal's keys; the run ends with it."""
    file = f"config_file:={session.config_file}"
    return Command(
        name="keyboard",
        argv=[sys.executable, "-m", KEYS, "--ros-args", "-p", file, "-p", "alone:=false"],
        restart=False,
        required=True,
        terminal=True,
    )


def has_keys(session: SessionFolder) -> bool:
    """Whether keys of this terminal can drive the arm of a session."""
    return session.config.by_person and sys.stdin.isatty()


@contextlib.contextmanager
def kept_terminal() -> Iterator[None]:
    """Leave the terminal as it was, also when the process that read its keys was killed."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def last_words(folder: Path, task: str) -> list[str]:
    """What was collected, and what to do with it."""
    records = [item for item in load_records(folder) if item.phase == "collect"]
    kept = [item for item in records if not item.aborted]
    if not kept:
        return ["Nothing was collected."]
    seconds = sum(moved_seconds(item) for item in kept)
    where = shown(folder)
    return [
        f"{len(kept)} demonstrations, {sum(r.success for r in kept)} of them successes, "
        f"{seconds / 60:.1f} min: {where / 'episodes'}",
        f"Look at them with: tmrl bag check {where}",
        f"Learn from them with: tmrl pretrain {where} task={task}",
        f"Collect more with: tmrl collect --resume {where}",
    ]


def moved_seconds(record: EpisodeRecord) -> float:
    """Robot time of an episode without its reset, s."""
    return max(0.0, record.robot_seconds - record.reset_seconds)
