"""The flow policy learns a conditional, forgets it with the context timestep, is reproducible."""

import pytest
import torch

from tmrl_ros.policies.flow import FlowPolicy, FlowSize
from tmrl_ros.policies.training import TrainingSettings, train_flow

SIZE = FlowSize(horizon=4, action_dim=1, context_dim=1, width=32, blocks=1, context_hidden=32)
MASK = torch.ones(1)


@pytest.fixture(scope="module")
def trained() -> FlowPolicy:
    """Chunks are constantly +1 or -1, as the context says."""
    generator = torch.Generator().manual_seed(0)
    context = torch.sign(torch.randn(512, 1, generator=generator))
    actions = context[:, None].expand(-1, 4, 1).contiguous()
    settings = TrainingSettings(iterations=400, batch_size=128, learning_rate=3e-3)
    return train_flow(SIZE, MASK, actions, context, settings)


def sample(policy: FlowPolicy, context: float, t: float, count: int = 128) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(count, 4, 1, generator=generator)
    eps = torch.randn(count, 1, generator=generator)
    contexts = torch.full((count, 1), context)
    return policy.sample(noise, contexts, torch.full((count,), t), eps, 8).mean((1, 2))


def test_it_imitates_at_zero(trained: FlowPolicy) -> None:
    assert float((sample(trained, 1.0, 0.0) > 0.5).float().mean()) > 0.95
    assert float((sample(trained, -1.0, 0.0) < -0.5).float().mean()) > 0.95


def test_it_draws_from_the_marginal_at_one(trained: FlowPolicy) -> None:
    share = float((sample(trained, 1.0, 1.0) < 0).float().mean())
    assert 0.25 < share < 0.75


def test_it_is_deterministic_given_its_noise(trained: FlowPolicy) -> None:
    assert torch.equal(sample(trained, 1.0, 0.3), sample(trained, 1.0, 0.3))


def test_a_horizon_that_is_no_multiple_of_the_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="horizon 5 is not a multiple of patch 4"):
        FlowPolicy(FlowSize(horizon=5, action_dim=1, context_dim=1), MASK)
