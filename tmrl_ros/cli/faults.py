"""`tmrl faults`: rehearse on the simulated arm what may go wrong with a real one."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tmrl_ros.cli.processes import Patience, Processes
from tmrl_ros.cli.run import LOGS, command
from tmrl_ros.cli.session_folder import SessionFolder, new_session, shown
from tmrl_ros.cli.two_pcs import TwoPcs, why_not
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.graph import nodes_for
from tmrl_ros.rehearsal.catalogue import BY_NAME, FAULTS, Fault
from tmrl_ros.rehearsal.verdict import Result, Seen, table, write_docs, write_json

RESULT = "faults.json"
SETTINGS = (
    "task=lift",
    "robot.simulated_operator=false",
    "robot.state_timeout_s=2.5",
    "task.max_decisions=30",
    "recorder.cameras=none",
    "method.warmup_episodes=2",
    "method.updates_per_decision=2",
    "method.batch_size=16",
    "session.decision_timeout_s=4",
    "safety.max_reflexes_per_min=1000",
)
"""Small enough for a laptop; several reflexes a minute are what is asked for here."""
PATIENCE = Patience(maximum_restarts=1_000_000, longest_delay_s=0.5)
POLL_S = 0.2


def faults(args: argparse.Namespace) -> int:
    """List faults, or rehearse one, all or random ones.

    Raises:
        OperatorError: Something is wrong with what was asked.
    """
    console = Console(highlight=False, soft_wrap=True)
    if args.list:
        for fault in FAULTS:
            console.print(f"{fault.name:26} {fault.what}; must be: {fault.expected}")
        return 0
    if args.earlier:
        return _tell([item for file in args.earlier for item in _read(Path(file))], args, console)
    wanted = _wanted(args)
    session = new_session([*SETTINGS, *args.overrides], kind="up")
    console.print("Rehearsed on the simulated arm; a real arm's hardware stop button comes first.")
    session.open()
    try:
        results = _rehearse(session, wanted, args, console)
    finally:
        session.close()
    console.print(f"Written to {shown(session.path / RESULT)}.")
    return _tell(results, args, console)


def _tell(results: list[Result], args: argparse.Namespace, console: Console) -> int:
    console.print(table(results), markup=False)
    if args.write_docs:
        write_docs(Path("docs/safety.md"), results)
    missed = [result for result in results if result.missed]
    for result in missed:
        console.print(f"MISSED {result.fault}: {', '.join(result.missed)}")
    return 1 if missed else 0


def _read(file: Path) -> list[Result]:
    """Results of an earlier rehearsal.

    Raises:
        ConfigurationError: There is no such file, or it is another one.
    """
    try:
        rows = json.loads(file.read_text())["results"]
        return [Result(**{**row, "seen": Seen(**row["seen"])}) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{file} is no faults.json of a rehearsal: {error!r}.") from None


def _wanted(args: argparse.Namespace) -> list[Fault]:
    if args.all or args.random:
        return list(FAULTS)
    unknown = [name for name in args.name if name not in BY_NAME]
    if unknown or not args.name:
        which = f"{unknown[0]!r} is no fault" if unknown else "No fault is named"
        raise ConfigurationError(f"{which}: `tmrl faults --list` shows them; --all takes all.")
    return [BY_NAME[name] for name in args.name]


def _rehearse(
    session: SessionFolder, wanted: list[Fault], args: argparse.Namespace, console: Console
) -> list[Result]:
    """Faults of one PC in one graph, then those of the link between two in another."""
    found: list[Result] = []
    here = [fault for fault in wanted if fault.kind != "network"]
    apart = [fault for fault in wanted if fault.kind == "network"]
    random = args.random
    if here:
        found += _in_graph(session, here, console, random=random, seed=args.seed, two_pcs=False)
    if apart and not random:
        if why := why_not():
            found += [Result(fault.name, Seen(), skipped=why) for fault in apart]
        else:
            found += _in_graph(session, apart, console, random=0, seed=args.seed, two_pcs=True)
    about = {"seed": args.seed, "random": bool(random)}
    write_json(session.path / RESULT, found, about)
    return found


def _in_graph(
    session: SessionFolder,
    wanted: Sequence[Fault],
    console: Console,
    *,
    random: int,
    seed: int,
    two_pcs: bool,
) -> list[Result]:
    """Start a graph with somebody in it who breaks things; start it again where it ended."""
    out = session.path / f"faults-{'two' if two_pcs else 'one'}.json"
    results: list[Result] = []
    left, turn = list(wanted), 0
    while left and turn < 50:
        words = (
            ["--random", str(random - len(results)), "--seed", str(seed + turn)] if random else []
        )
        new = _once(session, [f.name for f in left], words, out, console, two_pcs=two_pcs)
        results += new
        turn += 1
        if random:
            left = left if len(results) < random else []
        else:
            done = {result.fault for result in results}
            ahead = [fault for fault in left if fault.name not in done]
            left = ahead if new else []
    return results


def _once(
    session: SessionFolder,
    names: Sequence[str],
    words: Sequence[str],
    out: Path,
    console: Console,
    *,
    two_pcs: bool,
) -> list[Result]:
    out.unlink(missing_ok=True)
    config = session.config
    environment = {**node_environment(config), "TMRL_REHEARSAL": "1"}
    commands = [command(node) for node in nodes_for(config, session.config_file, "up")]
    argv = [sys.executable, "-m", "tmrl_ros.nodes.rehearsal", *names]
    said = session.path / "launcher.txt"
    argv += ["--out", str(out), "--config-file", str(session.config_file), *words]
    argv += ["--launcher", str(said)]
    with TwoPcs(session.path) if two_pcs else _OnePc() as place, said.open("a") as file:
        environment |= place.environment
        commands = [
            replace(item, argv=place.prefix(item.name) + list(item.argv)) for item in commands
        ]
        with Processes(
            commands,
            environment,
            session.path / LOGS,
            patience=PATIENCE,
            say=lambda text: print(text, file=file, flush=True),
        ) as processes:
            processes.start()
            witness = subprocess.Popen(
                place.prefix("sim_franka") + argv, env={**os.environ, **environment}
            )
            try:
                while witness.poll() is None and processes.poll() is None:
                    try:
                        witness.wait(POLL_S)
                    except subprocess.TimeoutExpired:
                        continue
            finally:
                if witness.poll() is None:
                    witness.terminate()
                    witness.wait(10.0)
    if not out.exists():
        console.print("The graph did not start; its logs are in", str(session.path / LOGS))
        return []
    return _read(out)


class _OnePc:
    """Everything on this machine as it is."""

    environment: dict[str, str] = {}

    def __enter__(self) -> _OnePc:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def prefix(self, _: str) -> list[str]:
        """Nothing stands before a command."""
        return []
