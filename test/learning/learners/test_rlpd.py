"""RLPD learns the motion itself, half from prior data, and asks only for what the arm may do."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transitions import transition

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.data.plans import PLAN_ROWS, PLAN_SCALE_M, PLAN_SIZE, chunk_of, plan_of
from tmrl_ros.learning.acting import ActingPolicy, pack_weights
from tmrl_ros.learning.learners.rlpd import PlanActor, RlpdLearner
from tmrl_ros.learning.methods import Sizes, acting_module
from tmrl_ros.learning.replay import Replay
from tmrl_ros.learning.warmup import prior
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.policy import ChunkPolicy

sys.path.insert(0, str(Path(__file__).parents[2] / "safety"))
from safety_cell import (  # noqa: E402
    ROBOT,
    SAFETY,
    chunk,
    outcomes,
    pose,
    ready_gate,
    sample,
    tracks,
)

BUNDLE = Path(__file__).parents[3] / "bundles" / "lift"
FEATURES = 10
METHOD = MethodConfig(
    name="rlpd", hidden=32, critics=3, batch_size=64, actor_every=2, warmup_episodes=0, shift_m=0
)
LIMITS = np.array(SAFETY.workspace_min_m), np.array(SAFETY.workspace_max_m)
ROW_M = SAFETY.max_speed_mps / ROBOT.control_rate_hz


@pytest.fixture(scope="module")
def policy() -> ChunkPolicy:
    return ChunkPolicy(*load_bundle(BUNDLE))


def replay_of_one_decision() -> Replay:
    """Episodes of one decision that succeed when the plan ends to the right, opened."""
    rng = np.random.default_rng(0)
    replay = Replay(FEATURES, 2, 3, 5000)
    step = METHOD.step_m / PLAN_SCALE_M
    for number in range(800):
        moves = rng.uniform(-step, step, (PLAN_ROWS, 3))
        opening = rng.uniform(-1, 1, (PLAN_ROWS, 1))
        plan = np.concatenate([moves.cumsum(0), opening], -1).ravel().astype(np.float32)
        success = bool(plan[-4] > 0.2 and plan[-1] > 0)
        row = transition(
            str(number),
            features=rng.uniform(-1, 1, FEATURES).astype(np.float32),
            plan=plan,
            next_plans=plan[None],
            reward=float(success),
            terminated=True,
            success_episode=success,
            parameters_version=number % 2,
        )
        replay.add_episode([row])
    return replay


def trained(steps: int, seed: int = 0) -> RlpdLearner:
    learner, replay = RlpdLearner(METHOD, FEATURES, seed), replay_of_one_decision()
    for _ in range(steps):
        learner.update(replay)
    return learner


def test_the_actor_finds_the_motion_that_succeeds() -> None:
    learner = trained(800)
    plans = learner.actor.mode(torch.rand(64, FEATURES) * 2 - 1)
    good = (plans[:, -4] > 0.2) & (plans[:, -1] > 0)
    assert float(good.float().mean()) > 0.95
    before = RlpdLearner(METHOD, FEATURES, 0).actor.mode(torch.rand(64, FEATURES) * 2 - 1)
    assert not bool(((before[:, -4] > 0.2) & (before[:, -1] > 0)).any())


def test_the_same_seed_gives_the_same_weights() -> None:
    one, other = (trained(20, seed=3).actor.state_dict() for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_half_of_a_batch_is_prior_data_when_there_is_both() -> None:
    rng = np.random.default_rng(0)
    replay = Replay(FEATURES, 2, 3, 1000)

    def add(name: str, version: int, count: int) -> None:
        for number in range(count):
            values = {"features": np.zeros(FEATURES, np.float32), "reward": float(version)}
            replay.add_episode(
                [transition(f"{name}{number}", parameters_version=version, **values)]
            )

    def share() -> float:
        return float((replay.sample_mixed(100, 0.5, rng).reward == 0).float().mean())

    with pytest.raises(ValueError, match="the replay is empty"):
        share()
    add("demonstration", 0, 5)
    assert share() == 1.0
    add("own", 1, 300)
    assert share() == 0.5
    replay.relabel("own7", [transition("own7", features=np.ones(FEATURES, np.float32))] * 2)
    assert replay.sample_mixed(100, 1.0, rng).features.max() == 1.0, "the flag follows the row"


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=PLAN_SIZE, max_size=PLAN_SIZE),
    st.sampled_from([4, 8, 16]),
    st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_a_chunk_of_a_plan_has_that_plan(values, horizon, opening) -> None:
    plan = np.array(values, np.float32)
    actions = chunk_of(plan[None], horizon, opening)
    assert actions.shape == (1, horizon, 4)
    assert np.allclose(plan_of(actions)[0], plan, atol=1e-5)


def test_a_chunk_goes_straight_from_where_the_tool_is() -> None:
    plan = np.zeros((PLAN_ROWS, 4), np.float32)
    plan[:, 0], plan[:, 3] = [0.2, 0.4, 0.6, 0.8], 1.0
    actions = chunk_of(plan.ravel(), 8, 0.0)
    assert np.allclose(actions[:, 0], 0.01 * np.arange(1, 9))
    assert np.allclose(actions[:3, 3], [0.5, 1.0, 1.0])


def test_moves_are_bounded_in_every_quarter() -> None:
    actor = PlanActor(FEATURES, METHOD)
    generator = torch.Generator().manual_seed(0)
    plans, log_prob = actor.sample(100 * torch.randn(500, FEATURES), generator)
    points = plans.detach().reshape(-1, PLAN_ROWS, 4) * PLAN_SCALE_M
    moves = torch.diff(points[..., :3], dim=1, prepend=torch.zeros(500, 1, 3))
    assert float(moves.abs().max()) <= METHOD.step_m + 1e-6
    assert log_prob.shape == (500,)


@pytest.mark.parametrize("seed", range(6))
def test_the_gate_does_not_refuse_what_it_asks_for_and_seldom_slows_it_down(policy, seed) -> None:
    """An actor that wants the longest moves, at the edges of the workspace.

    Where the arm is nearly stretched, or folded, its joints are too slow for them.
    """
    context = policy.spec.context
    sizes = Sizes(feature_size(context), policy.z_size, context.size)
    method = METHOD.model_copy(update={"step_m": 0.2})
    torch.manual_seed(seed)
    module = acting_module(method, sizes)
    with torch.no_grad():
        module.gaussian.head.weight.mul_(1e4)
    acting = ActingPolicy(policy, method, LIMITS, row_m=ROW_M)
    acting.install(*pack_weights(module, prior()), 1)
    acting.begin_episode(index=0, seed=seed, method="rlpd", deterministic=False)
    rng = np.random.default_rng(seed)
    longest, slowed = 0.0, []
    for _ in range(10):
        tool = rng.uniform(LIMITS[0] + 0.006, LIMITS[1] - 0.006)
        tool[[0, 2]] = np.minimum(tool[[0, 2]], [0.6, 0.4])  # the far corners are out of reach
        tool[1] = -abs(tool[1])  # the other tests' box stands at positive y
        decision = acting.decide(np.array([0.5, 0.0, 0.02, *tool, 0.5], np.float32))
        gate = ready_gate(SAFETY, position=tuple(tool))
        asked = chunk(
            reference_pose=pose(tuple(tool)),
            actions=decision.actions,
            execute_steps=len(decision.actions),
        )
        effects, tick, here = gate.on_chunk(asked, 0.0), 1, tool
        while not outcomes(effects):
            here = tracks(effects)[-1].pose.position
            tick += 1
            effects = gate.on_state(sample(tick, tuple(here)), 0.0)
        (done,) = outcomes(effects)
        assert done.result.name == "EXECUTED", done.reason
        slowed.append(done.steps_clipped > 0)
        if not slowed[-1]:
            assert np.allclose(here, tool + decision.actions[-1, :3], atol=1e-6)
        longest = max(
            longest, float(np.linalg.norm(np.diff(decision.actions[:, :3], axis=0), axis=1).max())
        )
    assert longest == pytest.approx(ROW_M, rel=0.01), "the limit was really reached"


def test_warm_up_is_the_frozen_policy_with_noise_of_its_own_in_every_row(policy) -> None:
    method = METHOD.model_copy(update={"warmup_episodes": 5})
    acting = ActingPolicy(policy, method, LIMITS, row_m=ROW_M)
    made = {}
    context = np.array([0.5, 0.0, 0.02, 0.45, 0.0, 0.2, 1.0], np.float32)
    for name in ("rlpd", "base"):
        acting.begin_episode(index=0, seed=9, method=name, deterministic=False)
        made[name] = np.stack([acting.decide(context).actions for _ in range(60)])
        last = acting.decide(context)
        assert (last.t_context, last.z.size, last.candidates.size) == (0.0, 0, 0)
        assert last.actor == ("warmup" if name == "rlpd" else "base")
    spread = {name: actions.std(0)[..., :3].mean() for name, actions in made.items()}
    assert spread["rlpd"] == pytest.approx(spread["base"], rel=0.3)
    assert made["rlpd"].mean(0) == pytest.approx(made["base"].mean(0), abs=0.05)
