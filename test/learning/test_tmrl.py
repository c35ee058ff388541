"""The learner finds what pays, is reproducible, and goes on from a checkpoint without a seam."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import ChunkSource
from tmrl_ros.data.transitions import Transition
from tmrl_ros.learning.checkpoint import load_checkpoint, save_checkpoint
from tmrl_ros.learning.replay import Replay
from tmrl_ros.learning.tmrl import TmrlLearner

METHOD = MethodConfig(hidden=32, critics=2, batch_size=64)
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
                Transition(
                    episode_id=str(number),
                    decision=0,
                    features=features,
                    z=z,
                    t_context=t,
                    executed=np.zeros((8, 4)),
                    source=ChunkSource.POLICY,
                    reward=float(success),
                    next_features=features,
                    terminated=True,
                    truncated=False,
                    parameters_version=0,
                    success_episode=success,
                )
            ]
        )
    return replay


def test_the_actor_finds_the_noise_and_timestep_that_succeed() -> None:
    learner, replay = TmrlLearner(METHOD, F, Z, seed=0), bandit()
    before = learner.actor.mode(torch.zeros(1, F))[1]
    assert float(before) == pytest.approx(METHOD.initial_t_context, abs=0.02)
    for _ in range(600):
        learner.update(replay)
    z, t = learner.actor.mode(torch.rand(32, F) * 2 - 1)
    assert float((t > 0.6).float().mean()) > 0.95
    assert float((z[:, 0] > 0).float().mean()) > 0.95


def test_values_stay_between_failure_and_success() -> None:
    learner, replay = TmrlLearner(METHOD, F, Z, seed=0), bandit()
    for _ in range(200):
        learner.update(replay)
    batch = replay.sample(256, 0.5, learner.rng)
    values = learner.critics(batch.features, batch.z, batch.t)
    assert float(values.min()) > -0.5 and float(values.max()) < 1.5


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for _ in range(2):
        learner = TmrlLearner(METHOD, F, Z, seed=3)
        replay = bandit()
        for _ in range(20):
            learner.update(replay)
        weights.append(learner.actor_tensors())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_restored_learner_goes_on_exactly_as_the_one_that_was_saved(tmp_path: Path) -> None:
    learner, replay = TmrlLearner(METHOD, F, Z, seed=3), bandit()
    for _ in range(25):
        learner.update(replay)
    save_checkpoint(tmp_path, learner, {"note": 7})
    other = TmrlLearner(METHOD, F, Z, seed=99)
    assert load_checkpoint(tmp_path, other) == {"note": 7}
    assert other.updates == 25
    for _ in range(5):
        learner.update(replay)
        other.update(replay)
    for key, value in learner.actor_tensors().items():
        assert torch.equal(value, other.actor_tensors()[key])
    assert torch.equal(learner.log_alpha, other.log_alpha)


def test_a_crash_while_saving_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    learner, replay = TmrlLearner(METHOD, F, Z, seed=3), bandit()
    save_checkpoint(tmp_path, learner, {"note": 1})
    learner.update(replay)
    (tmp_path / "learner-000000001.tmp").write_bytes(b"half")
    assert load_checkpoint(tmp_path, TmrlLearner(METHOD, F, Z, seed=0)) == {"note": 1}


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path: Path) -> None:
    learner = TmrlLearner(METHOD, F, Z, seed=3)
    assert load_checkpoint(tmp_path, learner) is None
    file = save_checkpoint(tmp_path, learner, {})
    other = TmrlLearner(METHOD.model_copy(update={"discount": 0.9}), F, Z, seed=3)
    with pytest.raises(OperatorError, match="other method settings"):
        load_checkpoint(tmp_path, other)
    file.write_bytes(b"xx")
    with pytest.raises(OperatorError, match=r"learner.json is damaged .*learn again from the bags"):
        load_checkpoint(tmp_path, learner)


def test_without_a_context_timestep_the_noise_alone_is_learned() -> None:
    method = METHOD.model_copy(update={"name": "dsrl"})
    learner = TmrlLearner(method, F, Z, seed=0)
    replay = bandit(any_t=True)
    for _ in range(600):
        learner.update(replay)
    z, t, _ = learner.actor.sample(torch.rand(32, F) * 2 - 1, learner.generator)
    assert float(t.abs().max()) == 0.0
    assert float((z[:, 0] > 0).float().mean()) > 0.9
    assert learner.target_entropy == -Z
