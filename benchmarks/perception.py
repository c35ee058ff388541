"""Depth images to 1,024 points in the base frame: ours against Open3D's and NumPy's usual ways.

Two rendered cameras of the simulated cell, all three in turns in one run, on one thread. The usual
way with Open3D: RGBD image, point cloud, transform, crop, voxel grid, farthest points. With NumPy:
every pixel to a point, transform, crop by a mask, voxels by `numpy.unique`, farthest points one by
one. Writes `docs/benchmarks/perception.json`. Open3D is not a dependency (`pip install
open3d==0.20.0`); it is left out, and said so, where it is not installed.

    .venv/bin/python benchmarks/perception.py --size 640 480
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.config import Config
from tmrl_ros.core.load import load_config
from tmrl_ros.perception.cloud import Box, Downsampler, deproject, merge
from tmrl_ros.perception.geometry import pose_matrix
from tmrl_ros.perception.images import shrink
from tmrl_ros.perception.perceiver import _mount
from tmrl_ros.perception.synchroniser import Frame
from tmrl_ros.robots.simulated_franka import SimulatedFranka

OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "perception.json"
View = tuple[Frame, NDArray[np.float64]]


def views(config: Config) -> list[View]:
    """A frame of every camera and the pose of its optical frame in the base."""
    arm = SimulatedFranka(config)
    arm.place_objects(0)
    pose = arm.sample().ee_pose
    pictures = {item.camera: item for item in arm.take_pictures()}
    found = []
    for camera in config.cameras.cameras:
        item = pictures[camera.name]
        frame = Frame(item.stamp_ns, item.color, item.depth_mm, item.intrinsics, pose)
        mount = _mount(camera)
        found.append((frame, pose_matrix(pose) @ mount if camera.mount == "ee" else mount))
    arm.close()
    return found


def ours(config: Config) -> Callable[[list[View]], int]:
    """The perception node's way."""
    settings = config.cameras
    box = Box(np.array(settings.workspace_min_m), np.array(settings.workspace_max_m))
    thin = Downsampler(box, settings.voxel_m, settings.points)

    def run(seen: list[View]) -> int:
        clouds = [deproject(f.depth_mm, f.color, f.intrinsics, pose, box) for f, pose in seen]
        return len(thin(merge(clouds)))

    return run


def with_numpy(config: Config) -> Callable[[list[View]], int]:
    """Every pixel becomes a point before anything is left out."""
    settings = config.cameras
    low, high = np.array(settings.workspace_min_m), np.array(settings.workspace_max_m)

    def run(seen: list[View]) -> int:
        points, colors = [], []
        for frame, pose in seen:
            height, width = frame.depth_mm.shape
            u, v = np.meshgrid(np.arange(width), np.arange(height))
            z = frame.depth_mm / 1000.0
            k = frame.intrinsics
            x, y = (u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z
            here = np.stack([x, y, z], -1).reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
            kept = ((here >= low) & (here <= high)).all(-1) & (z.ravel() > 0)
            points.append(here[kept])
            colors.append(frame.color.reshape(-1, 3)[kept])
        cloud = np.concatenate(points)
        cells = np.floor((cloud - low) / settings.voxel_m).astype(np.int64)
        _, first = np.unique(cells, axis=0, return_index=True)
        cloud = cloud[first]
        chosen = np.zeros(settings.points, np.int64)
        nearest = np.full(len(cloud), np.inf)
        for i in range(1, settings.points):
            away = ((cloud - cloud[chosen[i - 1]]) ** 2).sum(-1)
            nearest = np.minimum(nearest, away)
            chosen[i] = nearest.argmax()
        return len(np.concatenate(colors)[first][chosen])

    return run


def with_open3d(config: Config) -> Callable[[list[View]], int]:
    """Open3D's documented pipeline."""
    import open3d as o3d

    settings = config.cameras
    box = o3d.geometry.AxisAlignedBoundingBox(settings.workspace_min_m, settings.workspace_max_m)

    def run(seen: list[View]) -> int:
        cloud = o3d.geometry.PointCloud()
        for frame, pose in seen:
            height, width = frame.depth_mm.shape
            k = frame.intrinsics
            lens = o3d.camera.PinholeCameraIntrinsic(
                width, height, k[0, 0], k[1, 1], k[0, 2], k[1, 2]
            )
            image = o3d.geometry.RGBDImage.create_from_color_and_depth(
                o3d.geometry.Image(np.ascontiguousarray(frame.color)),
                o3d.geometry.Image(frame.depth_mm),
                depth_scale=1000.0,
                depth_trunc=10.0,
                convert_rgb_to_intensity=False,
            )
            one = o3d.geometry.PointCloud.create_from_rgbd_image(image, lens)
            cloud += one.transform(pose).crop(box)
        cloud = cloud.voxel_down_sample(settings.voxel_m)
        return len(cloud.farthest_point_down_sample(settings.points).points)

    return run


def resized(config: Config) -> Callable[[list[View]], int]:
    """Both cameras' colour images, as policies and rewards see them."""
    width, height = config.cameras.image_width, config.cameras.image_height

    def run(seen: list[View]) -> int:
        return sum(len(shrink(frame.color, width, height)) for frame, _ in seen)

    return run


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=[640, 480], metavar=("W", "H"))
    parser.add_argument("--repetitions", type=int, default=30)
    args = parser.parse_args()
    config = load_config(["task=pick_named"])
    width, height = args.size
    cameras = [
        item.model_copy(update={"width": width, "height": height})
        for item in config.cameras.cameras
    ]
    config = config.model_copy(
        update={"cameras": config.cameras.model_copy(update={"cameras": cameras})}
    )
    seen = views(config)
    ways = {"ours": ours(config), "numpy": with_numpy(config)}
    try:
        ways["open3d"] = with_open3d(config)
    except (ImportError, OSError) as error:
        print(f"Open3D is left out: {error}")
    ways["images"] = resized(config)
    times: dict[str, list[float]] = {name: [] for name in ways}
    counts = {name: run(seen) for name, run in ways.items()}
    for _ in range(args.repetitions):
        for name, run in ways.items():
            started = time.process_time()
            run(seen)
            times[name].append((time.process_time() - started) * 1e3)
    result: dict[str, Any] = {
        "cameras": len(seen),
        "size": args.size,
        "points": config.cameras.points,
        "repetitions": args.repetitions,
        "unit": "ms of processor time for both cameras",
    }
    for name, values in times.items():
        p10, p50, p90 = np.percentile(values, [10, 50, 90]).round(2)
        result[name] = {"p10": p10, "p50": p50, "p90": p90, "result": counts[name]}
        ratio = p50 / result["ours"]["p50"]
        print(f"{name}: {p50:.1f} ms ({p10:.1f} to {p90:.1f}), {ratio:.1f} times ours")
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
