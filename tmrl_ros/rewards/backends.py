"""The reward model that a configuration names, ready to judge."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from tmrl_ros.core.config import Config, RewardConfig
from tmrl_ros.core.errors import BundleError, ConfigurationError
from tmrl_ros.rewards.lerobot import LerobotJudge
from tmrl_ros.rewards.model import Calibration, RewardModel
from tmrl_ros.rewards.robometer import RobometerJudge
from tmrl_ros.rewards.stream import StreamJudge
from tmrl_ros.rewards.worker import Judge

LEARNED = "tmrl_ros.rewards.learned"  # imports torch, which the other backends do without


@dataclass(frozen=True)
class Backend:
    """A judge, what it looks at, and what counts as success.

    Attributes:
        cameras: Whose images it gets, in that order; empty for all.
        rule: When success counts.
    """

    judge: Judge
    cameras: Sequence[str]
    rule: Calibration


def load_backend(config: Config) -> Backend:
    """Load the model that `reward.backend` names; not for the simulator, which needs none.

    Raises:
        OperatorError: It is not installed, not there, damaged, or sees a camera that is not there.
    """
    reward = config.reward
    if reward.backend == "learned":
        return _learned(config)
    if reward.backend == "lerobot":
        judge: Judge = LerobotJudge(reward.checkpoint, frames=reward.frames)
    elif reward.backend == "robometer_http":
        try:
            judge = RobometerJudge(
                reward.url,
                frames=reward.frames,
                timeout_s=reward.timeout_s,
                retries=reward.retries,
                backoff_s=reward.backoff_s,
            )
        except ValueError as error:
            raise ConfigurationError(f"reward.url: {error}.") from None
    else:
        raise ConfigurationError(f"reward.backend={reward.backend} is no model.")
    return Backend(judge, reward.cameras, success_rule(reward, None, ""))


def success_rule(reward: RewardConfig, measured: Calibration | None, where: str) -> Calibration:
    """What counts as success: what the configuration says, else what was measured.

    Raises:
        BundleError: Neither says it.
    """
    if measured is None and None in (reward.threshold, reward.k, reward.n):
        raise BundleError(
            f"{where} has no calibration of success: train it again, or set reward.threshold, "
            "reward.k and reward.n."
        )
    base = measured or Calibration(0.5, 1, 1)
    return Calibration(
        threshold=reward.threshold if reward.threshold is not None else base.threshold,
        k=reward.k if reward.k is not None else base.k,
        n=reward.n if reward.n is not None else base.n,
    )


def _learned(config: Config) -> Backend:
    folder = config.reward_bundle
    if not folder.is_dir():
        raise BundleError(
            f"reward.backend=learned: there is no reward model at {folder}; train one with "
            "`tmrl reward train`, or name one with reward.bundle."
        )
    import torch

    torch.set_num_threads(config.session.torch_threads)
    model: RewardModel = importlib.import_module(LEARNED).load_reward_bundle(folder)
    cameras = config.reward.cameras or model.cameras
    there = [camera.name for camera in config.cameras.cameras]
    if strangers := [name for name in cameras if name not in there]:
        raise BundleError(
            f"Reward model {folder} looks at cameras {strangers}, which are not among {there}."
        )
    rule = success_rule(config.reward, model.calibration, f"Reward model {folder}")
    return Backend(StreamJudge(model), cameras, rule)
