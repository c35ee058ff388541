"""How many updates per second does the learner do, against the same update written as usual?

The usual way: one module, one optimiser and one loss per critic, one after the other; target
weights copied parameter by parameter; batches stacked from a list of rows; torch as it comes. Both
do the same update on the same rows, in turns, in one process, ours with torch set as in a session.
Writes `docs/benchmarks/learner_throughput.json`.

    .venv/bin/python benchmarks/learner_throughput.py --threads 1 2
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import ChunkSource
from tmrl_ros.data.plans import KEPT_CANDIDATES, PLAN_ROWS, PLAN_SCALE_M, PLAN_SIZE
from tmrl_ros.data.transitions import Transition
from tmrl_ros.learning.learners.networks import CLOSE_M
from tmrl_ros.learning.learners.tmrl import TARGET_CANDIDATES, TmrlLearner
from tmrl_ros.learning.replay import Replay
from tmrl_ros.policies.context import RELATIVE_SCALE_M, STATE_SIZE, WORKSPACE_SCALE_M

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "learner_throughput.json"
FEATURES, Z, CONTEXT = 22, 4, 29  # of pick_named
SIZES = {
    "default (128 hidden, 5 critics, batch 128)": MethodConfig(),
    "the paper's (512 hidden, 5 critics, batch 256)": MethodConfig(hidden=512, batch_size=256),
}
ROUNDS, SECONDS = 7, 1.5


class Critic(nn.Module):
    """One critic, as one writes it."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        objects = (FEATURES - STATE_SIZE) // 6
        inputs = FEATURES + PLAN_SIZE + 3 * PLAN_ROWS * objects
        self.net = nn.Sequential(
            *(nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.SiLU()),
            *(nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.SiLU()),
            nn.Linear(hidden, 1),
        )

    def forward(self, features: Tensor, plans: Tensor) -> Tensor:
        """(B, F), (B, P) -> (B,)."""
        objects = (FEATURES - STATE_SIZE) // 6
        relative = features[:, 3 * objects + STATE_SIZE :].reshape(-1, objects, 1, 3)
        rows = plans.reshape(len(plans), 1, PLAN_ROWS, -1)[..., :3]
        apart = (RELATIVE_SCALE_M * relative - PLAN_SCALE_M * rows) / CLOSE_M
        apart = torch.sign(apart) * torch.log1p(apart.abs())
        return self.net(torch.cat([features, plans, apart.flatten(1)], -1)).squeeze(-1)


class UsualLearner:
    """The learner's update, critic by critic."""

    def __init__(self, method: MethodConfig, rows: list[Transition]) -> None:
        self.method, self.rows = method, rows
        self.good = [row for row in rows if row.success_episode]
        self.critics = [Critic(method.hidden) for _ in range(method.critics)]
        self.targets = copy.deepcopy(self.critics)
        self.optimisers = [
            torch.optim.Adam(critic.parameters(), method.learning_rate) for critic in self.critics
        ]
        self.rng = np.random.default_rng(0)

    def update(self) -> None:
        """One step of all critics."""
        method = self.method
        wanted = round(method.batch_size * method.success_fraction)
        rows = [self.good[i] for i in self.rng.integers(len(self.good), size=wanted)]
        others = self.rng.integers(len(self.rows), size=method.batch_size - wanted)
        rows += [self.rows[i] for i in others]
        features = torch.tensor(np.stack([row.features for row in rows]))
        plan = torch.tensor(np.stack([row.plan for row in rows]))
        following = torch.tensor(np.stack([row.next_features for row in rows]))
        next_plans = torch.tensor(np.stack([row.next_plans for row in rows]))
        reward = torch.tensor([row.reward for row in rows])
        terminated = torch.tensor([float(row.terminated) for row in rows])
        shift = method.shift_m * (2 * torch.rand(len(rows), 2) - 1) / WORKSPACE_SCALE_M
        objects = (FEATURES - STATE_SIZE) // 6
        for first in range(0, 3 * (objects + 1), 3):
            features[:, first : first + 2] += shift
            following[:, first : first + 2] += shift
        with torch.no_grad():
            values = []
            for target in self.targets:
                each = []
                drawn = torch.randint(KEPT_CANDIDATES, (len(rows), TARGET_CANDIDATES))
                for k in range(TARGET_CANDIDATES):
                    plans = next_plans[torch.arange(len(rows)), drawn[:, k]]
                    each.append(target(following, plans))
                values.append(torch.stack(each, 1))
            stacked = torch.stack(values)
            sure = stacked.mean(0) - method.pessimism * stacked.std(0)
            goal = reward + method.discount * (1 - terminated) * sure.max(1).values
            goal = goal.clamp(0.0, 1.0)
        for critic, optimiser in zip(self.critics, self.optimisers, strict=True):
            loss = nn.functional.mse_loss(critic(features, plan), goal)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for critic, target in zip(self.critics, self.targets, strict=True):
            for fast, slow in zip(critic.parameters(), target.parameters(), strict=True):
                slow.data.mul_(1 - method.target_tau).add_(method.target_tau * fast.data)


def some_rows(count: int) -> list[Transition]:
    """Rows of random numbers, a third of them of successful episodes."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    return [
        Transition(
            episode_id=str(k // 6),
            decision=k % 6,
            features=normal(FEATURES),
            z=normal(Z),
            t_context=0.0,
            eps_context=normal(CONTEXT),
            plan=normal(PLAN_SIZE),
            executed=np.zeros((8, 4)),
            source=ChunkSource.POLICY,
            reward=float(k % 18 == 5),
            next_features=normal(FEATURES),
            next_plans=normal(KEPT_CANDIDATES, PLAN_SIZE),
            terminated=k % 6 == 5,
            truncated=False,
            parameters_version=1,
            success_episode=k // 6 % 3 == 0,
        )
        for k in range(count)
    ]


def per_second(update: Any) -> float:
    """Updates per second, over about `SECONDS`."""
    for _ in range(3):
        update()
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        update()
        done += 1
    return done / (time.perf_counter() - started)


def compare(method: MethodConfig, threads: int) -> dict[str, Any]:
    """Both in turns, so that what else the machine does falls on both."""
    rows = some_rows(2400)
    replay = Replay(FEATURES, Z, CONTEXT, 5000)
    replay.add_episode(rows)
    ours, usual = TmrlLearner(method, FEATURES, 0), UsualLearner(method, rows)
    found: dict[str, list[float]] = {"ours": [], "usual": [], "ratio": []}
    for _ in range(ROUNDS):
        prepare_torch(threads)
        found["ours"].append(per_second(lambda: ours.update(replay)))
        torch.set_float32_matmul_precision("highest")
        found["usual"].append(per_second(usual.update))
        found["ratio"].append(found["ours"][-1] / found["usual"][-1])
    return {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name, values in found.items()
    }


def main() -> int:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    results = [
        {"sizes": name, "threads": threads, **compare(method, threads)}
        for name, method in SIZES.items()
        for threads in args.threads
    ]
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    for row in results:
        print(
            f"{row['sizes']}, {row['threads']} thread(s): {row['ours']['median']:.0f} updates/s "
            f"against {row['usual']['median']:.0f}, {row['ratio']['median']:.1f} times "
            f"({row['ratio']['min']:.1f} to {row['ratio']['max']:.1f})"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
