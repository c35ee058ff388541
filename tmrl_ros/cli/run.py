"""Run a graph: check, start, watch, show, stop. Shared by finetune, deploy, collect and up."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tmrl_ros.cli import collect
from tmrl_ros.cli.checks import check_start
from tmrl_ros.cli.console import Announcement
from tmrl_ros.cli.display import Display, LiveDisplay, PlainDisplay
from tmrl_ros.cli.memory import MemoryLog
from tmrl_ros.cli.processes import Command, Processes, RunEnd
from tmrl_ros.cli.session_folder import (
    STATUS_FILE,
    SessionFolder,
    check_disk,
    session_for,
    shown,
)
from tmrl_ros.cli.signals import Signals
from tmrl_ros.cli.status import read_status
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.graph import Kind, NodeSpec, nodes_for

DRAW_PERIOD_S = 0.5
LOGS = "logs"


def run_graph(
    kind: Kind, overrides: Sequence[str], *, resume: str | None = None, plain: bool = False
) -> int:
    """Run one graph to its end and return the exit code.

    Raises:
        OperatorError: Something is wrong with what was asked; nothing was started.
    """
    if kind == "collect" and not resume:
        overrides = collect.collect_overrides(overrides)
    session = session_for(kind, overrides, resume)
    nodes = nodes_for(session.config, session.config_file, kind)
    session.open()
    try:
        check_disk(session)
        check_start(session.config, session.config_file, [node.name for node in nodes])
    except BaseException:
        session.discard()
        raise
    try:
        return _run(kind, session, nodes, plain=plain)
    finally:
        session.close()


def command(node: NodeSpec) -> Command:
    """How a node of the graph is started as a child process."""
    return Command(
        name=node.name,
        argv=[sys.executable, "-m", node.module, *node.arguments()],
        restart=node.restart,
        required=node.required,
        stop_last=node.stop_last,
        optional=node.optional,
    )


def watch(
    processes: Processes,
    signals: Signals,
    display: Display,
    folder: Path,
    *,
    period_s: float = DRAW_PERIOD_S,
) -> RunEnd:
    """Start the processes and keep them until the run ends or a person ends it."""
    memory = MemoryLog(folder)
    page = Announcement(folder)
    processes.start()
    while True:
        if signals.received is not None:
            return RunEnd(signals.exit_code, "")
        end = processes.poll()
        if end is not None:
            return end
        pids = processes.pids()
        memory.sample(pids)
        if url := page.news(pids.get("console")):
            display.page(url)
        display.update(read_status(folder / STATUS_FILE), processes.health(), memory.peak_mb)
        signals.wait(period_s)


def _run(kind: Kind, session: SessionFolder, nodes: Sequence[NodeSpec], *, plain: bool) -> int:
    folder = session.path
    title = f"tmrl {kind}: {session.config.task.prompt}"
    with Signals() as signals, collect.kept_terminal():
        display = _make_display(title, shown(folder), plain=plain)
        try:
            commands = [command(node) for node in nodes]
            if collect.has_keys(session):
                commands.append(collect.keyboard(session))
                display.help(collect.KEYS_HELP)
            with Processes(
                commands,
                node_environment(session.config),
                folder / LOGS,
                say=display.note,
            ) as processes:
                end = watch(processes, signals, display, folder)
                if end.message or signals.received is not None:
                    display.note("Stopping: the arm holds, bags are closed ...")
                seconds = processes.stop()
        finally:
            display.close()
        code = _last_words(kind, folder, end, seconds)
    if session.config.by_person:
        print(*collect.last_words(folder, session.config.task.name), sep="\n", flush=True)
    return code


def _make_display(title: str, folder: Path, *, plain: bool) -> Display:
    return (
        PlainDisplay(title, folder)
        if plain or not sys.stdout.isatty()
        else LiveDisplay(title, folder)
    )


def _last_words(kind: Kind, folder: Path, end: RunEnd, seconds: float) -> int:
    if end.message:
        print(end.message, file=sys.stderr, flush=True)
    if end.exit_code:
        print(f"All nodes are down after {seconds:.1f} s; logs are in {shown(folder) / LOGS}.")
        if kind == "finetune":
            print(f"Go on with: make finetune RESUME={shown(folder)}")
    elif (folder / "report.html").exists():
        print(f"Report: {shown(folder) / 'report.html'}")
    sys.stdout.flush()
    return end.exit_code
