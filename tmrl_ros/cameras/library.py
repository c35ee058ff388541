"""librealsense, if it is installed."""

from __future__ import annotations

import ctypes
import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tmrl_ros.core.errors import OperatorError

REMEDY = (
    "run `make setup` (or `pip install pyrealsense2 libusb-package`), or start realsense2_camera "
    "and set cameras.driver=realsense_topics"
)


def librealsense() -> Any:
    """The module `pyrealsense2`.

    Its wheel asks for a libusb of the system. Where there is none, that of the wheel
    `libusb-package` is loaded before it: a library that is loaded already is not looked for again.

    Raises:
        OperatorError: It is not installed, or cannot be loaded.
    """
    try:
        return importlib.import_module("pyrealsense2")
    except ModuleNotFoundError as error:
        if error.name != "pyrealsense2":
            raise
        raise OperatorError(f"pyrealsense2 is not installed: {REMEDY}.") from None
    except ImportError as error:
        if "libusb" not in str(error):
            raise OperatorError(f"pyrealsense2 cannot be loaded ({error}): {REMEDY}.") from None
    found = find_spec("libusb_package")
    folder = Path(next(iter(found.submodule_search_locations or ()), "")) if found else Path()
    try:
        ctypes.CDLL(str(folder / "libusb-1.0.so"), mode=ctypes.RTLD_GLOBAL)
        return importlib.import_module("pyrealsense2")
    except (ImportError, OSError):
        raise OperatorError(
            "pyrealsense2 finds no libusb: install libusb-1.0-0 with apt, or libusb-package with "
            "pip."
        ) from None
