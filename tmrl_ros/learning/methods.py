"""What belongs to a method: its learner, what acts with its weights, and how that chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.learning.choosing.actors import NoiseChooser, PaperChooser, PlanChooser
from tmrl_ros.learning.choosing.by_candidates import CandidateChooser, EditChooser, SampleChooser
from tmrl_ros.learning.choosing.choice import Chooser
from tmrl_ros.learning.choosing.reach import Reach
from tmrl_ros.learning.learners.dsrl import DsrlLearner
from tmrl_ros.learning.learners.expo import Editor, ExpoLearner
from tmrl_ros.learning.learners.learner import Learner
from tmrl_ros.learning.learners.networks import Actor, NoiseCritics, PlanCritics
from tmrl_ros.learning.learners.rerank import acting_of
from tmrl_ros.learning.learners.rlpd import PlanActor, RlpdLearner
from tmrl_ros.learning.learners.tmrl import TmrlLearner
from tmrl_ros.learning.learners.tmrl_paper import TmrlPaperLearner, paper_actor, paper_critics
from tmrl_ros.policies.policy import Policy


@dataclass(frozen=True)
class Sizes:
    """Lengths of what learners see of a policy: features, action noise, context."""

    features: int
    z: int
    context: int


@dataclass(frozen=True)
class Method:
    """The parts of a method that learns; `core/methods.py` says what it needs of a policy.

    Attributes:
        learner: Makes a new learner from a seed.
        acting: Makes the network that `Learner.acting` is, for its weights to be put in.
        chooser: Makes what chooses chunks with that network.
    """

    learner: Callable[[MethodConfig, Sizes, int], Learner]
    acting: Callable[[MethodConfig, Sizes], nn.Module]
    chooser: Callable[[Policy, MethodConfig, Reach], Chooser]


def learner_for(method: MethodConfig, sizes: Sizes, seed: int) -> Learner:
    """A new learner of a method that learns."""
    return PARTS[method.name].learner(method, sizes, seed)


def acting_module(method: MethodConfig, sizes: Sizes) -> nn.Module:
    """The network that `Learner.acting` of a method is, for its weights to be put in."""
    return PARTS[method.name].acting(method, sizes)


def chooser_for(policy: Policy, method: MethodConfig, reach: Reach) -> Chooser:
    """What chooses chunks for a method; the base policy's is never asked."""
    found = PARTS.get(method.name)
    return (found.chooser if found else NoiseChooser)(policy, method, reach)


def _plan_critics(method: MethodConfig, sizes: Sizes) -> PlanCritics:
    return PlanCritics(sizes.features, method.hidden, method.critics)


def _dsrl(method: MethodConfig, sizes: Sizes) -> nn.Module:
    actor = Actor(sizes.features, [(sizes.z, method.z_bound)], method.hidden)
    critics = NoiseCritics(sizes.features + sizes.z, method.hidden, method.critics)
    return acting_of(method, actor, critics)


def _paper(method: MethodConfig, sizes: Sizes) -> nn.Module:
    of = sizes.features, sizes.z, sizes.context, method
    return acting_of(method, paper_actor(*of), paper_critics(*of))


def _rlpd(method: MethodConfig, sizes: Sizes) -> nn.Module:
    return acting_of(method, PlanActor(sizes.features, method), _plan_critics(method, sizes))


PARTS: dict[str, Method] = {
    "tmrl": Method(
        lambda method, sizes, seed: TmrlLearner(method, sizes.features, seed),
        _plan_critics,
        CandidateChooser,
    ),
    "expo": Method(
        lambda method, sizes, seed: ExpoLearner(method, sizes.features, seed),
        lambda method, sizes: Editor(sizes.features, method),
        EditChooser,
    ),
    "dsrl": Method(
        lambda method, sizes, seed: DsrlLearner(method, sizes.features, sizes.z, seed),
        _dsrl,
        NoiseChooser,
    ),
    "tmrl_paper": Method(
        lambda method, sizes, seed: TmrlPaperLearner(
            method, sizes.features, sizes.z, sizes.context, seed
        ),
        _paper,
        PaperChooser,
    ),
    "rlpd": Method(
        lambda method, sizes, seed: RlpdLearner(method, sizes.features, seed),
        _rlpd,
        PlanChooser,
    ),
    "vgps": Method(
        lambda method, sizes, seed: TmrlLearner(method, sizes.features, seed),
        _plan_critics,
        SampleChooser,
    ),
}
