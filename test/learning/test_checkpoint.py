"""A learner goes on from a checkpoint without a seam, whatever method it follows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transitions import transition

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.data.plans import PLAN_SIZE
from tmrl_ros.learning.checkpoint import load_checkpoint, save_checkpoint
from tmrl_ros.learning.learners.learner import Learner
from tmrl_ros.learning.methods import Sizes, learner_for
from tmrl_ros.learning.replay import Replay

SIZES = Sizes(features=10, z=2, context=7)
METHOD = MethodConfig(hidden=32, critics=2, batch_size=64)
methods = pytest.mark.parametrize("name", ["tmrl", "expo", "dsrl", "tmrl_paper", "rlpd", "vgps"])


def make(name: str, seed: int = 3) -> Learner:
    own = {"rerank_samples": 4} if name == "vgps" else {}
    return learner_for(METHOD.model_copy(update={"name": name, **own}), SIZES, seed)


def replay_of_anything() -> Replay:
    rng = np.random.default_rng(0)
    replay = Replay(SIZES.features, SIZES.z, SIZES.context, 1000)
    for number in range(100):
        good = bool(rng.random() < 0.5)
        replay.add_episode(
            [
                transition(
                    str(number),
                    features=rng.normal(size=SIZES.features).astype(np.float32),
                    z=rng.normal(size=SIZES.z).astype(np.float32),
                    plan=rng.normal(size=PLAN_SIZE).astype(np.float32),
                    next_plans=rng.normal(size=(4, PLAN_SIZE)).astype(np.float32),
                    t_context=float(rng.random()),
                    eps_context=rng.normal(size=SIZES.context).astype(np.float32),
                    reward=float(good),
                    terminated=good,
                    success_episode=good,
                )
            ]
        )
    return replay


@methods
def test_a_restored_learner_goes_on_exactly_as_the_one_that_was_saved(
    tmp_path: Path, name: str
) -> None:
    learner, replay = make(name), replay_of_anything()
    for _ in range(25):
        learner.update(replay)
    save_checkpoint(tmp_path, learner, {"note": 7})
    other = make(name, 99)
    assert load_checkpoint(tmp_path, other) == {"note": 7}
    assert other.updates == 25
    for _ in range(5):
        learner.update(replay)
        other.update(replay)
    for part, module in learner.parts().modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, other.parts().modules[part].state_dict()[key])
    for key, scalar in learner.parts().scalars.items():
        assert torch.equal(scalar, other.parts().scalars[key])


@methods
def test_a_crash_while_saving_leaves_the_old_checkpoint(tmp_path: Path, name: str) -> None:
    learner, replay = make(name), replay_of_anything()
    save_checkpoint(tmp_path, learner, {"note": 1})
    learner.update(replay)
    (tmp_path / "learner-000000001.tmp").write_bytes(b"half")
    assert load_checkpoint(tmp_path, make(name, 0)) == {"note": 1}


@methods
def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path: Path, name: str) -> None:
    learner = make(name)
    assert load_checkpoint(tmp_path, learner) is None
    file = save_checkpoint(tmp_path, learner, {})
    other = learner_for(learner.method.model_copy(update={"discount": 0.9}), SIZES, 3)
    with pytest.raises(OperatorError, match="other method settings"):
        load_checkpoint(tmp_path, other)
    file.write_bytes(b"xx")
    with pytest.raises(OperatorError, match=r"learner.json is damaged .*learn again from the bags"):
        load_checkpoint(tmp_path, learner)
