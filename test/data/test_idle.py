"""What of a demonstration is idle, and what pre-training makes of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from played import good_path, write_bag

from tmrl_ros.core.collect_config import CollectConfig
from tmrl_ros.data.collected import read_collected
from tmrl_ros.data.idle import idle_rows, kept_rows
from tmrl_ros.policies.demonstrations import control_steps


def test_fingers_at_work_are_no_pause():
    still = np.tile([0.5, 0.0, 0.1], (6, 1))
    told = np.array([0.08, 0.08, 0.0, 0.0, 0.0, 0.0])
    width = np.array([0.08, 0.08, 0.08, 0.06, 0.04, 0.04])
    assert idle_rows(still, told, width).tolist() == [True, True, False, False, False, True]


def test_a_target_that_creeps_below_the_limit_is_idle():
    creeping = np.array([[0.0, 0.0, 0.0001 * k] for k in range(5)])
    assert idle_rows(creeping, np.zeros(5), np.zeros(5)).all()
    assert not idle_rows(10 * creeping, np.zeros(5), np.zeros(5)).any()


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 8))
def test_busy_rows_are_never_cut_and_no_later_pause_is_longer_than_allowed(idle, longest):
    rows = np.array(idle, bool)
    kept = kept_rows(rows, longest)
    assert kept[~rows].all()
    if not rows.all():
        first = int(np.flatnonzero(~rows)[0])
        assert not kept[:first].any()
    remaining = rows[kept]
    runs = "".join("i" if still else "b" for still in remaining.tolist()).split("b")
    assert max(map(len, runs)) <= max(longest, 1)


@pytest.mark.parametrize(("idle_s", "pause_s"), [(0.0, 0.0), (3.0, 0.0), (0.0, 4.0), (2.0, 2.0)])
def test_a_chunk_is_what_follows_without_the_pause(tmp_path, idle_s, pause_s):
    (plain,) = _steps(tmp_path / "plain", good_path())
    (paused,) = _steps(tmp_path / "paused", good_path(idle_s, pause_s))
    assert abs(int(paused.kept.sum()) - int(plain.kept.sum())) <= 11, "half a second may remain"
    low = int(np.flatnonzero(plain.chunks[:, 0, 3] < 0.5)[0])
    again = np.flatnonzero(paused.kept & (paused.chunks[:, 0, 3] < 0.5))[0]
    np.testing.assert_allclose(paused.chunks[again, 0], plain.chunks[low, 0], atol=1e-6)
    first = int(np.flatnonzero(paused.kept)[0])
    moved = np.linalg.norm(paused.chunks[first, -1, :3] - paused.chunks[first, 0, :3])
    assert moved > 0.01, "the first chunk that is learned from moves"


def test_a_chunk_that_was_let_go_of_counts_the_rows_that_were_sent(tmp_path):
    path = good_path()
    (whole,) = _steps(tmp_path / "whole", path)
    (cut,) = _steps(tmp_path / "cut", path, released_at=3)
    assert len(cut.states) == len(whole.states) - 2
    np.testing.assert_allclose(cut.states[15:], whole.states[17:], atol=1e-6)
    np.testing.assert_allclose(cut.states[:14], whole.states[:14], atol=1e-6)
    assert cut.starts.tolist() == [0, 4, 8, 12, *range(14, 14 + 4 * (len(cut.starts) - 4), 4)]


def _steps(folder, path, **how):
    write_bag(folder, "collect_000000", path, **how)
    found = read_collected(folder, CollectConfig())
    return [control_steps(item.demonstration, 8, 0.08) for item in found]
