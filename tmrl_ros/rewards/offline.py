"""Models on recorded episodes: one frame after the other, first in, first out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.rewards.answers import Question
from tmrl_ros.rewards.attempt import Attempts
from tmrl_ros.rewards.backends import Backend, load_backend
from tmrl_ros.rewards.model import CalibratedModel, Calibration, Image, Judgement, JudgementError
from tmrl_ros.rewards.robometer_client import ServerError


class OfflineModel:
    """A judge of whole prefixes, used frame by frame like any `RewardModel`.

    Raises:
        ConfigurationError: The server is not there, or has gone. Half a session judged by nobody
            would be worse than none.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._attempts, self._prompt, self._decision = Attempts(), "", 0
        try:
            backend.judge.prepare()
        except JudgementError as error:
            raise ConfigurationError(f"{error}.") from None

    @property
    def name(self) -> str:
        """Name of the model behind it."""
        return self._backend.judge.name

    @property
    def hash(self) -> str:
        """Hash of the model behind it."""
        return self._backend.judge.hash

    @property
    def cameras(self) -> Sequence[str]:
        """Cameras whose images it wants."""
        return self._backend.cameras

    @property
    def calibration(self) -> Calibration:
        """What counts as success."""
        return self._backend.rule

    def begin_episode(self, prompt: str) -> None:
        """Forget all frames; what follows is an attempt at `prompt`."""
        self._attempts, self._prompt, self._decision = Attempts(), prompt, 0

    def observe(self, images: list[Image]) -> Judgement:
        """Add the next frame and judge it.

        Raises:
            JudgementError: This frame cannot be judged.
            ConfigurationError: The server has gone.
        """
        question = Question(0, self._decision, "recorded", self._decision, 0.0)
        self._decision += 1
        try:
            return self._backend.judge.judge(self._attempts.take(question, self._prompt, images))
        except ServerError as error:
            raise ConfigurationError(f"Judging again was broken off: {error}.") from None


def load_offline(config: Config) -> OfflineModel:
    """The remote model that a configuration names, with the patience of someone who is not live.

    Raises:
        OperatorError: It cannot be loaded, or its server is not there.
    """
    patient = config.reward.model_copy(update={"timeout_s": config.reward.relabel_timeout_s})
    return OfflineModel(load_backend(config.model_copy(update={"reward": patient})))


def offline_model(config: Config, bundle: Path | None = None) -> CalibratedModel:
    """What judges recorded episodes: the remote model if one is named, else a learned one.

    Args:
        config: Names the model.
        bundle: Of the learned model; the task's by default.

    Raises:
        OperatorError: It cannot be loaded, or its server is not there.
    """
    if config.reward.backend in ("robometer_http", "lerobot"):
        return load_offline(config)
    from tmrl_ros.rewards.learned.judge import load_reward_bundle  # needs torch

    return load_reward_bundle(bundle or config.reward_bundle)
