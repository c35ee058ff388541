"""`tmrl reward`: train, calibrate and evaluate a reward model, judge sessions again with it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmrl_ros.core.arguments import count
from tmrl_ros.core.compute import prepare_torch
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.load import load_config

if TYPE_CHECKING:
    from tmrl_ros.rewards.learned.bundle import RewardSpec

# Training allocates the same large tensors again and again; glibc would hand them back to the
# kernel after each step, and getting them again costs more than the arithmetic.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
WORDS_HELP = "folders of sessions, task=lift, section.key=value"


def start(arguments: Sequence[str]) -> int:
    """Become the program with torch in it, so that Ctrl-C and the exit code are its own."""
    sys.stdout.flush()
    words = [sys.executable, "-m", "tmrl_ros.cli.reward", *arguments]
    os.execve(sys.executable, words, {**os.environ, **ALLOCATOR})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for what a person can correct, 130 after Ctrl-C."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if unknown := [word for word in rest if word.startswith("-")]:
        parser.error(f"unknown argument {unknown[0]!r}")
    args.words += rest
    try:
        config, sessions = _split(args.words)
        _threads(config)
        if args.command == "train":
            return _train(args, config, sessions)
        if args.command == "calibrate":
            return _calibrate(args, config, sessions)
        if args.command == "eval":
            return _evaluate(args, config, sessions)
        return _relabel(args, config, sessions)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tmrl reward", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    text = "train a reward bundle on recorded sessions, on simulated episodes, or on both"
    train = commands.add_parser("train", help=text, description=text)
    train.add_argument("--simulate", action="store_true", help="add simulated episodes")
    train.add_argument("--videos", type=count, default=200, help="simulated, to train on")
    train.add_argument("--steps", type=count, default=800)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--out", type=Path, help="the task's reward bundle by default")
    train.add_argument(
        "--progress-only", action="store_true", help="no success, no preference: a baseline"
    )
    text = "measure anew when success counts, on episodes that the bundle was not trained on"
    calibrate = commands.add_parser("calibrate", help=text, description=text)
    calibrate.add_argument("--simulate", action="store_true", help="add simulated episodes")
    calibrate.add_argument("--videos", type=count, default=200, help="simulated")
    calibrate.add_argument("--seed", type=int, default=0, help="that it was trained with")
    calibrate.add_argument("--bundle", type=Path, help="the task's by default")
    text = "figures and plots of a reward bundle on episodes it was not trained on"
    evaluate = commands.add_parser("eval", help=text, description=text)
    evaluate.add_argument("--simulate", action="store_true", help="add simulated episodes")
    evaluate.add_argument("--videos", type=count, default=200, help="simulated, of all kinds")
    evaluate.add_argument("--near-misses", type=int, default=200, help="simulated, held too low")
    evaluate.add_argument("--rollouts", type=int, default=100, help="simulated, by the policy")
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--bundle", type=Path, help="the task's by default")
    evaluate.add_argument("--baseline", type=Path, help="bundle trained with --progress-only")
    evaluate.add_argument("--out", type=Path, help="folder for evaluation.json and plots")
    text = "judge a recorded session again; writes files beside its bags, which do not change"
    relabel = commands.add_parser("relabel", help=text, description=text)
    relabel.add_argument("--bundle", type=Path, help="the task's by default")
    relabel.add_argument("--undo", action="store_true", help="let the recorded rewards count again")
    for command in (train, calibrate, evaluate, relabel):
        command.add_argument("words", nargs="*", metavar="word", help=WORDS_HELP)
    return parser


def _train(args: argparse.Namespace, config: Config, sessions: Sequence[Path]) -> int:
    from tmrl_ros.rewards.learned.pipeline import Order, Sources, train_bundle
    from tmrl_ros.rewards.learned.training import TrainingSettings

    if not sessions and not args.simulate:
        raise ConfigurationError("Nothing to learn from: name sessions, or add --simulate.")
    weight = 0.0 if args.progress_only else 1.0
    settings = TrainingSettings(
        steps=args.steps, seed=args.seed, success_weight=weight, preference_weight=weight
    )
    videos = args.videos if args.simulate else 0
    out = args.out or config.reward_bundle
    order = Order(
        config,
        Sources(tuple(sessions), videos, videos // 2),
        out,
        shlex.join(["tmrl", "reward", *sys.argv[1:]]),
        settings,
    )
    spec = train_bundle(order)
    print(_rule_of(spec))
    print(f"Reward bundle: {out} ({spec.training.wall_s:.0f} s)")
    return 0


def _calibrate(args: argparse.Namespace, config: Config, sessions: Sequence[Path]) -> int:
    from tmrl_ros.rewards.learned import pipeline

    if not sessions and not args.simulate:
        raise ConfigurationError("Nothing to calibrate on: name sessions, or add --simulate.")
    groups = [group for session in sessions for group in pipeline.recorded(config, session)]
    if args.simulate:
        seed = pipeline.SEEDS_PER_RUN * args.seed + 1  # where training has its held-out episodes
        groups += pipeline.simulated(config, args.videos, seed)
    bundle = args.bundle or config.reward_bundle
    print(_rule_of(pipeline.calibrate_bundle(bundle, groups, args.seed)))
    print(f"Reward bundle: {bundle}")
    return 0


def _rule_of(spec: RewardSpec) -> str:
    """When success counts, as a sentence."""
    rule = spec.calibration
    return (
        f"Success is {rule.k} of {rule.n} frames at {rule.threshold:.3f} or more. On "
        f"{rule.episodes} held-out episodes it finds {rule.found} of {rule.successes} successes, "
        f"with {rule.false_positives} false ones."
    )


def _evaluate(args: argparse.Namespace, config: Config, sessions: Sequence[Path]) -> int:
    from tmrl_ros.rewards.learned import pipeline

    if not sessions and not args.simulate:
        raise ConfigurationError("Nothing to evaluate on: name sessions, or add --simulate.")
    groups = [group for session in sessions for group in pipeline.recorded(config, session)]
    seed = pipeline.HELD_OUT_SEED + 10 * args.seed
    if args.simulate:
        for offset, (count, kind) in enumerate(
            ((args.videos, None), (args.near_misses, "held_low"), (args.rollouts, "policy"))
        ):
            groups += pipeline.simulated(config, count, seed + offset, kind)
    out = args.out or Path("sessions/reward_evaluation") / config.task.name
    bundle = args.bundle or config.reward_bundle
    result = pipeline.evaluate_bundle(
        bundle, groups, out, seed=args.seed, progress_only=args.baseline
    )
    for line in table(result):
        print(line)
    print(f"Figures: {out / 'evaluation.json'}; plots: {out / 'episodes.png'}")
    return 0


def _relabel(args: argparse.Namespace, config: Config, sessions: Sequence[Path]) -> int:
    if not sessions:
        raise ConfigurationError("Which session is to be judged again? Name its folder.")
    if args.undo:
        from tmrl_ros.data.reward_sidecar import choose

        for session in sessions:
            choose(session, "")
            print(f"{session}: the recorded rewards count again.")
        return 0
    from tmrl_ros.rewards.learned.relabel import relabel, summary
    from tmrl_ros.rewards.offline import offline_model

    model = offline_model(config, args.bundle)
    command = shlex.join(["tmrl", "reward", *sys.argv[1:]])
    for session in sessions:
        print(summary(session, relabel(session, model, command, _show_progress), model))
    return 0


def table(result: Mapping[str, Any]) -> list[str]:
    """The figures that count, model beside baselines, as lines of a table."""
    judges = [name for name in ("model", "time_index", "progress_only") if name in result]
    names = {"model": "model", "time_index": "time index", "progress_only": "progress only"}
    lines = [f"{'':34}" + "".join(f"{names[judge]:>24}" for judge in judges)]
    for key, text in (
        ("voc", "VOC"),
        ("kendall_tau_a", "Kendall tau_a"),
        ("ranking_accuracy", "ranking accuracy"),
        ("progress_error", "progress, mean error"),
        ("success_auprc", "success AUPRC (frames)"),
        ("true_positives_at_zero_false", "found at zero false (oracle)"),
        ("rewind_spearman", "rewind, Spearman"),
    ):
        lines.append(f"{text:34}" + "".join(f"{_number(result[j][key]):>24}" for j in judges))
    margins = [_number(result[judge]["wrong_instruction"]["margin"]) for judge in judges]
    lines.append(f"{'wrong instruction, margin':34}" + "".join(f"{item:>24}" for item in margins))
    for text, pick in _COUNTED:
        lines.append(f"{text:34}" + "".join(f"{_rate(*pick(result[j])):>24}" for j in judges))
    return lines


def _found(figures: Mapping[str, Any]) -> tuple[int, int]:
    return figures["with_rule"]["found"], figures["with_rule"]["successes"]


def _false(figures: Mapping[str, Any]) -> tuple[int, int]:
    return figures["with_rule"]["false_positives"], figures["with_rule"]["episodes"]


def _near(figures: Mapping[str, Any]) -> tuple[int, int]:
    return figures["near_misses"]["false_positives"], figures["near_misses"]["episodes"]


def _wrong(figures: Mapping[str, Any]) -> tuple[int, int]:
    wrong = figures["wrong_instruction"]
    return wrong["false_positives"], wrong["episodes"]


def _run_on(figures: Mapping[str, Any]) -> tuple[int, int]:
    return figures["run_on"]["still_said"], figures["run_on"]["episodes"]


_COUNTED = (
    ("successes found", _found),
    ("false successes, all episodes", _false),
    ("false successes, near misses", _near),
    ("false successes, other instruction", _wrong),
    ("still said 3 s after success", _run_on),
)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rate(count: int, of: int) -> str:
    """Counts with their Wilson interval."""
    from tmrl_ros.session.statistics import wilson

    if not of:
        return "-"
    rate = wilson(count, of)
    return f"{count}/{of} [{100 * rate.low:.1f}, {100 * rate.high:.1f}] %"


def _split(words: Sequence[str]) -> tuple[Config, list[Path]]:
    """Configuration and sessions; a session brings its own configuration if no task is named."""
    overrides = [word for word in words if "=" in word]
    sessions = [Path(word) for word in words if "=" not in word]
    own = [session / "config.yaml" for session in sessions if (session / "config.yaml").is_file()]
    if own and not any(word.startswith("task=") for word in overrides):
        from tmrl_ros.core.load import read_config

        return read_config(own[0]), sessions
    return load_config(overrides), sessions


def _threads(config: Config) -> None:
    prepare_torch(int(os.environ.get("OMP_NUM_THREADS") or config.session.torch_threads))


def _show_progress(done: int, total: int) -> None:
    if done == total or done % 20 == 0:
        print(f"{done}/{total} episodes", flush=True)


if __name__ == "__main__":
    sys.exit(main())
