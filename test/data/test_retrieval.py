"""Finding in recorded play what moves as one demonstration does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import WIDE_M, good_path, line, rest, write_bag

from tmrl_ros.cli.retrieve import retrieve
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import EpisodeOutcome
from tmrl_ros.data.retrieval import find, query_of, rank
from tmrl_ros.data.segments import load_segments, read_index
from tmrl_ros.data.tool_path import read_path
from tmrl_ros.policies.demonstrations import control_steps
from tmrl_ros.policies.pretrain import pretrain
from tmrl_ros.policies.training import TrainingSettings

HOME = np.array([0.45, 0.0, 0.20])
PLAYS, PARTS = 8, 5


class Play:
    """Somebody plays with a cube: picks, pushes, circles; we know when they picked it up.

    The `hard` one trembles, is slower or faster, picks at air 8 cm above the table and puts down
    what is picked up elsewhere: nearly the same motions.
    """

    def __init__(self, seed: int, *, hard: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.parts: list[np.ndarray] = []
        self.picks: list[tuple[float, float]] = []
        self.at = HOME.copy()
        others = ["air", "place", "push", "circle"] if hard else ["push", "circle"] * 2
        self.tremble_m = 0.004 if hard else 0.001
        slow = (0.6, 1.8) if hard else (0.8, 1.3)
        for kind in self.rng.permutation(["pick", *others]):
            begin_s = sum(map(len, self.parts)) / 20.0
            getattr(self, f"_{kind}")(self.rng.uniform(*slow))
            if kind == "pick":
                self.picks.append((begin_s, sum(map(len, self.parts)) / 20.0))
            self._go(HOME + self.rng.uniform(-0.04, 0.04, 3), 1.0, 1.0)

    @property
    def path(self) -> np.ndarray:
        whole = np.concatenate(self.parts)
        whole[:, :3] += self.tremble_m * self.rng.normal(size=(len(whole), 3))
        return whole

    def _go(self, goal, seconds, opening):
        self.parts.append(line(self.at, goal, seconds, opening))
        self.at = np.asarray(goal, float)

    def _spot(self):
        x, y = self.rng.uniform([0.47, -0.05], [0.57, 0.09])
        return np.array([x, y, 0.02])

    def _pick(self, slow):
        spot = self._spot()
        self._go(spot, 2.0 * slow, 1.0)
        self.parts.append(rest(spot, 0.5, 0.0))
        self._go(spot + [0, 0, 0.13], 1.5 * slow, 0.0)

    def _air(self, slow):
        spot = self._spot() + [0.0, 0.0, 0.08]
        self._go(spot, 2.0 * slow, 1.0)
        self.parts.append(rest(spot, 0.5, 0.0))
        self._go(spot + [0, 0, 0.13], 1.5 * slow, 0.0)

    def _place(self, slow):
        spot = self._spot()
        self._go(spot, 2.0 * slow, 0.0)
        self.parts.append(rest(spot, 0.5, 1.0))
        self._go(spot + [0, 0, 0.13], 1.5 * slow, 1.0)

    def _push(self, slow):
        spot = self._spot()
        self._go(spot + [0.0, -0.1, 0.0], 2.0 * slow, 0.0)
        self._go(spot + [0.0, 0.1, 0.0], 1.5 * slow, 0.0)

    def _circle(self, slow):
        turn = np.linspace(0, 2 * np.pi, 5)[1:]
        for angle in turn:
            self._go(HOME + 0.08 * np.array([np.cos(angle), np.sin(angle), 0.0]), slow, 1.0)


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """One demonstration of lifting, and a folder of play with one pick in every bag."""
    folder = tmp_path_factory.mktemp("play")
    demonstration = write_bag(folder / "demonstrations", "collect_000000", good_path(idle_s=1.0))
    picks = {}
    for number in range(PLAYS):
        play = Play(number)
        name = f"other_{number:06d}"
        write_bag(folder / "play", name, play.path, outcome_said=EpisodeOutcome.TIMEOUT)
        picks[name] = play.picks
    return folder, demonstration, picks


def overlap(segment, picks) -> bool:
    """Whether more than half of a segment, and of the pick, is the other."""
    begin_s, end_s = segment.begin_ns / 1e9, segment.end_ns / 1e9
    for low_s, high_s in picks[segment.bag.name]:
        both_s = min(high_s, end_s) - max(low_s, begin_s)
        if both_s > 0.5 * (end_s - begin_s) and both_s > 0.5 * (high_s - low_s):
            return True
    return False


def test_what_is_relevant_comes_first(cell):
    folder, demonstration, picks = cell
    query = query_of(read_path(demonstration), WIDE_M)
    paths = [read_path(bag) for bag in sorted((folder / "play").iterdir())]
    found = rank(query, paths, WIDE_M, per_bag=3, most=3 * PLAYS)
    relevant = [overlap(item, picks) for item in found]
    wanted = sum(map(len, picks.values()))
    first = relevant[:wanted]
    assert sum(first) / wanted >= 0.75, f"precision and recall at {wanted}: {first}"
    assert found == sorted(found, key=lambda item: item.distance)


def test_the_command_writes_an_index_that_pretraining_takes(cell, tmp_path, capsys):
    folder, demonstration, picks = cell
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mcap")}
    out = tmp_path / "found" / "index.json"
    words = [str(demonstration), str(folder / "play"), "--out", str(out), "--top", "4"]
    assert retrieve([*words, "--per-bag", "1"]) == 0
    said = capsys.readouterr().out
    assert "4 segments of 8 bags" in said and out.with_suffix(".png").stat().st_size > 10_000
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.mcap")} == before
    index = read_index(out)
    assert len(index.segments) == 4 and index.prompt == "lift the red cube"
    parts = load_segments(out)
    assert len(parts) == 4
    for part, segment in zip(parts, index.segments, strict=True):
        assert part.outcome is EpisodeOutcome.SUCCESS and part.prompt == index.prompt
        steps = control_steps(part, 8, WIDE_M)
        assert steps is not None
        begin_ns, end_ns = part.trajectory.target_stamp_ns[[0, -1]].tolist()
        assert segment.begin_ns - 200_000_000 <= begin_ns and end_ns <= segment.end_ns
        np.testing.assert_array_equal(
            steps.states[0, :3].round(4),
            part.trajectory.ee_positions[0].astype(np.float32).round(4),
        )
    config = load_config(["task=lift"])
    red = config.task.objects[0]
    task = config.task.model_copy(
        update={"objects": [red, red.model_copy(update={"name": "green"})]}
    )
    config = config.model_copy(update={"task": task})
    spec = pretrain(
        config, [demonstration, out], tmp_path / "bundle", TrainingSettings(iterations=2)
    )
    assert spec.training.demonstrations == 5


def test_appearance_ranks_again_and_max_distance_leaves_out(cell, tmp_path, capsys):
    folder, demonstration, _ = cell
    words = [str(demonstration), str(folder / "play"), "--out", str(tmp_path / "i.json")]
    assert retrieve([*words, "--appearance", "0.5", "--top", "3"]) == 0
    assert len(read_index(tmp_path / "i.json").segments) == 3
    assert retrieve([*words, "--max-distance", "0.0"]) == 0
    assert not read_index(tmp_path / "i.json").segments


def test_a_motion_is_found_where_it_is_and_as_it_is():
    rng = np.random.default_rng(0)
    query = np.concatenate([0.02 * rng.normal(size=(30, 3)), rng.random((30, 1))], axis=1)
    around = np.concatenate([0.02 * rng.normal(size=(200, 3)), rng.random((200, 1))], axis=1)
    around[120:150] = query
    (best, *others) = find(query, around, 3)
    assert (best.begin, best.end) == (120, 150) and best.distance == 0.0
    assert all(item.distance > 0.1 for item in others)


@pytest.mark.parametrize("every", [0.6, 1.0, 1.8])
def test_a_slower_or_faster_one_is_found_too(every):
    """Its steps are shorter or longer, but its way is the same."""
    rng = np.random.default_rng(1)
    query = query_of_line(40)
    count = round(40 * every)
    same = query_of_line(count)
    motion = np.concatenate([_noise(rng, 60), same, _noise(rng, 60)])
    best = find(query, motion, 1)[0]
    assert abs(best.begin - 60) <= 6 and abs(best.end - (60 + count)) <= 6


def query_of_line(count):
    """A way of 0.4 m in `count` steps, gripper closing at half of it."""
    steps = np.zeros((count, 4))
    steps[: count // 2, 2] = -0.4 / count
    steps[count // 2 :, 0] = 0.4 / count
    steps[: count // 2, 3] = 1.0
    return steps


def _noise(rng, count):
    return np.concatenate([0.01 * rng.normal(size=(count, 3)), np.ones((count, 1))], axis=1)


@settings(max_examples=40)
@given(st.integers(2, 20), st.integers(1, 60), st.integers(0, 10_000), st.integers(1, 5))
def test_matches_never_overlap_and_keep_to_the_slope(n, m, seed, most):
    rng = np.random.default_rng(seed)
    found = find(0.02 * rng.normal(size=(n, 4)), 0.02 * rng.normal(size=(m, 4)), most)
    assert len(found) <= most
    rows = [row for item in found for row in range(item.begin, item.end)]
    assert len(rows) == len(set(rows))
    for item in found:
        assert 0 <= item.begin < item.end <= m
        assert (n - 1) / 2 <= item.end - item.begin - 1 <= 2 * (n - 1)


def test_bad_input_is_one_sentence(cell, tmp_path):
    folder, demonstration, _ = cell
    still = write_bag(tmp_path, "collect_000009", rest(HOME, 3.0, 1.0))
    with pytest.raises(OperatorError, match="hardly moves"):
        retrieve([str(still), str(folder / "play"), "--out", str(tmp_path / "x.json")])
    with pytest.raises(OperatorError, match="is no bag"):
        retrieve([str(folder), str(folder / "play")])
    with pytest.raises(OperatorError, match="--top 0"):
        retrieve([str(demonstration), str(folder / "play"), "--top", "0"])
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"kind": "something"}))
    with pytest.raises(ConfigurationError, match=r"wrong.json is no index of segments"):
        read_index(wrong)
