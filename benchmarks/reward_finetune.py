"""Does the learned reward fine-tune as well as the truth? The same seeds with either, one by one.

Every episode is judged twice: by what it ended on, and by the truth, which with the learned reward
nothing in the job has seen. By default each session is the whole graph, and the truth is read from
its bags; `--in-process` runs the job without ROS (`judged_rig.py`), with the same pictures and
models.
Finished runs are not run again. Writes `docs/benchmarks/reward_finetune.json`.

    .venv/bin/python benchmarks/reward_finetune.py --tasks pick_named lift --seeds 5
    .venv/bin/python benchmarks/reward_finetune.py --in-process --rewards progress --seeds 3
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
REWARDS = {
    "simulator": ["reward=simulator"],
    "success": ["reward=learned"],
    "progress": ["reward=learned", "method.reward=progress"],
    "potential": ["reward=learned", "method.reward=potential"],
    "difference": ["reward=learned", "method.reward=difference"],
}
"""What the learner is paid for: the truth, or the learned model's success, or what
`learning/learners/goals.py` makes of its success and progress."""


def run_graph(words: list[str], folder: Path) -> dict[str, Any]:
    """Run one session unless its report is there; its figures, by its own word and by the truth."""
    report = folder / "report.json"
    if not report.is_file():
        command = [sys.executable, "-m", "tmrl_ros.cli.main", "finetune", "--plain"]
        subprocess.run([*command, f"session.dir={folder}", *words], cwd=ROOT, check=False)
    values: dict[str, Any] = json.loads(report.read_text())
    checked = [check(bag) for bag in bag_folders(folder) if not is_label(bag.name)]
    found = [item for item in checked if item is not None]
    phases = {
        name: [item for item in found if item.episode_id.startswith(prefix)]
        for name, prefix in (
            ("before", "evaluate_before"),
            ("training", "train"),
            ("after", "evaluate_after"),
        )
    }
    return {
        "robot_minutes": round(values["robot_minutes"], 2),
        "wall_minutes": values["wall_minutes"],
        **{name: _counts(items) for name, items in phases.items()},
    }


def run_in_process(words: list[str], folder: Path, evaluations: int) -> dict[str, Any]:
    """The same without ROS, unless its figures are there."""
    path = folder.with_suffix(".json")
    if not path.is_file():
        from judged_rig import JudgedRig, JudgedTrial

        from tmrl_ros.core.compute import prepare_torch
        from tmrl_ros.core.load import load_config
        from tmrl_ros.policies.bundle import load_bundle
        from tmrl_ros.policies.policy import ChunkPolicy
        from tmrl_ros.rewards.learned.judge import load_reward_bundle

        prepare_torch(1)
        config = load_config(words)
        judged = config.reward.backend == "learned"
        model = load_reward_bundle(config.reward_bundle) if judged else None
        policy = ChunkPolicy(*load_bundle(config.task.bundle))
        run = JudgedTrial(JudgedRig(config, model), policy)
        found = run.finetune(config.session.train_episodes, evaluations)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
    values: dict[str, Any] = json.loads(path.read_text())
    return values


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
    parser.add_argument("--rewards", nargs="+", default=list(REWARDS), choices=REWARDS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--in-process", action="store_true", help="without ROS")
    parser.add_argument("--folder", type=Path, default=ROOT / "sessions" / "reward_benchmark")
    parser.add_argument("overrides", nargs="*", default=[], help="session.domain_id=77 and so on")
    args = parser.parse_args()
    where = "process" if args.in_process else "graph"
    results: dict[str, Any] = json.loads(OUT.read_text()) if OUT.is_file() else {}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for task in args.tasks:
            for reward in args.rewards:
                words = [f"task={task}", f"session.seed={seed}", *REWARDS[reward], *args.overrides]
                folder = args.folder / f"{where}-{task}-{reward}-{seed}"
                if args.in_process:
                    found = run_in_process(words, folder, args.evaluations)
                else:
                    evaluations = f"session.evaluation_episodes={args.evaluations}"
                    found = run_graph([*words, evaluations], folder)
                results.setdefault(f"{task}, {reward}, {where}", {})[str(seed)] = found
                OUT.write_text(json.dumps(results, indent=1) + "\n")
                print(where, task, reward, seed, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
