"""A transition with whatever a test cares about, and plain values for the rest."""

from dataclasses import replace

import numpy as np

from tmrl_ros.core.types import ChunkSource
from tmrl_ros.data.plans import PLAN_SIZE
from tmrl_ros.data.transitions import Transition

Z = 2
PLAIN = Transition(
    episode_id="",
    decision=0,
    features=np.zeros(2, np.float32),
    z=np.zeros(Z, np.float32),
    t_context=0.0,
    eps_context=np.zeros(0, np.float32),
    plan=np.zeros(PLAN_SIZE, np.float32),
    executed=np.zeros((8, 4)),
    source=ChunkSource.POLICY,
    reward=0.0,
    next_features=np.zeros(2, np.float32),
    next_plans=np.zeros((1, PLAN_SIZE), np.float32),
    terminated=False,
    truncated=False,
    parameters_version=0,
    success_episode=False,
)


def transition(episode_id: str, **values: object) -> Transition:
    """A row of an episode; what follows is what was there before, unless said."""
    if "features" in values:
        values.setdefault("next_features", values["features"])
    return replace(PLAIN, episode_id=episode_id, **values)  # type: ignore[arg-type]
