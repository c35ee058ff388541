"""From pictures and poses to a calibration, or to a sentence saying what they lack."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from tmrl_ros.calibration.board import Board
from tmrl_ros.calibration.geometry import (
    angle_deg,
    inverse,
    pose_of,
    rotation_vector,
)
from tmrl_ros.calibration.hand_eye import (
    HandEye,
    View,
    board_in_camera,
    solve,
    spread,
    view_of,
)
from tmrl_ros.calibration.views import Picture, ViewsConfig, lens_of
from tmrl_ros.core.calibration_file import Calibration, Residuals
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import FloatArray

FEWEST_VIEWS = 8
LEAST_TURN_DEG = 25.0
LEAST_SECOND_TURN_DEG = 10.0
"""Root mean square turn between two views about axes other than the main one."""
MOST_REJECTED = 0.3
MOST_PX, MOST_SPREAD_MM, MOST_SPREAD_DEG = 3.0, 4.0, 1.0
METHOD = "Park-Martin, RANSAC, then reprojection error (Huber)"


class CalibrationError(OperatorError):
    """Views that say too little, or contradict each other."""


def calibrate(about: ViewsConfig, pictures: list[Picture]) -> tuple[Calibration, HandEye]:
    """Where the camera hangs.

    Raises:
        CalibrationError: One sentence saying what is wrong with the views and what to do.
    """
    board, lens = Board(about.board), lens_of(about.lens)
    views = []
    for picture in pictures:
        if picture.image.shape[:2] != (lens.height, lens.width):
            raise CalibrationError(
                f"{picture.name} is {picture.image.shape[1]}x{picture.image.shape[0]}, the "
                f"intrinsics are of {lens.width}x{lens.height}: take all views with one setting."
            )
        corners = board.find(picture.image)
        if corners is not None:
            views.append(view_of(picture.name, picture.base_from_ee, corners, board, about.mount))
    check_views(views, len(pictures))
    try:
        found = solve(views, lens)
    except ValueError as error:
        raise CalibrationError(f"The views cannot be solved: {error}; take new ones.") from None
    _check_agreement(found, len(views))
    spread_mm, spread_deg = spread(views, lens, found)
    board_mm, board_deg = _board_scatter(views, found, about)
    residuals = Residuals(
        reprojection_px=_rounded(float(np.sqrt(np.mean(found.view_px**2)))),
        worst_view_px=_rounded(float(found.view_px.max())),
        board_mm=_rounded(board_mm),
        board_deg=_rounded(board_deg),
        spread_mm=_rounded(spread_mm),
        spread_deg=_rounded(spread_deg),
    )
    _check_residuals(residuals)
    return _written(about, found, residuals), found


def check_views(views: list[View], taken: int) -> None:
    """Refuse views that cannot say where the camera hangs.

    Raises:
        CalibrationError: Too few, or too similar.
    """
    if len(views) < FEWEST_VIEWS:
        raise CalibrationError(
            f"The board is found in {len(views)} of {taken} views, {FEWEST_VIEWS} are needed: take "
            "more, with the whole board in the picture, in good light and without glare; check "
            "the numbers of --board against the print."
        )
    chains = [view.chain for view in views]
    turns = np.array(
        [
            rotation_vector((inverse(first) @ second)[:3, :3])
            for index, first in enumerate(chains)
            for second in chains[:index]
        ]
    )
    angles = np.linalg.norm(turns, axis=1)
    widest = float(np.degrees(angles.max()))
    if widest < LEAST_TURN_DEG:
        raise CalibrationError(
            f"The tool turned by at most {widest:.0f} degrees between views, {LEAST_TURN_DEG:g} "
            "are needed: tilt it to different sides, by 20 degrees or more."
        )
    # Chords: half a turn about one axis must not count as a turn about others.
    chords = turns * np.sinc(angles / (2.0 * np.pi))[:, None]
    sizes = np.degrees(np.linalg.svd(chords, compute_uv=False)) / np.sqrt(len(chords))
    if sizes[1] < LEAST_SECOND_TURN_DEG:
        raise CalibrationError(
            "The tool turned about one axis only, which leaves the camera's place along it open: "
            "tilt it forwards and sideways, and turn it about the vertical."
        )


def _check_agreement(found: HandEye, count: int) -> None:
    if len(found.used) < max(FEWEST_VIEWS, (1.0 - MOST_REJECTED) * count):
        raise CalibrationError(
            f"{len(found.rejected)} of {count} views contradict the others "
            f"({', '.join(found.rejected[:5])}): did the board slip, or the camera move? Fasten "
            "both and take new views."
        )


def _check_residuals(residuals: Residuals) -> None:
    if residuals.reprojection_px > MOST_PX:
        raise CalibrationError(
            f"Corners are {residuals.reprojection_px:.1f} pixels from where they should be, at "
            f"most {MOST_PX:g} are accepted: check the square's measured size (--board), the "
            "camera's intrinsics, and that the arm stood still."
        )
    if residuals.spread_mm > MOST_SPREAD_MM or residuals.spread_deg > MOST_SPREAD_DEG:
        raise CalibrationError(
            f"The camera's place is known to {residuals.spread_mm:.1f} mm and "
            f"{residuals.spread_deg:.2f} degrees only, {MOST_SPREAD_MM:g} mm and "
            f"{MOST_SPREAD_DEG:g} degrees are needed: take more views, nearer to the board and "
            "from more sides."
        )


def _board_scatter(views: list[View], found: HandEye, about: ViewsConfig) -> tuple[float, float]:
    """How far single views put the board from where all put it: mm and degrees."""
    lens = lens_of(about.lens)
    offsets, turns = [], []
    for view in views:
        pose = board_in_camera(view, lens) if view.name in found.used else None
        if pose is None:
            continue
        seen = inverse(view.chain) @ found.camera @ pose
        offsets.append(float(np.linalg.norm(seen[:3, 3] - found.board[:3, 3])))
        turns.append(angle_deg(inverse(found.board) @ seen))
    return 1e3 * float(np.sqrt(np.mean(np.square(offsets)))), float(
        np.sqrt(np.mean(np.square(turns)))
    )


def _written(about: ViewsConfig, found: HandEye, residuals: Residuals) -> Calibration:
    camera, board = pose_of(found.camera), pose_of(found.board)
    return Calibration(
        camera=about.camera,
        serial=about.serial,
        mount=about.mount,
        date=datetime.now(UTC).replace(microsecond=0),
        position_m=_list(camera.position),
        quaternion_xyzw=_list(camera.quaternion),
        method=METHOD,
        views=len(found.used),
        rejected=list(found.rejected),
        residuals=residuals,
        board=about.board,
        board_position_m=_list(board.position),
        board_quaternion_xyzw=_list(board.quaternion),
        lens=about.lens,
    )


def _list(values: FloatArray) -> list[float]:
    return [round(float(value), 9) for value in values]


def _rounded(value: float) -> float:
    return round(value, 4)
