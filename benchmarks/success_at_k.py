"""What is in the frozen policy: does one of K attempts succeed, and at which context timestep?

Every start state is tried K times, each time with other noise, at fixed context timesteps and at
one drawn per attempt. Where precise imitation (t = 0) fails however often it is tried and the
marginal (t = 1) does not, fine-tuning has something to find (arXiv 2605.12236). Writes
`docs/benchmarks/success_at_k.json`.

    .venv/bin/python benchmarks/success_at_k.py --tasks pick_named lift stack
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import curves
import numpy as np
from numpy.typing import NDArray
from rig import Rig

from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import EpisodeOutcome, Float32Array, Phase
from tmrl_ros.learning.acting import Decision
from tmrl_ros.learning.choosing.choice import decoded
from tmrl_ros.policies.onnx_backend import load_policy
from tmrl_ros.policies.policy import ChunkPolicy

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "success_at_k.json"
LEVELS: dict[str, float | None] = {"t = 0": 0.0, "t = 0.5": 0.5, "t = 1": 1.0, "t drawn": None}


class Attempt:
    """The frozen policy at one context timestep; context noise is held over the attempt."""

    def __init__(self, policy: ChunkPolicy, number: int, t_context: float | None) -> None:
        """`number` tells attempts from the same start apart; no timestep: one is drawn."""
        self.policy, self._number, self._t_context = policy, number, t_context

    def begin_episode(self, *, index: int, seed: int, method: str, deterministic: bool) -> None:
        """Draw what is held."""
        self._rng = np.random.default_rng([seed, self._number])
        drawn = float(self._rng.random())
        self._t = drawn if self._t_context is None else self._t_context
        self._eps = self._rng.standard_normal(self.policy.spec.context.size).astype(np.float32)

    def decide(self, context: Float32Array) -> Decision:
        """A chunk of the policy's own, with other noise for every row."""
        shape = (self.policy.spec.action.horizon, self.policy.z_size)
        noise = self._rng.standard_normal(shape).astype(np.float32)
        choice = decoded(self.policy, context, noise, self._t, self._eps)
        features = self.policy.features(context)
        return Decision(**vars(choice), features=features, actor="base")


def attempts(
    rig: Rig, policy: ChunkPolicy, t_context: float | None, states: int, tries: int
) -> NDArray[np.bool_]:
    """Whether each attempt at each start succeeded, (states, tries)."""
    came = np.zeros((states, tries), bool)
    for state in range(states):
        for number in range(tries):
            result = rig.run(Attempt(policy, number, t_context), Phase.EVALUATE_BEFORE, state)
            came[state, number] = result.outcome is EpisodeOutcome.SUCCESS
    return came


def main() -> int:
    """Measure and write; tasks that are not named keep their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["pick_named", "lift", "stack"])
    parser.add_argument("--states", type=int, default=30)
    parser.add_argument("--attempts", type=int, default=8)
    args = parser.parse_args()
    prepare_torch(1)
    found = json.loads(OUT.read_text()) if OUT.is_file() else {}
    for task in args.tasks:
        config = load_config([f"task={task}", "session.seed=0"])
        rig, policy = Rig(config), load_policy(config.task.bundle)[0]
        found[task] = {"states": args.states}
        for name, t_context in LEVELS.items():
            came = attempts(rig, policy, t_context, args.states, args.attempts)
            share = curves.success_at_k(came)
            found[task][name] = share.round(4).tolist()
            print(f"{task}, {name}: {share[0]:.0%} at once, {share[-1]:.0%} of {args.attempts}")
        OUT.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
