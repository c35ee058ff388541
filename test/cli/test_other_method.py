"""A session that has begun goes on with another method, and with nothing else changed."""

import json

import pytest

from tmrl_ros.cli.main import main
from tmrl_ros.cli.session_folder import resumed_session
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import load_config, read_config, write_config


@pytest.fixture
def begun(tmp_path):
    """A session of `tmrl` with one training episode."""
    config = load_config(["task=lift", "session.seed=3", "method.hidden=64"])
    write_config(config, tmp_path / "mine" / "config.yaml")
    line = {"episode_id": "train_000000", "index": 0, "phase": "train", "outcome": "timeout"}
    (tmp_path / "mine" / "episodes.jsonl").write_text(json.dumps(line) + "\n")
    return config


def test_it_takes_the_other_method_s_file_and_needs_no_warm_up(begun):
    config = resumed_session("mine", ["method=rlpd", "session.train_episodes=300"]).config
    usual = load_config(["task=lift", "method=rlpd"]).method
    assert config.method == usual.model_copy(update={"warmup_episodes": 0})
    assert usual.warmup_episodes > 0
    assert config.session.train_episodes == 300
    for section in ("robot", "safety", "cameras", "task", "recorder", "reward"):
        assert getattr(config, section) == getattr(begun, section)
    assert config.session.seed == 3


def test_settings_beside_the_method_count(begun):
    words = ["method=dsrl", "method.warmup_episodes=4", "method.rerank_samples=8"]
    method = resumed_session("mine", words).config.method
    assert (method.name, method.warmup_episodes, method.rerank_samples) == ("dsrl", 4, 8)


def test_without_any_training_episode_there_is_still_a_warm_up(begun, tmp_path):
    (tmp_path / "mine" / "episodes.jsonl").unlink()
    method = resumed_session("mine", ["method=expo"]).config.method
    assert method.warmup_episodes == load_config(["method=expo"]).method.warmup_episodes > 0


def test_without_a_method_it_goes_on_with_its_own(begun):
    assert resumed_session("mine", []).config.method == begun.method


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["method.hidden=32"], r"method.hidden cannot change .* `method=tmrl method.hidden=32`"),
        (["method=base"], "method=base learns nothing, so a session cannot go on with it"),
        (["method=dsrl", "task=lift"], "task cannot change in a session that has begun"),
        (["method=nonsense"], "there is no file .*nonsense.yaml; known are"),
    ],
)
def test_what_cannot_be_is_one_sentence(begun, words, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        resumed_session("mine", words)


def test_only_a_fine_tuning_run_changes_the_method(begun, capsys, tmp_path):
    before = (tmp_path / "mine" / "config.yaml").read_text()
    (tmp_path / "mine" / "checkpoints").mkdir()
    assert main(["deploy", "--resume", "mine", "method=dsrl"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("method cannot change in a session that has begun")
    assert said.count("\n") == 1
    assert (tmp_path / "mine" / "config.yaml").read_text() == before


def test_the_session_s_configuration_names_the_new_method(begun, tmp_path):
    folder = resumed_session("mine", ["method=vgps"])
    folder.open()
    folder.close()
    assert read_config(tmp_path / "mine" / "config.yaml").method.name == "vgps"
