"""Which learner belongs to a method, and what acts with its weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.latent import LatentLearner
from tmrl_ros.learning.learner import Learner
from tmrl_ros.learning.networks import Actor, PlanCritics
from tmrl_ros.learning.tmrl import TmrlLearner


def learner_for(method: MethodConfig, features: int, z_size: int, seed: int) -> Learner:
    """A new learner of a method that learns."""
    if method.name == "tmrl":
        return TmrlLearner(method, features, seed)
    return LatentLearner(method, features, z_size, seed)


def acting_module(method: MethodConfig, sizes: Mapping[str, float]) -> nn.Module:
    """The network that `Learner.acting` of a method is, for its weights to be put in.

    Args:
        method: The method.
        sizes: `features`, `z_size`, `z_bound`, `hidden` and `critics` of the learner.
    """
    features, hidden = int(sizes["features"]), int(sizes["hidden"])
    if method.name == "tmrl":
        return PlanCritics(features, hidden, int(sizes["critics"]))
    return Actor(features, int(sizes["z_size"]), hidden, sizes["z_bound"], method.first_t_context)
