"""Learning curves of several methods and seeds: their statistics, their plot, their trials.

Statistics follow Agarwal et al., "Deep RL at the edge of the statistical precipice" (NeurIPS
2021): interquartile means with bootstrap intervals over seeds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 20
RESAMPLES = 2000
RATES = (0.9, 0.95)
UNFINISHED = ".unfinished"

Row = dict[str, Any]
"""One trial: `task`, `method`, `seed`, success `before` and `after` (None if it was not measured),
of every training episode `success` and the `robot_minutes` at its end, and `wall_minutes` of
training in all."""
Trial = tuple[str, str, int]


def end_of(row: Row, rate: float) -> int | None:
    """Index of the episode at which the last `WINDOW` ones reach a rate of success, or None."""
    success = np.array(row["success"], float)
    for end in range(WINDOW, len(success) + 1):
        if success[end - WINDOW : end].mean() >= rate:
            return end - 1
    return None


def minutes_to(row: Row, rate: float) -> float | None:
    """Robot minutes until the last `WINDOW` episodes succeed at a rate; None if never."""
    end = end_of(row, rate)
    return None if end is None else float(row["robot_minutes"][end])


def episodes_to(row: Row, rate: float) -> int | None:
    """The same in episodes."""
    end = end_of(row, rate)
    return None if end is None else end + 1


def area(row: Row, minutes: float) -> float:
    """Mean success over the first minutes of robot time; the last rate stays if it ended sooner.

    Over time rather than over episodes: successes are short, and would count less.
    """
    grid = np.linspace(0.0, minutes, 500)
    return float(smoothed(row, grid).mean())


def iqm(values: NDArray[np.float64]) -> float:
    """Mean of the middle half, of few values their mean."""
    return float(_iqms(values[None])[0])


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Bootstrap 95 % interval of the interquartile mean."""
    draws = np.random.default_rng(0).choice(values, (RESAMPLES, len(values)))
    low, high = np.quantile(_iqms(draws), [0.025, 0.975])
    return float(low), float(high)


def _iqms(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interquartile mean of every row (B, n) -> (B,)."""
    cut = values.shape[1] // 4
    middle: NDArray[np.float64] = np.sort(values, 1)[:, cut : values.shape[1] - cut].mean(1)
    return middle


def success_at_k(attempts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of states for which at least one of K attempts succeeds, for K = 1 ... n.

    Every choice of K of a state's n attempts counts: 1 - C(n - c, K) / C(n, K) for c successes
    (Chen et al., arXiv 2107.03374), so that the order of attempts does not matter.

    Args:
        attempts: (states, n), whether each attempt succeeded.

    Raises:
        ValueError: There is no state or no attempt.
    """
    if attempts.ndim != 2 or 0 in attempts.shape:
        raise ValueError(f"attempts have shape {attempts.shape}; (states, attempts) is needed")
    n = attempts.shape[1]
    failed = n - attempts.sum(1)
    none = np.ones(len(attempts))
    found = np.zeros(n)
    for k in range(n):  # of n - k attempts left, failed - k fail
        none = none * np.maximum(failed - k, 0) / (n - k)
        found[k] = 1.0 - none.mean()
    return found


def smoothed(row: Row, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Success of the last `WINDOW` episodes at times `grid` in robot minutes."""
    success = np.array(row["success"], float)
    sums = np.convolve(success, np.ones(WINDOW))[: len(success)]
    rate = sums / np.minimum(np.arange(len(success)) + 1, WINDOW)
    return np.interp(grid, row["robot_minutes"], rate)


def summarise(rows: Sequence[Row], minutes: float) -> dict[str, Any]:
    """One method on one task, over seeds; `minutes` of robot time count for the area."""
    before = [row["before"] for row in rows if row["before"] is not None]
    after = np.array([row["after"] for row in rows if row["after"] is not None])
    areas = np.array([area(row, minutes) for row in rows])
    return {
        "seeds": len(rows),
        "before": float(np.mean(before)) if before else None,
        "after": iqm(after) if after.size else None,
        "after_interval": _spread(after),
        "after_values": after.tolist(),
        "area": iqm(areas),
        "area_interval": _spread(areas),
        "area_minutes": minutes,
        "minutes_to": {f"{rate:.0%}": [minutes_to(row, rate) for row in rows] for rate in RATES},
        "episodes_to": {f"{rate:.0%}": [episodes_to(row, rate) for row in rows] for rate in RATES},
        "robot_minutes": float(np.mean([row["robot_minutes"][-1] for row in rows])),
        "episodes": float(np.mean([len(row["success"]) for row in rows])),
        "wall_minutes": float(np.mean([row["wall_minutes"] for row in rows])),
    }


def _spread(values: NDArray[np.float64]) -> list[float] | None:
    """The interval over seeds; one seed has none."""
    return list(interval(values)) if len(values) > 1 else None


def table(rows: Sequence[Row], tasks: Sequence[str], methods: Sequence[str]) -> dict[str, Any]:
    """Every task and method; the area is over the time that all trials of a task have."""
    found: dict[str, Any] = {}
    for task in tasks:
        minutes = min((row["robot_minutes"][-1] for row in rows if row["task"] == task), default=0)
        for method in methods:
            if mine := _of(rows, task, method):
                found[f"{task}: {method}"] = summarise(mine, minutes)
    return found


def _of(rows: Sequence[Row], task: str, method: str) -> list[Row]:
    return [row for row in rows if (row["task"], row["method"]) == (task, method)]


def line(name: str, values: dict[str, Any]) -> str:
    """One row of a table for people to read."""

    def share(value: float | None) -> str:
        return "?" if value is None else f"{value:.0%}"

    spread = values["after_interval"]
    between = f" [{spread[0]:.0%}, {spread[1]:.0%}]" if spread else ""
    after = f"{share(values['before'])} -> {share(values['after'])}{between}"
    return f"{name}: {after}, seeds: {values['seeds']}"


def plot(
    rows: Sequence[Row], tasks: Sequence[str], methods: Sequence[str], path: Path, time: str
) -> None:
    """Training success against time: interquartile mean over seeds with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = [task for task in tasks if any(row["task"] == task for row in rows)]
    columns = min(len(tasks), 3)
    lines = -(-len(tasks) // columns)
    size = (5.5 * columns, 4 * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False)
    for axis in axes.flat[len(tasks) :]:
        axis.set_axis_off()
    for axis, task in zip(axes.flat, tasks, strict=False):
        for number, method in enumerate(methods):
            if mine := _of(rows, task, method):
                _draw(axis, mine, method, f"C{number}")
        axis.set(title=task, xlabel=time, ylim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="best")
    for first in axes:
        first[0].set_ylabel(f"success in training, last {WINDOW} episodes")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _draw(axis: Any, rows: Sequence[Row], method: str, color: str) -> None:
    grid = np.linspace(0, min(row["robot_minutes"][-1] for row in rows), 60)
    rates = np.array([smoothed(row, grid) for row in rows])
    low, high = np.array([interval(column) for column in rates.T]).T
    middle = [iqm(column) for column in rates.T]
    seeds = f"{len(rows)} seed" + ("s" if len(rows) > 1 else "")
    axis.plot(grid, middle, color=color, label=f"{method} ({seeds})")
    axis.fill_between(grid, low, high, color=color, alpha=0.15, linewidth=0)


def path_of(folder: Path, trial: Trial) -> Path:
    """Where the result of a trial lies."""
    task, method, seed = trial
    name = f"{task}-{method}-{seed}.json"
    return folder / name.replace(", ", "-").replace(" ", "_")


def write(folder: Path, trial: Trial, row: Row, *, finished: bool = True) -> None:
    """Write a result, or how far a trial is, whole or not at all."""
    path = path_of(folder, trial)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(row))
    temporary.replace(path if finished else path.with_suffix(UNFINISHED))
    if finished:
        path.with_suffix(UNFINISHED).unlink(missing_ok=True)


def read(folder: Path, *, unfinished: bool = False) -> list[Row]:
    """All results of a folder; on request also those of trials that have not come to an end."""
    paths = sorted([*folder.glob("*.json"), *(folder.glob(f"*{UNFINISHED}") if unfinished else [])])
    return [json.loads(path.read_text()) for path in paths]


def run_missing(
    script: str,
    folder: Path,
    trials: Sequence[Trial],
    jobs: int,
    options: Callable[[Trial], Sequence[str]],
) -> Iterator[str]:
    """Run every trial that has no result yet, each in a process of its own; says how far it is.

    The script is called with `--trial TASK METHOD SEED --folder FOLDER` and the options.
    """
    missing = [trial for trial in trials if not path_of(folder, trial).is_file()]

    def start(trial: Trial) -> str:
        command = [sys.executable, script, "--trial", *map(str, trial), *options(trial)]
        command += ["--folder", str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment)
        return f"{trial[0]}, {trial[1]}, seed {trial[2]}"

    with ThreadPoolExecutor(jobs) as pool:
        for done, name in enumerate(pool.map(start, missing), 1):
            yield f"{done}/{len(missing)} trials: {name}"
