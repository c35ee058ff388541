"""Files that survive a crash."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from recorded import event

from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.data.episodes_log import append_episode, read_episodes, write_json_atomic


def ended(name, outcome=EpisodeOutcome.SUCCESS):
    return event(name, EpisodeState.ENDED, outcome, 3, "reward")


def test_lines_come_back_in_order_with_the_latest_of_each_episode(tmp_path):
    log = tmp_path / "new" / "episodes.jsonl"
    assert read_episodes(log) == []
    append_episode(log, ended("train_000000"), {"wall_s": np.float64(1.5)})
    append_episode(log, ended("train_000001"))
    append_episode(log, ended("train_000000", EpisodeOutcome.FAILURE))
    found = read_episodes(log)
    assert [row["episode_id"] for row in found] == ["train_000001", "train_000000"]
    assert found[1]["outcome"] == "failure" and found[0]["phase"] == "train"
    assert json.loads(log.read_text().splitlines()[0])["wall_s"] == 1.5


def test_a_torn_line_costs_only_itself(tmp_path):
    log = tmp_path / "episodes.jsonl"
    append_episode(log, ended("train_000000"))
    with log.open("ab") as file:
        file.write(b'{"episode_id": "train_0000')
    append_episode(log, ended("train_000002"))
    assert [row["episode_id"] for row in read_episodes(log)] == ["train_000000", "train_000002"]


def test_columns_must_not_hide_the_event_s(tmp_path):
    with pytest.raises(ValueError, match="'outcome'"):
        append_episode(tmp_path / "log", ended("a"), {"outcome": "x"})


def test_json_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "status.json"
    write_json_atomic(file, {"a": np.int64(1), "b": [float("nan"), Path("x")], "c": np.ones(2)})
    assert json.loads(file.read_text()) == {"a": 1, "b": [None, "x"], "c": [1.0, 1.0]}

    def refuse(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_json_atomic(file, {"a": 2})
    assert json.loads(file.read_text())["a"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]
