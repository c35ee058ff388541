"""Checkpoints that are missing, damaged or foreign: one sentence that says what to do."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.vla.lerobot_classes import policy_classes
from tmrl_ros.vla.load import load_model


@pytest.fixture
def checkpoint(checkpoints, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(checkpoints["pi0"], folder)
    return folder


def refuse(folder, words):
    with pytest.raises(OperatorError, match=words) as caught:
        load_model(folder, "cpu")
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there(extra, tmp_path):
    refuse(tmp_path / "nothing", "is no folder")


def test_what_lerobot_does_not_say_is_asked_for(checkpoint):
    (checkpoint / "tmrl.json").unlink()
    refuse(checkpoint, "action_space")


def test_a_wrong_control_rate(checkpoint):
    (checkpoint / "tmrl.json").write_text('{"action_space": "joints", "control_rate_hz": 0}')
    refuse(checkpoint, "control_rate_hz")


def test_a_policy_of_another_kind(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "type": "act"}))
    refuse(checkpoint, "'act' are not hosted")


def test_weights_that_are_cut_off(checkpoint):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    refuse(checkpoint, "cannot be read")


def test_weights_that_are_missing_or_unknown(checkpoint):
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    name = "model.action_out_proj.weight"
    save_file({**{k: v for k, v in tensors.items() if k != name}}, file)
    refuse(checkpoint, "1 weights are missing")
    save_file({**tensors, "model.strange": tensors[name].clone()}, file)
    refuse(checkpoint, "1 unknown")


def test_weights_of_another_size(checkpoint):
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    tensors["model.action_out_proj.bias"] = tensors["model.action_out_proj.bias"][:3].clone()
    save_file(tensors, file)
    refuse(checkpoint, "other sizes")


def test_a_checkpoint_without_a_normaliser(checkpoint):
    (checkpoint / "policy_preprocessor.json").unlink()
    refuse(checkpoint, "no readable normaliser")


def test_statistics_of_another_policy(checkpoint):
    file = next(checkpoint.glob("*normalizer*.safetensors"))
    save_file({key: value[:2].clone() for key, value in load_file(file).items()}, file)
    refuse(checkpoint, "of another policy")


def test_a_gpu_that_is_not_there(checkpoint):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(OperatorError, match="no GPU"):
        load_model(checkpoint, "cuda")


def test_an_unknown_kind_is_named():
    with pytest.raises(OperatorError, match="'octo'"):
        policy_classes("octo")
