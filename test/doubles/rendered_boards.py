"""Pictures of a ChArUco board as a camera of known place would take them, with noise and blur.

Every pixel is a ray through the lens (with its distortion) onto the board's plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tmrl_ros.calibration.board import Board
from tmrl_ros.calibration.geometry import Lens, inverse, moved
from tmrl_ros.calibration.views import Picture, ViewsConfig, lens_config
from tmrl_ros.core.calibration_file import BoardConfig

BOARD = BoardConfig()
PIXELS_PER_SQUARE = 60
MARGIN = 60
MIDDLE_M = np.array([BOARD.columns, BOARD.rows, 0]) * BOARD.square_m / 2
TABLE_GREY, NOISE, BLUR_PX = 140, 4.0, 0.7
LENS = Lens(
    np.array([[615.0, 0, 321.3], [0, 614.0, 238.1], [0, 0, 1.0]]),
    np.array([0.03, -0.05, 0.0005, -0.0004, 0.0]),
    640,
    480,
)


class Studio:
    """Renders one board through one lens."""

    def __init__(self, config=BOARD, lens=LENS):
        self.config, self.lens = config, lens
        self.board = Board(config)
        self._texture = self.board.picture(PIXELS_PER_SQUARE, MARGIN).astype(np.float32)
        columns, rows = np.meshgrid(np.arange(lens.width), np.arange(lens.height))
        pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
        straight = cv2.undistortPoints(pixels[:, None], lens.k, lens.distortion).reshape(-1, 2)
        self._rays = np.column_stack([straight, np.ones(len(straight))]).astype(np.float32)
        self._size = (lens.height, lens.width)

    def picture(self, camera_from_board, rng):
        """RGB picture (h, w, 3) of the board at this pose (4, 4)."""
        into = inverse(camera_from_board)
        origin, rays = into[:3, 3], self._rays @ into[:3, :3].T.astype(np.float32)
        far = -origin[2] / np.where(np.abs(rays[:, 2]) < 1e-9, 1e-9, rays[:, 2])
        at = origin[:2] + far[:, None] * rays[:, :2]
        scale = PIXELS_PER_SQUARE / self.config.square_m
        maps = [
            (at[:, k] * scale + MARGIN - 0.5).astype(np.float32).reshape(self._size) for k in (0, 1)
        ]
        seen = cv2.remap(
            self._texture, *maps, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=TABLE_GREY,
        )  # fmt: skip
        seen[far.reshape(self._size) < 0] = TABLE_GREY
        seen = cv2.GaussianBlur(0.15 * 255 + 0.7 * seen, (0, 0), BLUR_PX)
        seen += np.float32(NOISE) * rng.standard_normal(seen.shape, np.float32)
        return cv2.merge([np.clip(np.rint(seen), 0, 255).astype(np.uint8)] * 3)


@dataclass
class Truth:
    """Where camera (X) and board (Y) really are."""

    camera: np.ndarray
    board: np.ndarray


def looking(position, target):
    """Optical frame at `position` looking at `target` (4, 4), upright."""
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def shaken(pose, rng, *, mm=0.1, deg=0.02):
    """What an arm reports that is off by this much (standard deviation per axis)."""
    step = np.concatenate([np.radians(rng.normal(0, deg, 3)), rng.normal(0, mm / 1e3, 3)])
    return pose @ moved(step)


def at_the_tool(studio, rng, count=16, *, tilt=0.45, noise_mm=0.1):
    """Eye in hand: the board lies on the table, the camera looks at it from many sides."""
    turn = rng.normal(0, 0.1, 3) + [0.0, 0.35, 1.57]
    camera = moved(np.array([*turn, *rng.normal([0.06, 0, -0.07], 0.01)]))
    board = moved(np.array([np.pi, 0, 0, 0.42, 0.09, 0.0]))
    centre = board @ moved(np.array([0, 0, 0, *MIDDLE_M]))
    pictures = []
    for index in range(count):
        lean = rng.uniform(-tilt, tilt, 3) * [1.0, 1.0, 1.5]
        eye = centre @ moved(np.array([*lean, 0, 0, 0]))
        eye = eye @ moved(np.array([0, 0, 0, 0, 0, -rng.uniform(0.30, 0.42)]))
        image = studio.picture(inverse(eye) @ board, rng)
        ee = shaken(eye @ inverse(camera), rng, mm=noise_mm)
        pictures.append(Picture(f"view_{index:03d}.png", image, ee))
    return Truth(camera, board), pictures


def beside_the_arm(studio, rng, count=16, *, tilt=0.45, noise_mm=0.1):
    """Eye to hand: the gripper holds the board before a camera that stands still."""
    camera = looking(rng.normal([1.12, 0.0, 0.55], 0.05), rng.normal([0.5, 0, 0.2], 0.02))
    board = moved(np.array([*rng.normal(0, 0.2, 3), *rng.normal([-0.12, -0.08, 0.05], 0.01)]))
    pictures = []
    for index in range(count):
        lean = rng.uniform(-tilt, tilt, 3)
        place = [*rng.uniform(-0.08, 0.08, 2), rng.uniform(0.42, 0.6)]
        seen = moved(np.array([*lean, *place])) @ moved(np.array([0, 0, 0, *-MIDDLE_M]))
        image = studio.picture(seen, rng)
        ee = shaken(camera @ seen @ inverse(board), rng, mm=noise_mm)
        pictures.append(Picture(f"view_{index:03d}.png", image, ee))
    return Truth(camera, board), pictures


def about(mount, pictures, lens=LENS, board=BOARD):
    """`views.yaml` of these pictures, without its list."""
    return ViewsConfig.model_construct(
        camera="wrist" if mount == "ee" else "exterior",
        serial="1001",
        mount=mount,
        board=board,
        lens=lens_config(lens),
        views=[],
    )
