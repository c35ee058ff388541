"""A bundle comes back as it was written, and a damaged or unfit one is named in a sentence."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import observed
from small_bundle import make_bundle

from tmrl_ros.core.errors import BundleError
from tmrl_ros.core.load import load_config
from tmrl_ros.policies.bundle import (
    ObservationSpec,
    PolicySpec,
    check_bundle,
    load_bundle,
    network_of,
    save_bundle,
)
from tmrl_ros.policies.encoders import PointEncoderSpec
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
        ({"frame": "table"}, "acts in frame 'table', robot.base_frame is 'panda_link0'"),
    ],
)
def test_an_action_spec_that_does_not_match_the_robot_is_refused(
    tmp_path: Path, action: dict[str, object], sentence: str
) -> None:
    make_bundle(tmp_path, **action)
    with pytest.raises(BundleError, match=sentence):
        check_bundle(tmp_path, load_config(["task=lift"]))


def test_a_policy_for_a_panda_fits_an_fr3_which_is_mounted_the_same_way(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    on_fr3 = load_config(
        ["task=lift", "robot=franka_fr3", "reward=learned", "safety=panda_table", "cameras=sim_two"]
    )
    assert on_fr3.robot.base_frame == "fr3_link0"
    assert check_bundle(tmp_path, on_fr3).action.frame == "panda_link0"


def make_point_bundle(folder: Path) -> PolicySpec:
    """The same for point clouds, with two keypoints."""
    spec = make_bundle(folder)
    observation = ObservationSpec(
        kind="points",
        objects=["keypoint_0", "keypoint_1"],
        prompt_size=0,
        mean=[0.0] * 10,
        std=[1.0] * 10,
        encoder=PointEncoderSpec.of(load_config(["task=lift"]).cameras, 2),
    )
    spec = spec.model_copy(update={"kind": "keypoint_flow", "observation": observation})
    torch.manual_seed(1)
    return save_bundle(folder, spec, network_of(spec))


def test_a_bundle_for_point_clouds_sees_the_same_after_a_round_trip(tmp_path: Path) -> None:
    spec = make_point_bundle(tmp_path)
    seen = observed(np.random.default_rng(0))
    first, second = (ChunkPolicy(*load_bundle(tmp_path)) for _ in range(2))
    context = first.raw_context(seen)
    assert context.shape == (spec.context.size,) == (10,)
    assert np.array_equal(context, second.raw_context(seen))
    assert np.array_equal(context[-4:], seen.state)
    assert first.needs_pictures and first.features(context).shape == (16,)
    assert check_bundle(tmp_path, load_config(["task=lift"])) == spec


def test_a_cell_that_does_not_fit_the_encoder_is_refused(tmp_path: Path) -> None:
    make_point_bundle(tmp_path)
    sentence = r"policy.json: the policy was trained on clouds with points=1024, cameras.points is"
    with pytest.raises(BundleError, match=sentence):
        check_bundle(tmp_path, load_config(["task=lift", "cameras.points=512"]))


def test_the_weights_of_an_encoder_are_part_of_the_hash(tmp_path: Path) -> None:
    make_point_bundle(tmp_path)
    spec = json.loads((tmp_path / "policy.json").read_text())
    spec["observation"]["encoder"]["keypoints"] = 3
    (tmp_path / "policy.json").write_text(json.dumps(spec))
    with pytest.raises(BundleError, match="2 names for 3 keypoints"):
        load_bundle(tmp_path)
    spec["observation"]["encoder"] |= {"keypoints": 2, "width": 16}
    (tmp_path / "policy.json").write_text(json.dumps(spec))
    with pytest.raises(BundleError, match="does not hold the network that policy.json describes"):
        load_bundle(tmp_path)


def test_a_policy_of_named_objects_has_no_encoder(tmp_path: Path) -> None:
    make_point_bundle(tmp_path)
    spec = json.loads((tmp_path / "policy.json").read_text())
    spec["observation"]["kind"] = "objects"
    (tmp_path / "policy.json").write_text(json.dumps(spec))
    with pytest.raises(BundleError, match="observation kind objects has an encoder of points"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["lift", "pick_named"])
def test_bundles_from_before_encoders_are_what_they_were(name: str) -> None:
    """What is hashed for recorded sessions, the weights, and the context they make."""
    spec, network = load_bundle(Path(__file__).parents[2] / "bundles" / name)
    assert set(spec.model_dump()["observation"]) == {"objects", "prompt_size", "mean", "std"}
    assert not [key for key in network.state_dict() if key.startswith("encoder")]
    assert spec.observation.kind == "objects" and network.encoder is None
    policy = ChunkPolicy(spec, network)
    names = (*reversed(spec.context.objects), "another")
    positions = np.arange(3 * len(names), dtype=np.float32).reshape(-1, 3)
    seen = observed(
        np.random.default_rng(0), object_names=names, object_positions=positions, prompt="lift it"
    )
    objects = spec.context.select_objects(names, positions)
    assert np.array_equal(
        policy.raw_context(seen), spec.context.context("lift it", objects, seen.state)
    )
    with pytest.raises(ValueError, match="a number that is not finite"):
        policy.raw_context(replace(seen, state=np.full(4, np.nan, np.float32)))
