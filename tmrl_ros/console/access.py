"""Who may talk to the console: somebody with the token, from our own page, under our own name.

A page of another site can send requests to 127.0.0.1 too, and can make its own name point there
(DNS rebinding). So every request must name this server in `Host`, every request with an `Origin`
must come from the page served here, and everything but the page's files needs the token.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN_BYTES = 24


def new_token() -> str:
    """A token that nobody guesses, fit for a URL."""
    return secrets.token_urlsafe(TOKEN_BYTES)


@dataclass(frozen=True)
class Access:
    """Decides about requests.

    Attributes:
        token: What the page's address carries.
        address: Address the server listens on; beyond loopback only if configured so.
        port: Its port.
    """

    token: str
    address: str
    port: int

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Why a request of any kind is refused, as a sentence; "" if it is not.

        Args:
            headers: Of the request, names in any case.
        """
        host = headers.get("Host", "")
        if not self._is_ours(host):
            return f"This server is not called {host!r}."
        origin = headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            return f"Commands come from the console's own page, not from {origin!r}."
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return "Commands come from the console's own page, not from another site."
        return ""

    def knows(self, token: str) -> bool:
        """Whether a token is the right one, in constant time."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def _is_ours(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        name = name.strip("[]").lower()
        if port != str(self.port) or not name:
            return False
        if name in LOOPBACK or name == self.address:
            return True
        return _is_any(self.address) and _is_address(name)


def _is_any(address: str) -> bool:
    """Whether a server on this address listens on every interface."""
    return address in ("0.0.0.0", "::")


def _is_address(name: str) -> bool:
    """Whether a host is a bare address, which no foreign name server can redirect."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
