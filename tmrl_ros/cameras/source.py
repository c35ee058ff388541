"""What takes pictures, seen from the node that publishes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import FloatArray


@dataclass(frozen=True)
class CameraFrame:
    """Colour and depth of one instant.

    Attributes:
        stamp_ns: When it was taken, host clock.
        arrived_ns: When this program had it, host clock.
        numbers: Frame numbers of colour and depth; they grow by one unless frames were lost.
        color: (h, w, 3) RGB.
        depth_mm: (h, w) along the optical axis, aligned to colour; 0 where unknown.
        intrinsics: K (3, 3) of both; the centre of the first pixel is (0, 0).
        distortion: (5,) k1 k2 p1 p2 k3 of colour (Brown-Conrady), as OpenCV names them.
    """

    stamp_ns: int
    arrived_ns: int
    numbers: tuple[int, int]
    color: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    intrinsics: FloatArray
    distortion: FloatArray = field(default_factory=lambda: np.zeros(5))


@dataclass(frozen=True)
class CameraAbout:
    """What an opened camera says of itself.

    Attributes:
        model: Its name, e.g. Intel RealSense D435.
        serial: As printed on it.
        firmware: Its version.
        usb: USB speed, e.g. 3.2; empty where there is no USB.
        warnings: Sentences about what works, but not as well as it should.
    """

    model: str
    serial: str
    firmware: str = ""
    usb: str = ""
    warnings: tuple[str, ...] = ()


class CameraFaultError(Exception):
    """Not there, unplugged or silent: it may come back, so it is opened again later."""


class CameraRefusedError(OperatorError):
    """The camera cannot do what the configuration asks for; trying again would not help."""


class CameraSource(Protocol):
    """One camera. It belongs to one thread."""

    def open(self) -> CameraAbout:
        """Start taking pictures.

        Raises:
            CameraFaultError: It is not there, or does not start.
            OperatorError: It never will with this configuration.
        """
        ...

    def read(self, timeout_s: float) -> CameraFrame | None:
        """The next picture; None where it has none for good (the end of a bag).

        Raises:
            CameraFaultError: None came in time, or the camera is gone.
        """
        ...

    def close(self) -> None:
        """Stop; harmless when it is closed already."""
        ...
