"""Where a camera hangs, from views of a board: the hand-eye problem X, and Y beside it.

Both cases are one equation. With C the board in the optical frame, for view i

    C_i = X^-1 G_i Y,   G_i = ee_from_base for a camera at the tool (Y: board in the base),
                        G_i = base_from_ee for a camera beside the arm (Y: board in the tool).

First X comes from poses alone (Park & Martin, 1994, through OpenCV), on many small draws of views,
of which the one counts that most views agree with (RANSAC: a single wrong view must not matter).
Then X and Y are refined together by the distance, in pixels, of every corner from where it should
be (Levenberg-Marquardt with Huber's weights), which weighs far and near views as they deserve.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tmrl_ros.calibration.board import Board, Corners
from tmrl_ros.calibration.geometry import Lens, angle_deg, inverse, mean_motion, moved, project
from tmrl_ros.core.types import FloatArray

DRAWS = 60
DRAWN = 4
HUBER_PX = 1.0
ITERATIONS = 30
NEARLY = 5
"""Iterations from a solution that lacks one view only."""
STEP = 1e-6
"""Of the numeric derivative, rad and m."""
WORST_PX, WORST_RATIO = 1.5, 4.0
"""A view further off than both, the ratio to the median view, contradicts the others."""


@dataclass(frozen=True)
class View:
    """One view: its name, G (4, 4), the corners found and the same on the board (n, 3)."""

    name: str
    chain: FloatArray
    corners: Corners
    points: FloatArray


@dataclass(frozen=True)
class HandEye:
    """X and Y, and how far every view is off.

    Attributes:
        camera: X, the optical frame in what the camera hangs on (4, 4).
        board: Y, the board in the base or in the tool (4, 4).
        view_px: Root mean square error of every view that was used (n,).
        used: Names of those views.
        rejected: Names of the views that contradicted them.
    """

    camera: FloatArray
    board: FloatArray
    view_px: FloatArray
    used: tuple[str, ...]
    rejected: tuple[str, ...]


def view_of(
    name: str, base_from_ee: FloatArray, corners: Corners, board: Board, mount: str
) -> View:
    """A view for a camera at the tool (`ee`) or beside the arm (`base`)."""
    chain = inverse(base_from_ee) if mount == "ee" else base_from_ee
    return View(name, chain, corners, board.points(corners.ids))


def board_in_camera(view: View, lens: Lens) -> FloatArray | None:
    """Pose of the board in the optical frame (4, 4) from one view alone (PnP); None if it fails."""
    found, turn, shift = cv2.solvePnP(
        view.points, view.corners.pixels, lens.k, lens.distortion, flags=cv2.SOLVEPNP_IPPE
    )
    if not found:
        return None
    turn, shift = cv2.solvePnPRefineLM(
        view.points, view.corners.pixels, lens.k, lens.distortion, turn, shift
    )
    result = np.eye(4)
    result[:3, :3] = cv2.Rodrigues(turn)[0]
    result[:3, 3] = np.ravel(shift)
    return result


def solve(views: list[View], lens: Lens, *, seed: int = 0) -> HandEye:
    """Find X and Y; views that contradict the others are left out.

    Raises:
        ValueError: No draw of views gives a solution: they do not belong together.
    """
    posed = [(view, pose) for view in views if (pose := board_in_camera(view, lens)) is not None]
    kept = [view for view, _ in posed]
    first = _first_guess(kept, [pose for _, pose in posed], lens, seed)
    if first is None:
        raise ValueError("no set of views gives a solution")
    camera, board = first
    for _ in range(3):
        errors = np.array([view_error(view, camera, board, lens) for view in kept])
        limit = max(WORST_PX, WORST_RATIO * float(np.median(errors)))
        inliers = [view for view, error in zip(kept, errors, strict=True) if error <= limit]
        camera, board = refine(inliers, lens, camera, board)
    final = np.array([view_error(view, camera, board, lens) for view in inliers])
    used = tuple(view.name for view in inliers)
    rejected = tuple(view.name for view in views if view.name not in used)
    return HandEye(camera, board, final, used, rejected)


def view_error(view: View, camera: FloatArray, board: FloatArray, lens: Lens) -> float:
    """Root mean square distance of a view's corners from where X and Y put them, pixels."""
    return float(np.sqrt(np.mean(_Stack([view]).residuals(camera, board, lens) ** 2) * 2.0))


def refine(
    views: list[View],
    lens: Lens,
    camera: FloatArray,
    board: FloatArray,
    iterations: int = ITERATIONS,
) -> tuple[FloatArray, FloatArray]:
    """X and Y with the least error in pixels, from a guess."""
    damping, stack = 1e-3, _Stack(views)
    residual = stack.residuals(camera, board, lens)
    cost = _cost(residual)
    for _ in range(iterations):
        jacobian = stack.jacobian(camera, board, lens, residual)
        weights = 1.0 / np.maximum(1.0, np.abs(residual) / HUBER_PX)
        weighted = jacobian * weights[:, None]
        normal, gradient = weighted.T @ jacobian, weighted.T @ residual
        damped = normal + damping * np.diag(np.diag(normal) + 1e-12)
        step: FloatArray = np.linalg.solve(damped, -gradient).astype(np.float64)
        tried = camera @ moved(step[:6]), board @ moved(step[6:])
        residual_tried = stack.residuals(*tried, lens)
        cost_tried = _cost(residual_tried)
        if cost_tried >= cost:
            damping *= 10.0
            if damping > 1e6:
                break
            continue
        gained, damping = cost - cost_tried, damping / 10.0
        (camera, board), residual, cost = tried, residual_tried, cost_tried
        if gained < 1e-7 * cost:
            break
    return camera, board


def _first_guess(
    views: list[View], poses: list[FloatArray], lens: Lens, seed: int
) -> tuple[FloatArray, FloatArray] | None:
    """The guess of the draw that half of the views agree with best."""
    rng = np.random.default_rng(seed)
    draws = [np.arange(len(views))]
    draws += [rng.choice(len(views), min(DRAWN, len(views)), replace=False) for _ in range(DRAWS)]
    best, best_px = None, np.inf
    for draw in draws:
        guess = _from_poses([views[i] for i in draw], [poses[i] for i in draw])
        if guess is None:
            continue
        middle_px = float(np.median([view_error(view, *guess, lens) for view in views]))
        if middle_px < best_px:
            best, best_px = guess, middle_px
    return best


def _from_poses(views: list[View], poses: list[FloatArray]) -> tuple[FloatArray, FloatArray] | None:
    """X by Park and Martin, and Y as the mean of what the views say then."""
    back = [inverse(view.chain) for view in views]
    try:
        turn, shift = cv2.calibrateHandEye(
            [pose[:3, :3] for pose in back],
            [pose[:3, 3] for pose in back],
            [pose[:3, :3] for pose in poses],
            [pose[:3, 3] for pose in poses],
            method=cv2.CALIB_HAND_EYE_PARK,
        )
    except cv2.error:
        return None
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = turn, np.ravel(shift)
    if not np.isfinite(camera).all():
        return None
    boards = [b @ camera @ pose for b, pose in zip(back, poses, strict=True)]
    return camera, mean_motion(np.array(boards))


class _Stack:
    """Corners of several views in one array each."""

    def __init__(self, views: list[View]) -> None:
        counts = [len(view.points) for view in views]
        self._chains = np.array([view.chain for view in views])
        self._of = np.repeat(np.arange(len(views)), counts)
        self._points = np.concatenate([view.points for view in views])
        self._pixels = np.concatenate([view.corners.pixels for view in views])

    def residuals(self, camera: FloatArray, board: FloatArray, lens: Lens) -> FloatArray:
        """Predicted minus found, all corners of all views: (2 n,), pixels."""
        poses = inverse(camera) @ self._chains @ board
        turned = np.einsum("nij,nj->ni", poses[self._of, :3, :3], self._points)
        predicted = project(turned + poses[self._of, :3, 3], lens)
        return np.asarray(np.clip((predicted - self._pixels).ravel(), -1e4, 1e4))

    def jacobian(
        self, camera: FloatArray, board: FloatArray, lens: Lens, residual: FloatArray
    ) -> FloatArray:
        """Derivative of the residuals by a step of X (6) and of Y (6): (2 n, 12)."""
        columns = []
        for index in range(12):
            step = np.zeros(12)
            step[index] = STEP
            near = camera @ moved(step[:6]), board @ moved(step[6:])
            columns.append((self.residuals(*near, lens) - residual) / STEP)
        return np.stack(columns, axis=1)


def _cost(residual: FloatArray) -> float:
    """Huber's loss."""
    size = np.abs(residual)
    loss = np.where(size <= HUBER_PX, 0.5 * size**2, HUBER_PX * (size - 0.5 * HUBER_PX))
    return float(loss.sum())


def spread(views: list[View], lens: Lens, found: HandEye) -> tuple[float, float]:
    """Standard error of X by leaving out one view at a time (jackknife): mm and degrees.

    Efron & Stein (1981). Unlike the curvature of the error it also contains what the arm's poses
    are off by.
    """
    used = [view for view in views if view.name in found.used]
    without = [
        refine([v for v in used if v is not view], lens, found.camera, found.board, NEARLY)[0]
        for view in used
    ]
    share = (len(used) - 1) / len(used)
    centre = mean_motion(np.array(without))
    offsets = [np.linalg.norm(camera[:3, 3] - centre[:3, 3]) for camera in without]
    turns = [angle_deg(inverse(centre) @ camera) for camera in without]
    squares = share * np.sum(np.square(offsets)), share * np.sum(np.square(turns))
    return 1e3 * float(np.sqrt(squares[0])), float(np.sqrt(squares[1]))
