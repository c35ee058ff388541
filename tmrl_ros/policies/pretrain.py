"""Pre-train a policy bundle with context smoothing from demonstrations (`tmrl pretrain`)."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.load import load_config
from tmrl_ros.data.dataset import Demonstration, load_demonstrations
from tmrl_ros.policies.bundle import (
    ActionSpec,
    ContextSmoothing,
    NetworkSpec,
    ObservationSpec,
    PolicySpec,
    TrainingRecord,
    save_bundle,
)
from tmrl_ros.policies.context import ContextSpec
from tmrl_ros.policies.demonstrations import normalisation, training_data
from tmrl_ros.policies.policy import encode_steps
from tmrl_ros.policies.training import TrainingSettings, train_flow


def pretrain(config: Config, folder: Path, out: Path, settings: TrainingSettings) -> PolicySpec:
    """Train a bundle for `config.task` from the bags below `folder` and write it to `out`.

    Raises:
        OperatorError: No usable demonstrations.
    """
    task, choice = config.task, config.task.pretraining
    names = tuple(item.name for item in task.objects)
    spec = ContextSpec(names, choice.prompt_size, tuple(choice.smoothed))
    try:
        data = training_data(
            _demonstrations(folder), spec, choice.horizon, config.robot.gripper_max_width_m
        )
    except ValueError as error:
        raise OperatorError(f"{folder}: {error}; record some with `tmrl demonstrate`.") from None
    mean, std, action_mean, action_std = normalisation(data, spec)
    print(f"{data.demonstrations} demonstrations, {len(data.context)} samples", flush=True)
    network = NetworkSpec()
    draft = PolicySpec(
        action=ActionSpec(
            frame=config.robot.base_frame,
            rate_hz=config.robot.control_rate_hz,
            horizon=choice.horizon,
            execute_steps=choice.execute_steps,
            mean=action_mean.tolist(),
            std=action_std.tolist(),
        ),
        observation=ObservationSpec(
            objects=list(names),
            prompt_size=choice.prompt_size,
            mean=mean.tolist(),
            std=std.tolist(),
        ),
        smoothing=ContextSmoothing(smoothed=choice.smoothed),
        network=network,
        training=TrainingRecord(
            command=f"make pretrain ARGS='task={task.name}'",
            task=task.name,
            demonstrations=data.demonstrations,
            samples=len(data.context),
            iterations=settings.iterations,
            seed=settings.seed,
            data_sha256=data.sha256,
            prompts=data.prompts,
        ),
        weights_sha256="",
    )
    started = time.monotonic()

    def progress(iteration: int, loss: float) -> None:
        if iteration % 500 == 0 or iteration == settings.iterations:
            rate = iteration / (time.monotonic() - started)
            left = (settings.iterations - iteration) / rate
            text = f"iteration {iteration}/{settings.iterations}  loss {loss:.4f}"
            print(f"{text}  {left:.0f} s left", flush=True)

    policy = train_flow(
        draft.flow_size,
        torch.from_numpy(spec.smoothed_mask()),
        torch.from_numpy((encode_steps(data.actions) - action_mean) / action_std).float(),
        torch.from_numpy((data.context - mean) / std).float(),
        settings,
        progress,
    )
    return save_bundle(out, draft, policy)


def _demonstrations(folder: Path) -> list[Demonstration]:
    """Demonstrations of one session, or of all sessions below a folder (one per prompt)."""
    sessions = sorted(path.parent for path in folder.glob("*/episodes")) or [folder]
    return [item for session in sessions for item in load_demonstrations(session)]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `tmrl pretrain`."""
    parser = argparse.ArgumentParser(prog="tmrl pretrain", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument(
        "--demonstrations", type=Path, help="default: sessions/demonstrations/<task>"
    )
    parser.add_argument("--out", type=Path, help="bundle folder; default: task.bundle")
    parser.add_argument("--iterations", type=int, help="default: task.pretraining.iterations")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        config = load_config(args.overrides)
        if args.iterations is not None and args.iterations < 1:
            raise ConfigurationError(f"--iterations {args.iterations} is below 1.")
        prepare_torch(config.session.torch_threads)
        folder = args.demonstrations or Path("sessions/demonstrations") / config.task.name
        out = args.out or config.task.bundle
        iterations = args.iterations or config.task.pretraining.iterations
        spec = pretrain(
            config, folder, out, TrainingSettings(iterations=iterations, seed=args.seed)
        )
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Wrote {out} ({spec.digest()}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
