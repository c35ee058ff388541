"""Scripted experts do their tasks, within the speeds that demonstrations may have."""

import numpy as np
import pytest

from tmrl_ros.sim import TASKS, ActionNoise, SimulatedCell, expert, task_named


def run_episode(cell, seed, *, target_object=None, noise=None, region="start"):
    """Steps taken, last truth, all target positions."""
    cell.reset_scene(seed, region=region, home_arm=True)
    actor = expert(
        cell.task,
        cell,
        target_object=target_object,
        rng=np.random.default_rng(seed),
        noise=noise,
    )
    targets = []
    truth = cell.ground_truth()
    for _ in range(cell.task.max_steps):
        position, quaternion, width_m = actor.act(cell.state(), truth)
        targets.append(position)
        cell.step(position, quaternion, width_m)
        truth = cell.ground_truth()
        if truth.success or truth.failure:
            break
    return len(targets), truth, np.array(targets)


@pytest.mark.parametrize(
    ("task", "typical_steps"), [("lift", 40), ("pick_named", 40), ("stack", 75)]
)
def test_an_expert_succeeds_from_everywhere_in_the_start_region(task, typical_steps):
    with SimulatedCell(task) as cell:
        episodes = [run_episode(cell, seed) for seed in range(50)]
    assert sum(truth.success for _, truth, _ in episodes) >= 49
    assert np.mean([steps for steps, _, _ in episodes]) < typical_steps


@pytest.mark.parametrize("task", sorted(TASKS))
def test_noisy_demonstrations_still_succeed_and_keep_the_speed_limit(task):
    with SimulatedCell(task) as cell:
        for seed in range(8):
            _, truth, targets = run_episode(cell, seed, noise=ActionNoise(), region="demo")
            assert truth.success
            moves = np.linalg.norm(np.diff(targets, axis=0), axis=1)
            assert moves.max() / cell.control_period_s < 0.5
            assert moves.max() < 0.03


@pytest.mark.parametrize("name", ["red", "green", "blue"])
def test_every_named_object_can_be_demonstrated(name):
    with SimulatedCell(task_named("pick_named", wanted=name)) as cell:
        for seed in range(3):
            _, truth, _ = run_episode(cell, seed)
            assert truth.success and truth.held == {name}


def test_lifting_another_object_than_the_wanted_one_is_a_failure():
    with SimulatedCell("pick_named") as cell:
        _, truth, _ = run_episode(cell, 0, target_object="red")
    assert truth.failure and not truth.success


def test_an_expert_that_loses_the_object_picks_it_up_again():
    with SimulatedCell("lift") as cell:
        cell.reset_scene(0, home_arm=True)
        actor = expert("lift", cell)
        dropped = False
        for _ in range(cell.task.max_steps):
            truth = cell.ground_truth()
            if truth.success:
                break
            position, quaternion, width_m = actor.act(cell.state(), truth)
            if not dropped and truth.object_positions["red"][2] > 0.05:
                for _ in range(8):
                    cell.step(position, quaternion, 0.08)
                dropped = True
                continue
            cell.step(position, quaternion, width_m)
    assert dropped and truth.success


def test_an_expert_for_an_object_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no object 'purple'.*red"):
        expert("lift", target_object="purple")


def test_an_expert_that_never_misses_draws_nothing_for_it():
    rng, untouched = np.random.default_rng(3), np.random.default_rng(3)
    expert("lift", rng=rng, noise=ActionNoise(detour_m=0.0, miss=0.0))
    assert rng.random() == untouched.random()
    expert("lift", rng=rng, noise=ActionNoise(detour_m=0.0, miss=0.8))
    assert rng.random() != untouched.random()
