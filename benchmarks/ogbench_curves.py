"""How fast does each method learn on OGBench, in environments that nobody here designed?

Pre-trains one policy per environment (kept, and used by every trial), measures how often it
succeeds within K attempts, then runs every trial that has no result yet. Writes
`docs/benchmarks/ogbench.json` and `ogbench.png`. Needs `pip install .[benchmarks]`.

    .venv/bin/python benchmarks/ogbench_curves.py --seeds 5 --jobs 2
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import curves
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "benchmarks"
METHODS = {
    "tmrl": ["method=tmrl"],
    "tmrl_paper": ["method=tmrl_paper", "method.hidden=128"],
    "dsrl": ["method=dsrl"],
    "expo": ["method=expo"],
}
ROBOT_MINUTES = {"pointmaze-giant": 90.0, "cube-single": 12.0}
ITERATIONS = {"pointmaze-giant": 2500, "cube-single": 4000}
ATTEMPTED = {"t = 0": 0.0, "t = 0.5": 0.5}


def trial(task: str, method: str, seed: int, evaluations: int, folder: Path) -> dict[str, Any]:
    """Train for a time of the environment, and evaluate on starts that training did not have."""
    from ogbench_rig import OgbenchRig, configuration
    from ogbench_scenes import SCENES
    from rig import Trial

    from tmrl_ros.core.compute import prepare_torch
    from tmrl_ros.policies.bundle import load_bundle
    from tmrl_ros.policies.policy import ChunkPolicy

    prepare_torch(1)
    config = configuration(task, [*METHODS[method], f"session.seed={seed}"])
    policy = ChunkPolicy(*load_bundle(bundle_of(folder, task)))
    run = Trial(OgbenchRig(config, SCENES[task]()), policy)
    row: dict[str, Any] = {
        "task": task,
        "method": method,
        "seed": seed,
        "success": [],
        "before": None,
    }
    row |= {"robot_minutes": [], "after": None, "evaluations": evaluations}
    started = time.monotonic()
    for point in run.train(10_000, 1, 0):
        row["success"].append(int(run.outcomes[-1]))
        row["robot_minutes"].append(round(point.robot_minutes, 3))
        row["wall_minutes"] = round((time.monotonic() - started) / 60, 2)
        curves.write(folder, (task, method, seed), row, finished=False)
        if point.robot_minutes >= ROBOT_MINUTES[task]:
            break
    run.install()
    return {**row, "after": run.evaluate(evaluations)}


def bundle_of(folder: Path, task: str) -> Path:
    """Where the policy of an environment is kept."""
    return folder / "bundles" / task


def attempted(task: str, folder: Path, states: int, tries: int) -> dict[str, Any]:
    """Success@K of the frozen policy at several context timesteps, and at one drawn per attempt."""
    from ogbench_rig import attempts
    from ogbench_scenes import SCENES

    from tmrl_ros.core.compute import prepare_torch
    from tmrl_ros.core.types import Phase
    from tmrl_ros.policies.bundle import load_bundle
    from tmrl_ros.policies.policy import ChunkPolicy
    from tmrl_ros.session.seeds import episode_seed

    prepare_torch(1)
    policy = ChunkPolicy(*load_bundle(bundle_of(folder, task)))
    scenes = [SCENES[task]() for _ in range(tries)]
    levels = {name: np.full(tries, t) for name, t in ATTEMPTED.items()}
    levels["t drawn per attempt"] = np.random.default_rng(0).random(tries)
    found: dict[str, Any] = {"states": states, "attempts": tries}
    for name, t in levels.items():
        seeds = [episode_seed(0, Phase.EVALUATE_BEFORE, index) for index in range(states)]
        came = np.array([attempts(scenes, policy, seed, t) for seed in seeds])
        found[name] = curves.success_at_k(came).round(4).tolist()
        print(f"{task}, {name}: {found[name][0]:.0%} at once, {found[name][-1]:.0%} of {tries}")
    return found


def prepare(task: str, folder: Path, states: int, tries: int) -> None:
    """Make policy and Success@K of an environment, unless they are there."""
    from ogbench_rig import pretrain

    if not (bundle_of(folder, task) / "policy.json").is_file():
        pretrain(task, bundle_of(folder, task), ITERATIONS[task])
    if known(task, folder) is None:
        _attempts_of(task, folder).write_text(json.dumps(attempted(task, folder, states, tries)))


def known(task: str, folder: Path) -> dict[str, Any] | None:
    """Success@K of an environment's policy as it was measured, if it was."""
    path = _attempts_of(task, folder)
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return found


def _attempts_of(task: str, folder: Path) -> Path:
    return folder / "bundles" / f"{task}-attempts.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, then write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=list(ROBOT_MINUTES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=25)
    parser.add_argument("--states", type=int, default=40, help="for Success@K")
    parser.add_argument("--attempts", type=int, default=20, help="at each of them")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--unfinished", action="store_true", help="show how far trials are, run none"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "sessions" / "ogbench")
    parser.add_argument("--trial", nargs=3, metavar=("TASK", "METHOD", "SEED"))
    args = parser.parse_args(argv)
    if importlib.util.find_spec("ogbench") is None:
        print("OGBench is not installed: pip install .[benchmarks]", file=sys.stderr)
        return 2
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.trial:
        task, method, seed = args.trial
        row = trial(task, method, int(seed), args.evaluations, args.folder)
        curves.write(args.folder, (task, method, int(seed)), row)
        return 0
    if not args.unfinished:
        for task in args.tasks:
            prepare(task, args.folder, args.states, args.attempts)
        wanted = [(t, m, s) for s in range(args.seeds) for t in args.tasks for m in args.methods]
        more = ["--evaluations", str(args.evaluations)]
        for line in curves.run_missing(__file__, args.folder, wanted, args.jobs, lambda _: more):
            print(line, flush=True)
    rows = curves.read(args.folder, unfinished=args.unfinished)
    table = curves.table(rows, args.tasks, list(METHODS))
    OUT.mkdir(parents=True, exist_ok=True)
    content = {"success_at_k": {t: known(t, args.folder) for t in args.tasks}, "methods": table}
    (OUT / "ogbench.json").write_text(json.dumps(content, indent=1) + "\n")
    time_axis = "minutes of environment time"
    curves.plot(rows, args.tasks, list(METHODS), OUT / "ogbench.png", time_axis)
    for name, values in table.items():
        print(curves.line(name, values))
    return 0


if __name__ == "__main__":
    sys.exit(main())
