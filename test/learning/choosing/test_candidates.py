"""Candidates are the policy's own chunks, stay in the workspace, and critics choose among them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tmrl_ros.core.config import KeepOutConfig, MethodConfig, RobotConfig, SafetyConfig
from tmrl_ros.data.plans import KEPT_CANDIDATES, PLAN_SCALE_M, PLAN_SIZE, move_plan, plan_of
from tmrl_ros.learning.acting import ActingPolicy, pack_weights
from tmrl_ros.learning.choosing.candidates import draw
from tmrl_ros.learning.choosing.reach import Boxes, Reach
from tmrl_ros.learning.learners.networks import PlanCritics
from tmrl_ros.learning.methods import Sizes, acting_module
from tmrl_ros.learning.warmup import prior
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.policy import ChunkPolicy
from tmrl_ros.safety.geometry import step_toward
from tmrl_ros.safety.keep_out import way_cause
from tmrl_ros.safety.limits import Limits

BUNDLE = Path(__file__).parents[3] / "bundles" / "lift"
TOOL = np.array([0.45, 0.0, 0.2])
CONTEXT = np.array([0.5, 0.0, 0.02, *TOOL, 1.0], np.float32)
WORKSPACE = np.array([0.28, -0.4, 0.005]), np.array([0.72, 0.4, 0.6])
METHOD = MethodConfig(warmup_episodes=0, hidden=16, edit_m=0.02)


@pytest.fixture(scope="module")
def policy() -> ChunkPolicy:
    return ChunkPolicy(*load_bundle(BUNDLE))


def candidates(policy, *, count=64, workspace=WORKSPACE, boxes=None, edited=True, seed=0):
    zero = np.zeros(policy.z_size, np.float32)
    eps = np.zeros(policy.spec.context.size, np.float32)
    rng = np.random.default_rng(seed)
    return draw(
        *(policy, CONTEXT, METHOD, rng),
        **{"count": count, "eps": eps, "first": (zero, 0.0)},
        **{"reach": Reach(workspace, row_m=0.03, boxes=boxes), "edited": edited},
    )


class Downwards(torch.nn.Module):
    """Critics, five that agree, for whom lower is better."""

    def forward(self, features, plans):
        return -plans[:, 14].expand(5, -1)


def test_the_first_is_the_plain_answer_and_edits_are_shifts_of_the_policy_s_own(policy) -> None:
    drawn = candidates(policy, workspace=None)
    eps = np.zeros((1, policy.spec.context.size), np.float32)
    zero = np.zeros((1, policy.z_size), np.float32)
    plain = policy.sample(CONTEXT[None], zero, np.zeros(1, np.float32), eps)[0]
    assert np.allclose(drawn.actions[0], plain, atol=1e-5)
    unedited = candidates(policy, workspace=None, edited=False)
    assert not unedited.edits.any()
    shift = drawn.actions - unedited.actions
    assert np.allclose(shift[:, -1, :3], drawn.edits, atol=1e-6)
    assert np.allclose(shift[:, 3, :3], drawn.edits / 2, atol=1e-6)
    assert np.allclose(drawn.edits[::2], 0) and np.abs(drawn.edits[1::2]).max() > 0.02


def test_half_imitate_and_the_others_have_any_timestep(policy) -> None:
    t = candidates(policy).t_context
    assert (t == 0).sum() == 32
    assert t.max() > 0.9 and t.min() >= 0


def test_candidates_stay_in_the_workspace(policy) -> None:
    floor = np.array([0.44, -0.01, 0.19]), np.array([0.46, 0.01, 0.21])
    reached = candidates(policy, workspace=floor).actions[..., :3] + TOOL
    assert (reached >= floor[0]).all() and (reached <= floor[1]).all()
    free = candidates(policy, workspace=None).actions[..., :3] + TOOL
    assert (free < floor[0]).any()


boxes_near_the_tool = st.tuples(*[st.floats(-0.15, 0.15)] * 3, *[st.floats(0.01, 0.2)] * 3).map(
    lambda n: (TOOL + n[:3], TOOL + n[:3] + np.array(n[3:]))
)


def behind_the_gate(box, margin_m=0.02) -> SafetyConfig:
    low, high = (list(map(float, corner)) for corner in box)
    wide = {"workspace_min_m": [-1, -1, -1], "workspace_max_m": [2, 1, 2], "max_step_m": 1.0}
    keep_out = KeepOutConfig(name="box", min_m=low, max_m=high)
    return SafetyConfig(**wide, keep_out=[keep_out], keep_out_margin_m=margin_m)


@given(boxes_near_the_tool, st.integers(0, 1000))
@example((TOOL - [0.0, 1e-136, 0.0], TOOL + 0.125), 0)  # the tool is on two of its faces
@settings(max_examples=40, deadline=None)
def test_no_candidate_would_be_refused_for_a_box(policy, box, seed) -> None:
    """The supervisor's own rule finds nothing, nor where a fast chunk is slowed down."""
    if all(a < t < b for a, t, b in zip(box[0], TOOL, box[1], strict=True)):
        return
    safety = behind_the_gate(box)
    limits = Limits.of(safety, RobotConfig())
    drawn = candidates(policy, count=16, boxes=Boxes.of(safety), seed=seed)
    for chunk in TOOL + drawn.actions[..., :3]:
        sent = asked = tuple(TOOL)
        for row in chunk:
            assert way_cause(asked, tuple(row), "The row", limits) is None
            asked, slow = tuple(row), step_toward(sent, tuple(row), limits.max_target_step_m)
            assert way_cause(sent, slow, "The target", limits) is None
            sent = slow
    assert np.allclose(drawn.plans, plan_of(drawn.actions))


def test_a_box_in_the_way_changes_what_leads_into_it_and_nothing_else(policy) -> None:
    free = candidates(policy)
    lowest = float((TOOL + free.actions[..., :3])[..., 2].min())
    box = np.array([-1, -1, -1.0]), np.array([1, 1, (lowest + TOOL[2]) / 2 - 0.025])
    kept = candidates(policy, boxes=Boxes.of(behind_the_gate(box)))
    same = np.isclose(kept.actions, free.actions).all((1, 2))
    assert same.any() and not same.all()
    assert (TOOL + kept.actions[..., :3])[..., 2].min() > box[1][2] + 0.02


def test_the_frozen_policy_s_chunk_stops_before_a_box_too(policy) -> None:
    box = TOOL + [-0.2, -0.2, -0.2], TOOL + [0.2, 0.2, -0.024]
    made = ActingPolicy(policy, METHOD, WORKSPACE, boxes=Boxes.of(behind_the_gate(box, 0.01)))
    free = ActingPolicy(policy, METHOD, WORKSPACE)
    for chooser in (made, free):
        chooser.begin_episode(index=0, seed=1, method="base", deterministic=True)
    reached = [chooser.decide(CONTEXT).actions[:, 2].min() for chooser in (made, free)]
    assert reached[0] > -0.014 > reached[1]


def test_the_chosen_plan_is_kept_first_and_no_other_twice(policy) -> None:
    drawn = candidates(policy)
    kept = drawn.kept(5, np.random.default_rng(0))
    assert kept.shape == (KEPT_CANDIDATES, PLAN_SIZE)
    assert np.array_equal(kept[0], drawn.plans[5])
    assert len({tuple(plan) for plan in kept}) == KEPT_CANDIDATES
    assert len(candidates(policy, count=3).kept(1, np.random.default_rng(0))) == 3


def test_a_plan_tells_where_each_quarter_of_the_rows_ends() -> None:
    actions = np.zeros((8, 4))
    actions[:, 0], actions[:, 3] = np.arange(8) * 0.01, 1.0
    plan = plan_of(actions).reshape(4, 4)
    assert np.allclose(plan[:, 0] * PLAN_SCALE_M, [0.01, 0.03, 0.05, 0.07])
    assert np.allclose(plan[:, 3], 1.0)


def acting(policy, critics=None, method=METHOD) -> ActingPolicy:
    made = ActingPolicy(policy, method, WORKSPACE)
    torch.manual_seed(0)
    sizes = Sizes(feature_size(policy.spec.context), policy.z_size, policy.spec.context.size)
    made.install(*pack_weights(acting_module(method, sizes), prior()), 4)
    if critics is not None:
        made._learned = critics
    return made


def test_the_arm_does_what_the_critics_value_most(policy) -> None:
    chooser = acting(policy, Downwards())
    chooser.begin_episode(index=0, seed=1, method="tmrl", deterministic=True)
    decision = chooser.decide(CONTEXT)
    lowest = decision.candidates[:, 14].min()
    assert decision.candidates[0, 14] == lowest
    assert np.allclose(plan_of(decision.actions), decision.candidates[0], atol=1e-6)
    assert (decision.actor, decision.parameters_version) == ("tmrl", 4)


def test_only_while_training_are_chunks_edited(policy) -> None:
    chooser = acting(policy)
    edits = {}
    for deterministic in (True, False):
        chooser.begin_episode(index=0, seed=1, method="tmrl", deterministic=deterministic)
        edits[deterministic] = np.array([chooser.decide(CONTEXT).edit for _ in range(10)])
    assert not edits[True].any() and edits[False].any()


def test_an_episode_is_acted_the_same_way_again(policy) -> None:
    runs = []
    for _ in range(2):
        chooser = acting(policy)
        chooser.begin_episode(index=3, seed=7, method="tmrl", deterministic=False)
        runs.append(np.stack([chooser.decide(CONTEXT).actions for _ in range(3)]))
    assert np.array_equal(runs[0], runs[1])


def test_weights_of_another_method_are_refused(policy) -> None:
    chooser = ActingPolicy(policy, METHOD)
    network = PlanCritics(feature_size(policy.spec.context), 8, 2)
    with pytest.raises(ValueError, match="not those of tmrl"):
        chooser.install(*pack_weights(network, prior()), 1)
    assert chooser.version == 0


@given(
    edits=arrays(np.float32, (3, PLAN_SIZE), elements=st.floats(-0.25, 0.25, width=32)),
    horizon=st.sampled_from([4, 8, 16, 10]),
)
@settings(max_examples=50, deadline=None)
def test_moving_a_plan_moves_it_by_that_much(edits, horizon) -> None:
    actions = np.zeros((3, horizon, 4))
    actions[..., 3] = 0.5
    assert np.allclose(plan_of(move_plan(actions, edits)) - plan_of(actions), edits, atol=1e-6)


@pytest.mark.parametrize("name", ["tmrl", "expo", "dsrl", "tmrl_paper"])
@pytest.mark.parametrize("warmup", [True, False])
def test_whatever_the_method_what_was_asked_of_the_policy_remakes_the_chunk(
    policy, name, warmup
) -> None:
    method = METHOD.model_copy(update={"name": name, "warmup_episodes": 5 if warmup else 0})
    made = acting(policy, method=method)
    made.begin_episode(index=0, seed=1, method=name, deterministic=False)
    for _ in range(5):
        decision = made.decide(CONTEXT)
        assert decision.actor == ("warmup" if warmup else name)
        again = policy.sample(
            CONTEXT[None],
            decision.z[None],
            np.array([decision.t_context], np.float32),
            decision.eps_context[None],
        )[0]
        moved = (decision.actions - again)[:, :3]
        if name in ("dsrl", "tmrl_paper"):
            assert np.allclose(moved, 0, atol=1e-5)
        if name == "tmrl":
            growing = np.arange(1, 9)[:, None] / 8
            free = policy.spec.action.horizon * [True]
            inside = (decision.actions[:, :3] + TOOL > WORKSPACE[0] + 0.006).all(1)
            free = np.logical_and(free, inside)
            assert np.allclose(moved[free], (growing * decision.edit)[free], atol=1e-5)
        if name in ("dsrl", "expo"):
            assert decision.t_context == 0.0
        if decision.candidates.size:
            assert np.allclose(decision.candidates[0], plan_of(decision.actions), atol=1e-5)
