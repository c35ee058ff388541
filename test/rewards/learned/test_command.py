"""`tmrl reward`, from the words on the command line to files."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tmrl_ros.cli.reward import main, table
from tmrl_ros.rewards.learned.judge import load_reward_bundle


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "task=lift"], "name sessions, or add --simulate"),
        (["eval", "task=lift"], "name sessions, or add --simulate"),
        (["calibrate", "task=lift"], "name sessions, or add --simulate"),
        (["relabel", "task=lift"], "Name its folder"),
        (["train", "nowhere", "task=lift"], "nowhere holds no bags"),
        (["eval", "--simulate", "task=nothing"], "task=nothing"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(words, sentence, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_a_missing_bundle_is_named(tmp_path, capsys):
    (tmp_path / "session").mkdir()

    assert main(["relabel", str(tmp_path / "session"), "--bundle", str(tmp_path / "x")]) == 2
    assert "no reward bundle at" in capsys.readouterr().err


def test_an_unknown_option_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "task=lift", "--videoz", "3"])
    assert stopped.value.code == 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    words = ["train", "task=lift", "--simulate", "--videos", "16", "--steps", "2"]
    assert main([*words, "--seed", "3", "--out", str(folder / "bundle")]) == 0
    return folder


def test_a_trained_bundle_says_where_it_comes_from_and_can_judge(trained):
    reward = load_reward_bundle(trained / "bundle")
    record = reward.spec.training

    assert (record.videos, record.calibration_videos, record.seed) == (16, 8, 3)
    assert sum(record.videos_by_kind.values()) == 16
    assert len(record.data_sha256) == 64 and record.command.startswith("tmrl reward")
    reward.begin_episode("lift the red cube")
    judgement = reward.observe([np.zeros((96, 96, 3), np.uint8)] * 2)
    assert 0 <= judgement.progress <= 1


def test_calibrated_anew_it_keeps_its_weights(trained, tmp_path, capsys):
    bundle = shutil.copytree(trained / "bundle", tmp_path / "bundle")
    before = load_reward_bundle(bundle).spec
    words = ["calibrate", "task=lift", "--simulate", "--videos", "12", "--seed", "3"]

    assert main([*words, "--bundle", str(bundle)]) == 0

    after = load_reward_bundle(bundle).spec
    assert after.calibration.episodes > before.calibration.episodes
    assert after.training.calibration_videos == 12
    assert after.weights_sha256 == before.weights_sha256 and after.digest() != before.digest()
    assert f"{after.calibration.threshold:.3f}" in capsys.readouterr().out


def test_an_evaluation_leaves_figures_and_pictures(trained):
    words = ["eval", "--simulate", "task=lift", "--videos", "10", "--near-misses", "3"]
    words += ["--rollouts", "2", "--bundle", str(trained / "bundle"), "--out", str(trained / "e")]
    assert main(words) == 0
    result = json.loads((trained / "e" / "evaluation.json").read_text())

    assert result["model"]["videos"] == 15
    assert result["model"]["near_misses"]["episodes"] >= 1
    # Later is better: the time index knows the order of frames, not of episodes.
    assert result["time_index"]["kendall_tau_a"] == 0.0
    assert result["time_index"]["voc"] > 0.8
    assert Image.open(trained / "e" / "episodes.png").size[0] > 800
    assert any("near misses" in line for line in table(result))
