"""How fast does each method learn? Methods and ablations over tasks and seeds, without ROS.

Every trial is one process; finished ones are not run again. Writes `docs/benchmarks/
learning_curves.json` and `learning_curves.png`.

    .venv/bin/python benchmarks/learning_curves.py --tasks lift pick_named --seeds 5 --jobs 2
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import curves

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
    "tmrl, 32 candidates": ["method.candidates=32"],
    "tmrl, 16 candidates": ["method.candidates=16"],
    "tmrl, no optimism": ["method.optimism=0"],
    "tmrl, no pessimism": ["method.pessimism=0"],
    "tmrl, 2 critics": ["method.critics=2"],
    "tmrl, half successes": ["method.success_fraction=0.5"],
    "tmrl, progress as potential": ["method.reward=potential"],
    "tmrl, progress gained": ["method.reward=difference"],
    "tmrl, -1 + progress": ["method.reward=progress"],
}
DEMONSTRATIONS = {"rlpd, 20 demonstrations": 20}


def trial(task: str, method: str, seed: int, episodes: int, evaluations: int) -> dict[str, Any]:
    """Train once and evaluate before and after, on the same start states."""
    from rig import Rig, Trial

    from tmrl_ros.core.compute import prepare_torch
    from tmrl_ros.core.load import load_config
    from tmrl_ros.policies.onnx_backend import load_policy

    prepare_torch(1)
    config = load_config([*TASKS[task], f"session.seed={seed}", *METHODS[method]])
    run = Trial(Rig(config), load_policy(config.task.bundle)[0])
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
        curves.write(args.folder, (task, method, int(seed)), result)
        return 0
    wanted = [(t, m, s) for s in range(args.seeds) for t in args.tasks for m in args.methods]

    def options(item: curves.Trial) -> list[str]:
        episodes = args.episodes or _episodes(item[0])
        return ["--episodes", str(episodes), "--evaluations", str(args.evaluations)]

    for line in curves.run_missing(__file__, args.folder, wanted, args.jobs, options):
        print(line, flush=True)
    rows = curves.read(args.folder)
    table = curves.table(rows, list(TASKS), list(METHODS))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "learning_curves.json").write_text(json.dumps(table, indent=2) + "\n")
    path, time_axis = OUT / "learning_curves.png", "robot minutes, resets included"
    curves.plot(rows, list(TASKS), list(METHODS), path, time_axis)
    for name, values in table.items():
        print(curves.line(name, values))
    return 0


def _episodes(task: str) -> int:
    from tmrl_ros.core.load import load_config

    return load_config(TASKS[task]).session.train_episodes


if __name__ == "__main__":
    sys.exit(main())
