"""Which learner belongs to a method, and what acts with its weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.dsrl import DsrlLearner
from tmrl_ros.learning.expo import Editor, ExpoLearner
from tmrl_ros.learning.learner import Learner
from tmrl_ros.learning.networks import Actor, PlanCritics
from tmrl_ros.learning.tmrl import TmrlLearner
from tmrl_ros.learning.tmrl_paper import TmrlPaperLearner, paper_actor


@dataclass(frozen=True)
class Sizes:
    """Lengths of what learners see of a policy: features, action noise, context."""

    features: int
    z: int
    context: int


def learner_for(method: MethodConfig, sizes: Sizes, seed: int) -> Learner:
    """A new learner of a method that learns."""
    match method.name:
        case "tmrl":
            return TmrlLearner(method, sizes.features, seed)
        case "expo":
            return ExpoLearner(method, sizes.features, seed)
        case "tmrl_paper":
            return TmrlPaperLearner(method, sizes.features, sizes.z, sizes.context, seed)
    return DsrlLearner(method, sizes.features, sizes.z, seed)


def acting_module(method: MethodConfig, sizes: Sizes) -> nn.Module:
    """The network that `Learner.acting` of a method is, for its weights to be put in."""
    match method.name:
        case "tmrl":
            return PlanCritics(sizes.features, method.hidden, method.critics)
        case "expo":
            return Editor(sizes.features, method)
        case "tmrl_paper":
            return paper_actor(sizes.features, sizes.z, sizes.context, method)
    return Actor(sizes.features, [(sizes.z, method.z_bound)], method.hidden)
