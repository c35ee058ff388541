"""Re-ranking makes several choices and takes one by its value, whatever the method chooses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.acting import ActingPolicy, pack_weights
from tmrl_ros.learning.learners.rerank import pick
from tmrl_ros.learning.methods import Sizes, acting_module, learner_for
from tmrl_ros.learning.warmup import prior
from tmrl_ros.policies.bundle import load_bundle
from tmrl_ros.policies.context import feature_size
from tmrl_ros.policies.policy import ChunkPolicy

BUNDLE = Path(__file__).parents[3] / "bundles" / "lift"
CONTEXT = np.array([0.5, 0.0, 0.02, 0.45, 0.0, 0.2, 1.0], np.float32)
WORKSPACE = np.array([0.28, -0.4, 0.005]), np.array([0.72, 0.4, 0.6])
SAMPLES = 32


@pytest.fixture(scope="module")
def policy() -> ChunkPolicy:
    return ChunkPolicy(*load_bundle(BUNDLE))


def sizes_of(policy: ChunkPolicy) -> Sizes:
    return Sizes(feature_size(policy.spec.context), policy.z_size, policy.spec.context.size)


def settings(name: str, samples: int = SAMPLES, **changes: object) -> MethodConfig:
    values = {"warmup_episodes": 0, "hidden": 16, "critics": 2, "rerank_samples": samples}
    return MethodConfig(name=name, **{**values, **changes})


class Prefer(torch.nn.Module):
    """Two critics that agree: the more of one number of what is judged, the better."""

    def __init__(self, column: int) -> None:
        super().__init__()
        self.column = column

    def forward(self, features, *parts):
        return torch.cat(parts, -1)[:, self.column].expand(2, -1)


def decisions(policy, method, critics=None, *, deterministic=False, count=20):
    """Decisions of an untrained method; its critics may be replaced."""
    acting = ActingPolicy(policy, method, WORKSPACE, row_m=0.03)
    learner = learner_for(method, sizes_of(policy), 0)
    acting.install(*pack_weights(learner.acting, prior()), 1)
    if critics is not None and method.name in ("tmrl", "vgps"):
        acting._learned = critics
    elif critics is not None:
        acting._learned.critics = critics
    acting.begin_episode(index=0, seed=5, method=method.name, deterministic=deterministic)
    return [acting.decide(CONTEXT) for _ in range(count)]


def test_without_a_temperature_the_best_is_taken_and_nothing_is_drawn() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    scores = torch.tensor([0.1, 0.7, 0.3])
    assert pick(scores, settings("vgps"), rng) == 1
    assert pick(scores, settings("tmrl", 0, rerank_temperature=1.0), rng) == 1
    assert rng.bit_generator.state == before


def test_with_a_temperature_choices_are_drawn_by_the_softmax_of_their_values() -> None:
    rng, beta = np.random.default_rng(0), 0.5
    scores = torch.tensor([0.1, 0.7, 0.3])
    drawn = [pick(scores, settings("vgps", rerank_temperature=beta), rng) for _ in range(4000)]
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares == pytest.approx(torch.softmax(scores / beta, 0).numpy(), abs=0.03)


@pytest.mark.parametrize("name", ["dsrl", "tmrl_paper"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_critics_of_noise_choose_among_the_actor_s_draws(policy, name, deterministic) -> None:
    alone = decisions(policy, settings(name, 0))
    ranked = decisions(policy, settings(name), Prefer(0), deterministic=deterministic)
    usual = np.array([item.z[0] for item in alone])
    chosen = np.array([item.z[0] for item in ranked])
    assert chosen.mean() > usual.mean() + 1.5 * usual.std()
    assert {item.actor for item in ranked} == {name}


@pytest.mark.parametrize("name", ["tmrl", "vgps", "expo", "rlpd"])
def test_critics_of_plans_choose_among_motions(policy, name) -> None:
    ranked = decisions(policy, settings(name), Prefer(14))
    others = decisions(policy, settings(name, rerank_temperature=100.0), Prefer(14))
    height = [np.mean([item.actions[-2:, 2].mean() for item in each]) for each in (ranked, others)]
    assert height[0] > height[1] + 0.005


def test_the_mode_is_one_of_the_choices_of_an_evaluation(policy) -> None:
    """Whatever the draws: if critics like the mode best, it is done."""

    class Timid(torch.nn.Module):
        def forward(self, features, z):
            return -z.abs().sum(-1).expand(2, -1)

    mode = decisions(policy, settings("dsrl", 0), deterministic=True)[0]
    ranked = decisions(policy, settings("dsrl"), Timid(), deterministic=True)
    assert all(np.array_equal(item.z, mode.z) for item in ranked)


def test_samples_of_the_base_policy_are_ranked_as_it_would_make_them(policy) -> None:
    made = decisions(policy, settings("vgps"), Prefer(14))
    assert all(item.t_context == 0 and item.z.size == 0 and not item.edit.any() for item in made)
    assert all(len(item.candidates) == SAMPLES for item in made)
    best = [item.candidates[:, 14].max() for item in made]
    assert np.allclose([item.candidates[0, 14] for item in made], best)


@pytest.mark.parametrize("name", ["tmrl", "expo", "dsrl", "tmrl_paper", "rlpd"])
def test_switched_off_its_temperature_means_nothing(policy, name) -> None:
    plain, warm = (
        decisions(policy, settings(name, 0, rerank_temperature=beta)) for beta in (0.0, 5.0)
    )
    for one, other in zip(plain, warm, strict=True):
        assert np.array_equal(one.actions, other.actions)


@pytest.mark.parametrize("name", ["tmrl", "expo", "dsrl", "tmrl_paper", "rlpd", "vgps"])
@pytest.mark.parametrize("samples", [0, SAMPLES])
def test_the_same_seed_chooses_the_same_and_weights_fit_what_acts(policy, name, samples) -> None:
    method = settings(name, max(samples, 2) if name == "vgps" else samples)
    method = method.model_copy(update={"rerank_temperature": 0.1})
    runs = [decisions(policy, method, count=3) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.actions, other.actions)
    acting = learner_for(method, sizes_of(policy), 0).acting
    wanted = acting_module(method, sizes_of(policy)).state_dict()
    assert {key: value.shape for key, value in acting.state_dict().items()} == {
        key: value.shape for key, value in wanted.items()
    }
