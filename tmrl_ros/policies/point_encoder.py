"""From a point cloud to a few learned 3-D keypoints, which take the place of named objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.policies.keypoints import KeypointEncoder, relit

HEIGHT_SCALE_M = 0.1
LOCAL_SCALE_M = 0.03
POINT_SIZE = 4  # red, green, blue and height


@dataclass(frozen=True)
class Augmentation:
    """What is done to clouds in training, so that the encoder bears what a cell does to them.

    Attributes:
        points: Points drawn of each cloud, anew every time.
        jitter_m: Standard deviation of noise on positions.
        brightness: Clouds are made darker or brighter by up to this share.
        color_noise: Standard deviation of noise on colours (0..1).
    """

    points: int = 256
    jitter_m: float = 0.001
    brightness: float = 0.2
    color_noise: float = 0.03


class PointEncoder(KeypointEncoder):
    """Attention of K keypoints over the points of a cloud, each moved by what lies around it.

    A network shared by all points, and a max-pooled feature of the whole cloud beside it (PointNet,
    arXiv 1612.00593), say how much each keypoint attends to each point. The attended mean is then
    moved by what the attended points look like from it: the middle of a cube is not the mean of
    the sides that cameras see.

    Colour and height above the table are all that the networks see of a point, and, in the second
    step, where it lies from the keypoint. So keypoints move with the cloud when it is moved over
    the table, exactly, and what was demonstrated at one place is seen at every other.
    """

    def __init__(self, keypoints: int, width: int = 32) -> None:
        """Keypoints start near the middle of the cloud."""
        super().__init__()
        self.keypoints = keypoints
        self.point = nn.Sequential(
            nn.Linear(POINT_SIZE, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.attend = nn.Sequential(
            nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, keypoints)
        )
        self.local = nn.Sequential(
            nn.Linear(POINT_SIZE + 3, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.offset = nn.Sequential(nn.Linear(width + 1, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        """Keypoints of clouds.

        Args:
            points: (B, N, 3), m, base frame; the order does not matter.
            colors: (B, N, 3) in [0, 1].

        Returns:
            (B, K, 3), m, base frame.
        """
        height = points[..., 2:] / HEIGHT_SCALE_M - 1.0
        seen = torch.cat([2.0 * colors - 1.0, height], -1)
        attention = self._attention(seen)
        coarse = attention @ points
        away = (points[:, None] - coarse[:, :, None]) / LOCAL_SCALE_M  # (B, K, N, 3)
        away = torch.clamp(away, -4.0, 4.0)
        around = torch.cat([away, seen[:, None].expand(-1, self.keypoints, -1, -1)], -1)
        pooled = (attention[..., None] * self.local(around)).sum(2)
        above = coarse[..., 2:] / HEIGHT_SCALE_M - 1.0
        result: Tensor = coarse + LOCAL_SCALE_M * self.offset(torch.cat([pooled, above], -1))
        return result

    def _attention(self, seen: Tensor) -> Tensor:
        """How much each keypoint attends to each point: (B, N, P) -> (B, K, N), sums of 1."""
        features = self.point(seen)
        whole = features.amax(1, keepdim=True).expand_as(features)
        scores: Tensor = self.attend(torch.cat([features, whole], -1))
        return torch.softmax(scores, 1).transpose(1, 2)

    def looks(self, observations: Sequence[RecordedObservation]) -> Clouds:
        """Points and colours.

        Raises:
            ValueError: An observation has no points, or points without colours.
        """
        for item in observations:
            if not len(item.points):
                raise ValueError("its point cloud is empty: nothing is seen in the workspace")
            if len(item.colors) != len(item.points):
                raise ValueError("its point cloud has no colours")
        counts = min(len(item.points) for item in observations)
        return Clouds(
            torch.from_numpy(np.stack([item.points[:counts] for item in observations])),
            torch.from_numpy(np.stack([item.colors[:counts] for item in observations])),
        )


@dataclass(frozen=True)
class Clouds:
    """`points` (N, P, 3) m, base frame; `colors` (N, P, 3) uint8."""

    points: Tensor
    colors: Tensor
    augmentation: Augmentation = Augmentation()

    def look(self, rows: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """See `Looks`."""
        points, colors = self.points[rows], self.colors[rows].float() / 255.0
        if generator is None:
            return points, colors
        how = self.augmentation
        drawn = torch.rand(points.shape[:2], generator=generator).argsort(1)[:, : how.points, None]
        points, colors = (item.gather(1, drawn.expand(-1, -1, 3)) for item in (points, colors))
        jitter = how.jitter_m * torch.randn(points.shape, generator=generator)
        return points + jitter, relit(colors, how.brightness, how.color_noise, generator)
