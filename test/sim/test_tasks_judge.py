"""Tasks judge scenes by their documented rules."""

from dataclasses import replace

import numpy as np
import pytest

from tmrl_ros.sim import TASKS, SimulatedCell, task_named
from tmrl_ros.sim.scene import build_model
from tmrl_ros.sim.tasks import SceneView


def view(**objects):
    """A scene with objects at rest at the given positions, the hand far away."""
    return SceneView(
        positions={name: np.array(position) for name, position in objects.items()},
        speeds=dict.fromkeys(objects, 0.0),
        held=frozenset(),
        touched=frozenset(),
        ee_position_m=np.array([0.45, 0.0, 0.2]),
    )


def test_an_unknown_task_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="Unknown task 'juggle'.*lift, pick_named, stack"):
        SimulatedCell("juggle")


def test_a_wanted_object_that_is_not_in_the_scene_is_refused():
    with pytest.raises(ValueError, match="wants the object 'purple'.*red, green, blue"):
        task_named("pick_named", wanted="purple")


def test_a_physics_step_too_long_for_grasps_is_refused():
    with pytest.raises(ValueError, match="0.0025"):
        build_model(TASKS["lift"], physics_dt_s=0.004)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_every_task_has_a_prompt_and_room_between_its_objects(task):
    assert task.prompt
    for item in task.objects:
        assert item.start_region.x[0] <= item.demo_region.x[0] <= item.demo_region.x[1]
        assert item.demo_region.x[1] <= item.start_region.x[1]
        assert item.start_region.y[0] <= item.demo_region.y[0] <= item.demo_region.y[1]
        assert item.demo_region.y[1] <= item.start_region.y[1]
    zones = sorted(item.start_region.y for item in task.objects)
    for (_, low_end), (high_start, _) in zip(zones, zones[1:], strict=False):
        assert high_start - low_end > 0.055, "an open finger must fit between two cubes"


def test_a_cube_thrown_high_is_not_lifted_unless_it_is_held():
    task = TASKS["lift"]
    high = view(red=[0.5, 0.0, 0.11])
    assert not task.evaluate(high).success
    held = replace(high, held=frozenset({"red"}))
    assert task.evaluate(held).success and task.evaluate(held).progress == 1.0
    low = replace(view(red=[0.5, 0.0, 0.09]), held=frozenset({"red"}))
    assert not task.evaluate(low).success and 0.5 < task.evaluate(low).progress < 1.0


def test_an_object_off_the_table_ends_any_task():
    assert TASKS["lift"].evaluate(view(red=[1.2, 0.0, -0.5])).failure


def test_a_stack_counts_only_once_released_and_at_rest():
    task = TASKS["stack"]
    stacked = view(red=[0.5, 0.1, 0.06], green=[0.5, 0.1, 0.02])
    assert task.evaluate(stacked).success
    assert not task.evaluate(replace(stacked, touched=frozenset({"red"}))).success
    assert not task.evaluate(replace(stacked, speeds={"red": 0.3, "green": 0.0})).success
    beside = view(red=[0.5, 0.15, 0.06], green=[0.5, 0.1, 0.02])
    above = view(red=[0.5, 0.1, 0.07], green=[0.5, 0.1, 0.02])
    assert not task.evaluate(beside).success and not task.evaluate(above).success


def test_progress_grows_as_the_hand_comes_closer():
    task = TASKS["lift"]
    scene = view(red=[0.5, 0.0, 0.02])
    heights = (0.30, 0.20, 0.10, 0.03)
    progress = [
        task.evaluate(replace(scene, ee_position_m=np.array([0.5, 0.0, z]))).progress
        for z in heights
    ]
    assert progress == sorted(progress) and 0.0 <= progress[0] < progress[-1] < 0.5
