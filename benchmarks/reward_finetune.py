"""Does the learned reward fine-tune as well as the truth? The same seeds with either, one by one.

Every session is judged twice: by what it ended on, and by the truth in its bags, which with the
learned reward nothing in the session has seen. Writes `docs/benchmarks/reward_finetune.json`.
Finished sessions are not run again.

    .venv/bin/python benchmarks/reward_finetune.py --tasks pick_named lift --seeds 5
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tmrl_ros.data.bag_reader import bag_folders, is_label
from tmrl_ros.data.truth import Checked, check
from tmrl_ros.session.statistics import wilson

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "benchmarks" / "reward_finetune.json"
REWARDS = ("simulator", "learned")


def run(task: str, reward: str, seed: int, folder: Path, extra: list[str]) -> dict[str, Any]:
    """Run one session unless its report is there; its figures, by its own word and by the truth."""
    report = folder / "report.json"
    if not report.is_file():
        command = [sys.executable, "-m", "tmrl_ros.cli.main", "finetune", "--plain"]
        command += [f"task={task}", f"reward={reward}", f"session.seed={seed}"]
        subprocess.run([*command, f"session.dir={folder}", *extra], cwd=ROOT, check=False)
    values: dict[str, Any] = json.loads(report.read_text())
    checked = [check(bag) for bag in bag_folders(folder) if not is_label(bag.name)]
    found = [item for item in checked if item is not None]
    phases = {
        name: [item for item in found if item.episode_id.startswith(prefix)]
        for name, prefix in (("training", "train"), ("after", "evaluate_after"))
    }
    return {
        "seed": seed,
        "robot_minutes": values["robot_minutes"],
        **{name: _counts(items) for name, items in phases.items()},
    }


def _counts(items: list[Checked]) -> dict[str, Any]:
    really = sum(item.really for item in items)
    return {
        "episodes": len(items),
        "said": sum(item.success for item in items),
        "true": really,
        "true_rate": asdict(wilson(really, len(items))),
        "false_successes": sum(item.success and not item.then for item in items),
        "missed": sum(item.really and not item.success for item in items),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["pick_named", "lift"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=ROOT / "sessions" / "reward_benchmark")
    parser.add_argument("overrides", nargs="*", default=[], help="session.domain_id=77 and so on")
    args = parser.parse_args()
    results: dict[str, Any] = {}
    for task in args.tasks:
        for reward in REWARDS:
            name = f"{task}-{reward}"
            results[name] = [
                run(task, reward, seed, args.folder / f"{name}-{seed}", args.overrides)
                for seed in range(args.seeds)
            ]
            OUT.write_text(json.dumps(results, indent=1) + "\n")
            for item in results[name]:
                print(name, json.dumps(item), flush=True)


if __name__ == "__main__":
    main()
