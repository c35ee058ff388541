"""Statistics of learning curves, on cases whose answer is known."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays


def row(success, minutes=None, **values):
    minutes = minutes if minutes is not None else list(range(1, len(success) + 1))
    base = {"task": "lift", "method": "tmrl", "seed": 0, "before": 0.1, "after": 0.9}
    base["wall_minutes"] = 3.0
    return {**base, "success": success, "robot_minutes": minutes, **values}


def test_success_at_k_counts_states_where_one_of_k_attempts_succeeds(curves):
    never, once, always = [0, 0, 0], [0, 1, 0], [1, 1, 1]
    found = curves.success_at_k(np.array([never, once, always], bool))
    assert found == pytest.approx([4 / 9, 5 / 9, 2 / 3])


@settings(deadline=None)
@given(attempts=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_success_at_k_is_the_mean_over_all_choices_of_k_attempts(attempts):
    import importlib

    found = importlib.import_module("curves").success_at_k(attempts)
    n = attempts.shape[1]
    for k in range(1, n + 1):
        chosen = [attempts[:, list(c)].any(1).mean() for c in combinations(range(n), k)]
        assert found[k - 1] == pytest.approx(np.mean(chosen))


@pytest.mark.parametrize("shape", [(3,), (0, 4), (4, 0)])
def test_success_at_k_needs_states_and_attempts(curves, shape):
    with pytest.raises(ValueError, match="attempts have shape"):
        curves.success_at_k(np.zeros(shape, bool))


def test_a_rate_is_reached_when_a_whole_window_has_it(curves):
    fails, then = [0] * 10, [1] * 30
    reached = row(fails + then)
    assert curves.episodes_to(reached, 0.9) == 10 + curves.WINDOW - 2
    assert curves.minutes_to(reached, 0.9) == 10 + curves.WINDOW - 2
    assert curves.minutes_to(row(fails * 3), 0.9) is None
    assert curves.episodes_to(row([1] * (curves.WINDOW - 1)), 0.9) is None


def test_the_area_is_over_time_not_over_episodes(curves):
    # A long failure, then short successes: most of the time went into the failure.
    slow = row([0] + [1] * 10, [10.0, *np.linspace(10.1, 11.0, 10)])
    assert curves.area(slow, 11.0) < 0.1
    assert np.mean(slow["success"]) > 0.9


def test_the_interquartile_mean_leaves_out_the_extremes(curves):
    assert curves.iqm(np.array([0.0, 5.0, 6.0, 7.0, 8.0, 100.0, 6.5, 6.5])) == 6.5
    assert curves.iqm(np.array([1.0, 2.0])) == 1.5


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_the_interval_lies_within_what_was_seen(values):
    import importlib

    curves = importlib.import_module("curves")
    low, high = curves.interval(np.array(values))
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_a_table_says_null_where_a_rate_was_not_reached(curves):
    rows = [row([0] * 30), row([1] * 30, seed=1)]
    (values,) = curves.table(rows, ["lift", "stack"], ["tmrl", "dsrl"]).values()
    assert values["minutes_to"]["90%"] == [None, 20.0]
    assert values["seeds"] == 2
    assert values["area_minutes"] == 30
    assert curves.line("lift: tmrl", values) == "lift: tmrl: 10% -> 90% [90%, 90%], seeds: 2"


def test_one_seed_has_no_interval_and_an_unfinished_one_no_result(curves):
    (values,) = curves.table([row([0] * 30, before=None, after=None)], ["lift"], ["tmrl"]).values()
    assert values["after"] is values["after_interval"] is values["area_interval"] is None
    assert curves.line("lift", values) == "lift: ? -> ?, seeds: 1"


def test_an_unfinished_trial_is_shown_on_request_until_it_is_finished(curves, tmp_path):
    trial = ("cube", "tmrl", 0)
    curves.write(tmp_path, trial, {"after": None}, finished=False)
    assert curves.read(tmp_path) == []
    assert curves.read(tmp_path, unfinished=True) == [{"after": None}]
    curves.write(tmp_path, trial, {"after": 1.0})
    assert curves.read(tmp_path, unfinished=True) == [{"after": 1.0}]


def test_a_plot_has_every_task_that_was_run(curves, tmp_path):
    rows = [row([0, 1] * 15, task=task, seed=seed) for task in "abcd" for seed in (0, 1)]
    curves.plot(rows, "abcde", ["tmrl", "dsrl"], tmp_path / "plot.png", "minutes")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_results_are_found_again_and_not_run_twice(curves, tmp_path):
    trial = ("lift", "tmrl, no edits", 3)
    script = tmp_path / "trial.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "task, method, seed = sys.argv[2:5]\n"
        "folder = pathlib.Path(sys.argv[-1])\n"
        "with (folder / 'log.txt').open('a') as log: log.write(seed)\n"
        f"sys.path.insert(0, {str(curves.__file__.rpartition('/')[0])!r})\n"
        "import curves\n"
        "curves.write(folder, (task, method, int(seed)), {'task': task, 'seed': int(seed)})\n"
    )
    trials = [trial, ("lift", "tmrl", 4)]
    for _ in range(2):
        list(curves.run_missing(str(script), tmp_path, trials, 1, lambda _: []))
    assert sorted((tmp_path / "log.txt").read_text()) == ["3", "4"]
    assert {item["seed"] for item in curves.read(tmp_path)} == {3, 4}
