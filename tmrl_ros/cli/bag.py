"""`tmrl bag`: look at recorded sessions, and hand them to other tools."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tmrl_ros.cli.session_folder import CONFIG_FILE, SESSIONS, find_session, newest_session, shown
from tmrl_ros.core.errors import ConfigurationError, OperatorError

SESSION_HELP = "a session, or a folder of bags; the newest session by default"


def bag(argv: Sequence[str]) -> int:
    """Run one command.

    Raises:
        OperatorError: Something is wrong with what was asked, in one sentence.
    """
    args = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.run
    try:
        return command(args)
    except OSError as error:
        raise OperatorError(f"{error.filename}: {error.strerror}.") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tmrl bag", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    report = _command(
        commands, "report", "write a page about a session from its bags alone", _report
    )
    report.add_argument("--out", type=Path, help="folder; bag_report in the session by default")
    text = "write a LeRobotDataset v3 from the ended episodes of a session"
    export = _command(commands, "export", text, _export)
    export.add_argument("--lerobot", type=Path, required=True, metavar="OUT", help="a new folder")
    export.add_argument("--only-successful", action="store_true", help="leave failures out")
    export.add_argument(
        "--lossless", action="store_true", help="pictures as PNG in the data files, not as videos"
    )
    export.add_argument("--robot-type", default="panda", help="what info.json says of the arm")
    video = _command(commands, "video", "write what the cameras recorded as an MP4 file", _video)
    video.add_argument("--episode", help="only this one, e.g. train_000012")
    video.add_argument("--out", type=Path, help="file; <session>/video/<episode>.mp4 by default")
    text = "open an episode in Rerun, or say how to open it in Foxglove"
    show = _command(commands, "show", text, _show)
    show.add_argument("--episode", help="the newest by default")
    show.add_argument("--out", type=Path, help="write a Rerun recording (.rrd) and open nothing")
    text = "check the quality of a person's demonstrations: what is wrong, and what to do about it"
    check = _command(commands, "check", text, _check)
    check.add_argument("--json", action="store_true", help="print JSON")
    _command(commands, "repair", "give the bags of a killed recorder their index back", _repair)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("session", nargs="?", help=SESSION_HELP)
    parser.set_defaults(run=run)
    return parser


def recorded(session: str | None) -> Path:
    """Folder of a session, of bags, or of the newest session.

    Raises:
        ConfigurationError: There is nothing there.
    """
    if session is None:
        if (newest := newest_session()) is None:
            raise ConfigurationError(f"There is no session in {SESSIONS}/: name a folder of bags.")
        return newest
    folder = Path(session)
    return folder.absolute() if folder.is_dir() else find_session(session)


def _report(args: argparse.Namespace) -> int:
    from tmrl_ros.analysis.bag_report import build_bag_report  # matplotlib

    page = build_bag_report(recorded(args.session), args.out, tell=_tell)
    print(f"Report: {shown(page.absolute())}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from tmrl_ros.exchange.frames import session_frames
    from tmrl_ros.exchange.lerobot_write import write_lerobot  # pyarrow, PyAV

    episodes = session_frames(recorded(args.session), only_successful=args.only_successful)
    out, video = args.lerobot, not args.lossless
    info = write_lerobot(episodes, out, robot_type=args.robot_type, video=video)
    print(
        f"{shown(out.absolute())}: {info['total_episodes']} episodes, {info['total_frames']} rows"
    )
    return 0


def _video(args: argparse.Namespace) -> int:
    from tmrl_ros.exchange.movie import write_movie  # PyAV

    session = recorded(args.session)
    bags = _bags(session, args.episode)
    out = args.out or session / "video" / f"{args.episode or session.name}.mp4"
    count = write_movie(bags, out)
    print(f"{shown(out.absolute())}: {len(bags)} episodes, {count} frames")
    return 0


def _show(args: argparse.Namespace) -> int:
    from tmrl_ros.core.load import config_folder
    from tmrl_ros.exchange.rerun_log import has_rerun, log_episode

    bag = _bags(recorded(args.session), args.episode)[-1]
    if has_rerun():
        log_episode(bag, args.out)
        if args.out:
            print(f"{shown(args.out.absolute())}: open it with `rerun {args.out}`")
        return 0
    if args.out:
        raise ConfigurationError("Rerun is not installed: pip install 'tmrl_ros[show]'.")
    print(f"Open in Foxglove, with the layout {config_folder() / 'foxglove' / 'tmrl.json'}:")
    for file in sorted(bag.glob("*.mcap")):
        print(f"  {shown(file.absolute())}")
    return 0


def _bags(session: Path, episode: str | None) -> list[Path]:
    """Bags of a session's episodes, or of one of them.

    Raises:
        ConfigurationError: There is none.
    """
    from tmrl_ros.data.bag_reader import bag_folders, is_label

    bags = [bag for bag in bag_folders(session) if not is_label(bag.name)]
    found = [bag for bag in bags if episode in (None, bag.name)]
    if not found:
        known = ", ".join(bag.name for bag in bags[-3:]) or "none"
        raise ConfigurationError(f"{session} has no episode {episode!r}; the last are {known}.")
    return found


def _check(args: argparse.Namespace) -> int:
    from tmrl_ros.core.collect_config import CollectConfig
    from tmrl_ros.core.load import read_config
    from tmrl_ros.data.collected import read_collected
    from tmrl_ros.data.quality import as_json, table

    folder = recorded(args.session)
    known = folder / CONFIG_FILE
    rules = read_config(known).collect if known.is_file() else CollectConfig()
    found = [item.quality for item in read_collected(folder, rules)]
    print(as_json(found) if args.json else table(found))
    return 0


def _repair(args: argparse.Namespace) -> int:
    from tmrl_ros.data.bag_reader import is_aside, recorded_folders
    from tmrl_ros.data.repair import Repair, repair_bag

    folders = [path for path in recorded_folders(recorded(args.session)) if not is_aside(path.name)]
    found = {path.name: repair_bag(path) for path in folders}
    changed = {name: what for name, what in found.items() if what is not Repair.INTACT}
    for name, what in changed.items():
        print(f"{name}: {what.value}")
    print(f"{len(found)} bags, {len(changed)} changed.")
    return 0


def _tell(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} bags", end="" if done < total else "\n", file=sys.stderr)
