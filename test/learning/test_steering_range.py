"""A learner and who acts keep to the range that probing leaves, and else to all of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import recorded
import torch
from told import learn, pieces_of, record_of

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.types import EpisodeOutcome, EpisodeState, Phase
from tmrl_ros.data.steering import FULL, Range
from tmrl_ros.learning.acting import ActingPolicy, pack_weights
from tmrl_ros.learning.choosing.candidates import draw
from tmrl_ros.learning.choosing.reach import Reach
from tmrl_ros.learning.methods import Sizes, acting_module
from tmrl_ros.learning.warmup import prior
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.policy import ChunkPolicy

BUNDLE = Path(__file__).parents[2] / "bundles" / "lift"
CONTEXT = np.array([0.5, 0.0, 0.02, 0.45, 0.0, 0.2, 1.0], np.float32)
SUCCESS, TIMEOUT = EpisodeOutcome.SUCCESS, EpisodeOutcome.TIMEOUT


def ended(name, outcome, method, phase):
    return recorded.event(
        name, EpisodeState.ENDED, outcome, method=method, phase=phase, learn=False
    )


def probes(*sizes, good=80):
    """Events of an evaluation with so many successes of 100, and of probes by (name, outcomes)."""
    before = Phase.EVALUATE_BEFORE
    found = [
        ended(f"evaluate_before_{i:06d}", SUCCESS if i < good else TIMEOUT, "base", before)
        for i in range(100)
    ]
    each = [(name, outcome) for name, outcomes in sizes for outcome in outcomes]
    return found + [
        ended(f"other_{i:06d}", outcome, name, Phase.OTHER)
        for i, (name, outcome) in enumerate(each)
    ]


BAD = ("probe_z_1", [TIMEOUT] * 5)
FINE = ("probe_z_0.5", [SUCCESS] * 5)


def tell(core, pieces):
    for piece in pieces:
        core.on_piece(piece)


def steering(weights):
    return json.loads(weights.metadata_json)["steering"]


@pytest.mark.parametrize("name", ["dsrl", "tmrl_paper"])
def test_an_actor_of_noise_is_bounded_by_what_does_no_harm(make, name):
    core = make(name=name, critics=2, updates_per_decision=1, z_bound=1.5)
    size = core.learner.acting.sizes[0]
    tell(core, probes(BAD, FINE))
    weights = core.work(1.0)
    assert weights is not None and steering(weights) == {"z_scale": 0.5, "t_max": 1.0}
    assert core.learner.acting.bounds[:size].tolist() == [0.75] * size
    assert core.learner.acting.bounds[size:].tolist() == [1.0] * (core.learner.acting.size - size)
    assert core.work(1.0) is None, "it is said once"
    tell(core, pieces_of())
    learn(core)
    core.save()
    again = make(name=name, critics=2, updates_per_decision=1, z_bound=1.5)
    again.restore([record_of(pieces_of())])
    assert again.learner.acting.bounds[:size].tolist() == [0.75] * size
    assert again.weights() == core.weights()


def test_a_learner_that_is_killed_before_it_has_learned_knows_the_probes_again(make):
    again = make()
    again.restore([record_of([event]) for event in probes(BAD, FINE)])
    assert steering(again.weights()) == {"z_scale": 0.5, "t_max": 1.0}


def test_probes_that_do_no_harm_change_nothing(make):
    core = make(updates_per_decision=1)
    tell(core, probes(("probe_z_1", [SUCCESS] * 4 + [TIMEOUT])))
    assert core.work(1.0) is None and core.progress.version == 0
    tell(core, pieces_of())
    learn(core)
    assert core.progress.steering == {"z_scale": 1.0, "t_max": 1.0}


def test_warmup_decides_the_highest_timestep_once(make):
    core = make(name="tmrl_paper", critics=2, updates_per_decision=1, warmup_episodes=6)
    tell(core, probes())
    core.progress.warmup = {"0": [1.0, 0.0], "1": [0.0, 5.0]}
    for index in range(5):
        tell(core, pieces_of(f"train_{index:06d}"))
    learn(core)
    assert core.progress.steering is None and steering(core.weights())["t_max"] == 1.0
    tell(core, pieces_of("train_000005"))
    learn(core)
    assert core.learner.updates and steering(core.weights()) == {"z_scale": 1.0, "t_max": 0.5}
    core.progress.warmup = {"1": [5.0, 0.0]}
    tell(core, [*probes(good=0), *pieces_of("train_000006")])
    learn(core)
    assert steering(core.weights())["t_max"] == 0.5, "a late word changes it not"


def acting(name="dsrl", steering=FULL, **settings):
    policy = ChunkPolicy(*load_bundle(BUNDLE))
    method = MethodConfig(name=name, warmup_episodes=0, hidden=16, **settings)
    context = policy.spec.context
    sizes = Sizes(feature_size(context), policy.z_size, context.size)
    made = ActingPolicy(policy, method)
    torch.manual_seed(0)
    made.install(*pack_weights(acting_module(method, sizes), prior(), steering), 1)
    return made


def decided(made, method, episodes=40):
    found = []
    for seed in range(episodes):
        made.begin_episode(index=9, seed=seed, method=method, deterministic=False)
        found.append(made.decide(CONTEXT))
    return found


def largest_z(made, method):
    return max(float(np.abs(decision.z).max()) for decision in decided(made, method))


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25])
def test_a_probe_draws_noise_from_all_of_the_range(scale):
    found = decided(acting("dsrl"), f"probe_z_{scale:g}")
    assert {(item.actor, item.t_context, item.parameters_version) for item in found} == {
        ("probe", 0.0, 0)
    }
    spread = np.concatenate([item.z for item in found])
    assert 1.4 * scale < np.abs(spread).max() <= 1.5 * scale
    assert spread.std() == pytest.approx(1.5 * scale / 3**0.5, rel=0.15)


def test_who_acts_keeps_to_the_range():
    narrow = Range(0.25, 0.5)
    assert largest_z(acting("dsrl", narrow), "dsrl") <= 0.375 < largest_z(acting("dsrl"), "dsrl")
    assert all(item.t_context <= 0.5 for item in decided(acting("tmrl_paper", narrow), "x", 20))


def test_candidates_keep_their_range_whatever_fails_when_drawn_at_random():
    narrow, whole = (decided(acting("tmrl", of), "tmrl", 20) for of in (Range(0.25, 0.0), FULL))
    assert [item.t_context for item in narrow] == [item.t_context for item in whole]
    assert all(np.array_equal(a.z, b.z) for a, b in zip(narrow, whole, strict=True))


def test_the_highest_timestep_of_candidates_can_be_set_and_changes_nothing_else():
    policy = ChunkPolicy(*load_bundle(BUNDLE))
    zero, eps = np.zeros(policy.z_size, np.float32), np.zeros(len(CONTEXT), np.float32)

    def drawn(t_max):
        rng = np.random.default_rng(3)
        return draw(policy, CONTEXT, MethodConfig(t_max=t_max), rng, count=8, eps=eps,
                    first=(zero, 0.0), reach=Reach(), edited=True)  # fmt: skip

    rng = np.random.default_rng(3)
    rng.standard_normal((8, policy.z_size))
    before = rng.random(8).astype(np.float32)
    before[:4] = 0.0
    assert np.array_equal(drawn(1.0).t_context, before)
    assert np.allclose(drawn(0.5).t_context, before / 2)
    assert np.array_equal(drawn(0.5).z, drawn(1.0).z)
