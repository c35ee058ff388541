"""Which words of `make ... ARGS="..."` reach which command."""

import subprocess

import pytest

FAKE = """#!/bin/sh
for word; do printf '[%s]' "$word"; done
echo
"""


@pytest.fixture
def make(root, tmp_path):
    """Runs the real Makefile with a `tmrl` that prints its words, and without any set-up."""
    command = tmp_path / "tmrl"
    command.write_text(FAKE)
    command.chmod(0o755)

    def run(target, words):
        done = subprocess.run(
            ["make", "-C", str(root), "--no-print-directory", "-o", "setup", target]
            + [f"BIN={tmp_path}", f"ARGS={words}"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_pretrain_records_with_the_overrides_and_trains_with_all_words(make):
    words = "task=lift --iterations 100 task.prompt='lift the red cube' --out=bundles/mine --seed 3"
    assert make("pretrain", words) == [
        "[demonstrate][task=lift][task.prompt=lift the red cube]",
        "[pretrain][task=lift][--iterations][100][task.prompt=lift the red cube]"
        "[--out=bundles/mine][--seed][3]",
    ]


@pytest.mark.parametrize("words", ["--demonstrations my/bags", "--demonstrations=my/bags"])
def test_pretrain_on_ones_own_demonstrations_records_none(make, words):
    (line,) = make("pretrain", f"task=lift {words}")
    assert line.startswith("[pretrain][task=lift][--demonstrations")


def test_pretrain_without_words_does_both(make):
    assert make("pretrain", "") == ["[demonstrate]", "[pretrain]"]


def test_finetune_keeps_words_with_spaces_together(make):
    assert make("finetune", "task=lift task.prompt='lift it'") == [
        "[finetune][task=lift][task.prompt=lift it]"
    ]
