"""Colour and depth show what is there, in the frames that are documented."""

import subprocess
import sys

import numpy as np
import pytest

from tmrl_ros.sim import SimulatedCell
from tmrl_ros.sim.cameras import EDGE_JUMP
from tmrl_ros.sim.engine import mujoco
from tmrl_ros.sim.rendering import RendererUnavailableError, make_renderer

CAMERAS = ("exterior", "wrist")
DOMINANT = {"red": 0, "green": 1, "blue": 2}


@pytest.fixture(scope="module")
def cell():
    """Three cubes, seen without noise by the best renderer of this machine."""
    with SimulatedCell("pick_named", depth_noise=False) as cell:
        yield cell


def is_color(pixel, name):
    channel = DOMINANT[name]
    others = [int(value) for index, value in enumerate(pixel) if index != channel]
    return int(pixel[channel]) > 1.8 * max(others)


def visible(cell, camera):
    """Pixel (column, row, depth) of each cube's centre that lies well inside the image."""
    model = cell.camera(camera)
    for name, centre in cell.ground_truth().object_positions.items():
        column, row, depth_m = model.project(centre)
        if 3 < column < model.width - 4 and 3 < row < model.height - 4:
            yield name, round(column), round(row), depth_m


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_projected_cube_centre_falls_on_pixels_of_its_color(cell, camera):
    frame = cell.render(camera)
    seen = list(visible(cell, camera))
    assert len(seen) == 3
    for name, column, row, depth_m in seen:
        assert is_color(frame.color[row, column], name)
        assert 0.0 < depth_m - frame.depth_mm[row, column] / 1000.0 < 0.04


@pytest.mark.parametrize("camera", CAMERAS)
def test_depth_agrees_with_rays_cast_by_the_physics(cell, camera):
    frame, model = cell.render(camera), cell.camera(camera)
    rng = np.random.default_rng(0)
    columns, rows = rng.integers(0, model.width, 400), rng.integers(0, model.height, 400)
    pixels = np.stack([columns, rows, np.ones(400)])
    directions = (model.T_base_optical[:3, :3] @ np.linalg.inv(model.K) @ pixels).T
    errors_mm = []
    for column, row, direction in zip(columns, rows, directions, strict=True):
        # The third component of the direction in the optical frame is 1: its length is z-depth.
        z_m = mujoco.mj_ray(
            cell._model,
            cell._data,
            model.T_base_optical[:3, 3].copy(),
            direction.copy(),
            np.array([1, 1, 1, 0, 0, 0], np.uint8),
            1,
            -1,
            np.zeros(1, np.int32),
        )
        seen_mm = int(frame.depth_mm[row, column])
        if seen_mm and z_m > 0.0:
            errors_mm.append(abs(seen_mm - 1000.0 * z_m))
    assert len(errors_mm) > 250
    assert np.median(errors_mm) < 0.5
    assert np.quantile(errors_mm, 0.95) < 2.0


def test_the_exterior_camera_sees_the_whole_workspace(cell):
    model = cell.camera("exterior")
    for x in (0.3, 0.7):
        for y in (-0.35, 0.35):
            column, row, _ = model.project(np.array([x, y, 0.0]))
            assert 0 <= column < model.width and 0 <= row < model.height


def test_the_table_is_flat_in_the_point_cloud(cell):
    frame, model = cell.render("exterior"), cell.camera("exterior")
    rows, columns = np.nonzero(frame.depth_mm)
    z_m = frame.depth_mm[rows, columns] / 1000.0
    pixels = np.stack([columns, rows, np.ones(len(rows))])
    points = model.T_base_optical[:3, :3] @ (np.linalg.inv(model.K) @ pixels * z_m)
    points += model.T_base_optical[:3, 3:]
    flat = (points[0] > 0.6) & (points[0] < 0.9) & (np.abs(points[1]) < 0.3)
    assert flat.sum() > 1000
    assert np.abs(points[2, flat]).max() < 0.0015


def test_the_ray_renderer_agrees_with_opengl(cell):
    if cell.render("exterior") and cell._cameras.renderer_name == "ray":
        pytest.skip("no OpenGL on this machine")
    with SimulatedCell("pick_named", renderer="ray", depth_noise=False) as plain:
        for camera in CAMERAS:
            by_gl, by_ray = cell.render(camera), plain.render(camera)
            gap_mm = np.abs(by_gl.depth_mm.astype(int) - by_ray.depth_mm)
            assert np.mean(gap_mm <= 1) > 0.98
            for name, column, row, _ in visible(plain, camera):
                assert is_color(by_ray.color[row, column], name)
                assert is_color(by_gl.color[row, column], name)


def test_depth_noise_is_reproducible_grows_with_distance_and_leaves_holes_at_edges(cell):
    clean = cell.render("exterior").depth_mm.astype(float)
    frames = []
    for _ in range(2):
        with SimulatedCell("pick_named", seed=0) as noisy:
            frames.append(noisy.render("exterior"))
            assert np.array_equal(noisy.render("exterior").depth_mm, frames[-1].depth_mm)
    assert np.array_equal(frames[0].depth_mm, frames[1].depth_mm)
    with SimulatedCell("pick_named", seed=1) as other:
        other.reset_scene(0, home_arm=True)
        assert not np.array_equal(other.render("exterior").depth_mm, frames[0].depth_mm)
    both = (clean > 0) & (frames[0].depth_mm > 0)
    error = frames[0].depth_mm - clean
    near, far = both & (clean < 700), both & (clean > 1000)
    assert 0.2 < error[near].std() < error[far].std() < 10.0
    holes = (clean > 0) & (clean < 2500) & (frames[0].depth_mm == 0)
    assert 50 < holes.sum() < 0.05 * clean.size
    rows, columns = np.nonzero(holes[1:-1, 1:-1])
    around = np.stack([clean[rows + i, columns + j] for i in range(3) for j in range(3)])
    assert ((np.ptp(around, axis=0) / around.max(axis=0)) > 0.5 * EDGE_JUMP).all()


def test_a_frozen_camera_repeats_its_frame_while_time_goes_on():
    with SimulatedCell("lift", seed=2) as cell:
        cell.freeze_camera("wrist")
        frozen = cell.render("wrist")
        for _ in range(4):
            cell.step(np.array([0.5, 0.1, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]), 0.08)
        again = cell.render("wrist")
        assert again.stamp_s == frozen.stamp_s < cell.time_s
        assert np.array_equal(again.color, frozen.color)
        assert cell.render("exterior").stamp_s == cell.time_s


def test_the_wrist_camera_moves_with_the_hand():
    with SimulatedCell("lift") as cell:
        before, hand = cell.camera("wrist").T_base_optical, cell.state().ee_position_m
        for _ in range(20):
            cell.step(np.array([0.5, 0.1, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]), 0.08)
        moved = cell.camera("wrist").T_base_optical[:3, 3] - before[:3, 3]
        assert moved == pytest.approx(cell.state().ee_position_m - hand, abs=2e-3)


def test_images_have_the_asked_size():
    with SimulatedCell("lift", camera_size=(128, 96)) as cell:
        frame, model = cell.render("wrist"), cell.camera("wrist")
    assert frame.color.shape == (96, 128, 3) and frame.color.dtype == np.uint8
    assert frame.depth_mm.shape == (96, 128) and frame.depth_mm.dtype == np.uint16
    assert (model.width, model.height) == (128, 96)
    assert model.K[0, 2] == 63.5 and model.K[1, 2] == 47.5


def test_an_unknown_camera_or_renderer_is_named_with_the_known_ones(cell):
    with pytest.raises(ValueError, match="'ceiling'.*exterior, wrist"):
        cell.render("ceiling")
    with pytest.raises(ValueError, match="'vulkan'.*egl, osmesa, ray"):
        make_renderer("vulkan", cell._model, (64, 48))


def test_without_an_opengl_library_the_automatic_choice_is_rays(cell, monkeypatch):
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(RendererUnavailableError, match="libEGL.*renderer='ray'"):
        make_renderer("egl", cell._model, (64, 48))
    assert make_renderer("auto", cell._model, (64, 48)).name == "ray"


def test_physics_alone_loads_no_opengl():
    program = (
        "import sys, os\n"
        "from tmrl_ros.sim import SimulatedCell\n"
        "SimulatedCell('lift').close()\n"
        "assert 'OpenGL' not in sys.modules and 'glfw' not in sys.modules\n"
        "assert 'MUJOCO_GL' not in os.environ or os.environ['MUJOCO_GL'] == 'osmesa'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
