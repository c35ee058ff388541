"""The models: policy bundle against robot, cameras and method; reward model; how fast they are.

Loads torch, so it runs in a process of its own: `python -m tmrl_ros.doctor.models config.yaml`
prints findings as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.load import read_config
from tmrl_ros.core.methods import DEMONSTRATORS
from tmrl_ros.doctor.finding import Finding, bad, good, skipped, warning
from tmrl_ros.policies.policy import Policy
from tmrl_ros.policies.source import open_policy
from tmrl_ros.rewards.backends import check_backend

REPETITIONS = 10
SLOW_MS = 100.0
"""Of one decision; the arm stands still meanwhile."""


def models(config: Config) -> list[Finding]:
    """All checks that need torch."""
    prepare_torch(config.session.torch_threads)
    return [*policy(config), reward(config), graphics_card()]


def policy(config: Config) -> list[Finding]:
    """Bundle and speed of the policy."""
    if config.method.name in DEMONSTRATORS:
        return [skipped("policy", f"{config.method.name} demonstrations need none")]
    try:
        loaded, spec, how = open_policy(config)
    except OperatorError as error:
        return [bad("policy", str(error), "see the sentence before")]
    name = config.policy.url if config.policy.remote else config.task.bundle.name
    text = f"{name} ({spec.digest()}), {spec.training.demonstrations} demonstrations"
    return [good("policy", text), decision_time(loaded, config, how)]


def decision_time(loaded: Policy, config: Config, how: str) -> Finding:
    """How long the chunks of one decision take."""
    count = config.method.samples
    size = loaded.spec.context.size
    contexts = np.zeros((count, size), np.float32)
    z = np.zeros((count, loaded.z_size), np.float32)
    t = np.zeros(count, np.float32)
    times = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        loaded.sample(contexts, z, t, contexts)
        times.append((time.perf_counter() - started) * 1e3)
    middle = float(np.median(times))
    text = f"{middle:.0f} ms for the {count} chunks of one decision, by {how}"
    if middle > SLOW_MS:
        return warning("decision time", text, "the arm waits so long at every decision")
    return good("decision time", text)


def reward(config: Config) -> Finding:
    """Whether there is somebody to judge."""
    try:
        check_backend(config)
    except OperatorError as error:
        return bad("reward", str(error), "see the sentence before")
    if config.reward.backend == "learned":
        return good("reward", f"learned, {config.reward_bundle}")
    return good("reward", config.reward.backend)


def graphics_card() -> Finding:
    """Whether there is a GPU, and its free memory."""
    if not torch.cuda.is_available():
        return skipped("GPU", "none found; the policies that ship need none")
    free, total = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_name()
    return good("GPU", f"{name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free")


def main() -> int:
    """Print the findings about a resolved configuration."""
    config = read_config(Path(sys.argv[1]))
    print(json.dumps([asdict(item) for item in models(config)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
