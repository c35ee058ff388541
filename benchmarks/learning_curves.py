"""How fast does each method learn? Methods and ablations over tasks and seeds, without ROS.

Every trial is one process; finished ones are not run again. Writes `docs/benchmarks/
learning_curves.json` and `learning_curves.png`.

    .venv/bin/python benchmarks/learning_curves.py --tasks lift pick_named --seeds 5 --jobs 2
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "benchmarks"
TASKS = {
    "pick_named": ["task=pick_named"],
    "pick_named, prompt as shown": ["task=pick_named", "task.prompt=lift the blue cube"],
    "pick_named, prompt a third right": ["task=pick_named", "task.prompt=lift the sapphire cube"],
    "pick_named, prompt a sixth right": ["task=pick_named", "task.prompt=lift the sky cube"],
    "lift": ["task=lift"],
    "lift, as shown": ["task=lift", "task.region=demo"],
    "lift, never shown": ["task=lift", "task.region=outside"],
    "stack": ["task=stack"],
    "stack, as shown": ["task=stack", "task.region=demo"],
    "stack, never shown": ["task=stack", "task.region=outside"],
}
METHODS = {
    "tmrl": [],
    "expo": ["method=expo"],
    "dsrl": ["method=dsrl"],
    "tmrl_paper": ["method=tmrl_paper"],
    "tmrl_paper, 128 hidden": ["method=tmrl_paper", "method.hidden=128"],
    "rlpd": ["method=rlpd"],
    "rlpd, 20 demonstrations": ["method=rlpd", "method.warmup_episodes=0"],
    "vgps": ["method=vgps"],
    "dsrl, best of 16": ["method=dsrl", "method.rerank_samples=16"],
    "tmrl, scenes in place": ["method.shift_m=0"],
    "tmrl, no edits": ["method.edit_m=0"],
    "tmrl, 16 candidates": ["method.candidates=16"],
    "tmrl, no optimism": ["method.optimism=0"],
    "tmrl, no pessimism": ["method.pessimism=0"],
    "tmrl, 2 critics": ["method.critics=2"],
    "tmrl, half successes": ["method.success_fraction=0.5"],
}
DEMONSTRATIONS = {"rlpd, 20 demonstrations": 20}
WINDOW = 20
RESAMPLES = 2000


def trial(task: str, method: str, seed: int, episodes: int, evaluations: int) -> dict[str, Any]:
    """Train once and evaluate before and after, on the same start states."""
    from rig import Rig, Trial

    from tmrl_ros.core.compute import prepare_torch
    from tmrl_ros.core.load import load_config
    from tmrl_ros.policies.bundle import load_bundle
    from tmrl_ros.policies.policy import ChunkPolicy

    prepare_torch(1)
    config = load_config([*TASKS[task], f"session.seed={seed}", *METHODS[method]])
    run = Trial(Rig(config), ChunkPolicy(*load_bundle(config.task.bundle)))
    run.begin_with_demonstrations(DEMONSTRATIONS.get(method, 0))
    before = run.evaluate(evaluations, "base")
    minutes: list[float] = []
    started = time.monotonic()
    for _ in run.train(episodes, 1, 0):
        minutes.append(round(run.robot_seconds / 60, 3))
    run.install()
    wall_s = time.monotonic() - started
    return {
        "task": task,
        "method": method,
        "seed": seed,
        "before": before,
        "after": run.evaluate(evaluations),
        "evaluations": evaluations,
        "success": [int(item) for item in run.outcomes],
        "robot_minutes": minutes,
        "wall_minutes": round(wall_s / 60, 2),
    }


def minutes_to(row: dict[str, Any], rate: float) -> float:
    """Robot minutes until the last `WINDOW` episodes succeed at a rate; infinite if never."""
    success = np.array(row["success"], float)
    for end in range(WINDOW, len(success) + 1):
        if success[end - WINDOW : end].mean() >= rate:
            return float(row["robot_minutes"][end - 1])
    return float("inf")


def iqm(values: NDArray[np.float64]) -> float:
    """Mean of the middle half (Agarwal et al., NeurIPS 2021), of few values their mean."""
    ordered = np.sort(values)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Bootstrap 95 % interval of the interquartile mean."""
    rng = np.random.default_rng(0)
    draws = [iqm(rng.choice(values, len(values))) for _ in range(RESAMPLES)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One method on one task, over seeds."""
    after = np.array([row["after"] for row in rows])
    areas = np.array([np.mean(row["success"]) for row in rows])
    low, high = interval(after)
    reached = {f"{rate:.0%}": [minutes_to(row, rate) for row in rows] for rate in (0.9, 0.95)}
    return {
        "seeds": len(rows),
        "before": float(np.mean([row["before"] for row in rows])),
        "after": iqm(after),
        "after_interval": [low, high],
        "after_values": after.tolist(),
        "area": float(areas.mean()),
        "minutes_to": {
            name: [None if np.isinf(value) else value for value in values]
            for name, values in reached.items()
        },
        "robot_minutes": float(np.mean([row["robot_minutes"][-1] for row in rows])),
        "wall_minutes": float(np.mean([row["wall_minutes"] for row in rows])),
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Training success against robot minutes: mean over seeds, and the seeds' spread."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    columns = min(len(tasks), 3)
    lines = -(-len(tasks) // columns)
    size = (5.5 * columns, 4 * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False)
    for axis in axes.flat[len(tasks) :]:
        axis.set_axis_off()
    for axis, task in zip(axes.flat, tasks, strict=False):
        for number, method in enumerate(METHODS):
            mine = [row for row in rows if (row["task"], row["method"]) == (task, method)]
            if not mine:
                continue
            end = min(row["robot_minutes"][-1] for row in mine)
            grid = np.linspace(0, end, 100)
            curves = np.array([_smoothed(row, grid) for row in mine])
            label = f"{method} ({len(mine)} seeds)"
            axis.plot(grid, curves.mean(0), color=f"C{number}", label=label)
            axis.fill_between(
                grid, curves.min(0), curves.max(0), color=f"C{number}", alpha=0.12, linewidth=0
            )
        axis.set(title=task, xlabel="robot minutes, resets included", ylim=(0, 1))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="lower right")
    for line in axes:
        line[0].set_ylabel(f"success in training, last {WINDOW} episodes")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _smoothed(row: dict[str, Any], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    success = np.array(row["success"], float)
    sums = np.convolve(success, np.ones(WINDOW))[: len(success)]
    rate = sums / np.minimum(np.arange(len(success)) + 1, WINDOW)
    return np.interp(grid, row["robot_minutes"], rate)


def main() -> int:
    """Run what is missing, then write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["pick_named", "lift"], choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, help="default: as the task's job has")
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=ROOT / "sessions" / "learning_curves")
    parser.add_argument("--trial", nargs=3, metavar=("TASK", "METHOD", "SEED"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.trial:
        task, method, seed = args.trial
        result = trial(task, method, int(seed), args.episodes, args.evaluations)
        temporary = _path(args.folder, task, method, seed).with_suffix(".tmp")
        temporary.write_text(json.dumps(result))
        temporary.replace(temporary.with_suffix(".json"))
        return 0
    wanted = [(t, m, s) for s in range(args.seeds) for t in args.tasks for m in args.methods]
    missing = [item for item in wanted if not _path(args.folder, *item).is_file()]
    done = 0

    def start(item: tuple[str, str, int]) -> None:
        nonlocal done
        command = [sys.executable, __file__, "--trial", *map(str, item)]
        command += ["--episodes", str(args.episodes or _episodes(item[0]))]
        command += ["--evaluations", str(args.evaluations), "--folder", str(args.folder)]
        subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        done += 1
        print(f"{done}/{len(missing)} trials", flush=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(start, missing))
    rows = [json.loads(path.read_text()) for path in sorted(args.folder.glob("*.json"))]
    table = {
        f"{task}: {method}": summarise(mine)
        for task in TASKS
        for method in METHODS
        if (mine := [r for r in rows if (r["task"], r["method"]) == (task, method)])
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "learning_curves.json").write_text(json.dumps(table, indent=2) + "\n")
    plot(rows, OUT / "learning_curves.png")
    for name, values in table.items():
        low, high = values["after_interval"]
        print(f"{name}: {values['before']:.0%} -> {values['after']:.0%} [{low:.0%}, {high:.0%}]")
    return 0


def _path(folder: Path, task: str, method: str, seed: object) -> Path:
    name = f"{task}-{method}-{seed}.json"
    return folder / name.replace(", ", "-").replace(" ", "_")


def _episodes(task: str) -> int:
    from tmrl_ros.core.load import load_config

    return load_config(TASKS[task]).session.train_episodes


if __name__ == "__main__":
    sys.exit(main())
