"""Work that needs no running graph: pre-training, and writing a report again."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence

from tmrl_ros.cli.session_folder import SESSIONS, find_session, newest_session, shown
from tmrl_ros.core.errors import ConfigurationError


def pretrain(arguments: Sequence[str]) -> int:
    """Become the pre-training program; `policy=vla` is fine-tuned by another."""
    if any(word in ("policy=vla", "policy:=vla") for word in arguments):
        return _become("tmrl_ros.vla.pretrain", arguments)
    return _become("tmrl_ros.policies.pretrain", arguments)


def export(arguments: Sequence[str]) -> int:
    """Become the program that writes `model.onnx`."""
    return _become("tmrl_ros.policies.onnx_backend", arguments)


def replay(arguments: Sequence[str]) -> int:
    """Become the program that plays a session again."""
    return _become("tmrl_ros.replay.run", arguments)


def vla_server(arguments: Sequence[str]) -> int:
    """Become the program that serves a model."""
    return _become("tmrl_ros.serving.main", arguments)


def replay_words(values: Mapping[str, str]) -> list[str]:
    """What arguments of `launch/replay.launch.py` would be on the command line of `tmrl replay`.

    Raises:
        ConfigurationError: No session is named.
    """
    if not values["session"]:
        raise ConfigurationError("session:= is empty: name the folder of the session to play.")
    found = [values["session"], *shlex.split(values["overrides"])]
    if values["bundle"]:
        found.append(f"task.bundle={values['bundle']}")
    if values["episodes"]:
        found += ["--episodes", values["episodes"]]
    return found


def report(session: str | None) -> int:
    """Write a session's report again, finished or not, and print where it lies."""
    from tmrl_ros.session.report import build_report  # matplotlib

    folder = find_session(session) if session else newest_session()
    if folder is None:
        raise ConfigurationError(f"There is no session in {SESSIONS}/: name a session's folder.")
    build_report(folder)
    print(f"Report: {shown(folder) / 'report.html'}")
    return 0


def _become(module: str, arguments: Sequence[str]) -> int:
    """Replace this process, so that Ctrl-C and the exit code are the other program's."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
