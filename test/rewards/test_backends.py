"""What a configuration names is loaded, or refused with one sentence before anything moves."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from cases import cases

from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.load import load_config
from tmrl_ros.rewards.backends import check_backend, load_backend, success_rule
from tmrl_ros.rewards.lerobot import PACKAGE
from tmrl_ros.rewards.model import Calibration


def refused(*overrides):
    with pytest.raises(OperatorError) as caught:
        check_backend(load_config(overrides))
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["simulator", "learned", "robometer_http"])
def test_every_shipped_reward_resolves(name):
    assert load_config([f"reward={name}"]).reward.backend == name


def test_simulator_needs_nothing_and_judges_where_no_model_ships():
    config = load_config(["task=stack"])
    assert config.reward.backend == "simulator"
    check_backend(config)


@pytest.mark.parametrize("task", ["lift", "pick_named"])
def test_a_task_brings_the_model_that_judges_it(task):
    config = load_config([f"task={task}"])
    assert config.reward.backend == "learned"
    check_backend(config)
    load_backend(config)
    asked_for = load_config([f"task={task}", "reward=simulator"])
    assert asked_for.reward.backend == "simulator"


def test_robometer_is_made_without_asking_whether_it_is_there(server):
    config = load_config(["reward=robometer_http", f"reward.url={server.url}"])
    backend = load_backend(config)
    assert server.requests == [] and not backend.judge.in_order
    assert (list(backend.cameras), backend.rule) == (["exterior"], Calibration(0.65, 2, 2))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["reward=robometer_http", "reward.url=gpu:8000"], "reward.url: 'gpu:8000'"),
        (["reward.backend=robometer_http"], "give threshold, k and n"),
        (["reward=robometer_http", "reward.k=3"], "k=3 is above n=2"),
        (["reward=robometer_http", "reward.cameras=[roof]"], "['roof'] are not among the cameras"),
        (["reward.k=1"], "give both or neither"),
        (["reward=learned", "reward.bundle=nowhere/at/all"], "nowhere/at/all; train one with"),
    ],
)
def test_mistakes_are_one_sentence(overrides, words):
    assert words in refused(*overrides)


def test_configuration_wins_over_what_was_measured():
    measured = Calibration(0.9, 2, 4)
    given = load_config(["reward.threshold=0.5"]).reward
    assert success_rule(given, measured, "") == Calibration(0.5, 2, 4)
    assert success_rule(load_config().reward, measured, "") == measured
    with pytest.raises(OperatorError, match="no calibration"):
        success_rule(given, None, "Reward model x")


LEROBOT = ["reward.backend=lerobot", "reward.threshold=0.5", "reward.k=1", "reward.n=1"]


def test_lerobot_that_is_not_installed_is_said_so(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    text = refused(*LEROBOT)
    assert "not installed here" in text and "robometer_http" in text


class StandIn:
    """LeRobot's two classes as far as they are called; they answer from the pixels."""

    config = SimpleNamespace(
        base_model_id="qwen", use_multi_image=True, use_per_frame_progress_token=True
    )

    @classmethod
    def from_pretrained(cls, checkpoint):
        if checkpoint != "lerobot/Robometer-4B":
            raise OSError(f"{checkpoint} is not a local folder")
        return cls()

    def __init__(self, *, max_frames=None, **_):
        assert max_frames is None, "or it would take the last frames"

    def encode_samples(self, samples):
        assert all(task == "lift the cube" for _, task in samples)
        return {"frames": torch.from_numpy(np.stack([frames for frames, _ in samples]))}

    def predict_progress(self, batch):
        frames = batch["observation.robometer.frames"].float() / 255
        red, green = frames[..., 0].mean((2, 3)), frames[..., 1].mean((2, 3))
        return SimpleNamespace(progress=red, success_probability=green)


@pytest.fixture
def lerobot(monkeypatch):
    modeling, processing = ModuleType("modeling"), ModuleType("processing")
    modeling.ROBOMETER_FEATURE_PREFIX = "observation.robometer."
    modeling.RobometerRewardModel = StandIn
    processing.RobometerEncoderProcessorStep = StandIn
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.modeling_robometer", modeling)
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.processor_robometer", processing)


def test_lerobot_gets_frames_of_the_whole_prefix_and_its_last_values_count(lerobot):
    judge = load_backend(load_config(LEROBOT)).judge
    said = judge.judge(cases(*np.linspace(0, 0.9, 30), success=0.25, cameras=2)[-1])
    assert said.progress == pytest.approx(0.9, abs=0.01)
    assert said.success_probability == pytest.approx(0.25, abs=0.01)
    assert judge.name == "lerobot lerobot/Robometer-4B"


def test_lerobot_checkpoint_that_does_not_load_is_one_sentence(lerobot):
    with pytest.raises(ConfigurationError, match="reward.checkpoint=gone does not load"):
        load_backend(load_config([*LEROBOT, "reward.checkpoint=gone"]))
