"""Which rows the next chunk begins with: those the running one still carries out."""

from __future__ import annotations

import numpy as np
import pytest

from tmrl_ros.core.config import SafetyConfig
from tmrl_ros.core.types import Chunk, ChunkResult, ChunkSource, Outcome, Pose
from tmrl_ros.policies.ahead import Ahead

PERIOD_NS, ROW_M = 50_000_000, 0.03
SAFETY = SafetyConfig(
    workspace_min_m=[0.3, -0.4, 0.005], workspace_max_m=[0.95, 0.4, 0.6], max_speed_mps=20 * ROW_M
)
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
HERE = np.array([0.5, 0.0, 0.2])


def chunk(sequence=7, *, dx=0.01, committed=0, steps=8, **changes):
    actions = np.zeros((committed + steps, 4))
    actions[:, 0] = dx * np.arange(1, len(actions) + 1)
    actions[:, 3] = np.linspace(1.2, 0.0, len(actions))
    return Chunk(
        stamp_ns=0,
        sequence=sequence,
        episode_id="train_000001",
        decision=sequence - 1,
        source=ChunkSource.POLICY,
        action_space="cartesian_relative",
        reference_pose=Pose(HERE, DOWN),
        orientation=DOWN,
        actions=actions,
        execute_steps=steps,
        control_rate_hz=20.0,
        committed_steps=committed,
    )


def told(executed, *, sequence=7, stamp=4, result=ChunkResult.EXECUTED):
    rows = np.array(executed, np.float64).reshape(-1, 4)
    return Outcome(
        stamp * PERIOD_NS, sequence, "train_000001", sequence - 1, ChunkSource.POLICY, result, "",
        len(rows), 0, rows, rows, 0.0, 0.0,
    )  # fmt: skip


def following(made, *pieces):
    ahead = Ahead(SAFETY, 20.0)
    ahead.on_chunk(made)
    for piece in pieces:
        ahead.on_progress(piece)
    return ahead


def test_the_rest_of_the_running_chunk_is_committed_relative_to_where_the_tool_is():
    made = chunk()
    ahead = following(made, told(made.actions[:4]))
    assert ahead.knows(8, 4 * PERIOD_NS)
    now = HERE + [0.035, 0.0, 0.0]
    rows = ahead.committed(8, 4 * PERIOD_NS, now)
    np.testing.assert_allclose(rows[:, 0], [0.015, 0.025, 0.035, 0.045])
    np.testing.assert_allclose(rows[:, 3], made.actions[4:, 3])
    later = ahead.committed(8, 6 * PERIOD_NS, now)
    np.testing.assert_allclose(later, rows[2:], err_msg="pictures that came later")
    assert len(ahead.committed(8, 9 * PERIOD_NS, now)) == 0


def test_what_is_slowed_down_is_committed_where_it_will_be():
    made = chunk(dx=0.05)
    sent = made.actions[:4].copy()
    sent[:, 0] = ROW_M * np.arange(1, 5)
    rows = following(made, told(sent)).committed(8, 4 * PERIOD_NS, HERE)
    np.testing.assert_allclose(rows[:, 0], ROW_M * np.arange(5, 9))


def test_what_is_pulled_into_the_workspace_is_committed_there():
    made = chunk()
    made.actions[:, 2] = np.linspace(0.0, -0.23, 8)
    rows = following(made, told(made.actions[:4])).committed(8, 4 * PERIOD_NS, HERE)
    assert (HERE[2] + rows[:, 2]).min() == pytest.approx(SAFETY.workspace_min_m[2])


def test_a_chunk_that_has_only_begun_is_committed_as_a_whole():
    made = chunk(committed=4, steps=4)
    rows = following(made, told([], stamp=0)).committed(8, 0, HERE)
    np.testing.assert_allclose(rows[:, :3], made.actions[4:, :3])


def test_openings_are_those_that_are_sent():
    made = chunk()
    rows = following(made, told([], stamp=0)).committed(8, 0, HERE)
    assert rows[:, 3].max() == 1.0


@pytest.mark.parametrize(
    ("result", "stamp", "clear"),
    [
        (ChunkResult.EXECUTED, 4, True),  # it had ended when the observation was made
        (ChunkResult.EXECUTED, 6, False),  # it ran on, so far is not known how far
        (ChunkResult.REJECTED, 6, True),
        (ChunkResult.ABORTED, 6, True),
    ],
)
def test_nothing_is_committed_of_a_chunk_that_has_ended(result, stamp, clear):
    ahead = following(chunk())
    assert not ahead.knows(8, 5 * PERIOD_NS)
    ahead.on_outcome(told([], stamp=stamp, result=result))
    assert ahead.knows(8, 5 * PERIOD_NS) == clear
    assert len(ahead.committed(8, 5 * PERIOD_NS, HERE)) == 0


def test_what_was_before_does_not_count():
    made = chunk()
    ahead = following(made, told(made.actions[:4]))
    assert ahead.knows(9, 0) and not len(ahead.committed(9, 0, HERE)), "not the one before it"
    ahead.begin()
    assert ahead.knows(8, 0) and not len(ahead.committed(8, 0, HERE)), "an episode's repeat"
    ahead.on_chunk(chunk(steps=0))
    assert ahead.knows(8, 0), "features only: nothing runs"
