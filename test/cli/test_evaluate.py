"""What `tmrl evaluate` makes of its words."""

from pathlib import Path

import pytest

from tmrl_ros.cli.evaluate import evaluate, split
from tmrl_ros.core.errors import ConfigurationError

BUNDLES = Path(__file__).parents[2] / "bundles"


def test_policies_and_settings_are_told_apart() -> None:
    named, overrides = split(
        [f"old={BUNDLES / 'lift'}", "task=lift", f"new={BUNDLES / 'stack'}", "comparison.starts=9"]
    )
    assert named == {"old": BUNDLES / "lift", "new": BUNDLES / "stack"}
    assert overrides == ["task=lift", "comparison.starts=9"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["old=nowhere"], "neither a policy bundle .* nor a session"),
        ([f"a={BUNDLES / 'lift'}", f"a={BUNDLES / 'lift'}"], "a is named twice"),
        (["lift"], "'lift' is not understood"),
    ],
)
def test_wrong_words_are_named(words: list[str], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        split(words)


def test_one_policy_is_none_to_compare() -> None:
    with pytest.raises(ConfigurationError, match="Name two policies"):
        evaluate([f"old={BUNDLES / 'lift'}"])
