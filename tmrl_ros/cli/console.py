"""`tmrl console`: join a running graph with a page, or say where its page is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tmrl_ros.cli.session_folder import CONFIG_FILE, find_session, newest_session
from tmrl_ros.console.address import SavedAddress, read_address
from tmrl_ros.core.config import Config
from tmrl_ros.core.environment import node_environment
from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.core.load import change_config, read_config, write_config
from tmrl_ros.core.parent import end_with_parent

MODULE = "tmrl_ros.nodes.console"
MAY_CHANGE = (
    "session.domain_id",
    "session.localhost_only",
    "session.console_address",
    "session.console_port",
    "session.console_latch_s",
)
ALIVE_S = 1.0
START_S = 60.0
POLL_S = 0.1


def console(overrides: Sequence[str], session: str | None) -> int:
    """Print the address of the session's page; serve it if nobody does, until Ctrl-C.

    Args:
        overrides: Keys of `MAY_CHANGE`, for a page that is served from here.
        session: Whose graph; by default the newest one that runs in `sessions/`.

    Raises:
        ConfigurationError: No graph runs, or an override is wrong.
    """
    folder = find_session(session) if session else newest_session(running=True)
    if folder is None:
        raise ConfigurationError("No graph runs here: start one, or name its --session.")
    config = change_config(read_config(folder / CONFIG_FILE), overrides, MAY_CHANGE)
    address = live_address(folder)
    if address is not None:
        print(f"Console: {address.url}")
        return 0
    with tempfile.TemporaryDirectory(prefix="tmrl-console-") as changed:
        file = Path(changed) / CONFIG_FILE
        session_config = config.session.model_copy(update={"dir": folder})
        write_config(config.model_copy(update={"session": session_config}), file)
        return _serve(config, folder, file)


def live_address(folder: Path) -> SavedAddress | None:
    """Address of a session's page if it is served now."""
    address = read_address(folder)
    if address is None or not Path(f"/proc/{address.pid}").exists():
        return None
    alive = address.url.partition("?")[0] + "alive"
    with contextlib.suppress(URLError, OSError), urlopen(alive, timeout=ALIVE_S) as reply:
        return address if reply.status == 200 else None
    return None


class Announcement:
    """Tells the page's address once, as soon as a process of the run serves it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told = ""

    def news(self, pid: int | None) -> str:
        """Address of the page that process `pid` serves, if it has not been told yet."""
        address = read_address(self._folder) if pid is not None else None
        if address is None or address.pid != pid or address.url == self._told:
            return ""
        self._told = address.url
        return address.url


def _serve(config: Config, folder: Path, file: Path) -> int:
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, "--ros-args", "-p", f"config_file:={file}"],
        env={**os.environ, **node_environment(config)},
        preexec_fn=partial(end_with_parent, os.getpid()),
    )
    announcement = Announcement(folder)
    deadline = time.monotonic() + START_S
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if url := announcement.news(process.pid):
                print(f"Console: {url}", flush=True)
                return process.wait()
            time.sleep(POLL_S)
        return process.poll() or 1
    finally:
        process.terminate()
        process.wait()
