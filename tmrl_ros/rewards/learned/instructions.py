"""Which prompts of a task mean the same, and which mean something else."""

from __future__ import annotations

from tmrl_ros.core.config import Config

OTHERS = ("red", "green", "blue")
"""Objects of which an instruction is made where a task names none."""


def instructions(config: Config) -> dict[str, tuple[str, ...]]:
    """Texts for every object that could be wanted; the task's own prompt is among them.

    Objects that are not in the scene are included, so that a model of a one-object task learns to
    read the instruction at all.
    """
    task = config.task
    texts = {name: list(items) for name, items in task.demonstration.prompts.items()}
    for name in OTHERS:
        texts.setdefault(name, [f"lift the {name} cube"])
    own = texts.setdefault(task.wanted_object, [])
    for others in texts.values():
        if others is not own and task.prompt in others:
            others.remove(task.prompt)
    if task.prompt not in own:
        own.append(task.prompt)
    return {name: tuple(items) for name, items in texts.items() if items}
