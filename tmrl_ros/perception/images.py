"""Shrink colour images to what policies and reward models look at."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tmrl_ros.perception.cloud import ColorArray


def shrink(color: ColorArray, width: int, height: int) -> ColorArray:
    """The whole image (h, w, 3) averaged over areas to (height, width, 3).

    The aspect ratio is not kept: nothing of the scene is cut off. The same image always gives the
    same pixels.
    """
    if color.shape[:2] == (height, width):
        return color
    image = Image.fromarray(np.ascontiguousarray(color))
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))
