"""What a calibration says, drawn over a picture: a person sees at once whether it is right."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from tmrl_ros.calibration.board import Board
from tmrl_ros.calibration.geometry import Lens, inverse, project
from tmrl_ros.calibration.views import lens_of
from tmrl_ros.core.calibration_file import Calibration
from tmrl_ros.core.types import FloatArray, Pose
from tmrl_ros.perception.geometry import pose_matrix

FOUND, PREDICTED, TABLE, TOOL = (255, 40, 40), (40, 255, 40), (255, 170, 0), (0, 200, 255)
AXES = ((255, 40, 40), (40, 220, 40), (60, 110, 255))
AXIS_M = 0.05
PIECES = 40
NEAREST_M = 0.02


def overlay(
    image: NDArray[np.uint8],
    base_from_ee: FloatArray,
    calibration: Calibration,
    table: tuple[FloatArray, FloatArray],
) -> NDArray[np.uint8]:
    """Draw what should be where.

    Args:
        image: RGB (h, w, 3), as the camera takes it.
        base_from_ee: The tool's pose when it was taken (4, 4).
        calibration: What is checked.
        table: Lowest and highest corner (3,) of the workspace, m; drawn at z = 0.

    Returns:
        The picture with the board's corners where they were found (circles) and where they should
        be (crosses), the board's outline, the workspace on the table, the base's axes if they are
        in view, and the tool's.
    """
    drawn = np.ascontiguousarray(image).copy()
    into = _camera_from(calibration, base_from_ee)
    lens, board = lens_of(calibration.lens), Board(calibration.board)
    on_board = _matrix(calibration.board_position_m, calibration.board_quaternion_xyzw)
    board_pose = into @ (on_board if calibration.mount == "ee" else base_from_ee @ on_board)

    def line(points: FloatArray, pose: FloatArray, color: tuple[int, int, int]) -> None:
        _line(drawn, points @ pose[:3, :3].T + pose[:3, 3], lens, color)

    low, high = table
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    ring = np.array([[x, y, 0.0] for x, y in [*corners, corners[0]]])
    for start, end in zip(ring[:-1], ring[1:], strict=True):
        line(_between(start, end), into, TABLE)
    outline = np.vstack([board.outline, board.outline[:1]])
    for start, end in zip(outline[:-1], outline[1:], strict=True):
        line(_between(start, end), board_pose, PREDICTED)
    for pose in (into, into @ base_from_ee, board_pose):
        for axis, color in enumerate(AXES):
            line(_between(np.zeros(3), AXIS_M * np.eye(3)[axis]), pose, color)
    for pixel in _visible(board.points(np.arange(board.corner_count)), board_pose, lens, drawn):
        cv2.drawMarker(drawn, pixel, PREDICTED, cv2.MARKER_CROSS, 11, 1, cv2.LINE_AA)
    found = board.find(image)
    for x, y in [] if found is None else found.pixels:
        cv2.circle(drawn, (round(x), round(y)), 6, FOUND, 1, cv2.LINE_AA)
    for pixel in _visible(np.zeros((1, 3)), into @ base_from_ee, lens, drawn):
        cv2.circle(drawn, pixel, 5, TOOL, -1, cv2.LINE_AA)
    return _titled(drawn, calibration)


def _camera_from(calibration: Calibration, base_from_ee: FloatArray) -> FloatArray:
    """The base in the optical frame (4, 4)."""
    mounted = _matrix(calibration.position_m, calibration.quaternion_xyzw)
    return inverse(base_from_ee @ mounted if calibration.mount == "ee" else mounted)


def _matrix(position: list[float], quaternion: list[float]) -> FloatArray:
    return pose_matrix(Pose(np.array(position), np.array(quaternion)))


def _between(start: FloatArray, end: FloatArray) -> FloatArray:
    """Points (n, 3) on a line, so that a bent or partly hidden one can be drawn."""
    shares = np.linspace(0.0, 1.0, PIECES)[:, None]
    return np.asarray(start * (1.0 - shares) + end * shares)


def _line(
    image: NDArray[np.uint8], points: FloatArray, lens: Lens, color: tuple[int, int, int]
) -> None:
    pixels = project(points, lens)
    for index in range(len(points) - 1):
        if min(points[index, 2], points[index + 1, 2]) < NEAREST_M:
            continue
        (x0, y0), (x1, y1) = pixels[index], pixels[index + 1]
        if max(abs(x0), abs(y0), abs(x1), abs(y1)) < 10 * max(image.shape):
            ends = (round(x0), round(y0)), (round(x1), round(y1))
            cv2.line(image, *ends, color, 2, cv2.LINE_AA)


def _visible(
    points: FloatArray, pose: FloatArray, lens: Lens, image: NDArray[np.uint8]
) -> Iterator[tuple[int, int]]:
    """Whole pixels of the points that lie in the picture."""
    seen = points @ pose[:3, :3].T + pose[:3, 3]
    height, width = image.shape[:2]
    for (x, y), z in zip(project(seen, lens), seen[:, 2], strict=True):
        if z > NEAREST_M and -0.5 < x < width and -0.5 < y < height:
            yield round(x), round(y)


def _titled(image: NDArray[np.uint8], calibration: Calibration) -> NDArray[np.uint8]:
    off = calibration.residuals
    text = (
        f"{calibration.camera} {calibration.serial}  {calibration.date:%Y-%m-%d}  "
        f"{off.reprojection_px:.2f} px  +-{off.spread_mm:.1f} mm  +-{off.spread_deg:.2f} deg"
    )
    strip = np.zeros((22, image.shape[1], 3), np.uint8)
    cv2.putText(strip, text, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,) * 3, 1, cv2.LINE_AA)
    return np.vstack([strip, image])
