"""What a policy looks at: named objects, point clouds or images. Before, while and after it learns.

Pictures are rendered and go through perception; every trial is one process, and finished ones are
not run again. Writes `docs/benchmarks/observations.json` and `observations.png`.

    .venv/bin/python benchmarks/observations.py --seeds 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "benchmarks"
BUNDLES = {
    "objects": "bundles/lift",
    "points": "bundles/lift_points",
    "images": "bundles/lift_images",  # not shipped: `tmrl pretrain` makes it
}
WINDOW = 20


def trial(kind: str, bundle: str, seed: int, episodes: int, evaluations: int) -> dict[str, Any]:
    """Train once and evaluate before and after, on the same start states."""
    import torch
    from rig import Rig, Trial

    from tmrl_ros.core.load import load_config
    from tmrl_ros.policies.bundle import check_bundle, load_bundle
    from tmrl_ros.policies.policy import ChunkPolicy

    torch.set_num_threads(1)
    config = load_config(["task=lift", f"session.seed={seed}", f"task.bundle={bundle}"])
    check_bundle(config.task.bundle, config)
    run = Trial(Rig(config, pictures=True), ChunkPolicy(*load_bundle(config.task.bundle)))
    started = time.monotonic()
    before = run.evaluate(evaluations, "base")
    minutes: list[float] = []
    print(f"{kind} {seed}: before {before:.0%}", flush=True)
    for point in run.train(episodes, 1, 0):
        minutes.append(round(run.robot_seconds / 60, 3))
        if point.episodes % WINDOW == 0:
            rate = np.mean(run.outcomes[-WINDOW:])
            print(f"{kind} {seed}: {point.episodes} episodes, {rate:.0%}", flush=True)
    run.install()
    after = run.evaluate(evaluations) if episodes else None
    return {
        "kind": kind,
        "seed": seed,
        "before": before,
        "after": after,
        "evaluations": evaluations,
        "success": [int(item) for item in run.outcomes],
        "robot_minutes": minutes,
        "wall_minutes": round((time.monotonic() - started) / 60, 1),
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Success of the last episodes against robot minutes, one line per trial."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.5, 4))
    colors = {"objects": "tab:grey", "points": "tab:blue", "images": "tab:orange"}
    labelled: set[str] = set()
    for row in rows:
        kind, success = row["kind"], np.array(row["success"], float)
        if not len(success):
            axis.plot(0, row["before"], "x", color=colors[kind], label=f"{kind}, not fine-tuned")
            continue
        rolling = [success[max(0, i - WINDOW + 1) : i + 1].mean() for i in range(len(success))]
        label = None if kind in labelled else kind
        labelled.add(kind)
        axis.plot(row["robot_minutes"], rolling, color=colors[kind], alpha=0.8, label=label)
        axis.plot(row["robot_minutes"][-1] + 0.5, row["after"], "o", color=colors[kind])
        axis.plot(0, row["before"], "x", color=colors[kind])
    axis.set(xlabel="robot minutes, resets included", ylim=(-0.02, 1.02), title="lift")
    axis.set_ylabel(f"success, last {WINDOW} episodes\n(crosses: before; dots: after)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run what is missing, one process after the other, then write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=["objects", "points"])
    parser.add_argument("--bundle", help="of the only kind given")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--trials", type=Path, default=ROOT / "sessions" / "observations")
    parser.add_argument("--one", type=Path, help="run one trial in this process, into this file")
    parser.add_argument("--seed", type=int, default=0, help="of that trial")
    args = parser.parse_args()
    if args.one is not None:
        kind = args.kinds[0]
        bundle = args.bundle or BUNDLES[kind]
        row = trial(kind, bundle, args.seed, args.episodes, args.evaluations)
        args.one.write_text(json.dumps(row) + "\n")
        return 0
    args.trials.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        for kind in args.kinds:
            file = args.trials / f"{kind}-{seed}.json"
            if file.is_file():
                continue
            command = [sys.executable, __file__, "--one", str(file), "--kinds", kind]
            command += ["--seed", str(seed), "--episodes", str(args.episodes)]
            command += ["--evaluations", str(args.evaluations)]
            command += ["--bundle", args.bundle] if args.bundle else []
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
    files = sorted(args.trials.glob("*.json"))
    rows: list[dict[str, Any]] = [json.loads(file.read_text()) for file in files]
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "observations.json").write_text(json.dumps(rows, indent=1) + "\n")
    plot(rows, OUT / "observations.png")
    for row in rows:
        print({key: row[key] for key in ("kind", "seed", "before", "after", "wall_minutes")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
