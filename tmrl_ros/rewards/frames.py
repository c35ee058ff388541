"""From the frames of an attempt to the fixed number of frames that a video model takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tmrl_ros.rewards.model import Image, JudgementError


def spread(available: int, wanted: int) -> NDArray[np.int64]:
    """Which of `available` frames stand for all of them, as (wanted,) indices.

    They are spread evenly over the whole prefix with both ends kept; a shorter prefix is padded
    with its last frame. This is what Robometer was trained on and what its server does not do for
    its clients (`raw_dict_to_sample` in robometer/evals/eval_utils.py).
    """
    if available < 1:
        raise ValueError("there is no frame to choose from")
    if available <= wanted:
        return np.minimum(np.arange(wanted), available - 1)
    return np.linspace(0, available - 1, wanted).round().astype(np.int64)


def clips(frames: Sequence[list[Image]], wanted: int) -> list[NDArray[np.uint8]]:
    """One (wanted, h, w, 3) clip per camera from the frames of a prefix.

    Raises:
        JudgementError: Images of one camera have several sizes.
    """
    chosen = [frames[index] for index in spread(len(frames), wanted)]
    made = []
    for camera, views in enumerate(zip(*chosen, strict=True)):
        shapes = {view.shape for view in views}
        if len(shapes) != 1:
            raise JudgementError(f"images of camera {camera} have several sizes: {sorted(shapes)}")
        made.append(np.stack(views))
    return made
