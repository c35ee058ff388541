"""The texts that the page offers."""

from pathlib import Path

import pytest

from tmrl_ros.console.prompts import known_prompts
from tmrl_ros.core.load import load_config


def test_the_task_s_own_text_comes_first_and_only_once() -> None:
    found = known_prompts(load_config(["task=pick_named"]).task)
    assert found[0] == load_config(["task=pick_named"]).task.prompt
    assert len(set(found)) == len(found) > 3


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"training": {"prompts": 3}}'])
def test_a_bundle_that_says_nothing_adds_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "policy.json").write_text(content)
    task = load_config(["task=lift"]).task.model_copy(update={"bundle": tmp_path})
    assert known_prompts(task) == (task.prompt,)
