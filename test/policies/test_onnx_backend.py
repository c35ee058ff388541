"""ONNX Runtime stands for the network only where it answers as the network does."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from small_bundle import make_bundle

from tmrl_ros.core.errors import BundleError
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.onnx_backend import TOLERANCE, export, load_policy, main

BUNDLES = Path(__file__).parents[2] / "bundles"


def questions(size: int, batch: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(batch)
    contexts, eps = rng.standard_normal((2, batch, size)).astype(np.float32)
    z = rng.standard_normal((batch, 4)).astype(np.float32)
    return contexts, z, rng.random(batch).astype(np.float32), eps


@pytest.mark.parametrize("name", ["lift", "pick_named", "stack", "lift_points"])
@pytest.mark.parametrize("batch", [1, 64])
def test_shipped_graphs_answer_as_the_network_does(name: str, batch: int) -> None:
    fast, how = load_policy(BUNDLES / name)
    plain, _ = load_policy(BUNDLES / name, "torch")
    asked = questions(plain.spec.context.size, batch)
    assert how.startswith("onnxruntime")
    assert np.abs(fast.sample(*asked) - plain.sample(*asked)).max() < TOLERANCE


def test_noise_of_its_own_in_every_row_is_taken_too() -> None:
    fast, _ = load_policy(BUNDLES / "lift")
    plain, _ = load_policy(BUNDLES / "lift", "torch")
    contexts, _, t, eps = questions(plain.spec.context.size, 3)
    z = np.random.default_rng(0).standard_normal((3, 8, 4)).astype(np.float32)
    found, wanted = fast.sample(contexts, z, t, eps), plain.sample(contexts, z, t, eps)
    assert np.abs(found - wanted).max() < TOLERANCE
    assert np.abs(found - fast.sample(contexts, z[:, 0], t, eps)).max() > 1e-3


def test_a_bundle_without_a_graph_is_run_by_torch_and_says_so(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    assert load_policy(tmp_path)[1] == "torch (it has no model.onnx)"
    with pytest.raises(BundleError, match=r"cannot be run with ONNX Runtime: it has no .*export"):
        load_policy(tmp_path, "onnxruntime")


def test_a_graph_of_other_weights_is_not_used(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make_bundle(one)
    make_bundle(other, std=[[2.0] * 4] * 8)
    spec, network = load_bundle(other)
    network.final.bias.data += 1.0
    export(one, *load_bundle(one))
    assert load_policy(one)[1].startswith("onnxruntime")
    export(other, spec.model_copy(update={"weights_sha256": "0" * 64}), network)
    (other / "model.onnx").replace(one / "model.onnx")
    assert load_policy(one)[1] == "torch (model.onnx was made from other weights)"


def test_a_graph_that_answers_otherwise_is_not_used(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    spec, network = load_bundle(tmp_path)
    network.final.bias.data += 1.0
    export(tmp_path, spec, network)  # the right hash, of other weights
    policy, how = load_policy(tmp_path)
    assert how.startswith("torch (model.onnx differs from the weights by")
    assert policy.flow is None


def test_a_damaged_graph_is_named_and_torch_goes_on(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    assert "model.onnx cannot be read" in load_policy(tmp_path)[1]


def test_the_command_writes_a_graph_that_fits(tmp_path: Path, capsys) -> None:
    make_bundle(tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "Wrote" in capsys.readouterr().out
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
    assert load_policy(tmp_path, "onnxruntime")[1].startswith("onnxruntime")


def test_the_command_names_a_folder_that_is_no_bundle(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "There is no policy bundle" in capsys.readouterr().err
