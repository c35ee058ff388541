"""Which rows a method can learn from: one replay serves all, but not every row has everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.methods import METHODS
from tmrl_ros.data.transitions import Transition


def usable(rows: Sequence[Transition], method: MethodConfig, z_size: int) -> list[Transition]:
    """The rows that tell what the method's critics judge.

    Critics of plans need features and a plan, whoever made it: a person, a demonstrator, any
    policy. Critics of noise need the one z that made the chunk: no demonstration has it, nor a
    chunk with noise of its own in every row, nor one that was edited or that a person took over;
    `dsrl` also needs t = 0.
    """
    rows = [row for row in rows if row.features.size and row.plan.size]
    if METHODS[method.name].judges == "noise":
        exact = method.steers_context
        return [
            row
            for row in rows
            if row.z.size
            and not (row.edited or row.human_steps)
            and (exact or row.t_context == 0.0)
        ]
    none = np.zeros(z_size, np.float32)
    return [row if row.z.size else replace(row, z=none) for row in rows]


def nothing_usable(session: str, method: MethodConfig) -> str:
    """Why an earlier session is of no use to a method, and what to do, as a sentence."""
    if METHODS[method.name].judges == "noise":
        why = (
            "its critics judge action noise, which demonstrations and episodes of base, rlpd or "
            "vgps do not have"
        )
        other = [name for name, traits in METHODS.items() if traits.judges == "plan"]
        remedy = f"Take method={', '.join(other)}"
    else:
        why = "it has no ended episode of such a policy and no successful demonstration"
        remedy = "Record demonstrations with `tmrl demonstrate`"
    return (
        f"The replay cannot begin with session {session}: {method.name} finds nothing to learn "
        f"from in it, for {why}. {remedy}, or leave it out of session.replay_from."
    )
