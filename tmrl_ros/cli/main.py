"""The `tmrl` command: parse, hand over, turn errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tmrl_ros.core.errors import OperatorError

WITH_TORCH = ("pretrain", "export", "replay", "reward", "vla-server")
EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130
OVERRIDES_HELP = "task=lift picks a file of config/, session.seed=3 sets a value"
PLAIN_HELP = "print lines, draw nothing"
RUNS = {
    "finetune": "fine-tune the policy on the robot, with evaluations before and after",
    "deploy": "run the policy and learn nothing",
    "collect": "record demonstrations that a person drives, or episodes of a policy",
    "up": "start every node and wait for commands",
}
EVALUATE_HELP = (
    "a bundle or a session that has learned, by a name of your own; and section.key=value"
)
OUTCOMES = ("success", "failure", "timeout")
LABEL_HELP = "how it ended; trim: cut its end off"
REMEMBER_HELP = "keep a picture of every camera, with which later ones are compared"
BECAME_HELP = "trim: how it ended where it is cut; as it had ended by default"
STEPS = ("errors", "hardware", "controllers", "gripper")
CALLS = {
    "stop": "press the software stop (the hardware button comes first)",
    "reset": "release the software stop, once its cause is gone",
    "prompt": "tell the policy something else from the next episode on",
    "recover": "recover a real arm after a fault: errors, hardware, controllers; home its gripper",
    "ready": "say that the objects are back and nobody is in the cell",
    "label": "set the outcome of the running or an ended episode, or cut off the end of one",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for what a person can correct, 130 after Ctrl-C."""
    args = parse(argv)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _dispatch(args)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; overrides may stand before, between and after options."""
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in (*WITH_TORCH, "bag", "calibrate", "retrieve"):  # by themselves
        return argparse.Namespace(command=words[0], arguments=words[1:])
    args, rest = parser.parse_known_args(words)
    unknown = [word for word in rest if word.startswith("-") or not hasattr(args, "overrides")]
    if unknown:
        parser.error(f"unknown argument {unknown[0]!r}")
    if rest:
        args.overrides += rest
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tmrl", description="Fine-tune a pretrained robot policy on a Franka arm."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in RUNS.items():
        command = _with_overrides(commands.add_parser(name, help=text, description=text))
        command.add_argument("--plain", action="store_true", help=PLAIN_HELP)
        if name in ("finetune", "deploy", "collect"):
            command.add_argument(
                "--resume", metavar="SESSION", help="folder of a session that is to go on"
            )
    for name, text in CALLS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "prompt":
            command.add_argument("text", help='what it is told; "" is the task\'s own')
        if name == "recover":
            command.add_argument("step", choices=STEPS, help="one at a time, in this order")
        if name == "label":
            command.add_argument("outcome", choices=(*OUTCOMES, "aborted", "trim"), help=LABEL_HELP)
            command.add_argument("--episode", default="", help="the latest by default")
            command.add_argument("--by", default="operator", help="who says so")
            command.add_argument("--decisions", type=int, help="trim: how many are kept")
            command.add_argument("--outcome", choices=OUTCOMES, dest="became", help=BECAME_HELP)
            command.add_argument("--undo", action="store_true", help="trim: take the cut back")
        command.add_argument("--session", help="whose graph; the newest that runs by default")
        _with_overrides(command)
    text = "compare policies: in turns on the same starts, blind, until it is decided"
    evaluate = commands.add_parser("evaluate", help=text, description=text)
    evaluate.add_argument("--plain", action="store_true", help=PLAIN_HELP)
    evaluate.add_argument(
        "overrides", nargs="*", default=[], metavar="name=path", help=EVALUATE_HELP
    )
    text = "print the address of a running graph's page with the stop button; serve it if need be"
    console = commands.add_parser("console", help=text, description=text)
    console.add_argument("--session", help="whose graph; the newest that runs by default")
    _with_overrides(console)
    text = "steer the arm of a running graph with the keys of this terminal"
    keys = commands.add_parser("teleop", help=text, description=text)
    keys.add_argument("--session", help="whose graph; the newest that runs by default")
    _with_overrides(keys)
    text = "record scripted demonstrations of a task in simulation"
    demonstrate = commands.add_parser("demonstrate", help=text, description=text)
    _with_overrides(demonstrate).add_argument("--plain", action="store_true", help=PLAIN_HELP)
    text = "train a policy bundle on demonstrations"
    commands.add_parser("pretrain", help=text, add_help=False)
    text = "write model.onnx of policy bundles, with which decisions are faster"
    commands.add_parser("export", help=text, add_help=False)
    text = "play a session's sensors through perception and policy, beside what was recorded"
    commands.add_parser("replay", help=text, add_help=False)
    text = "train, evaluate and use a learned reward model"
    commands.add_parser("reward", help=text, add_help=False)
    text = "serve a VLA or a policy bundle to graphs on this or other machines"
    commands.add_parser("vla-server", help=text, add_help=False)
    text = "write report.html of a session again"
    report = commands.add_parser("report", help=text, description=text)
    report.add_argument("session", nargs="?", help="the newest by default")
    text = "look for what is wrong before the arm moves: computer, models, graph, cameras"
    doctor = _with_overrides(commands.add_parser("doctor", help=text, description=text))
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.add_argument("--no-graph", action="store_true", help="start nothing; no live checks")
    doctor.add_argument("--remember", action="store_true", help=REMEMBER_HELP)
    text = (
        "rehearse faults on the simulated arm: what it says, how soon it holds, whether it resets"
    )
    faults = _with_overrides(commands.add_parser("faults", help=text, description=text))
    faults.add_argument("--list", action="store_true", help="print the faults")
    faults.add_argument("--name", action="append", default=[], help="one of them; may be repeated")
    faults.add_argument("--all", action="store_true", help="every one of them")
    faults.add_argument("--random", type=int, default=0, metavar="N", help="N of them, drawn")
    faults.add_argument("--seed", type=int, default=0, help="of --random")
    earlier = "make the table of these faults.json, and rehearse nothing"
    faults.add_argument("--earlier", nargs="+", default=[], metavar="FILE", help=earlier)
    faults.add_argument("--write-docs", action="store_true", help="the table of docs/safety.md")
    text = "find where a camera hangs: `board` to print, `list` what is plugged in, or its name"
    commands.add_parser("calibrate", help=text, add_help=False)
    text = "look at recorded sessions, export, import and repair them"
    commands.add_parser("bag", help=text, add_help=False)
    text = "find parts of recorded play that move as one demonstration does"
    commands.add_parser("retrieve", help=text, add_help=False)
    text = "print the resolved configuration"
    _with_overrides(commands.add_parser("config", help=text, description=text))
    text = 'print the DDS environment, for eval "$(tmrl env)" in another shell'
    _with_overrides(commands.add_parser("env", help=text, description=text))
    text = "make keys for DDS Security, one per computer, in the layout of SROS 2"
    keys = commands.add_parser("keys", help=text, description=text)
    keys.add_argument("folder", help="keystore; what it lacks is made")
    commands.add_parser("version", help="print versions")
    return parser


def _with_overrides(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="section.key=value", help=OVERRIDES_HELP
    )
    return parser


def _dispatch(args: argparse.Namespace) -> int:
    """Import only what the command needs; torch and rclpy stay in other processes."""
    if args.command in RUNS:
        from tmrl_ros.cli.run import run_graph

        resume = getattr(args, "resume", None)
        return run_graph(args.command, args.overrides, resume=resume, plain=args.plain)
    if args.command == "evaluate":
        from tmrl_ros.cli.evaluate import evaluate

        return evaluate(args.overrides, plain=args.plain)
    if args.command == "label" and args.outcome == "trim":
        from tmrl_ros.cli.trim import trim

        return trim(args)
    if args.command in CALLS:
        from tmrl_ros.cli.services import call

        words = [args.command]
        if args.command == "prompt":
            words.append(args.text)
        if args.command == "recover":
            words.append(args.step)
        if args.command == "label":
            words += [args.outcome, "--episode", args.episode, "--by", args.by]
        return call(words, args.overrides, args.session)
    if args.command == "console":
        from tmrl_ros.cli.console import console

        return console(args.overrides, args.session)
    if args.command == "teleop":
        from tmrl_ros.cli.teleop import teleop

        return teleop(args.overrides, args.session)
    if args.command == "demonstrate":
        from tmrl_ros.cli.demonstrate import demonstrate

        return demonstrate(args.overrides, plain=args.plain)
    if args.command == "faults":
        from tmrl_ros.cli.faults import faults

        return faults(args)
    if args.command == "pretrain":
        from tmrl_ros.cli.offline import pretrain

        return pretrain(args.arguments)
    if args.command == "export":
        from tmrl_ros.cli.offline import export

        return export(args.arguments)
    if args.command == "replay":
        from tmrl_ros.cli.offline import replay

        return replay(args.arguments)
    if args.command == "reward":
        from tmrl_ros.cli.reward import start

        return start(args.arguments)
    if args.command == "vla-server":
        from tmrl_ros.cli.offline import vla_server

        return vla_server(args.arguments)
    if args.command == "doctor":
        from tmrl_ros.cli.doctor import doctor

        return doctor(
            args.overrides, as_json=args.json, graph=not args.no_graph, remember=args.remember
        )
    if args.command == "calibrate":
        from tmrl_ros.cli.calibrate import calibrate

        return calibrate(args.arguments)
    if args.command == "bag":
        from tmrl_ros.cli.bag import bag

        return bag(args.arguments)
    if args.command == "retrieve":
        from tmrl_ros.cli.retrieve import retrieve

        return retrieve(args.arguments)
    if args.command == "report":
        from tmrl_ros.cli.offline import report

        return report(args.session)
    if args.command == "keys":
        from tmrl_ros.cli.keys import keys

        return keys(Path(args.folder))
    from tmrl_ros.cli import info

    if args.command == "config":
        return info.print_config(args.overrides)
    if args.command == "env":
        return info.print_environment(args.overrides)
    return info.print_versions()


def _terminate(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
