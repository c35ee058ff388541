"""`tmrl evaluate frozen=bundles/lift tuned=sessions/lift-3`: policies against each other, blind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tmrl_ros.cli.run import run_graph
from tmrl_ros.cli.session_folder import CONFIG_FILE, SESSIONS
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import DEFAULTS, read_config

SPEC_FILE = "policy.json"
TAKE_S = 300.0


def evaluate(words: Sequence[str], *, plain: bool = False) -> int:
    """Compare policies and return the exit code.

    Args:
        words: `name=path` of a bundle or of a session that has learned, and overrides.
        plain: Print lines, draw nothing.

    Raises:
        ConfigurationError: Fewer than two policies, or one that is neither bundle nor session.
    """
    with tempfile.TemporaryDirectory(prefix="tmrl-evaluate-") as folder:
        return run_graph("evaluate", evaluation_overrides(words, Path(folder)), plain=plain)


def evaluation_overrides(words: Sequence[str], folder: Path) -> list[str]:
    """What makes a graph compare policies.

    Args:
        words: As `evaluate` takes them.
        folder: For what sessions have learned; the graph reads it while it starts.

    Raises:
        ConfigurationError: As `evaluate`.
    """
    named, overrides = split(words)
    if len(named) < 2:
        raise ConfigurationError(
            "Name two policies or more: `tmrl evaluate frozen=bundles/lift tuned=sessions/lift-3`."
        )
    contenders, task = [], ""
    for name, path in named.items():
        if (path / CONFIG_FILE).is_file():
            weights = folder / name
            config = read_config(path / CONFIG_FILE)
            _take_out(path, weights)
            task = task or config.task.name
            contender = {
                "bundle": str(config.task.bundle.absolute()),
                "method": config.method.model_dump(mode="json"),
                "weights": str(weights),
            }
        else:
            contender = {"bundle": str(path)}
        contenders.append({"name": name, **contender})
    chosen = any(word.startswith("task=") for word in overrides)
    return [
        *([] if chosen or not task else [f"task={task}"]),
        "method=base",
        *overrides,
        f"comparison.contenders={json.dumps(contenders)}",
    ]


def split(words: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Policies by name, and overrides, which begin with a section of the configuration.

    Raises:
        ConfigurationError: A word that is neither, a name twice, or a path where nothing is.
    """
    named: dict[str, Path] = {}
    overrides = []
    for word in words:
        name, equals, path = word.partition("=")
        if name.partition(".")[0] in DEFAULTS:
            overrides.append(word)
            continue
        if not equals or not name:
            raise ConfigurationError(f"{word!r} is not understood: write name=path.")
        if name in named:
            raise ConfigurationError(f"{name} is named twice: give every policy its own name.")
        named[name] = _found(name, path)
    return named, overrides


def _found(name: str, path: str) -> Path:
    for candidate in (Path(path), SESSIONS / path):
        if (candidate / CONFIG_FILE).is_file() or (candidate / SPEC_FILE).is_file():
            return candidate.absolute()
    raise ConfigurationError(
        f"{name}={path}: there is neither a policy bundle ({SPEC_FILE}) nor a session "
        f"({CONFIG_FILE}) in it."
    )


def _take_out(session: Path, out: Path) -> None:
    """Have what a session has learned written, by a process that loads torch."""
    out.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tmrl_ros.learning.contenders", f"{session}={out}"],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=TAKE_S,
        check=False,
    )
    if done.returncode:
        lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
        try:
            why = json.loads(lines[-1])["error"]
        except (IndexError, ValueError, KeyError, TypeError):
            why = lines[-1] if lines else f"exit code {done.returncode}"
        raise ConfigurationError(str(why))
