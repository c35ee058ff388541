"""A bundle comes back as it was written, and a damaged or unfit one is named in a sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_bundle import make_bundle

from tmrl_ros.core.errors import BundleError
from tmrl_ros.core.load import load_config
from tmrl_ros.policies.bundle import (
    check_bundle,
    load_bundle,
)
from tmrl_ros.policies.policy import ChunkPolicy


def test_a_bundle_acts_the_same_after_a_round_trip(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    chunks = []
    for _ in range(2):
        policy = ChunkPolicy(*load_bundle(tmp_path))
        chunks.append(
            policy.sample(
                np.ones((2, 7), np.float32),
                np.ones((2, 4), np.float32),
                np.array([0.0, 0.7], np.float32),
                np.ones((2, 7), np.float32),
            )
        )
    assert np.array_equal(chunks[0], chunks[1])
    assert chunks[0].shape == (2, 8, 4)
    assert chunks[0][..., 3].min() >= 0 and chunks[0][..., 3].max() <= 1


def test_a_missing_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no policy bundle at .*nowhere.*tmrl pretrain"):
        load_bundle(tmp_path / "nowhere")


def test_damaged_weights_are_found_by_their_hash(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    file = tmp_path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"model.safetensors is damaged: its hash is"):
        load_bundle(tmp_path)


def test_a_damaged_description_names_the_key(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    file = tmp_path / "policy.json"
    content = json.loads(file.read_text())
    content["action"]["horizon"] = "many"
    file.write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"policy.json is damaged \(action.horizon"):
        load_bundle(tmp_path)
    file.write_text("{")
    with pytest.raises(BundleError, match=r"policy.json is damaged"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ({"rate_hz": 15.0}, "actions are for 15 Hz, robot.control_rate_hz is 20"),
        ({"frame": "fr3_link0"}, "acts in frame 'fr3_link0', robot.base_frame is 'panda_link0'"),
    ],
)
def test_an_action_spec_that_does_not_match_the_robot_is_refused(
    tmp_path: Path, action: dict[str, object], sentence: str
) -> None:
    make_bundle(tmp_path, **action)
    with pytest.raises(BundleError, match=sentence):
        check_bundle(tmp_path, load_config(["task=lift"]))
