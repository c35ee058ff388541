"""The reward model that a configuration names, ready to judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.config import Config, RewardConfig
from tmrl_ros.core.errors import BundleError, ConfigurationError
from tmrl_ros.rewards.lerobot import LerobotJudge, check_installed
from tmrl_ros.rewards.model import Calibration
from tmrl_ros.rewards.robometer import RobometerJudge
from tmrl_ros.rewards.stream import StreamJudge
from tmrl_ros.rewards.worker import Judge


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


def check_backend(config: Config) -> None:
    """Look whether the model can be loaded, before anything starts.

    Whether a server is there is not looked at: it may come and go.

    Raises:
        OperatorError: As `load_backend`.
    """
    if config.reward.backend == "lerobot":  # which takes minutes to load
        check_installed()
    elif config.reward.backend not in ("simulator", "none"):
        load_backend(config)


def load_backend(config: Config) -> Backend:
    """Load the model that `reward.backend` names; not for the simulator, which needs none.

    Raises:
        OperatorError: It is not installed, not there, damaged, or sees a camera that is not there.
    """
    reward = config.reward
    if reward.backend == "none":
        raise ConfigurationError("reward.backend=none judges nothing: name a judge with reward=...")
    if reward.backend == "learned":
        return _learned(config)
    judge = _robometer(reward) if reward.backend == "robometer_http" else _lerobot(reward)
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


def _robometer(reward: RewardConfig) -> Judge:
    try:
        return RobometerJudge(
            reward.url,
            frames=reward.frames,
            timeout_s=reward.timeout_s,
            retries=reward.retries,
            backoff_s=reward.backoff_s,
        )
    except ValueError as error:
        raise ConfigurationError(f"reward.url: {error}.") from None


def _lerobot(reward: RewardConfig) -> Judge:
    return LerobotJudge(reward.checkpoint, frames=reward.frames)


def _learned(config: Config) -> Backend:
    folder, prompt = config.reward_bundle, config.task.prompt
    if not folder.is_dir():
        raise BundleError(
            f"reward.backend=learned: there is no reward model at {folder}; train one with "
            "`tmrl reward train`, or name one with reward.bundle."
        )
    # The other backends do without torch.
    from tmrl_ros.rewards.learned.judge import load_reward_bundle

    prepare_torch(config.session.torch_threads)
    model = load_reward_bundle(folder)
    there = [camera.name for camera in config.cameras.cameras]
    if strangers := [name for name in model.cameras if name not in there]:
        raise BundleError(
            f"Reward model {folder} looks at cameras {strangers}, which are not among {there}."
        )
    if not model.knows(prompt):
        raise BundleError(
            f"Reward model {folder} was not trained on task.prompt={prompt!r}: train one that was, "
            "use a prompt that it knows, or, in simulation, reward=simulator."
        )
    rule = success_rule(config.reward, model.calibration, f"Reward model {folder}")
    return Backend(StreamJudge(model), model.cameras, rule)
