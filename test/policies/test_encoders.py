"""Encoders: keypoints that do not depend on order, and that move with the scene."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pictures import DOWN, TOOL, observed

from tmrl_ros.core.load import load_config
from tmrl_ros.core.types import Pose
from tmrl_ros.perception.geometry import pose_matrix
from tmrl_ros.policies.encoders import ImageEncoderSpec, PointEncoderSpec, build_seeded
from tmrl_ros.policies.image_encoder import _slopes

FOCAL = 308.6
INTRINSICS = np.array([[FOCAL, 0.0, 211.5], [0.0, FOCAL, 119.5], [0.0, 0.0, 1.0]])
KEYPOINTS = 3
SHIFT = np.array([0.07, -0.11, 0.0], np.float32)


def specs():
    cameras = load_config(["task=lift"]).cameras
    intrinsics = {camera.name: INTRINSICS for camera in cameras.cameras}
    return {
        "points": PointEncoderSpec.of(cameras, KEYPOINTS),
        "images": ImageEncoderSpec.of(cameras, KEYPOINTS, intrinsics),
    }


@pytest.fixture(params=["points", "images"])
def encoder(request):
    return build_seeded(specs()[request.param], 0)


def test_keypoints_are_points_of_the_base_frame_one_set_per_observation(encoder):
    rng = np.random.default_rng(0)
    found = encoder.keypoints_of([observed(rng) for _ in range(2)])
    assert found.shape == (2, KEYPOINTS, 3) and found.dtype == np.float32
    assert np.isfinite(found).all() and not np.array_equal(found[0], found[1])


def test_the_same_observation_has_the_same_keypoints_alone_and_in_a_batch(encoder):
    rng = np.random.default_rng(1)
    both = [observed(rng), observed(rng)]
    alone = encoder.keypoints_of(both[:1])
    assert np.array_equal(alone, encoder.keypoints_of(both[:1]))
    assert np.allclose(alone[0], encoder.keypoints_of(both)[0], atol=1e-5)
    again = build_seeded(specs()[type(encoder).__name__.removesuffix("Encoder").lower() + "s"], 0)
    assert np.array_equal(alone, again.keypoints_of(both[:1]))


def test_the_order_of_points_and_a_repeated_cloud_do_not_matter():
    encoder, rng = build_seeded(specs()["points"], 0), np.random.default_rng(2)
    seen = observed(rng)
    order = rng.permutation(len(seen.points))
    shuffled = replace(seen, points=seen.points[order], colors=seen.colors[order])
    twice = replace(
        seen,
        points=np.concatenate([seen.points] * 2),
        colors=np.concatenate([seen.colors] * 2),
    )
    expected = encoder.keypoints_of([seen])
    assert np.allclose(expected, encoder.keypoints_of([shuffled]), atol=1e-5)
    assert np.allclose(expected, encoder.keypoints_of([twice]), atol=1e-5)


def test_keypoints_move_with_a_cloud_that_is_moved_over_the_table():
    encoder, seen = build_seeded(specs()["points"], 0), observed(np.random.default_rng(3))
    moved = encoder.keypoints_of([replace(seen, points=seen.points + SHIFT)])
    assert np.allclose(moved, encoder.keypoints_of([seen]) + SHIFT, atol=1e-5)


def test_keypoints_of_images_move_with_the_cameras():
    encoder, seen = build_seeded(specs()["images"], 0), observed(np.random.default_rng(4))
    images, poses = encoder.looks([seen]).look(torch.arange(1), None)
    moved = poses.clone()
    moved[..., :3, 3] += torch.from_numpy(SHIFT)
    with torch.inference_mode():
        assert torch.allclose(
            encoder(images, moved), encoder(images, poses) + torch.from_numpy(SHIFT), atol=2e-4
        )


def test_a_ray_through_a_pixel_leads_to_what_the_camera_sees_there():
    camera = build_seeded(specs()["images"], 0).cameras[1]
    assert camera.on_tool
    seen = observed(np.random.default_rng(5))
    slopes = _slopes(camera, (96, 96)).numpy()
    row, column, depth_m = 20, 30, 0.15
    pose = camera.pose(seen)
    point = pose @ np.array([*(depth_m * slopes[row, column]), depth_m, 1.0])
    back = np.linalg.inv(pose) @ point
    u, v, _ = INTRINSICS @ back[:3] / back[2]
    # The picture is 424x240, the image 96x96, and features have every second pixel of it.
    assert (u + 0.5) * 96 / 424 - 0.5 == pytest.approx(2 * column)
    assert (v + 0.5) * 96 / 240 - 0.5 == pytest.approx(2 * row)


def test_a_camera_on_the_tool_is_where_the_tool_was():
    camera = build_seeded(specs()["images"], 0).cameras[1]
    seen = observed(np.random.default_rng(6))
    elsewhere = replace(seen, robot=replace(seen.robot, ee_pose=Pose(TOOL + SHIFT, DOWN)))
    expected = camera.pose(seen)
    expected[:3, 3] += SHIFT
    assert np.allclose(camera.pose(elsewhere), expected)
    mounted = pose_matrix(Pose(camera.position_m, camera.quaternion))
    assert np.allclose(camera.pose(seen), pose_matrix(Pose(TOOL, DOWN)) @ mounted)


def test_what_an_encoder_lacks_is_said():
    rng = np.random.default_rng(7)
    empty = observed(rng, points=np.zeros((0, 3), np.float32), colors=np.zeros((0, 3), np.uint8))
    with pytest.raises(ValueError, match="its point cloud is empty"):
        build_seeded(specs()["points"], 0).keypoints_of([empty])
    colourless = observed(rng, colors=np.zeros((0, 3), np.uint8))
    with pytest.raises(ValueError, match="its point cloud has no colours"):
        build_seeded(specs()["points"], 0).keypoints_of([colourless])
    blind = observed(rng, images={"exterior": np.zeros((96, 96, 3), np.uint8)})
    with pytest.raises(ValueError, match="it has no 96x96 image of camera 'wrist'"):
        build_seeded(specs()["images"], 0).keypoints_of([blind])


@pytest.mark.parametrize(
    ("kind", "change", "clause"),
    [
        ("points", {"voxel_m": 0.01}, r"clouds with voxel_m=0.004, cameras.voxel_m is 0.01"),
        ("points", {"workspace_max_m": [0.7, 0.3, 0.3]}, "workspace_max_m"),
        ("points", {"cameras": 1}, r"trained on camera 'wrist', the configuration has \['ext"),
        ("images", {"image_width": 64}, "image_width=96, cameras.image_width is 64"),
        ("images", {"cameras": 1}, "trained on camera 'wrist'"),
    ],
)
def test_a_cell_that_differs_from_training_is_named(kind, change, clause):
    import re

    cameras = load_config(["task=lift"]).cameras
    spec = specs()[kind]
    assert spec.misfit(cameras) == ""
    if "cameras" in change:
        change = {"cameras": cameras.cameras[:1]}
    assert re.search(clause, spec.misfit(cameras.model_copy(update=change)))


def test_a_camera_that_hangs_elsewhere_is_named():
    cameras = load_config(["task=lift"]).cameras
    first = cameras.cameras[0]
    moved = first.model_copy(update={"position_m": [1.02, 0.0, 0.55]})
    spec = specs()["images"]
    why = spec.misfit(cameras.model_copy(update={"cameras": [moved, cameras.cameras[1]]}))
    assert why.startswith("was trained with camera 'exterior' 0.100 m and 0.0 degrees from where")
    larger = first.model_copy(update={"width": 640, "height": 480})
    why = spec.misfit(cameras.model_copy(update={"cameras": [larger, cameras.cameras[1]]}))
    assert why.startswith("was trained on camera 'exterior' of 424x240 on base")
