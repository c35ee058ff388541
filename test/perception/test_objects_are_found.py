"""Perceived positions against the simulation's truth, with depth noise, near and in the gripper."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.core.config import ObjectConfig
from tmrl_ros.core.types import Pose
from tmrl_ros.perception.center import estimate_center
from tmrl_ros.perception.cloud import Cloud
from tmrl_ros.perception.geometry import pose_matrix
from tmrl_ros.perception.objects import MIN_POINTS, ObjectFinder, View, select
from tmrl_ros.sim import SimulatedCell, expert, task_named

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
OPEN_M = 0.08
NAMES = ("red", "green", "blue")


def errors_mm(perceiver, bundle, cell):
    """Distance of every visible object from where it really is, by name."""
    truth = cell.ground_truth().object_positions
    sightings = perceiver.perceive(bundle).sightings
    return {
        name: 1e3 * np.linalg.norm(seen.position - truth[name])
        for name, seen in zip(perceiver.object_names, sightings, strict=True)
        if seen.visible
    }


def go(cell, position, width_m=OPEN_M, steps=40):
    for _ in range(steps):
        cell.step(np.array(position), DOWN, width_m)


@pytest.mark.parametrize("camera", [("exterior",), ("wrist",), ("exterior", "wrist")])
def test_cubes_in_the_open_are_found_to_millimetres(perceiver, look, cell, camera):
    errors = []
    for seed in range(7):
        cell.reset_scene(seed, home_arm=True)
        cell.step(np.array([0.45, 0.0, 0.20]), DOWN, OPEN_M)
        found = errors_mm(perceiver, look(cell, camera), cell)
        assert set(found) == set(NAMES)
        errors += found.values()
    assert np.mean(errors) < 3.0
    assert np.max(errors) < 6.0


def test_turned_cubes_are_found(perceiver, look):
    task = task_named("pick_named")
    turned = tuple(dataclasses.replace(item, yaw_range_rad=0.78) for item in task.objects)
    errors = []
    with SimulatedCell(dataclasses.replace(task, objects=turned)) as cell:
        for seed in range(6):
            cell.reset_scene(seed, home_arm=True)
            cell.step(np.array([0.45, 0.0, 0.20]), DOWN, OPEN_M)
            errors += errors_mm(perceiver, look(cell), cell).values()
    assert np.mean(errors) < 5.0
    assert np.max(errors) < 10.0


def test_a_cube_under_the_gripper_is_found(perceiver, look, cell):
    errors = []
    for seed, name in enumerate(NAMES):
        cell.reset_scene(seed, home_arm=True)
        x, y, _ = cell.ground_truth().object_positions[name]
        for height_m in (0.12, 0.08, 0.03):
            go(cell, (x, y, height_m))
            errors.append(errors_mm(perceiver, look(cell), cell)[name])
    assert np.mean(errors) < 5.0
    assert np.max(errors) < 10.0


def test_a_grasped_cube_is_followed_while_it_is_lifted(perceiver, look, cell):
    errors = []
    for seed in (0, 1):
        cell.reset_scene(seed, home_arm=True)
        demonstrator = expert("pick_named", cell, rng=np.random.default_rng(seed))
        for step in range(100):
            cell.step(*demonstrator.act(cell.state(), cell.ground_truth()))
            if "blue" in cell.ground_truth().held and step % 2:
                errors.append(errors_mm(perceiver, look(cell), cell)["blue"])
            if cell.ground_truth().success:
                break
        assert cell.ground_truth().object_positions["blue"][2] > 0.09
    assert len(errors) > 5
    assert np.mean(errors) < 5.0
    assert np.max(errors) < 10.0


def test_an_object_out_of_sight_stays_where_it_was_seen_and_ages(perceiver, look, cell):
    cell.reset_scene(3, home_arm=True)
    first = perceiver.perceive(look(cell))
    go(cell, (0.45, 0.0, 0.2), steps=4)
    blind = perceiver.perceive(look(cell, cameras=()))
    for before, now in zip(first.sightings, blind.sightings, strict=True):
        assert before.visible
        assert not now.visible
        assert (now.position == before.position).all()
        assert now.age_s == pytest.approx(0.2)
        assert not now.never
    perceiver.forget()
    assert all(seen.never for seen in perceiver.perceive(look(cell, cameras=())).sightings)


def test_everything_else_of_a_percept_is_what_was_asked_for(perceiver, look, cell, config):
    cell.reset_scene(4, home_arm=True)
    bundle = look(cell)
    percept, again = perceiver.perceive(bundle), perceiver.perceive(bundle)
    ee = bundle.robot.ee_pose.position
    assert percept.state == pytest.approx([*ee, bundle.robot.gripper_width_m / 0.08], abs=1e-6)
    assert [image.shape for image in percept.images] == [(96, 96, 3)] * 2
    assert percept.camera_age_s == [0.0, 0.0]
    assert len(percept.cloud) == config.cameras.points
    assert (percept.cloud.points == again.cloud.points).all()
    low, high = np.array(config.cameras.workspace_min_m), np.array(config.cameras.workspace_max_m)
    assert (percept.cloud.points >= low - 1e-5).all()
    assert (percept.cloud.points <= high + 1e-5).all()


def test_the_configured_cameras_are_where_the_simulated_ones_are(cell, config):
    state = cell.state()
    tool = pose_matrix(Pose(state.ee_position_m, state.ee_quaternion_xyzw))
    for camera in config.cameras.cameras:
        mount = pose_matrix(Pose(np.array(camera.position_m), np.array(camera.quaternion_xyzw)))
        pose = tool @ mount if camera.mount == "ee" else mount
        assert np.abs(pose - cell.camera(camera.name).T_base_optical).max() < 1e-4


def skin(center, yaw, rng, faces, size_m=0.04, count=300):
    """Points on the given faces (axis, side) of a cube."""
    points = []
    for axis, side in faces:
        face = rng.uniform(-0.5, 0.5, (count, 3)) * size_m
        face[:, axis] = side * size_m / 2
        points.append(face)
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    return (np.concatenate(points) @ turn.T + center).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.35, 0.65), st.floats(-0.3, 0.3), st.floats(0.02, 0.3), st.floats(0.0, 1.57),
    st.integers(0, 99),
)  # fmt: skip
def test_a_cube_whose_top_is_seen_is_found_at_any_place_and_turn(x, y, z, yaw, seed):
    center = np.array([x, y, z])
    points = skin(center, yaw, np.random.default_rng(seed), [(2, 1)])
    points = points[points[:, 2] >= 0.008]
    found = estimate_center(points, 0.04, np.array([x + 0.4, y, z + 0.5]), 0.008)
    assert np.linalg.norm(found - center) < 0.004


@pytest.mark.parametrize("faces", [[(0, 1)], [(0, 1), (1, -1)], [(0, 1), (2, 1), (1, 1)]])
def test_a_cube_is_found_from_any_of_its_faces_in_the_air(faces):
    center = np.array([0.5, -0.1, 0.2])
    eye = center + sum(side * np.eye(3)[axis] for axis, side in faces)
    found = estimate_center(skin(center, 0.0, np.random.default_rng(0), faces), 0.04, eye, 0.008)
    assert np.linalg.norm(found - center) < 0.002


def test_a_few_wrong_points_do_not_move_the_center():
    center, rng = np.array([0.5, 0.0, 0.1]), np.random.default_rng(0)
    points = skin(center, 0.0, rng, [(2, 1), (0, 1)])
    points = np.concatenate([points, points[:5] + [0.2, 0.1, 0.1]]).astype(np.float32)
    found = estimate_center(points, 0.04, np.array([1.1, 0.0, 0.6]), 0.008)
    assert np.linalg.norm(found - center) < 0.002


def test_colours_are_told_apart_and_grey_is_nobody():
    objects = [ObjectConfig(name=n, hue_deg=h) for n, h in zip(NAMES, (0, 120, 240), strict=True)]
    colors = np.array(
        [[229, 13, 13], [230, 13, 40], [13, 190, 25], [13, 38, 229], [120, 120, 122],
         [20, 4, 4], [0, 0, 0], [255, 255, 255], [230, 200, 10]],
        np.uint8,
    )  # fmt: skip
    assert [found.tolist() for found in select(colors, objects)] == [[0, 1], [2], [3]]


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), max_size=40), st.floats(0, 359.9))
def test_selection_agrees_with_the_textbook(pixels, hue_deg):
    item = ObjectConfig(name="it", hue_deg=hue_deg, min_saturation=0.3)
    colors = np.array(pixels, np.uint8).reshape(-1, 3)
    found = set(select(colors, [item])[0].tolist())
    for k, (r, g, b) in enumerate(pixels):
        top, width = max(r, g, b), max(r, g, b) - min(r, g, b)
        angle = math.degrees(math.atan2(math.sqrt(3) * (g - b), 2 * r - g - b))
        away = abs((angle - hue_deg + 180) % 360 - 180)
        vivid = width > 0 and width >= 0.3 * top and top >= 0.2 * 255
        if k in found:
            assert vivid
            assert away <= item.hue_tolerance_deg + 2.0  # the hexagon's hue is within 1.2 degrees
        elif vivid:
            assert away >= item.hue_tolerance_deg - 2.0


def test_a_handful_of_points_is_no_sighting():
    finder = ObjectFinder([ObjectConfig(name="red", hue_deg=0)], 0.0)
    points = skin(np.array([0.5, 0.0, 0.1]), 0.0, np.random.default_rng(0), [(2, 1)])
    eye = np.array([1.0, 0.0, 0.5])
    for count, visible in ((0, False), (MIN_POINTS - 1, False), (MIN_POINTS, True)):
        colors = np.tile(np.array([220, 10, 10], np.uint8), (count, 1))
        assert finder.look([View(Cloud(points[:count], colors), eye)], 0)[0].visible == visible
