"""Points are where depth says they are, inside the workspace, and always of the same number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrl_ros.core.types import Pose
from tmrl_ros.perception.cloud import Box, Cloud, Downsampler, deproject, merge
from tmrl_ros.perception.geometry import pose_between, pose_matrix
from tmrl_ros.perception.images import shrink

WORKSPACE = Box(np.array([0.3, -0.35, 0.008]), np.array([0.72, 0.35, 0.45]))
K = np.array([[60.0, 0.0, 31.5], [0.0, 61.0, 23.5], [0.0, 0.0, 1.0]])
SHAPE = (48, 64)
units = st.floats(-1.0, 1.0)
poses = st.builds(
    lambda p, q: Pose(np.array([0.5, 0.0, 0.4]) + 0.4 * np.array(p), np.array(q)),
    st.tuples(units, units, units),
    st.tuples(units, units, units, units).filter(lambda q: np.linalg.norm(q) > 0.1),
)


def random_images(seed):
    rng = np.random.default_rng(seed)
    depth_mm = rng.integers(0, 1500, SHAPE).astype(np.uint16)
    depth_mm[rng.random(SHAPE) < 0.2] = 0
    return depth_mm, rng.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)


def pixel_by_pixel(depth_mm, color, pose):
    """The same in the textbook's order, one pixel after the other."""
    for row, column in np.ndindex(depth_mm.shape):
        z = depth_mm[row, column] / 1000.0
        ray = np.linalg.inv(K) @ [column, row, 1.0]
        yield (pose @ [*(ray * z), 1.0])[:3], tuple(color[row, column]), z > 0


@settings(max_examples=15, deadline=None)
@given(poses, st.integers(0, 1000))
def test_points_are_those_of_the_textbook_that_lie_in_the_box(pose, seed):
    depth_mm, color = random_images(seed)
    matrix = pose_matrix(pose)
    cloud = deproject(depth_mm, color, K, matrix, WORKSPACE)
    slack = 1e-5
    must, may = [], []
    for point, rgb, valid in pixel_by_pixel(depth_mm, color, matrix):
        if valid and (point >= WORKSPACE.low + slack).all():
            must += [(point, rgb)] if (point <= WORKSPACE.high - slack).all() else []
        if valid and (point >= WORKSPACE.low - slack).all():
            may += [(point, rgb)] if (point <= WORKSPACE.high + slack).all() else []
    assert len(must) <= len(cloud) <= len(may)
    if len(must) == len(may):
        assert cloud.points == pytest.approx(
            np.array([p for p, _ in must]).reshape(-1, 3), abs=1e-5
        )
        assert [tuple(rgb) for rgb in cloud.colors] == [rgb for _, rgb in must]


@settings(max_examples=15, deadline=None)
@given(poses, st.integers(0, 1000))
def test_every_point_projects_back_to_its_pixel(pose, seed):
    depth_mm, color = random_images(seed)
    matrix = pose_matrix(pose)
    everything = Box(np.full(3, -9.0), np.full(3, 9.0))
    cloud = deproject(depth_mm, color, K, matrix, everything)
    rows, columns = np.nonzero(depth_mm)
    assert len(cloud) == len(rows)
    optical = (cloud.points - matrix[:3, 3]) @ matrix[:3, :3]
    pixels = optical @ K.T
    assert pixels[:, 0] / pixels[:, 2] == pytest.approx(columns, abs=0.01)
    assert pixels[:, 1] / pixels[:, 2] == pytest.approx(rows, abs=0.01)
    assert optical[:, 2] == pytest.approx(depth_mm[rows, columns] / 1000.0, abs=1e-4)


def test_depth_that_is_not_aligned_to_colour_is_refused():
    depth_mm, color = random_images(0)
    with pytest.raises(ValueError, match="aligned"):
        deproject(depth_mm, color[:-1], K, np.eye(4), WORKSPACE)


def cloud_of(rng, n):
    points = rng.uniform(WORKSPACE.low, WORKSPACE.high, (n, 3)).astype(np.float32)
    return Cloud(points, rng.integers(0, 256, (n, 3)).astype(np.uint8))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3000), st.sampled_from([0.001, 0.004, 0.05]), st.integers(16, 300))
def test_thinning_gives_exactly_that_many_points_of_the_cloud_every_time(n, voxel_m, count):
    cloud = cloud_of(np.random.default_rng(n), n)
    thin = Downsampler(WORKSPACE, voxel_m, count)
    first, second = thin(cloud), thin(cloud)
    assert len(first) == count
    assert (first.points == second.points).all()
    assert (first.colors == second.colors).all()
    known = {tuple(p): tuple(c) for p, c in zip(cloud.points, cloud.colors, strict=True)}
    assert all(known[tuple(p)] == tuple(c) for p, c in zip(first.points, first.colors, strict=True))


def test_thinning_keeps_one_point_per_voxel_and_spreads_them():
    rng = np.random.default_rng(1)
    cluster = Cloud(
        (np.array([0.5, 0.0, 0.1]) + 0.002 * rng.random((5000, 3))).astype(np.float32),
        np.zeros((5000, 3), np.uint8),
    )
    thin = Downsampler(WORKSPACE, 0.004, 64)
    picked = thin(merge([cluster, cloud_of(rng, 400)])).points
    assert (np.abs(picked - [0.501, 0.001, 0.101]) < 0.005).all(axis=1).sum() <= 8


def test_a_work_array_and_sorting_keep_the_same_points(monkeypatch):
    cloud = cloud_of(np.random.default_rng(2), 4000)
    quick = Downsampler(WORKSPACE, 0.03, 2000)(cloud)
    monkeypatch.setattr("tmrl_ros.perception.cloud.MAX_GRID_CELLS", 1)
    assert (Downsampler(WORKSPACE, 0.03, 2000)(cloud).points == quick.points).all()


def test_nothing_stays_nothing():
    nothing = merge([])
    assert len(Downsampler(WORKSPACE, 0.004, 64)(nothing)) == 0
    empty = deproject(
        np.zeros(SHAPE, np.uint16), np.zeros((*SHAPE, 3), np.uint8), K, np.eye(4), WORKSPACE
    )
    assert len(empty) == 0


def test_a_pose_between_two_is_on_the_way():
    a = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
    turned = np.array([np.cos(0.05), np.sin(0.05), 0.0, 0.0])
    b = Pose(np.array([0.02, 0.0, 0.04]), -turned)  # the same rotation with the other sign
    middle = pose_between(a, b, 0.5)
    assert middle.position == pytest.approx([0.01, 0.0, 0.02])
    assert abs(middle.quaternion @ [np.cos(0.025), np.sin(0.025), 0.0, 0.0]) == pytest.approx(1.0)
    assert pose_between(a, b, -1.0) is a
    assert pose_between(a, b, 2.0) is b
    with pytest.raises(ValueError, match="no rotation"):
        pose_matrix(Pose(np.zeros(3), np.zeros(4)))


def test_shrinking_averages_areas_of_the_whole_image():
    image = np.zeros((240, 424, 3), np.uint8)
    image[:, :212] = [200, 100, 0]
    small = shrink(image, 96, 96)
    assert small.shape == (96, 96, 3)
    assert small.dtype == np.uint8
    assert (small[:, :48] == [200, 100, 0]).all()
    assert not small[:, 48:].any()
    checkered = np.indices((192, 192)).sum(axis=0) % 2 * np.uint8(200)
    grey = shrink(np.repeat(checkered[..., None], 3, axis=2).astype(np.uint8), 96, 96)
    assert (grey == 100).all()
    assert shrink(grey, 96, 96) is grey
