"""Who may ask a policy server: this machine, or others with the token."""

from __future__ import annotations

import hmac
import ipaddress
from pathlib import Path

from tmrl_ros.core.errors import ConfigurationError

SCHEMES = ("api-key", "bearer")  # openpi's client sends the first
SHORTEST = 16


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        ConfigurationError: There is none, or it is too short or has blanks in it.
    """
    make = f"Make one with `openssl rand -hex 24 > {path}; chmod 600 {path}`."
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"The token file {path} cannot be read ({why}). {make}") from None
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"The token in {path} must be one word of at least {SHORTEST} letters. {make}"
        )
    return token


def is_authorised(header: str | None, token: str) -> bool:
    """Whether an `Authorization` header carries the token; any does where there is none."""
    if not token:
        return True
    scheme, _, said = (header or "").partition(" ")
    same = hmac.compare_digest(said.strip().encode(), token.encode())
    return same and scheme.lower() in SCHEMES


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server on that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, token: str) -> None:
    """Refuse to serve other machines without a token.

    Raises:
        ConfigurationError: In one sentence.
    """
    if not token and not is_loopback(host):
        raise ConfigurationError(
            f"host {host} lets other machines ask, and there is no token: give --token-file, or "
            "leave --host away to serve this machine alone."
        )
