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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tmrl_ros.core import topics
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState
from tmrl_ros.data import decode
from tmrl_ros.data.bag_reader import bag_folders, is_label
from tmrl_ros.data.bag_stream import BagStream, is_topic
from tmrl_ros.session.statistics import wilson

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "benchmarks" / "reward_finetune.json"
REWARDS = ("simulator", "learned")
NEIGHBOUR_NS = 400_000_000  # one decision: what passes the line between two pictures is no mistake


@dataclass(frozen=True)
class Checked:
    """One episode: how it ended, and whether the object was really lifted.

    `really` is whether the truth said so at any moment of it, `then` whether it said so within one
    decision of its end.
    """

    episode_id: str
    success: bool
    really: bool
    then: bool


def check(bag: Path) -> Checked | None:
    """Compare an episode's end with the truth in its bag; None for an aborted one."""
    ended, truths, running_ns = None, [], 0
    for message in BagStream(bag, [topics.EPISODE, topics.GROUND_TRUTH]):
        if is_topic(message.topic, topics.EPISODE):
            event = decode.episode(message.decode())
            if event.state is EpisodeState.RUNNING:
                running_ns, truths = event.stamp_ns, []
            if event.state is EpisodeState.ENDED and ended is None:
                ended = event
        elif running_ns and ended is None:
            truth = message.decode()
            stamp = truth.header.stamp
            truths.append((stamp.sec * 10**9 + stamp.nanosec, bool(truth.success)))
    if ended is None or ended.outcome is EpisodeOutcome.ABORTED:
        return None
    during = [(stamp, yes) for stamp, yes in truths if stamp >= running_ns]
    last_ns = max((stamp for stamp, _ in during), default=0)
    return Checked(
        ended.episode_id,
        ended.outcome is EpisodeOutcome.SUCCESS,
        any(yes for _, yes in during),
        any(yes for stamp, yes in during if stamp >= last_ns - NEIGHBOUR_NS),
    )


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
