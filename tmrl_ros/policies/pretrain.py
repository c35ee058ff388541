"""Pre-train a policy bundle with context smoothing from demonstrations (`tmrl pretrain`)."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.config import Config, TaskConfig
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.load import DEFAULTS, load_config
from tmrl_ros.core.types import Float32Array, FloatArray
from tmrl_ros.data.collected import demonstration_sessions, read_collected
from tmrl_ros.data.dataset import Demonstration, camera_intrinsics
from tmrl_ros.data.segments import is_index, load_segments
from tmrl_ros.exchange.load import is_foreign, load_foreign
from tmrl_ros.policies.bundle import (
    ActionSpec,
    ContextSmoothing,
    NetworkSpec,
    ObservationSpec,
    PolicySpec,
    TrainingRecord,
    load_bundle,
    save_bundle,
)
from tmrl_ros.policies.context import ContextSpec
from tmrl_ros.policies.demonstrations import TrainingData, normalisation, training_data
from tmrl_ros.policies.encoder_training import EncoderSettings
from tmrl_ros.policies.encoders import EncoderSpec, build_seeded, encoder_spec_for
from tmrl_ros.policies.keypoint_data import learn_keypoints, with_keypoints
from tmrl_ros.policies.keypoints import keypoint_names
from tmrl_ros.policies.onnx_backend import export
from tmrl_ros.policies.policy import encode_steps
from tmrl_ros.policies.training import TrainingSettings, train_flow


def pretrain(
    config: Config,
    sources: Path | Sequence[Path],
    out: Path,
    settings: TrainingSettings,
    *,
    unchecked: bool = False,
) -> PolicySpec:
    """Train a bundle for `config.task` from what lies below `sources` and write it to `out`.

    Args:
        config: Task, robot and cameras.
        sources: Bags, a LeRobot data set, an HDF5 file in robomimic's layout, or the index that
            `tmrl retrieve` wrote; or several of these.
        out: Folder of the bundle.
        settings: Of the training.
        unchecked: Take a person's demonstrations too that failed the check of their quality.

    Raises:
        OperatorError: No usable demonstrations.
    """
    folders = [sources] if isinstance(sources, Path) else list(sources)
    pictures = config.task.pretraining.observation != "objects"
    demonstrations: list[Demonstration] = []
    for folder in folders:
        if is_foreign(folder):
            demonstrations += load_foreign(folder, config)
        elif is_index(folder):
            demonstrations += load_segments(folder, pictures=pictures)
        else:
            demonstrations += _of_bags(folder, config, pictures=pictures, unchecked=unchecked)
    names = ", ".join(str(folder) for folder in folders)
    try:
        return pretrain_on(demonstrations, config, out, settings, _intrinsics(config, folders))
    except ValueError as error:
        raise OperatorError(
            f"{names}: {error}; record some with `tmrl collect` or `tmrl demonstrate`."
        ) from None


def _of_bags(
    folder: Path, config: Config, *, pictures: bool, unchecked: bool
) -> list[Demonstration]:
    """Demonstrations in bags; says which ones are left out, and why."""
    found: list[Demonstration] = []
    for item in read_collected(folder, config.collect, pictures=pictures):
        kept = item.usable or (unchecked and item.by_person)
        if kept and item.demonstration is not None:
            found.append(item.demonstration)
        elif item.by_person:
            why = item.quality.findings[0].text if item.quality.findings else "Nobody drove."
            print(f"{item.path.name} is left out: {why}", flush=True)
    return found


def _intrinsics(config: Config, folders: Sequence[Path]) -> Mapping[str, FloatArray]:
    """K (3, 3) of every camera where the policy looks at images, from the first folder of bags."""
    bags = [item for item in folders if not is_foreign(item) and not is_index(item)]
    if config.task.pretraining.observation != "images" or not bags:
        return {}
    cameras = [camera.name for camera in config.cameras.cameras]
    return camera_intrinsics(demonstration_sessions(bags[0])[0], cameras)


def pretrain_on(
    demonstrations: Sequence[Demonstration],
    config: Config,
    out: Path,
    settings: TrainingSettings,
    intrinsics: Mapping[str, FloatArray],
) -> PolicySpec:
    """Train a bundle on demonstrations and write it; images need every camera's K (3, 3).

    Raises:
        ValueError: No usable demonstrations.
    """
    choice = config.task.pretraining
    names = tuple(item.name for item in config.task.objects)
    encoder_spec, encoder = encoder_spec_for(config, intrinsics), None
    if encoder_spec is not None:
        names = keypoint_names(encoder_spec.keypoints)
        encoder = learn_keypoints(
            demonstrations,
            build_seeded(encoder_spec, settings.seed),
            config,
            EncoderSettings(iterations=choice.encoder_iterations, seed=settings.seed),
            _progress("encoder iteration", choice.encoder_iterations, 100),
        )
        demonstrations = [with_keypoints(item, encoder) for item in demonstrations]
    spec = ContextSpec(names, choice.prompt_size, tuple(choice.smoothed))
    data = training_data(demonstrations, spec, choice.horizon, config.robot.gripper_max_width_m)
    scales = normalisation(data, spec)
    print(f"{data.demonstrations} demonstrations, {len(data.context)} samples", flush=True)
    draft = _draft(config, names, scales, encoder_spec, _record(config, data, settings))
    mean, std, action_mean, action_std = scales
    policy = train_flow(
        draft.flow_size,
        torch.from_numpy(spec.smoothed_mask()),
        torch.from_numpy((encode_steps(data.actions) - action_mean) / action_std).float(),
        torch.from_numpy((data.context - mean) / std).float(),
        settings,
        _progress("iteration", settings.iterations, 500),
    )
    policy.encoder = encoder
    return save_bundle(out, draft, policy)


def _draft(
    config: Config,
    names: Sequence[str],
    scales: tuple[Float32Array, Float32Array, Float32Array, Float32Array],
    encoder: EncoderSpec | None,
    record: TrainingRecord,
) -> PolicySpec:
    """What the bundle will say; its weights' hash is not known yet."""
    choice = config.task.pretraining
    mean, std, action_mean, action_std = scales
    return PolicySpec(
        kind="state_flow" if encoder is None else "keypoint_flow",
        action=ActionSpec(
            frame=config.robot.base_frame,
            rate_hz=config.robot.control_rate_hz,
            horizon=choice.horizon,
            execute_steps=choice.execute_steps,
            mean=action_mean.tolist(),
            std=action_std.tolist(),
        ),
        observation=ObservationSpec(
            kind=choice.observation,
            objects=list(names),
            prompt_size=choice.prompt_size,
            mean=mean.tolist(),
            std=std.tolist(),
            encoder=encoder,
        ),
        smoothing=ContextSmoothing(smoothed=choice.smoothed),
        network=NetworkSpec(),
        training=record,
        weights_sha256="",
    )


def _record(config: Config, data: TrainingData, settings: TrainingSettings) -> TrainingRecord:
    return TrainingRecord(
        command=f"make pretrain ARGS='{_arguments(config)}'",
        task=config.task.name,
        demonstrations=data.demonstrations,
        samples=len(data.context),
        iterations=settings.iterations,
        seed=settings.seed,
        data_sha256=data.sha256,
        prompts=data.prompts,
    )


def _arguments(config: Config) -> str:
    task = config.task
    if task.pretraining.observation == "objects":
        return f"task={task.name}"
    return f"task={task.name} task.pretraining.observation={task.pretraining.observation}"


def _progress(what: str, iterations: int, every: int) -> Callable[[int, float], None]:
    """Prints how far a training is."""
    started = time.monotonic()

    def progress(iteration: int, loss: float) -> None:
        if iteration % every == 0 or iteration == iterations:
            rate = iteration / (time.monotonic() - started)
            left = (iterations - iteration) / rate
            text = f"{what} {iteration}/{iterations}  loss {loss:.4f}"
            print(f"{text}  {left:.0f} s left", flush=True)

    return progress


def default_bundle(task: TaskConfig) -> Path:
    """Where a bundle goes: `task.bundle`, marked with what the policy looks at if not objects."""
    kind = task.pretraining.observation
    if kind == "objects" or task.bundle.name.endswith(f"_{kind}"):
        return task.bundle
    return task.bundle.with_name(f"{task.bundle.name}_{kind}")


def is_override(word: str) -> bool:
    """Whether a word of the command line sets something; a path does not."""
    return "=" in word and word.partition("=")[0].partition(".")[0] in DEFAULTS


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `tmrl pretrain`."""
    parser = argparse.ArgumentParser(prog="tmrl pretrain", description=__doc__)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="PATH or section.key=value",
        help="bags, a LeRobot data set, a robomimic file, an index of `tmrl retrieve`; overrides. "
        "Default: sessions/demonstrations/<task>",
    )
    parser.add_argument("--demonstrations", type=Path, help="the same as a PATH")
    parser.add_argument(
        "--unchecked", action="store_true", help="also what `tmrl bag check` finds wanting"
    )
    parser.add_argument(
        "--out", type=Path, help="bundle folder; default: task.bundle, or <task.bundle>_points"
    )
    parser.add_argument("--iterations", type=int, help="default: task.pretraining.iterations")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_intermixed_args(argv)
    try:
        config = load_config([word for word in args.words if is_override(word)])
        if args.iterations is not None and args.iterations < 1:
            raise ConfigurationError(f"--iterations {args.iterations} is below 1.")
        prepare_torch(config.session.torch_threads)
        folders = [Path(word) for word in args.words if not is_override(word)]
        folders += [args.demonstrations] if args.demonstrations else []
        folders = folders or [Path("sessions/demonstrations") / config.task.name]
        out = args.out or default_bundle(config.task)
        iterations = args.iterations or config.task.pretraining.iterations
        spec = pretrain(
            config,
            folders,
            out,
            TrainingSettings(iterations=iterations, seed=args.seed),
            unchecked=args.unchecked,
        )
        export(out, *load_bundle(out))
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Wrote {out} ({spec.digest()}).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
