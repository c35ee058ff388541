"""An actor over noise and timestep finds what pays, and the same again from the same seed."""

import numpy as np
import pytest
import torch
from transitions import transition

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.latent import LatentLearner
from tmrl_ros.learning.replay import Replay

METHOD = MethodConfig(name="latent", success_fraction=0.5, hidden=32, critics=2, batch_size=64)
F, Z = 2, 2


def bandit(seed: int = 0, *, any_t: bool = False) -> Replay:
    """One-decision episodes that succeed when t is high (or `any_t`) and z[0] is positive."""
    rng = np.random.default_rng(seed)
    replay = Replay(F, Z, 5000)
    for number in range(400):
        features = rng.uniform(-1, 1, F).astype(np.float32)
        z = rng.uniform(-1.5, 1.5, Z).astype(np.float32)
        t = 0.0 if any_t else float(rng.uniform())
        success = (any_t or t > 0.6) and z[0] > 0
        replay.add_episode(
            [
                transition(
                    str(number),
                    features=features,
                    z=z,
                    t_context=t,
                    reward=float(success),
                    terminated=True,
                    success_episode=success,
                )
            ]
        )
    return replay


def test_the_actor_finds_the_noise_and_timestep_that_succeed() -> None:
    learner, replay = LatentLearner(METHOD, F, Z, seed=0), bandit()
    before = learner.actor.mode(torch.zeros(1, F))[1]
    assert float(before) == pytest.approx(METHOD.initial_t_context, abs=0.02)
    for _ in range(600):
        learner.update(replay)
    z, t = learner.actor.mode(torch.rand(32, F) * 2 - 1)
    assert float((t > 0.6).float().mean()) > 0.95
    assert float((z[:, 0] > 0).float().mean()) > 0.95


def test_values_stay_between_failure_and_success() -> None:
    learner, replay = LatentLearner(METHOD, F, Z, seed=0), bandit()
    for _ in range(200):
        learner.update(replay)
    batch = replay.sample(256, 0.5, learner.rng)
    values = learner.critics(batch.features, batch.z, batch.t)
    assert float(values.min()) > -0.5 and float(values.max()) < 1.5


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for _ in range(2):
        learner = LatentLearner(METHOD, F, Z, seed=3)
        replay = bandit()
        for _ in range(20):
            learner.update(replay)
        weights.append(learner.acting.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_without_a_context_timestep_the_noise_alone_is_learned() -> None:
    method = METHOD.model_copy(update={"name": "dsrl"})
    learner = LatentLearner(method, F, Z, seed=0)
    replay = bandit(any_t=True)
    for _ in range(600):
        learner.update(replay)
    z, t, _ = learner.actor.sample(torch.rand(32, F) * 2 - 1, learner.generator)
    assert float(t.abs().max()) == 0.0
    assert float((z[:, 0] > 0).float().mean()) > 0.9
    assert learner.target_entropy == -Z
