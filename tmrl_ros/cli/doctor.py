"""`tmrl doctor`: everything that can be checked before the arm moves, one line each.

Nothing moves: the graph that it starts is latched, and nobody resets it. Where a graph runs
already, that one is looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tmrl_ros.cli.checks import CHECK_TIMEOUT_S, EXIT_IN_USE, graph_in_domain
from tmrl_ros.cli.processes import Processes
from tmrl_ros.cli.run import LOGS, command
from tmrl_ros.cli.services import graph_config
from tmrl_ros.cli.session_folder import CONFIG_FILE, SESSIONS, newest_session
from tmrl_ros.core.config import Config
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.graph import NodeSpec, nodes_for
from tmrl_ros.core.hosts import ALL, ROBOT
from tmrl_ros.core.load import config_hash, write_config
from tmrl_ros.doctor.cameras import calibrations
from tmrl_ros.doctor.finding import Finding, Level, bad, good, skipped
from tmrl_ros.doctor.machine import machine
from tmrl_ros.doctor.storage import storage

LOOK_S = 60.0
SIGNS = {Level.GOOD: "ok", Level.WARNING: "warn", Level.BAD: "BAD", Level.SKIPPED: "-"}
STYLES = {
    Level.GOOD: "green",
    Level.WARNING: "yellow",
    Level.BAD: "bold red",
    Level.SKIPPED: "dim",
}
HARDWARE_STOP = "Before anything else: press the hardware stop button once and see that it works."


def doctor(
    overrides: Sequence[str],
    *,
    as_json: bool = False,
    graph: bool = True,
    remember: bool = False,
) -> int:
    """Run all checks; returns 1 if one is bad.

    Args:
        overrides: As for `tmrl finetune`.
        as_json: Print one JSON list instead of lines.
        graph: Start the graph, latched, if none runs, and look at it.
        remember: Keep a picture of every camera, with which later ones are compared.

    Raises:
        ConfigurationError: The configuration itself is wrong.
    """
    console = Console(highlight=False, soft_wrap=True)
    if not as_json:
        console.print(HARDWARE_STOP)
    found: list[Finding] = []
    for finding in checks(overrides, graph=graph, remember=remember):
        found.append(finding)
        if not as_json:
            console.print(line(finding))
    worst = [item for item in found if item.level is Level.BAD]
    if as_json:
        print(json.dumps([asdict(item) for item in found], indent=1))
    else:
        console.print(summary(found))
    return 1 if worst else 0


def checks(overrides: Sequence[str], *, graph: bool, remember: bool = False) -> Iterable[Finding]:
    """Findings, as they come."""
    running = newest_session(running=True)
    config = graph_config(overrides, str(running) if running else None)
    nodes = nodes_for(config, Path(CONFIG_FILE), "up")
    name = f"{config.task.name}, {config.method.name}, robot {config.robot.kind}"
    yield good("configuration", f"{name} (hash {config_hash(config)[:12]})")
    yield from machine(config, len(nodes))
    yield from storage(config, SESSIONS)
    yield from calibrations(config)
    options = ["--remember"] if remember else []
    with tempfile.TemporaryDirectory(prefix="tmrl-doctor-") as name:
        folder = Path(name)
        session = config.session.model_copy(update={"dir": folder})
        write_config(config.model_copy(update={"session": session}), folder / CONFIG_FILE)
        if config.session.host == ROBOT:
            yield skipped("models", "they run on the gpu PC: `tmrl doctor --no-graph` there")
        else:
            yield from _asked("models", "tmrl_ros.doctor.models", folder, config)
        if config.session.host != ALL:
            yield from _asked("other PC", "tmrl_ros.nodes.host_link", folder, config, ["--look"])
        if running:
            there = nodes_for(config, running / CONFIG_FILE, "up")
            yield from _look(folder, config, there, options)
        elif graph:
            yield from _started(folder, config, options)
        else:
            yield skipped("graph", "not started (--no-graph)")


def _started(folder: Path, config: Config, options: Sequence[str]) -> Iterable[Finding]:
    """Start the graph, latched, and look at it."""
    nodes = nodes_for(config, folder / CONFIG_FILE, "up")
    domain = _domain([node.name for node in nodes], config)
    yield domain
    if domain.level is Level.BAD:
        return
    commands = [command(node) for node in nodes]
    with Processes(commands, node_environment(config), folder / LOGS, say=_quiet) as processes:
        processes.start()
        yield from _look(folder, config, nodes, options)
        processes.stop()


def _domain(names: Sequence[str], config: Config) -> Finding:
    """Whether another graph runs where ours would."""
    said, failed = graph_in_domain(names, config)
    check, domain = "DDS domain", config.session.domain_id
    if failed == EXIT_IN_USE:
        return bad(
            check,
            f"{domain} is in use: {said} runs there",
            "stop that graph, or set session.domain_id to another number",
        )
    if failed:
        return bad(check, f"ROS does not start in {domain}", "`make setup`, then report this")
    return good(check, f"{domain} is free")


def _look(
    folder: Path, config: Config, nodes: Sequence[NodeSpec], options: Sequence[str]
) -> Iterable[Finding]:
    names = [node.name for node in nodes if not node.optional]
    words = [*names, "--seconds", str(LOOK_S), *options]
    return _asked("graph", "tmrl_ros.nodes.doctor", folder, config, words)


def _asked(
    check: str, module: str, folder: Path, config: Config, words: Sequence[str] = ()
) -> list[Finding]:
    """Findings that another process prints as JSON."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(folder / CONFIG_FILE), *words],
            env={**os.environ, **node_environment(config)},
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [bad(check, f"no answer in {CHECK_TIMEOUT_S:g} s", "is the machine overloaded?")]
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()
        why = last[-1] if last else f"exit code {done.returncode}"
        return [bad(check, f"could not be looked at: {why}", "report this")]
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return [Finding(**{**item, "level": Level(item["level"])}) for item in said]


def line(finding: Finding) -> Text:
    """A finding as it is printed, with the remedy below it."""
    text = Text(f"{SIGNS[finding.level]:>5}  ", style=STYLES[finding.level])
    text.append(f"{finding.check:<20} ", style="not dim default")
    text.append(finding.text, style="not bold default")
    if finding.remedy:
        text.append(f"\n{'':28}-> {finding.remedy}", style="not bold default")
    return text


def summary(found: Sequence[Finding]) -> str:
    """The last line."""
    counts = {level: sum(item.level is level for item in found) for level in Level}
    if counts[Level.BAD]:
        return f"{counts[Level.BAD]} must be mended before the arm moves."
    if counts[Level.WARNING]:
        return f"Ready, with {counts[Level.WARNING]} warnings."
    return "Ready."


def _quiet(_: str) -> None:
    """The processes' own words are in their logs."""
