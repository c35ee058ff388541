"""Where a session's console is found: `console.json` in its folder, readable by its owner only.

A console that is started again takes the same port and token, so that open pages find it again.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

FILE = "console.json"


@dataclass(frozen=True)
class SavedAddress:
    """Address of the page, token included, and the process that serves it."""

    url: str
    pid: int

    @property
    def port(self) -> int:
        """Port of the page."""
        return urlsplit(self.url).port or 0

    @property
    def token(self) -> str:
        """Token of the page."""
        return parse_qs(urlsplit(self.url).query).get("token", [""])[0]


def write_address(session: Path, address: SavedAddress) -> None:
    """Replace the file in one step.

    Raises:
        OSError: The folder cannot be written.
    """
    session.mkdir(parents=True, exist_ok=True)
    temporary = session / f".{FILE}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump({"url": address.url, "pid": address.pid}, file)
    temporary.replace(session / FILE)


def read_address(session: Path) -> SavedAddress | None:
    """The file's content, None if there is none or it is damaged."""
    try:
        found = json.loads((session / FILE).read_text())
        address = SavedAddress(str(found["url"]), int(found["pid"]))
        valid = address.port > 0 and len(address.token) >= 16
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address if valid else None
