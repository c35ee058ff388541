"""Critics over plans learn which motion pays, and count on choosing it the next time as well."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transitions import transition

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.data.plans import PLAN_SIZE
from tmrl_ros.learning.learners.expo import EDIT_BOUND, ExpoLearner
from tmrl_ros.learning.learners.networks import PlanCritics
from tmrl_ros.learning.learners.tmrl import TmrlLearner
from tmrl_ros.learning.replay import Replay
from tmrl_ros.policies.context import ContextSpec, actor_features, move_scene

F, Z, C = 10, 2, 7
METHOD = MethodConfig(hidden=64, critics=3, batch_size=128)


def plan(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1, 1, PLAN_SIZE).astype(np.float32)


def scene(rng: np.random.Generator) -> np.ndarray:
    """Features of a scene with the object somewhere around the tool."""
    values = np.zeros(F, np.float32)
    values[7:] = rng.uniform(-1, 1, 3)
    return values


def hits(features: np.ndarray, plan: np.ndarray) -> bool:
    """Whether the last row ends within 3 cm of the object, sideways."""
    return bool(np.hypot(*(features[7:9] - plan[12:14])) < 0.3)


def reaching(episodes: int = 1500) -> Replay:
    """One-decision episodes that succeed where the plan ends at the object."""
    rng = np.random.default_rng(0)
    replay = Replay(F, Z, C, 5000)
    for number in range(episodes):
        features, tried = scene(rng), plan(rng)
        if number % 3 == 0:
            tried[12:14] = features[7:9] + rng.normal(0, 0.2, 2)
        good = hits(features, tried)
        row = transition(
            str(number),
            features=features,
            plan=tried,
            next_plans=tried[None],
            reward=float(good),
            terminated=True,
            success_episode=good,
        )
        replay.add_episode([row])
    return replay


@pytest.mark.parametrize("kind", [TmrlLearner, ExpoLearner])
def test_plans_that_end_at_the_object_are_valued_most(kind: type[TmrlLearner]) -> None:
    learner, replay = kind(METHOD, F, seed=0), reaching()
    for _ in range(600):
        learner.update(replay)
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(50):
        features = scene(rng)
        plans = np.stack([plan(rng) for _ in range(64)])
        plans[7, 12:14] = features[7:9]
        every = torch.from_numpy(features).expand(64, -1)
        best = int(learner.critics(every, torch.from_numpy(plans)).mean(0).argmax())
        found += hits(features, plans[best])
    assert found >= 45


def test_edits_of_expo_move_plans_towards_the_object_within_their_bound() -> None:
    learner, replay = ExpoLearner(METHOD, F, seed=0), reaching()
    for _ in range(1500):
        learner.update(replay)
    rng = np.random.default_rng(1)
    features = np.stack([scene(rng) for _ in range(100)])
    plans = np.stack([plan(rng) for _ in range(100)])
    plans[:, 12:14] = features[:, 7:9] + rng.uniform(-0.45, 0.45, (100, 2))
    edits = learner.editor.edits(
        torch.from_numpy(features), torch.from_numpy(plans), learner.generator
    ).detach()
    assert float(edits.abs().max()) <= EDIT_BOUND
    moved = plans + edits.numpy()

    def close(tried: np.ndarray) -> int:
        return sum(hits(f, p) for f, p in zip(features, tried, strict=True))

    assert close(moved) > close(plans) + 10


def test_the_value_of_a_step_is_that_of_the_best_plan_after_it() -> None:
    """Two decisions: the second succeeds with one of its two plans, whatever was done then."""
    rng = np.random.default_rng(0)
    start, middle = scene(rng), scene(rng)
    good, bad, first = plan(rng), plan(rng), plan(rng)
    replay = Replay(F, Z, C, 100)
    for number in range(20):
        tried = good if number % 2 else bad
        rows = [
            transition(
                str(number),
                features=start,
                plan=first,
                next_features=middle,
                next_plans=np.stack([tried, bad, good]),
            ),
            transition(
                str(number),
                decision=1,
                features=middle,
                plan=tried,
                reward=float(number % 2),
                terminated=True,
            ),
        ]
        replay.add_episode(rows)
    learner = TmrlLearner(METHOD.model_copy(update={"target_tau": 0.05}), F, seed=0)
    for _ in range(500):
        learner.update(replay)
    values = learner.critics(
        torch.from_numpy(np.stack([start, middle, middle])),
        torch.from_numpy(np.stack([first, good, bad])),
    ).mean(0)
    assert values[1] > 0.9 and values[2] < 0.1
    assert abs(float(values[0]) - METHOD.discount) < 0.1


def test_what_succeeds_at_one_place_is_expected_at_another() -> None:
    """Plans are the same motion; the critics have seen it at one end of the table only."""
    rng = np.random.default_rng(0)
    replay = Replay(F, Z, C, 5000)
    for number in range(600):
        features, tried = scene(rng), plan(rng)
        if number % 2:
            tried[12:14] = features[7:9] + rng.normal(0, 0.2, 2)
        features = move_scene(torch.from_numpy(features)[None], torch.full((1, 2), 0.15))[0].numpy()
        good = hits(features, tried)
        row = transition(
            str(number), features=features, plan=tried, reward=float(good), terminated=True
        )
        replay.add_episode([replace(row, success_episode=good)])
    errors = {}
    for shift_m in (0.0, 0.3):
        learner = TmrlLearner(METHOD.model_copy(update={"shift_m": shift_m}), F, seed=0)
        for _ in range(500):
            learner.update(replay)
        batch = replay.sample(500, 0.5, np.random.default_rng(1))
        elsewhere = move_scene(batch.features, torch.full((500, 2), -0.25))
        values = learner.critics(elsewhere, batch.plan).mean(0)
        errors[shift_m] = float((values - batch.reward).abs().mean())
    assert errors[0.3] < 0.7 * errors[0.0]


def test_moving_a_scene_keeps_what_lies_between_its_things() -> None:
    spec = ContextSpec(objects=("a", "b"), prompt_size=0, smoothed=("objects",))
    objects = np.array([[0.5, 0.1, 0.02], [0.4, -0.1, 0.03]], np.float32)
    state = np.array([0.45, 0.0, 0.2, 0.7], np.float32)
    shift = np.array([0.07, -0.04], np.float32)
    before = actor_features(spec.context("", objects, state), spec)
    objects[:, :2] += shift
    state[:2] += shift
    after = actor_features(spec.context("", objects, state), spec)
    moved = move_scene(torch.from_numpy(before)[None], torch.from_numpy(shift)[None])[0]
    assert np.allclose(moved, after, atol=1e-5)
    assert not np.allclose(before, after, atol=1e-2)


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for _ in range(2):
        learner, replay = TmrlLearner(METHOD, F, seed=3), reaching(50)
        for _ in range(20):
            learner.update(replay)
        weights.append(learner.acting.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize(("rows", "hidden"), [(3, 16), (700, 256), (1500, 256)])
def test_judging_without_gradients_says_the_same(rows: int, hidden: int) -> None:
    torch.manual_seed(0)
    critics = PlanCritics(F, hidden, 3)
    for weights in critics.parameters():
        torch.nn.init.normal_(weights, 0.0, 0.5)
    features, plans = torch.randn(rows, F), torch.randn(rows, PLAN_SIZE)
    with torch.no_grad():
        judged = critics(features, plans)
    learned = critics(features, plans)
    assert judged.shape == (3, rows)
    assert float(learned.detach().std()) > 0.01
    torch.testing.assert_close(judged, learned.detach(), rtol=1e-3, atol=1e-3)
