"""The simulated robot: determinism, tracking, grasping, forces, resets."""

import numpy as np
import pytest

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import load_config
from tmrl_ros.robots.simulated_franka import SimulatedFranka
from tmrl_ros.sim import SceneBlockedError, SimulatedCell, expert
from tmrl_ros.sim.kinematics import VELOCITY_LIMITS, ArmKinematics
from tmrl_ros.sim.tasks import task_named

DOWN = np.array([1.0, 0.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def shared_cell():
    with SimulatedCell("lift") as cell:
        yield cell


@pytest.fixture
def cell(shared_cell):
    shared_cell.reset_scene(0, home_arm=True)
    return shared_cell


def hold(cell, position, *, steps, width_m=0.08):
    for _ in range(steps):
        cell.step(np.array(position), DOWN, width_m)
    return cell.state()


def grasp(cell):
    """Run the expert until the cube is up."""
    actor = expert(cell.task, cell)
    while not cell.ground_truth().success:
        cell.step(*actor.act(cell.state(), cell.ground_truth()))


def trace(cell, seed):
    cell.reset_scene(seed, home_arm=True)
    actor = expert(cell.task, cell)
    rows = []
    for _ in range(25):
        cell.step(*actor.act(cell.state(), cell.ground_truth()))
        state = cell.state()
        cube = cell.ground_truth().object_positions["red"]
        rows.append(np.concatenate([state.q, state.dq, state.tau, state.external_wrench, cube]))
    return np.array(rows)


def test_the_same_seed_gives_bitwise_the_same_states(cell):
    first = trace(cell, 7)
    trace(cell, 3)
    assert np.array_equal(first, trace(cell, 7)), "history before a reset must not matter"
    with SimulatedCell("lift", seed=99) as fresh:
        assert np.array_equal(first, trace(fresh, 7))
    assert not np.array_equal(first, trace(cell, 8))


def test_one_step_is_one_control_period(cell):
    before = cell.time_s
    hold(cell, [0.45, 0.0, 0.2], steps=3)
    assert cell.time_s == pytest.approx(before + 3 * cell.control_period_s)
    assert cell.state().stamp_s == cell.time_s
    cell.reset_scene(1)
    assert cell.time_s == pytest.approx(before + 3 * cell.control_period_s)


def test_the_arm_arrives_at_its_target_and_reports_where_it_is(cell):
    state = hold(cell, [0.55, 0.15, 0.25], steps=40)
    assert state.ee_position_m == pytest.approx([0.55, 0.15, 0.25], abs=1e-3)
    assert abs(state.ee_quaternion_xyzw @ DOWN) > 1.0 - 1e-6
    assert np.abs(state.ee_twist).max() < 1e-3
    pose = ArmKinematics().forward(state.q)
    assert state.ee_position_m == pytest.approx(pose.position_m, abs=1e-6)


def test_a_far_target_is_approached_smoothly_and_within_the_joint_limits(cell):
    kinematics = ArmKinematics()
    velocities = []
    for target in ([0.6, 0.45, 0.4], [2.0, -2.0, 1.0], [0.2, 0.0, 0.3], [0.5, 0.0, 0.2]):
        for _ in range(50):
            cell.step(np.array(target), DOWN, 0.08)
            state = cell.state()
            velocities.append(state.dq)
            assert (state.q > kinematics.lower).all() and (state.q < kinematics.upper).all()
    velocities = np.array(velocities)
    assert (np.abs(velocities) < VELOCITY_LIMITS).all()
    assert np.abs(np.diff(velocities, axis=0)).max() < 1.5, "30 rad/s^2 is a jolt"
    assert cell.state().ee_position_m == pytest.approx([0.5, 0.0, 0.2], abs=2e-3)


def test_a_long_move_stops_at_its_target_without_running_past_it(cell):
    along = [hold(cell, [0.45, 0.25, 0.2], steps=1).ee_position_m[1] for _ in range(40)]
    assert max(along) < 0.25 + 0.004
    assert along[-1] == pytest.approx(0.25, abs=1e-3)


def test_a_constant_speed_target_is_followed_with_a_steady_lag(cell):
    lags = []
    for step in range(1, 21):
        target = np.array([0.45, 0.0, 0.2]) + [0.0, 0.01 * step, 0.0]
        cell.step(target, DOWN, 0.08)
        lags.append(target[1] - cell.state().ee_position_m[1])
    assert 0.0 < lags[-1] < 0.02
    assert np.ptp(lags[-5:]) < 1e-3


def test_a_grasp_holds_while_the_arm_moves_fast(cell):
    grasp(cell)
    for target in ([0.60, 0.20, 0.20], [0.40, -0.20, 0.30], [0.50, 0.0, 0.15]):
        hold(cell, target, steps=20, width_m=0.0)
    truth = cell.ground_truth()
    assert truth.held == {"red"}
    offset = truth.object_positions["red"] - cell.state().ee_position_m
    assert np.linalg.norm(offset) < 0.01
    assert cell.state().gripper_width_m == pytest.approx(0.04, abs=0.003)


def test_the_estimated_force_is_zero_in_the_air_and_pushes_up_on_the_table(cell):
    assert np.linalg.norm(hold(cell, [0.50, 0.25, 0.2], steps=30).external_force_n) < 0.1
    pressed = hold(cell, [0.50, 0.25, -0.01], steps=40).external_force_n
    assert 5.0 < pressed[2] < 60.0


def test_the_estimated_force_includes_the_weight_of_what_is_held(cell):
    grasp(cell)
    state = hold(cell, [0.5, 0.0, 0.2], steps=40, width_m=0.0)
    assert state.external_force_n == pytest.approx([0.0, 0.0, -0.05 * 9.81], abs=0.05)


def test_the_gripper_moves_at_the_speed_of_a_franka_hand(cell):
    before = cell.state().gripper_width_m
    after = hold(cell, [0.45, 0.0, 0.2], steps=4, width_m=0.0).gripper_width_m
    assert before - after == pytest.approx(4 * 0.1 * cell.control_period_s, abs=0.004)


def test_a_reset_frees_what_is_held_and_leaves_the_arm_where_it_is(cell):
    grasp(cell)
    before = cell.state()
    cell.reset_scene(5)
    after, truth = cell.state(), cell.ground_truth()
    assert np.array_equal(after.q, before.q)
    assert after.gripper_width_m == pytest.approx(0.08)
    assert not truth.held
    region = cell.task.objects[0].start_region
    assert region.contains(*truth.object_positions["red"][:2])
    cube = truth.object_positions["red"]
    hold(cell, before.ee_position_m, steps=10)
    assert cell.ground_truth().object_positions["red"] == pytest.approx(cube, abs=1e-3)


def test_placement_depends_on_the_seed_alone(cell):
    placed = {}
    for seed in (1, 2):
        cell.reset_scene(seed, home_arm=True)
        placed[seed] = cell.ground_truth().object_positions["red"]
    hold(cell, [0.45, 0.0, 0.25], steps=5)
    cell.reset_scene(1)
    assert np.array_equal(cell.ground_truth().object_positions["red"], placed[1])
    assert not np.array_equal(placed[1], placed[2])


def test_the_demonstration_region_lies_inside_the_start_region(cell):
    for seed in range(10):
        cell.reset_scene(seed, region="demo", home_arm=True)
        x, y, _ = cell.ground_truth().object_positions["red"]
        assert cell.task.objects[0].demo_region.contains(x, y)
        assert cell.task.objects[0].start_region.contains(x, y)


def test_outside_is_where_demonstrations_never_were(cell):
    for seed in range(10):
        cell.reset_scene(seed, region="outside", home_arm=True)
        x, y, _ = cell.ground_truth().object_positions["red"]
        assert not cell.task.objects[0].demo_region.contains(x, y)
        assert cell.task.objects[0].start_region.contains(x, y)


def test_a_task_shown_everywhere_has_no_outside(cell):
    everywhere = task_named("pick_named").objects[0]
    with pytest.raises(ValueError, match="no outside"):
        everywhere.place("outside", np.random.default_rng(0))
    with pytest.raises(ValueError, match="choose one of: start, demo, outside"):
        cell.reset_scene(0, region="left")
    with pytest.raises(ConfigurationError, match="task.region=outside"):
        SimulatedFranka(load_config(["task=pick_named", "task.region=outside"]))


def test_a_reset_with_the_arm_in_the_way_moves_nothing_and_says_what_to_do(cell):
    x, y, _ = cell.ground_truth().object_positions["red"]
    cell.reset_scene(1)
    # One finger stands where seed 0 puts the cube; an open hand above it would be no obstacle.
    for height_m in (0.10, 0.02):
        hold(cell, [x, y + 0.047, height_m], steps=40, width_m=0.06)
    state, truth = cell.state(), cell.ground_truth()
    with pytest.raises(SceneBlockedError, match="'red'.*seed 0.*home"):
        cell.reset_scene(0)
    assert np.array_equal(cell.state().q, state.q)
    assert cell.state().gripper_width_m == state.gripper_width_m
    unmoved = cell.ground_truth().object_positions["red"]
    assert np.array_equal(unmoved, truth.object_positions["red"])
    cell.reset_scene(0, home_arm=True)
    assert cell.ground_truth().object_positions["red"][:2] == pytest.approx([x, y])


@pytest.mark.parametrize(
    ("position", "quaternion", "width_m"),
    [
        ([np.nan, 0.0, 0.2], DOWN, 0.08),
        ([0.4, 0.0, 0.2], [0.0, 0.0, 0.0, 0.0], 0.08),
        ([0.4, 0.0, 0.2], [np.inf, 0.0, 0.0, 0.0], 0.08),
        ([0.4, 0.0, 0.2], DOWN, np.nan),
    ],
)
def test_a_malformed_target_is_refused_before_anything_moves(cell, position, quaternion, width_m):
    before = cell.state()
    with pytest.raises(ValueError, match=r"not finite|not a quaternion"):
        cell.step(np.array(position), np.array(quaternion), width_m)
    assert cell.time_s == before.stamp_s
    assert np.array_equal(cell.state().q, before.q)
