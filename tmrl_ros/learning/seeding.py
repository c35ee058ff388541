"""What of an episode a method can learn from, and a replay that begins with others' episodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.data.bag_reader import EpisodeRecord
from tmrl_ros.data.transitions import Transition, assembler_of
from tmrl_ros.learning.replay import Replay


def usable(rows: Sequence[Transition], method: MethodConfig) -> list[Transition]:
    """Rows that tell what the policy was asked for and what it planned.

    The base policy draws noise for every row of a chunk, so that no z tells what it did: critics of
    z cannot learn from it, critics of plans can.
    """
    return [
        row
        for row in rows
        if row.z.size
        and row.features.size
        and row.plan.size
        and not (row.by_base and method.judges_noise)
    ]


def seed_replay(
    replay: Replay, session: str, records: Iterable[EpisodeRecord], method: MethodConfig
) -> int:
    """Add what an earlier session recorded, of all phases; returns the rows found.

    Raises:
        OperatorError: The session was recorded with a policy that sees other things.
    """
    found = 0
    for record in records:
        rows = [
            replace(row, episode_id=f"{session}/{row.episode_id}")
            for row in usable(assembler_of(record).finish().transitions, method)
        ]
        try:
            replay.add_episode(rows)
        except ValueError as error:
            raise OperatorError(
                f"The replay cannot begin with session {session} ({error}): it was recorded "
                "with another kind of policy or task. Leave it out of session.replay_from."
            ) from None
        found += len(rows)
    return found
