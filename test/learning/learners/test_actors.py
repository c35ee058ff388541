"""Actors over noise find what pays, and the same again from the same seed."""

import numpy as np
import pytest
import torch
from transitions import transition

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.learners.dsrl import DsrlLearner
from tmrl_ros.learning.learners.learner import Learner
from tmrl_ros.learning.methods import Sizes, learner_for
from tmrl_ros.learning.replay import Replay

COMMON = {"success_fraction": 0.5, "hidden": 32, "critics": 2, "batch_size": 64}
DSRL = MethodConfig(name="dsrl", **COMMON)
PAPER = MethodConfig(
    name="tmrl_paper", discount=0.99, initial_temperature=0.1, actor_every=2, z_bound=1.0, **COMMON
)
SIZES = Sizes(features=2, z=2, context=3)


def bandit(*, context_matters: bool) -> Replay:
    """One-decision episodes that succeed when z[0] is positive, and t high and eps[0] negative."""
    rng = np.random.default_rng(0)
    replay = Replay(SIZES.features, SIZES.z, SIZES.context, 5000)
    for number in range(600):
        features = rng.uniform(-1, 1, SIZES.features).astype(np.float32)
        z = rng.uniform(-1, 1, SIZES.z).astype(np.float32)
        t = float(rng.uniform())
        eps = rng.uniform(-1, 1, SIZES.context).astype(np.float32)
        success = bool(z[0] > 0 and (not context_matters or (t > 0.6 and eps[0] < 0)))
        row = transition(
            str(number),
            features=features,
            z=z,
            t_context=t,
            eps_context=eps,
            reward=float(success),
            terminated=True,
            success_episode=success,
        )
        replay.add_episode([row])
    return replay


def trained(method: MethodConfig, steps: int, seed: int = 0) -> tuple[Learner, Replay]:
    learner = learner_for(method, SIZES, seed)
    replay = bandit(context_matters=method.name == "tmrl_paper")
    for _ in range(steps):
        learner.update(replay)
    return learner, replay


def test_dsrl_finds_the_noise_that_succeeds() -> None:
    learner, replay = trained(DSRL, 600)
    assert isinstance(learner, DsrlLearner)
    (z,) = learner.actor.mode(torch.rand(32, SIZES.features) * 2 - 1)
    assert float((z[:, 0] > 0).float().mean()) > 0.95
    batch = replay.sample(256, 0.5, learner.rng)
    values = learner.critics(batch.features, batch.z)
    assert float(values.min()) > -0.5 and float(values.max()) < 1.5


def test_the_paper_s_actor_finds_noise_timestep_and_context_noise() -> None:
    learner, _ = trained(PAPER, 1500)
    z, t, eps = learner.acting.mode(torch.rand(32, SIZES.features) * 2 - 1)
    assert float((z[:, 0] > 0).float().mean()) > 0.95
    assert float(((t[:, 0] + 1) / 2 > 0.6).float().mean()) > 0.95
    assert float((eps[:, 0] < 0).float().mean()) > 0.95


@pytest.mark.parametrize("method", [DSRL, PAPER])
def test_the_same_seed_gives_the_same_weights(method: MethodConfig) -> None:
    weights = [trained(method, 20, seed=3)[0].acting.state_dict() for _ in range(2)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
