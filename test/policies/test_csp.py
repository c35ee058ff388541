"""Context smoothing keeps what it must and forgets what it should."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.policies.csp import quantise, smooth_context

MASK = torch.tensor([1.0, 1.0, 0.0])


def test_no_noise_at_zero_and_nothing_but_noise_at_one() -> None:
    context, eps = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(smooth_context(context, eps, torch.zeros(2), MASK), context)
    noised = smooth_context(context, eps, torch.ones(2), MASK)
    assert torch.allclose(noised[:, :2], eps[:, :2])


@given(t=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_unsmoothed_parts_are_untouched_and_variance_is_preserved(t: float) -> None:
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(4000, 3, generator=generator)
    eps = torch.randn(4000, 3, generator=generator)
    noised = smooth_context(context, eps, torch.full((4000,), t), MASK)
    assert torch.equal(noised[:, 2], context[:, 2])
    assert abs(float(noised[:, :2].var()) - 1.0) < 0.1


def test_timesteps_are_rounded_and_clipped() -> None:
    found = quantise(torch.tensor([-1.0, 0.00049, 0.5004, 2.0]))
    assert torch.allclose(found, torch.tensor([0.0, 0.0, 0.5, 1.0]))
