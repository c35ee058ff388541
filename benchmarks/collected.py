"""Is what a person demonstrated enough to learn from? Success of a bundle pre-trained on it.

First collect and pre-train (in two terminals; the person is `scripted_person.py`):

    tmrl collect task=lift task.region=demo task.demonstration.miss=0.2 session.train_episodes=44 \\
        session.seed=5 session.dir=sessions/collected recorder.cameras=none \\
        teleop.max_speed_mps=0.5 cameras.realtime_rate_hz=6
    python benchmarks/scripted_person.py config_file:=sessions/collected/config.yaml
    tmrl pretrain sessions/collected task=lift --out bundles/collected
    python benchmarks/collected.py sessions/collected bundles/collected

Each start is tried once by the frozen policy as it was trained (t = 0), where objects were in the
demonstrations and where they are in the task; beside it the same network without training, and the
bundle that is shipped, which 200 scripted demonstrations made. Writes
`docs/benchmarks/collected.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rig import Rig
from success_at_k import Attempt

from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.config import Config
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import EpisodeOutcome, Phase
from tmrl_ros.data.collected import read_collected
from tmrl_ros.policies.onnx_backend import load_policy
from tmrl_ros.policies.policy import ChunkPolicy
from tmrl_ros.session.records import load_records
from tmrl_ros.session.statistics import success_rate

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "collected.json"
MEASURED = (
    ("trained", "demo"),
    ("untrained", "demo"),
    ("shipped", "demo"),
    ("trained", "start"),
    ("shipped", "start"),
)


def untrained(bundle: Path, seed: int) -> ChunkPolicy:
    """The bundle's policy with weights as they were before training."""
    policy, _ = load_policy(bundle, "torch")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in policy.network.parameters():
            weights.copy_(0.02 * torch.randn(weights.shape, generator=generator))
    return policy


def successes(config: Config, policy: ChunkPolicy, starts: int) -> dict[str, Any]:
    """Success over the starts, with its interval."""
    rig = Rig(config)
    came = [
        rig.run(Attempt(policy, 0, 0.0), Phase.EVALUATE_BEFORE, start).outcome
        is EpisodeOutcome.SUCCESS
        for start in range(starts)
    ]
    return success_rate(came).as_dict()


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("session", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    prepare_torch(1)
    config = load_config(["task=lift"])
    found = read_collected(args.session, config.collect)
    records = [item for item in load_records(args.session) if item.phase == "collect"]
    kept = [item for item in records if not item.aborted]
    lengths = [item.quality.length_s for item in found]
    result: dict[str, Any] = {
        "demonstrations": len(found),
        "good": sum(item.usable for item in found),
        "discarded": len(records) - len(kept),
        "length_s": {"median": float(np.median(lengths)), "largest": max(lengths)},
        "idle_share": float(np.mean([item.quality.idle_share for item in found])),
        "clipped_share": float(np.mean([item.quality.clipped_share for item in found])),
        "robot_minutes": sum(item.robot_seconds for item in records) / 60,
        "wall_minutes": max(item.job_wall_s for item in records) / 60,
        "starts": args.starts,
        "seeds": args.seeds,
        "success": {},
    }
    policies = {
        "trained": load_policy(args.bundle, "onnxruntime")[0],
        "untrained": untrained(args.bundle, 0),
        "shipped": load_policy(config.task.bundle, "onnxruntime")[0],
    }
    for name, region in MEASURED:
        rates = []
        for seed in args.seeds:
            words = ["task=lift", "reward=simulator", f"task.region={region}"]
            words += [f"task.bundle={args.bundle}", f"session.seed={seed}"]
            rates.append(successes(load_config(words), policies[name], args.starts))
        result["success"][f"{name}, {region}"] = rates
        print(name, region, rates, flush=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
