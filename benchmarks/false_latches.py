"""How often the stop latches in normal running, and how many targets it slows down.

Simulated arm, lockstep: robot time passes as fast as the machine allows, without ROS; putting the
arm home between episodes is not counted. A stop that the policy earned by what it did (a collision,
a chunk out of the workspace) is listed by its cause; everything else is a false latch.

    python benchmarks/false_latches.py --minutes 120
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import torch
from rig import Rig, Trial

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import ChunkResult, Outcome, Phase
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.policy import ChunkPolicy
from tmrl_ros.session.episode import POLICY_FAULTS

TASKS = ("lift", "pick_named", "stack")
METHODS = ("base", "tmrl")
RESULT = Path(__file__).parents[1] / "docs" / "benchmarks" / "false_latches.json"


def main() -> None:
    """Run episodes of every task in turn until enough robot time has passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0, help="of robot time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    trials = []
    for task in TASKS:
        config = load_config([f"task={task}", f"session.seed={args.seed}"])
        policy = ChunkPolicy(*load_bundle(config.task.bundle))
        trials.append(Trial(Rig(config), policy))
    counts: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    robot_s, index, began = 0.0, 0, time.monotonic()
    while robot_s < 60.0 * args.minutes:
        for trial in trials:
            for method in METHODS:
                result = trial.rig.run(trial.actor, Phase.TRAIN, index, method=method)
                counts["episodes"] += 1
                for done in result.pieces:
                    if isinstance(done, Outcome):
                        robot_s += done.duration_s
                        counts["chunks"] += 1
                        counts["targets"] += done.steps_sent
                        counts["slowed down"] += done.steps_clipped
                        if done.result is not ChunkResult.EXECUTED:
                            causes[done.reason] += 1
        index += 1
        false = {code: count for code, count in causes.items() if code not in POLICY_FAULTS}
        report = {
            "robot_minutes": round(robot_s / 60.0, 1),
            "wall_minutes": round((time.monotonic() - began) / 60.0, 1),
            "lockstep": True,
            "seed": args.seed,
            "tasks": list(TASKS),
            "acting": ["frozen policy", "warm-up of tmrl"],
            **counts,
            "latches_earned": {code: n for code, n in causes.items() if code in POLICY_FAULTS},
            "latches_false": false,
        }
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
