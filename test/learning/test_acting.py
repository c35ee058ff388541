"""What an episode holds: exploration is coherent within it and different in the next one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.acting import ActingPolicy, pack_weights
from tmrl_ros.learning.methods import Sizes, acting_module
from tmrl_ros.learning.warmup import prior
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.policy import ChunkPolicy

BUNDLE = Path(__file__).parents[2] / "bundles" / "lift"
CONTEXT = np.array([0.5, 0.0, 0.02, 0.45, 0.0, 0.2, 1.0], np.float32)


def acting(held: float) -> ActingPolicy:
    """A policy with a new actor, past its warm-up."""
    policy = ChunkPolicy(*load_bundle(BUNDLE))
    method = MethodConfig(name="dsrl", held_exploration=held, warmup_episodes=0, hidden=16)
    torch.manual_seed(0)
    context = policy.spec.context
    sizes = Sizes(feature_size(context), policy.z_size, context.size)
    acting = ActingPolicy(policy, method)
    acting.install(*pack_weights(acting_module(method, sizes), prior()), 1)
    return acting


def pushes(policy: ActingPolicy, seed: int, decisions: int = 3) -> np.ndarray:
    policy.begin_episode(index=0, seed=seed, method="dsrl", deterministic=False)
    return np.stack([policy.decide(CONTEXT).z for _ in range(decisions)])


def test_fully_held_exploration_pushes_every_chunk_of_an_episode_the_same_way() -> None:
    policy = acting(1.0)
    first, second = pushes(policy, 1), pushes(policy, 2)
    assert np.ptp(first, axis=0).max() < 1e-6
    assert np.abs(first[0] - second[0]).min() > 1e-4


@pytest.mark.parametrize("held", [0.0, 0.5])
def test_the_rest_is_drawn_anew_for_every_chunk(held: float) -> None:
    spread = np.ptp(pushes(acting(held), 1), axis=0)
    assert spread.min() > 1e-4


def test_held_exploration_does_not_change_how_much_is_explored() -> None:
    spreads = []
    for held in (0.0, 0.5):
        policy = acting(held)
        spreads.append(np.concatenate([pushes(policy, seed, 1) for seed in range(300)]).std(0))
    assert spreads[1] == pytest.approx(spreads[0], rel=0.25)


def test_the_same_seed_explores_the_same_way() -> None:
    assert np.array_equal(pushes(acting(0.5), 3), pushes(acting(0.5), 3))
