"""What a session has learned acts again in a comparison, and what is missing is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import BundleError, OperatorError
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.learning.acting import ActingPolicy
from tmrl_ros.learning.contenders import config_of, load_contenders, main, take_out
from tmrl_ros.learning.core import LearnerCore
from tmrl_ros.learning.methods import Sizes
from tmrl_ros.policies.bundle import read_spec
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.onnx_backend import load_policy

BUNDLE = Path(__file__).parents[2] / "bundles" / "lift"


def make(config: Config) -> ActingPolicy:
    return ActingPolicy(load_policy(config.task.bundle)[0], config.method)


def session(folder: Path, *words: str) -> Path:
    """A session with a checkpoint of untrained, but random, critics."""
    config = load_config(["task=lift", "method.hidden=16", *words])
    write_config(config, folder / "config.yaml")
    context = read_spec(BUNDLE).context
    sizes = Sizes(feature_size(context), 4, context.size)
    LearnerCore(config.method, sizes, 3, folder / "checkpoints").save()
    return folder


def comparing(*contenders: dict) -> Config:
    return load_config(
        ["task=lift", "method=base", f"comparison.contenders={json.dumps(contenders)}"]
    )


def decided(acting: ActingPolicy, method: str) -> np.ndarray:
    acting.begin_episode(index=0, seed=5, method=method, deterministic=True)
    context = np.array([0.5, 0.05, 0.02, 0.45, 0.0, 0.2, 1.0], np.float32)
    return acting.decide(context).actions


def test_a_contender_acts_as_its_session_does(tmp_path: Path) -> None:
    folder = session(tmp_path / "tuned")
    take_out(folder, tmp_path / "weights")
    method = load_config(["task=lift", "method.hidden=16"]).method.model_dump(mode="json")
    config = comparing(
        {"name": "frozen", "bundle": str(BUNDLE)},
        {
            "name": "tuned",
            "bundle": str(BUNDLE),
            "method": method,
            "weights": str(tmp_path / "weights"),
        },
    )
    found = {
        config.comparison.coded(0)[letter].name: item
        for letter, item in load_contenders(config, make).items()
    }
    assert found["frozen"].method == "base" and found["tuned"].method == "tmrl"
    assert found["frozen"].bundle_hash == found["tuned"].bundle_hash
    itself = make(config_of(config, config.comparison.contenders[1]))
    core = LearnerCore(
        itself.method, Sizes(10, 4, 7), load_config().session.seed, folder / "checkpoints"
    )
    core.restore([])
    weights = core.weights()
    itself.install(weights.data, weights.metadata_json, 1)
    assert np.array_equal(decided(found["tuned"].acting, "tmrl"), decided(itself, "tmrl"))
    assert not np.array_equal(
        decided(found["tuned"].acting, "tmrl"), decided(found["frozen"].acting, "base")
    )


def test_a_session_that_has_learned_nothing_is_named(tmp_path: Path, capsys) -> None:
    write_config(load_config(["task=lift"]), tmp_path / "config.yaml")
    with pytest.raises(OperatorError, match="has learned nothing"):
        take_out(tmp_path, tmp_path / "weights")
    assert main([f"{tmp_path}={tmp_path / 'weights'}"]) == 2
    assert "has learned nothing" in json.loads(capsys.readouterr().out)["error"]


def test_weights_that_are_gone_are_named(tmp_path: Path) -> None:
    config = comparing(
        {"name": "frozen", "bundle": str(BUNDLE)},
        {
            "name": "tuned",
            "bundle": str(BUNDLE),
            "method": {"name": "tmrl"},
            "weights": str(tmp_path / "nowhere"),
        },
    )
    with pytest.raises(BundleError, match="What contender tuned has learned cannot be used"):
        load_contenders(config, make)
