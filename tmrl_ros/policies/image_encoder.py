"""From the cameras' colour images to a few learned 3-D keypoints, found by their rays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.core.types import FloatArray, Pose
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.perception.geometry import pose_matrix
from tmrl_ros.policies.keypoints import KeypointEncoder, relit

HEIGHT_SCALE_M = 0.1
BRIGHTNESS, COLOR_NOISE = 0.2, 0.03
"""What is done to images in training."""
NOTHING = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Camera:
    """Where a camera hangs and how it sees.

    Attributes:
        name: As in the configuration.
        on_tool: Whether it hangs on the tool rather than on the base.
        position_m: Of the optical frame (z forward, x right) in what it hangs on (3,).
        quaternion: Likewise, x y z w.
        intrinsics: K (3, 3) of the pictures as the camera takes them.
        size: Width and height of these.
    """

    name: str
    on_tool: bool
    position_m: FloatArray
    quaternion: FloatArray
    intrinsics: FloatArray
    size: tuple[int, int]

    def pose(self, observation: RecordedObservation) -> FloatArray:
        """Of the optical frame in the base (4, 4), when the observation was made."""
        mounted = pose_matrix(Pose(self.position_m, self.quaternion))
        if not self.on_tool:
            return mounted
        tool: FloatArray = pose_matrix(observation.robot.ee_pose)
        return tool @ mounted


class Eye(nn.Module):
    """One camera's network: where each keypoint appears in the image, and how surely."""

    grid: Tensor

    def __init__(self, keypoints: int, width: int, rays: Tensor) -> None:
        """`rays` (h / 2, w / 2, 2) are the slopes x / z, y / z of the rays through the pixels."""
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
        )
        self.heat = nn.Conv2d(width, keypoints, 1)
        self.confidence = nn.Linear(2 * width, 1)
        self.register_buffer("grid", rays.reshape(-1, 2), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Slopes (B, K, 2), confidences (B, K) and features (B, K, W) of images (B, 3, h, w)."""
        features = self.features(2.0 * images - 1.0)
        attention = torch.softmax(self.heat(features).flatten(2), -1)  # (B, K, h w / 4)
        around = attention @ features.flatten(2).transpose(1, 2)
        whole = features.amax((2, 3))[:, None].expand_as(around)
        confidence = nn.functional.softplus(self.confidence(torch.cat([around, whole], -1)))
        return attention @ self.grid, confidence[..., 0], around


class ImageEncoder(KeypointEncoder):
    """Every camera has a network that finds the K keypoints in its image (spatial soft-arg-max).

    A keypoint is the point nearest to the rays of all cameras and to a learned height, in the sense
    of weighted least squares: a camera that does not see it has little weight, and where one camera
    is left the height says how far away it is. So cameras that hang on the arm may move, and what
    was learned at one place of the table holds at others as far as images look the same there.
    """

    def __init__(
        self, cameras: list[Camera], size: tuple[int, int], keypoints: int, width: int
    ) -> None:
        """`size` is the width and height of the resized images."""
        super().__init__()
        self.cameras, self.size, self.keypoints = cameras, size, keypoints
        self.eyes = nn.ModuleList(
            Eye(keypoints, width, _slopes(camera, size)) for camera in cameras
        )
        self.height = nn.Sequential(
            nn.Linear(width * len(cameras), width), nn.ReLU(), nn.Linear(width, 2)
        )

    def forward(self, images: Tensor, poses: Tensor) -> Tensor:
        """Keypoints (B, K, 3), m, base frame.

        Args:
            images: (B, C, 3, h, w) colours in [0, 1], in the order of the cameras.
            poses: (B, C, 4, 4) of the optical frames in the base.
        """
        normal = torch.zeros(len(images), self.keypoints, 3, 3)
        target = torch.zeros(len(images), self.keypoints, 3)
        seen = []
        for k, eye in enumerate(self.eyes):
            slopes, confidence, features = eye(images[:, k])
            seen.append(features)
            rays = torch.cat([slopes, torch.ones_like(slopes[..., :1])], -1)
            rays = nn.functional.normalize(rays @ poses[:, k, :3, :3].transpose(1, 2), dim=-1)
            across = torch.eye(3) - rays[..., :, None] * rays[..., None, :]  # (B, K, 3, 3)
            weighted = confidence[..., None, None] * across
            normal = normal + weighted
            target = target + (weighted @ poses[:, k, None, :3, 3:])[..., 0]
        height, trust = self.height(torch.cat(seen, -1)).unbind(-1)
        weight = nn.functional.softplus(trust) + 1e-2
        normal[..., 2, 2] = normal[..., 2, 2] + weight
        target[..., 2] = target[..., 2] + weight * HEIGHT_SCALE_M * (1.0 + height)
        # So that there is a solution where no camera is sure; it moves others by less than 0.1 mm.
        result: Tensor = torch.linalg.solve(normal + 1e-4 * torch.eye(3), target)
        return result

    def looks(self, observations: Sequence[RecordedObservation]) -> Views:
        """Images, and where their cameras were.

        Raises:
            ValueError: An image is missing or of another size.
        """
        width, height = self.size
        for camera in self.cameras:
            shapes = {item.images.get(camera.name, NOTHING).shape for item in observations}
            if shapes != {(height, width, 3)}:
                raise ValueError(f"it has no {width}x{height} image of camera {camera.name!r}")
        images = [[item.images[camera.name] for camera in self.cameras] for item in observations]
        poses = [[camera.pose(item) for camera in self.cameras] for item in observations]
        return Views(
            torch.from_numpy(np.array(images)).permute(0, 1, 4, 2, 3),
            torch.from_numpy(np.array(poses, np.float32)),
        )


@dataclass(frozen=True)
class Views:
    """`images` (N, C, 3, h, w) uint8; `poses` (N, C, 4, 4) of optical frames in the base."""

    images: Tensor
    poses: Tensor

    def look(self, rows: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """See `Looks`."""
        images = self.images[rows].float() / 255.0
        if generator is not None:
            images = relit(images, BRIGHTNESS, COLOR_NOISE, generator)
        return images, self.poses[rows]


def _slopes(camera: Camera, size: tuple[int, int]) -> Tensor:
    """Slopes x / z, y / z (h / 2, w / 2, 2) of rays through every second pixel of a small image."""
    axes = []
    for axis in (0, 1):
        shrunk = camera.size[axis] / size[axis]
        pixels = (2 * np.arange(size[axis] // 2) + 0.5) * shrunk - 0.5
        focal, centre = camera.intrinsics[axis, axis], camera.intrinsics[axis, 2]
        axes.append((pixels - centre) / focal)
    across, down = np.meshgrid(axes[0], axes[1])
    return torch.from_numpy(np.stack([across, down], -1).astype(np.float32))
