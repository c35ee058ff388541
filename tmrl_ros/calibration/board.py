"""ChArUco boards: to print, to find in a picture, and where their corners are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.calibration_file import BoardConfig
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import FloatArray

FEWEST_CORNERS = 8
MILLIMETRES = 1000.0


@dataclass(frozen=True)
class Corners:
    """Inner corners in a picture: numbers (n,), pixels (n, 2); the first pixel is at 0."""

    ids: NDArray[np.int64]
    pixels: FloatArray


class Board:
    """One board; its frame lies in its first corner, z into the board.

    Raises:
        OperatorError: Such a board cannot be.
    """

    def __init__(self, config: BoardConfig) -> None:
        self.config = config
        number = getattr(cv2.aruco, config.dictionary, None)
        if not isinstance(number, int):
            raise OperatorError(
                f"OpenCV has no marker dictionary {config.dictionary!r}: use DICT_5X5_100."
            )
        if config.marker_m >= config.square_m:
            raise OperatorError(
                f"Markers of {config.marker_m * MILLIMETRES:g} mm do not fit squares of "
                f"{config.square_m * MILLIMETRES:g} mm: measure both on the printed board."
            )
        dictionary = cv2.aruco.getPredefinedDictionary(number)
        size = (config.columns, config.rows)
        needed = config.columns * config.rows // 2
        if needed > len(dictionary.bytesList):
            raise OperatorError(
                f"{config.dictionary} has {len(dictionary.bytesList)} markers, a board of "
                f"{size[0]}x{size[1]} needs {needed}: use a larger dictionary."
            )
        self._board = cv2.aruco.CharucoBoard(size, config.square_m, config.marker_m, dictionary)
        self._detector = cv2.aruco.CharucoDetector(self._board)

    @property
    def corner_count(self) -> int:
        """How many inner corners it has."""
        return (self.config.columns - 1) * (self.config.rows - 1)

    @property
    def outline(self) -> FloatArray:
        """Its four outer corners (4, 3), m."""
        width = self.config.columns * self.config.square_m
        height = self.config.rows * self.config.square_m
        return np.array([[0, 0, 0], [width, 0, 0], [width, height, 0], [0, height, 0]], float)

    def points(self, ids: NDArray[np.int64]) -> FloatArray:
        """Corners of these numbers (n, 3), m, board's frame."""
        return np.asarray(self._board.getChessboardCorners(), np.float64)[ids]

    def picture(self, pixels_per_square: int = 200, margin: int = 0) -> NDArray[np.uint8]:
        """The board as it is to be printed: grey (h, w)."""
        columns, rows = np.indices((self.config.rows, self.config.columns))[::-1]
        squares = np.where((rows + columns) % 2, 255, 0).astype(np.uint8)
        drawn = squares.repeat(pixels_per_square, axis=0).repeat(pixels_per_square, axis=1)
        scale = pixels_per_square / self.config.square_m
        size = round(self.config.marker_m * scale)
        dictionary = self._board.getDictionary()
        ids, outlines = np.ravel(self._board.getIds()), self._board.getObjPoints()
        for number, outline in zip(ids, outlines, strict=True):
            column, row = np.rint(np.asarray(outline)[0, :2] * scale).astype(int)
            marker = cv2.aruco.generateImageMarker(dictionary, int(number), size)
            drawn[row : row + size, column : column + size] = marker
        return np.pad(drawn, margin, constant_values=255)

    def find(self, image: NDArray[np.uint8]) -> Corners | None:
        """Corners in an RGB picture (h, w, 3); None where fewer than `FEWEST_CORNERS` are seen."""
        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        corners, ids, _, _ = self._detector.detectBoard(grey)
        if ids is None or len(ids) < FEWEST_CORNERS:
            return None
        return Corners(
            np.asarray(ids, np.int64).ravel(), np.asarray(corners, np.float64).reshape(-1, 2)
        )
