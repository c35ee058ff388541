"""Record scripted demonstrations in simulation: one short session per prompt, all in one folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tmrl_ros.cli.run import run_graph
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import load_config


def demonstrate(overrides: Sequence[str], *, plain: bool = False) -> int:
    """Run the scripted expert once per prompt of the task.

    Bags go to sessions/demonstrations/<task>. A prompt whose session is complete is not recorded
    again.

    Raises:
        OperatorError: Something is wrong with what was asked.
    """
    config = load_config(overrides)
    task = config.task
    unknown = [
        key for key in task.demonstration.prompts if key not in {o.name for o in task.objects}
    ]
    if unknown:
        raise ConfigurationError(
            f"task.demonstration.prompts names the object {unknown[0]!r}, which is not in it."
        )
    prompts = task.demonstration.prompts or {task.wanted_object: [task.prompt]}
    for number, (wanted, prompt) in enumerate(
        (w, p) for w, texts in prompts.items() for p in texts
    ):
        folder = Path("sessions/demonstrations") / task.name / f"{number:02d}"
        if (folder / "report.json").is_file():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        code = run_graph(
            "collect", [*overrides, *_settings(config, folder, number, wanted, prompt)], plain=plain
        )
        if code:
            return code
    return 0


def _settings(config: Config, folder: Path, number: int, wanted: str, prompt: str) -> list[str]:
    demonstration = config.task.demonstration
    return [
        "method=scripted",
        "reward=simulator",
        f"session.dir={folder}",
        f"session.seed={config.session.seed + 1000 + number}",
        f"session.train_episodes={demonstration.episodes_per_prompt}",
        f"task.wanted_object={wanted}",
        f"task.prompt={prompt}",
        "task.region=demo",
        f"task.max_decisions={demonstration.max_decisions}",
        "recorder.cameras=none",
    ]
