"""What a policy can be told: its own task's text, and what else it was trained on."""

from __future__ import annotations

import json

from tmrl_ros.core.config import TaskConfig

SPEC_FILE = "policy.json"  # of a bundle; read as JSON, because the bundle's reader loads torch


def known_prompts(task: TaskConfig) -> tuple[str, ...]:
    """The task's text first; a bundle that cannot be read adds none."""
    try:
        found = json.loads((task.bundle / SPEC_FILE).read_text())["training"]["prompts"]
    except (OSError, ValueError, KeyError, TypeError):
        found = []
    texts = [str(text) for text in found] if isinstance(found, list) else []
    return tuple(dict.fromkeys([task.prompt, *texts]))
