"""LeRobot's port of Robometer in this process, where it is installed; it needs a GPU to be quick.

LeRobot's own pipeline judges the last 8 frames it is given, upstream 8 frames spread over the whole
prefix. So the frames are chosen here, and LeRobot's encoder gets exactly those.
"""

from __future__ import annotations

import hashlib
import importlib
import time
from types import ModuleType
from typing import Any

import numpy as np

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.rewards.attempt import Case
from tmrl_ros.rewards.frames import clips
from tmrl_ros.rewards.model import Judgement

PACKAGE = "lerobot.rewards.robometer"


class LerobotJudge:
    """Judges prefixes with `RobometerRewardModel`.

    Args:
        checkpoint: Name on the Hugging Face hub, or a folder.
        frames: Frames per clip.

    Raises:
        ConfigurationError: LeRobot or what it needs is not installed, or the checkpoint does not
            load.
    """

    in_order = False
    trouble = ""

    def __init__(self, checkpoint: str, *, frames: int) -> None:
        modeling = _module("modeling_robometer")
        processing = _module("processor_robometer")
        self._prefix = modeling.ROBOMETER_FEATURE_PREFIX
        self._frames = frames
        try:
            self._model = modeling.RobometerRewardModel.from_pretrained(checkpoint)
            config = self._model.config
            self._encoder = processing.RobometerEncoderProcessorStep(
                base_model_id=config.base_model_id,
                max_frames=None,
                use_multi_image=config.use_multi_image,
                use_per_frame_progress_token=config.use_per_frame_progress_token,
            )
        except (ImportError, OSError, ValueError) as error:
            raise ConfigurationError(
                f"reward.checkpoint={checkpoint} does not load: {' '.join(str(error).split())}"
            ) from None
        self.name = f"lerobot {checkpoint}"
        self.hash = hashlib.sha256(checkpoint.encode()).hexdigest()[:16]

    def prepare(self) -> None:
        """Nothing: the model was loaded when the node started."""

    def judge(self, case: Case) -> Judgement:
        """Judge the newest frame: last progress and last success, as the mean over cameras."""
        began_s = time.monotonic()
        samples = [(clip, case.attempt.prompt) for clip in clips(case.frames, self._frames)]
        encoded = self._encoder.encode_samples(samples)
        said = self._model.predict_progress(
            {f"{self._prefix}{key}": value for key, value in encoded.items()}
        )
        return Judgement(
            _last(said.progress),
            _last(said.success_probability),
            (time.monotonic() - began_s) * 1e3,
        )

    def close(self) -> None:
        """Nothing can be broken off."""


def check_installed() -> None:
    """Look whether LeRobot's Robometer can be imported.

    Raises:
        ConfigurationError: It cannot.
    """
    _module("modeling_robometer")
    _module("processor_robometer")


def _last(values: Any) -> float:
    """Mean over clips of the last value of each, from a (clips, frames) tensor."""
    return float(np.mean(values.detach().cpu().float().numpy()[:, -1]))


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    except ImportError as error:
        raise ConfigurationError(
            f"reward.backend=lerobot needs LeRobot with Robometer, which is not installed here "
            f"({error}): install lerobot[robometer] in this environment, or run Robometer's own "
            "server and take reward=robometer_http."
        ) from None
