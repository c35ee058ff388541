"""Rows that are being carried out stay as they are, whoever chooses what comes behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tmrl_ros.core.config import KeepOutConfig, MethodConfig, SafetyConfig
from tmrl_ros.core.errors import BundleError
from tmrl_ros.core.load import load_config
from tmrl_ros.core.methods import METHODS
from tmrl_ros.learning.acting import ActingPolicy, pack_weights
from tmrl_ros.learning.choosing.candidates import shifted
from tmrl_ros.learning.choosing.reach import Boxes, kept_out
from tmrl_ros.learning.methods import Sizes, acting_module
from tmrl_ros.learning.warmup import prior
from tmrl_ros.policies.bundle import check_bundle, check_fit, load_bundle, read_spec
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.onnx_backend import load_policy
from tmrl_ros.policies.policy import ChunkPolicy

BUNDLE = Path(__file__).parents[3] / "bundles" / "lift"
TOOL = np.array([0.45, 0.0, 0.2])
CONTEXT = np.array([0.5, 0.0, 0.02, *TOOL, 1.0], np.float32)
WORKSPACE = np.array([0.28, -0.4, 0.005]), np.array([0.72, 0.4, 0.6])
ROW_M = 0.03
HELD = np.array([[0.01, 0.0, -0.02, 1.0], [0.02, 0.0, -0.04, 1.0], [0.03, 0.01, -0.06, 0.5]])
NAMES = [name for name in METHODS if name != "scripted"]


@pytest.fixture(scope="module")
def policy() -> ChunkPolicy:
    return ChunkPolicy(*load_bundle(BUNDLE))


def actor(policy, name, *, learned, boxes=None):
    small = {"hidden": 16, "edit_m": 0.02, "candidates": 8, "warmup_episodes": 1}
    if name == "vgps":
        small["rerank_samples"] = 8
    method = MethodConfig(name=name, **small)
    acting = ActingPolicy(policy, method, WORKSPACE, row_m=ROW_M, boxes=boxes)
    if learned and METHODS[name].learns:
        context = policy.spec.context
        sizes = Sizes(feature_size(context), policy.z_size, context.size)
        torch.manual_seed(0)
        acting.install(*pack_weights(acting_module(method, sizes), prior()), 1)
    acting.begin_episode(index=9, seed=3, method=name, deterministic=False)
    return acting


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_begins_with_the_committed_rows_and_does_not_jump(policy, name, learned):
    acting = actor(policy, name, learned=learned)
    for rows in (1, 3):
        made = acting.decide(CONTEXT, HELD[:rows])
        np.testing.assert_array_equal(made.actions[:rows], HELD[:rows])
        assert made.committed_steps == rows
        first = np.linalg.norm(made.actions[rows, :3] - HELD[rows - 1, :3])
        assert first < 0.08, "the row behind them is a move away, as in training"
    assert acting.decide(CONTEXT).committed_steps == 0, "they do not stay for the next decision"


@pytest.mark.parametrize("name", ["tmrl", "expo", "vgps"])
def test_remembered_plans_all_begin_with_the_committed_rows(policy, name):
    held = np.concatenate([HELD, HELD[-1:] + [0.01, 0.0, 0.0, 0.0]])
    plans = actor(policy, name, learned=True).decide(CONTEXT, held).candidates
    assert len(plans) > 4
    quarters = plans.reshape(len(plans), 4, 4)[:, :2]
    assert np.ptp(quarters, axis=0).max() < 1e-6, "rows 2 and 4 of 8 are the committed ones"
    assert np.ptp(plans, axis=0).max() > 0.01, "what comes behind them differs"


def test_held_rows_steer_what_the_policy_does_behind_them(policy):
    rng = np.random.default_rng(0)
    contexts = np.repeat(CONTEXT[None], 64, 0)
    zero, eps = np.zeros(64, np.float32), np.zeros((64, 7), np.float32)

    def drawn(committed=None):
        noise = rng.standard_normal((64, 8, 4)).astype(np.float32)
        return policy.sample(contexts, noise, zero, eps, committed)

    def spread(chunks):
        return float(np.linalg.norm(chunks[:, -1, :3] - goal, axis=1).mean())

    chunk = drawn()[0]
    goal = chunk[-1, :3]
    held = drawn(chunk[:6])
    assert spread(held) < 0.6 * spread(drawn()), "they go on as the chunk did whose rows they are"
    moves = np.linalg.norm(np.diff(held[..., :3], axis=1), axis=-1)
    assert moves.max() < 0.08


def test_without_committed_rows_a_graph_of_onnx_goes_on_sampling(policy):
    onnx, how = load_policy(BUNDLE, "onnxruntime")
    noise, eps = np.ones((2, 4), np.float32), np.zeros((2, 7), np.float32)
    inputs = np.repeat(CONTEXT[None], 2, 0), noise, np.zeros(2, np.float32), eps
    assert how.startswith("onnxruntime")
    np.testing.assert_allclose(onnx.sample(*inputs), policy.sample(*inputs), atol=1e-4)
    held = onnx.sample(*inputs, HELD)
    np.testing.assert_array_equal(held, policy.sample(*inputs, HELD))


def test_edits_grow_from_the_first_row_that_is_not_held():
    moved = shifted(np.zeros((1, 8, 4)), np.array([[0.04, 0.0, 0.0]], np.float32), 4)
    np.testing.assert_allclose(moved[0, :, 0], [0, 0, 0, 0, 0.01, 0.02, 0.03, 0.04], atol=1e-7)


def test_a_box_stops_what_comes_behind_held_rows_and_not_these():
    safety = SafetyConfig(
        workspace_min_m=[0.2, -0.5, 0.0],
        workspace_max_m=[0.8, 0.5, 0.6],
        keep_out=[KeepOutConfig(name="lamp", min_m=[0.55, -0.1, 0.0], max_m=[0.65, 0.1, 0.4])],
    )
    boxes = Boxes.of(safety)
    actions = np.zeros((1, 8, 4))
    actions[0, :, 0] = 0.02 * np.arange(1, 9)  # into the box with row 3
    kept = kept_out(actions, TOOL, boxes, ROW_M, 3)
    np.testing.assert_array_equal(kept[0, :3], actions[0, :3])
    assert kept[0, 3:, 0].max() <= actions[0, 2, 0]


def test_an_overlap_that_leaves_too_little_is_refused_before_anything_starts():
    config = load_config(["task=lift", "session.overlap_rows=5"])
    with pytest.raises(BundleError, match="session.overlap_rows=5 is more than half of the policy"):
        check_bundle(BUNDLE, config)
    check_bundle(BUNDLE, load_config(["task=lift", "session.overlap_rows=4"]))


def test_a_policy_that_cannot_begin_with_given_rows_does_not_overlap():
    config = load_config(["task=lift", "session.overlap_rows=4"])
    spec = read_spec(BUNDLE)
    remote = spec.model_copy(update={"capabilities": ["action_noise", "context_timestep", "batch"]})
    with pytest.raises(BundleError, match="does not declare 'committed'"):
        check_fit(remote, config, "ws://there")
    can = remote.model_copy(update={"capabilities": [*remote.capabilities, "committed"]})
    check_fit(can, config, "ws://there")
