import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.core.types import ChunkSource, Pose, RobotSample
from tmrl_ros.session.homing import (
    MAX_ROWS,
    OPEN_ENOUGH,
    SPEED_MPS,
    TOLERANCE_M,
    Homing,
    straight_line,
)

HOME = np.array([0.45, 0.0, 0.20])
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
RATE_HZ = 20.0
positions = st.tuples(st.floats(0.28, 0.72), st.floats(-0.4, 0.4), st.floats(0.005, 0.6)).map(
    np.array
)


def sample(position, opening=1.0, stamp_ns=1_000_000_000):
    zero = np.zeros(6)
    return RobotSample(
        stamp_ns=stamp_ns,
        tick=1,
        q=np.zeros(7),
        dq=np.zeros(7),
        tau=np.zeros(7),
        ee_pose=Pose(np.asarray(position, float), DOWN),
        ee_twist=zero,
        wrench=zero,
        gripper_width_m=opening * 0.08,
        frame_id="panda_link0",
    )


def homing():
    return Homing(HOME, DOWN, 0.08, RATE_HZ)


def follow(plan, position, opening, lag_m=0.0):
    """Carry out pieces until home; returns every chunk and where the arm ends."""
    chunks = []
    for number in range(20):
        chunk = plan.next_chunk(sample(position, opening), "train_000000", number)
        if chunk is None:
            return chunks, position
        chunks.append(chunk)
        end = chunk.reference_pose.position + chunk.actions[-1, :3]
        gap = end - position
        length = np.linalg.norm(gap)
        if length > 0:
            end = end - gap / length * min(lag_m, length)
        position, opening = end, chunk.actions[-1, 3]
    raise AssertionError("never got home")


@given(positions, st.floats(0.0, 1.0), st.floats(0.0, 0.009))
@settings(max_examples=200, deadline=None)
def test_way_home_is_slow_enough_short_enough_and_ends_at_home(position, opening, lag_m):
    chunks, end = follow(homing(), position, opening, lag_m)
    assert np.linalg.norm(end - HOME) <= TOLERANCE_M
    for chunk in chunks:
        assert 1 <= len(chunk.actions) <= MAX_ROWS
        assert chunk.execute_steps == len(chunk.actions)
        path = np.vstack([np.zeros(3), chunk.actions[:, :3]])
        speed = np.linalg.norm(np.diff(path, axis=0), axis=1) * RATE_HZ
        assert speed.max() <= SPEED_MPS + 1e-6 < 0.5
        assert ((chunk.actions[:, 3] >= 0) & (chunk.actions[:, 3] <= 1)).all()


@given(positions, positions)
@settings(max_examples=200, deadline=None)
def test_line_starts_and_stops_softly_and_never_turns_back(start, end):
    path = np.vstack([start, straight_line(start, end, RATE_HZ, 500)])
    assert path[-1] == pytest.approx(end, abs=1e-6), "less than a micrometre is no way to go"
    velocity = np.diff(path, axis=0) * RATE_HZ
    change = np.linalg.norm(np.diff(velocity, axis=0), axis=1) * RATE_HZ
    if len(velocity) > 2:
        assert change.max() < 4.0  # m/s^2
    along = velocity @ (end - start)
    assert (along >= -1e-9).all()


def test_arm_at_home_with_an_open_gripper_need_not_move():
    assert homing().next_chunk(sample(HOME), "train_000000", 1) is None


def test_gripper_lifts_and_opens_before_the_arm_goes_home():
    plan = homing()
    low = np.array([0.55, 0.1, 0.02])
    first = plan.next_chunk(sample(low, opening=0.5), "train_000000", 1)
    assert first.actions[0, 3] < OPEN_ENOUGH
    assert first.actions[-1].tolist() == pytest.approx([0.0, 0.0, 0.05, 1.0])
    opens_at = int(np.argmax(first.actions[:, 3] == 1.0))
    assert first.actions[opens_at:, 2] == pytest.approx(0.05)
    second = plan.next_chunk(sample(low + [0, 0, 0.05], opening=1.0), "train_000000", 2)
    assert second.reference_pose.position + second.actions[-1, :3] == pytest.approx(HOME)
    assert (second.actions[:, 3] == 1.0).all()


def test_gripper_above_home_opens_where_it_is():
    chunk = homing().next_chunk(sample([0.45, 0.0, 0.3], opening=0.5), "train_000000", 1)
    assert chunk.actions[:, :3] == pytest.approx(0.0)
    assert (chunk.actions[:, 3] == 1.0).all()


def test_gripper_that_stays_closed_does_not_keep_the_arm_away():
    plan = homing()
    plan.next_chunk(sample([0.6, 0.0, 0.1], opening=0.0), "train_000000", 1)
    chunk = plan.next_chunk(sample([0.6, 0.0, 0.15], opening=0.0), "train_000000", 2)
    assert chunk.reference_pose.position + chunk.actions[-1, :3] == pytest.approx(HOME)


def test_chunk_says_whose_it_is():
    chunk = homing().next_chunk(sample([0.6, 0.0, 0.1], stamp_ns=42), "train_000007", 9)
    assert (chunk.source, chunk.sequence, chunk.stamp_ns) == (ChunkSource.RESET, 9, 42)
    assert (chunk.episode_id, chunk.frame_id) == ("train_000007", "panda_link0")
    assert chunk.action_space == "cartesian_relative"
    assert chunk.control_rate_hz == RATE_HZ
