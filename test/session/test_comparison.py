"""A blind comparison: who acts next, when it ends, and how often it errs."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tmrl_ros.core.comparison import METHOD_PREFIX, ComparisonConfig
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import load_config
from tmrl_ros.session.comparison import chance_better, evidence, next_goal, standing, turned
from tmrl_ros.session.comparison_report import build_comparison, figures
from tmrl_ros.session.records import EpisodeRecord
from tmrl_ros.session.runner import run_settings


def comparing(names: str = "old new", starts: int = 30, seed: int = 0) -> Config:
    contenders = [{"name": name, "bundle": f"bundles/{name}"} for name in names.split()]
    return load_config(
        [
            "task=lift",
            "method=base",
            f"session.seed={seed}",
            f"comparison.starts={starts}",
            f"comparison.contenders={json.dumps(contenders)}",
        ]
    )


def played(config: Config, succeeds) -> list[EpisodeRecord]:
    """Run the comparison to its end; `succeeds(name, start)` is the world."""
    coded = config.comparison.coded(config.session.seed)
    records: list[EpisodeRecord] = []
    while (goal := next_goal(config, records)) is not None:
        name = coded[goal.method.removeprefix(METHOD_PREFIX)].name
        good = succeeds(name, goal.start_index // len(coded))
        records.append(
            EpisodeRecord(
                episode_id=f"other_{goal.start_index:06d}",
                index=goal.start_index,
                phase="other",
                outcome="success" if good else "failure",
                method=goal.method,
            )
        )
    return records


def test_every_start_is_met_by_all_in_changing_order() -> None:
    config = comparing("a b c", starts=12)
    records = played(config, lambda name, start: True)
    assert len(records) == 36
    for start in range(12):
        letters = [record.method[-1] for record in records[3 * start : 3 * start + 3]]
        assert sorted(letters) == ["A", "B", "C"]
    firsts = Counter(record.method[-1] for record in records[::3])
    assert len(firsts) == 3, "whoever acts first changes"
    assert run_settings(config).attempts_per_start == 3


def test_letters_do_not_follow_the_order_of_the_command_line() -> None:
    config = ComparisonConfig.model_validate(comparing().comparison.model_dump())
    firsts = {config.coded(seed)["A"].name for seed in range(20)}
    assert firsts == {"old", "new"}


def test_a_clear_difference_ends_it_early_and_after_a_whole_start() -> None:
    config = comparing(starts=100)
    records = played(config, lambda name, start: name == "new")
    found = standing(config, records)
    assert found.decided and len(records) == 2 * 8, "2^8 / 9 is the first above 20"
    report = figures(config, found)
    assert report["verdict"] == "new is better than old."
    assert [item["name"] for item in report["contenders"]] == ["new", "old"]
    assert report["pairs"][0]["first"] == "new" and report["pairs"][0]["wins"] == 8


def test_no_difference_is_said_where_none_is_seen() -> None:
    config = comparing(starts=10)
    report = figures(config, standing(config, played(config, lambda name, start: start % 2 == 0)))
    assert report["verdict"].startswith("No difference is shown.")
    assert report["starts"] == 10


def test_equal_policies_are_seldom_called_different_however_often_one_looks() -> None:
    """400 comparisons of 60 starts, looked at after every start: at most 5 % may err."""
    rng = np.random.default_rng(0)
    errors = 0
    for _ in range(400):
        wins = losses = 0
        for _ in range(60):
            a, b = rng.random(2) < 0.6
            wins, losses = wins + int(a and not b), losses + int(b and not a)
            if evidence(wins, losses) >= 20:
                errors += 1
                break
    assert errors <= 0.05 * 400


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(1)
    config = comparing(starts=100)
    found = 0
    for _ in range(20):
        world = rng.random((100, 2)) < [0.4, 0.9]
        records = played(config, lambda name, start, w=world: w[start, int(name == "new")])
        found += standing(config, records).decided
    assert found >= 18


def test_evidence_is_an_average_of_likelihood_ratios() -> None:
    theta = np.linspace(0, 1, 100_001)
    mean = np.mean(theta**7 * (1 - theta) ** 2 * 2.0**9)
    assert evidence(7, 2) == pytest.approx(mean, rel=1e-3)
    assert evidence(0, 0) == pytest.approx(1.0)
    assert math.isfinite(evidence(500, 480))


def test_chances_of_both_sides_add_up() -> None:
    assert chance_better(9, 10, 2, 10) == pytest.approx(1 - chance_better(2, 10, 9, 10), abs=1e-6)
    assert chance_better(5, 10, 5, 10) == pytest.approx(0.5, abs=1e-6)
    assert chance_better(9, 10, 2, 10) > 0.99
    pair = standing(comparing(), []).pairs[0]
    assert turned(turned(pair)) == pair


def test_aborted_attempts_are_repeated() -> None:
    config = comparing(starts=2)
    aborted = EpisodeRecord("other_000000", 0, "other", "aborted", method="contender A")
    goal = next_goal(config, [aborted])
    assert goal is not None and goal.start_index == 0


@pytest.mark.parametrize(
    ("names", "text"), [("one", "one alone cannot be compared"), ("a a", "the same name")]
)
def test_what_cannot_be_compared_is_refused(names: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        comparing(names)


def test_the_page_shows_names_letters_and_every_start(tmp_path: Path) -> None:
    config = comparing(starts=10)
    records = played(config, lambda name, start: name == "new" or start == 3)
    build_comparison(tmp_path, config, records)
    page = (tmp_path / "report.html").read_text()
    assert "new is better than old" in page or "No difference" in page
    assert page.count('class="starts"') == 2
    assert json.loads((tmp_path / "report.json").read_text())["starts"] == len(records) // 2
    assert (tmp_path / "plots" / "comparison.png").stat().st_size > 5000
