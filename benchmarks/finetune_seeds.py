"""How well, how fast and how surely does the main job work? Seeds and tasks, one by one.

Runs the job as an operator would, one seed after the other, and writes
`docs/benchmarks/finetune.json` and `finetune.png` beside it. Finished sessions are not run again.

    .venv/bin/python benchmarks/finetune_seeds.py --tasks pick_named lift --seeds 5 reward=simulator
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "benchmarks"
WINDOW = 20


def run(
    task: str, seed: int, folder: Path, domain: int, overrides: Sequence[str]
) -> dict[str, Any]:
    """Run one seed unless its report is there; returns the report with the training outcomes."""
    report = folder / "report.json"
    if not report.is_file():
        command = [sys.executable, "-m", "tmrl_ros.cli.main", "finetune", "--plain"]
        command += [f"task={task}", f"session.seed={seed}", f"session.dir={folder}"]
        command += [f"session.domain_id={domain}", *overrides]
        subprocess.run(command, cwd=ROOT, check=False)
    values: dict[str, Any] = json.loads(report.read_text())
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["phase"] == "train" and line["outcome"] != "aborted"]
    values["training"] = [
        {"success": line["outcome"] == "success", "robot_seconds": line["robot_seconds"]}
        for line in train
    ]
    return values


def summary(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures over seeds: each one's value, mean, lowest and highest."""

    def spread(values: list[float]) -> dict[str, Any]:
        return {
            "values": values,
            "mean": float(np.mean(values)),
            "min": min(values),
            "max": max(values),
        }

    return {
        "seeds": [report["seed"] for report in reports],
        "success_before": spread([report["success_before"]["rate"] for report in reports]),
        "success_after": spread([report["success_after"]["rate"] for report in reports]),
        "episodes": spread([report["episodes"] for report in reports]),
        "robot_minutes": spread([report["robot_minutes"] for report in reports]),
        "wall_minutes": spread([report["wall_minutes"] for report in reports]),
        "peak_memory_mb": spread([report["peak_memory_mb"] for report in reports]),
        "evaluation_episodes": reports[0]["success_after"]["n"],
        "config_hash": [report["config_hash"] for report in reports],
        "versions": reports[0]["versions"],
    }


def plot(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Success in training against robot minutes, and before and after, per task."""
    figure, axes = plt.subplots(1, len(results), figsize=(5.5 * len(results), 4), squeeze=False)
    for axis, (task, reports) in zip(axes[0], results.items(), strict=True):
        for report in reports:
            success = np.array([item["success"] for item in report["training"]], float)
            seconds = np.array([item["robot_seconds"] for item in report["training"]])
            rolling = [success[max(0, i - WINDOW + 1) : i + 1].mean() for i in range(len(success))]
            line = axis.plot(
                np.cumsum(seconds) / 60, rolling, alpha=0.8, label=f"seed {report['seed']}"
            )
            after = report["success_after"]
            axis.plot(report["robot_minutes"] + 1, after["rate"], "o", color=line[0].get_color())
        before = np.mean([report["success_before"]["rate"] for report in reports])
        axis.axhline(before, color="grey", linestyle=":", label="before")
        axis.set(title=task, xlabel="robot minutes, resets included", ylim=(-0.02, 1.02))
        axis.set_ylabel(f"success, last {WINDOW} episodes (dots: after)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["pick_named", "lift"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sessions", type=Path, default=ROOT / "sessions" / "benchmark")
    parser.add_argument("--domain", type=int, default=42, help="ROS domain")
    parser.add_argument("overrides", nargs="*", default=[], help="reward=simulator and so on")
    args = parser.parse_args()
    results = {
        task: [
            run(task, seed, args.sessions / f"{task}-{seed}", args.domain, args.overrides)
            for seed in range(args.seeds)
        ]
        for task in args.tasks
    }
    OUT.mkdir(parents=True, exist_ok=True)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }
    content = {"machine": machine, "tasks": {task: summary(r) for task, r in results.items()}}
    (OUT / "finetune.json").write_text(json.dumps(content, indent=1) + "\n")
    plot(results, OUT / "finetune.png")
    for task, reports in results.items():
        figures = summary(reports)
        print(task, {key: figures[key]["values"] for key in ("success_before", "success_after")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
