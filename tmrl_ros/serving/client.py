"""Asks a policy server, one request at a time; after a time-out the connection is closed.

So an answer that comes late has nowhere to arrive, and can never be taken for the answer to a later
request. The next request connects anew.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import Float32Array
from tmrl_ros.serving.codec import CodecError, decode, encode
from tmrl_ros.serving.protocol import (
    VERSION,
    VERSION_KEY,
    Offer,
    ProtocolError,
    check_answer,
    read_offer,
)
from tmrl_ros.vla.interface import VlaAnswer, VlaRequest

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
MAX_ANSWER = 64 * 2**20


class UnansweredError(OperatorError):
    """The server does not answer, or not in time: it may answer when it is asked again."""


class RefusedError(OperatorError):
    """The server answers that it will not; asking again is of no use."""


@dataclass(frozen=True)
class Answer:
    """What the model made of a request, and what the server says about that.

    Attributes:
        answer: Actions, prefix, and the model's own times.
        server_ms: Times of the server: `infer_ms`, and `prev_total_ms` from the second request on.
        round_trip_ms: From the request to the answer, as measured here.
    """

    answer: VlaAnswer
    server_ms: dict[str, float] = field(default_factory=dict)
    round_trip_ms: float = 0.0


class VlaClient:
    """A connection that is made when it is needed."""

    def __init__(self, url: str, *, token: str = "", timeout_s: float = 2.0) -> None:
        """Connects to nothing yet.

        Args:
            url: `ws://gpu-pc:8000`, or `wss://`.
            token: Sent as `Authorization: Api-Key <token>`; "" for none.
            timeout_s: Of one request, from sending it to its answer.

        Raises:
            OperatorError: The address is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise OperatorError(f"policy.url={url!r} is no address like ws://gpu-pc:8000.")
        self.url, self.timeout_s = url, timeout_s
        self._headers = {"Authorization": f"Api-Key {token}"} if token else None
        self._connection: ClientConnection | None = None
        self._metadata: dict[str, Any] = {}
        self._offer: Offer | None = None
        self._known = False
        self._number = 0

    @property
    def offer(self) -> Offer | None:
        """What the server offers; None if it is openpi's, which takes an observation alone."""
        return self._offer

    @property
    def server_metadata(self) -> dict[str, Any]:
        """The server's first message as it came."""
        return self._metadata

    def connect(self, within_s: float) -> None:
        """Connect, with pauses that double while nobody listens; do nothing if connected.

        Raises:
            UnansweredError: Nobody answered within that time.
            RefusedError: The token is wrong, or another model is served than before.
        """
        deadline, pause_s = time.monotonic() + within_s, FIRST_PAUSE_S
        while self._connection is None:
            left_s = deadline - time.monotonic()
            try:
                self._open(max(left_s, 0.05))
            except UnansweredError as error:
                if time.monotonic() + pause_s >= deadline:
                    raise UnansweredError(f"{error} (tried for {within_s:g} s)") from None
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def infer(self, request: VlaRequest, seeds: list[int] | None = None) -> Answer:
        """Ask a server of this project.

        Args:
            request: What to answer.
            seeds: Of the context noise, one per sample, where they differ.

        Raises:
            UnansweredError: No answer within `timeout_s`; the connection is closed.
            RefusedError: The server or the model refuses the request, in its own words.
        """
        self.connect(self.timeout_s)
        if self._offer is None:
            raise RefusedError(f"{self.url} is an openpi server: it takes an observation alone.")
        self._number += 1
        fields = {
            VERSION_KEY: VERSION,
            "request": self._number,
            "images": request.images,
            "state": request.state,
            "prompt": request.prompt,
            "noise": request.noise,
            "t_context": request.t_context,
            "context_seed": seeds if seeds is not None else request.context_seed,
            "committed": request.committed,
            "samples": request.samples,
        }
        started = time.perf_counter()
        found = self._exchange({name: value for name, value in fields.items() if value is not None})
        round_trip_ms = (time.perf_counter() - started) * 1e3
        try:
            if found.get("request") != self._number:
                raise ProtocolError("it is the answer to another request")
            answer = _answer(found)
            check_answer(answer, self._offer.spec, request.samples)
        except ProtocolError as error:
            self.close()
            raise UnansweredError(f"{self.url} gave an answer of no use: {error}.") from None
        return Answer(answer, _times(found.get("server_timing")), round_trip_ms)

    def infer_plain(self, observation: dict[str, Any]) -> Answer:
        """Ask in openpi's way: one observation, one chunk (1, H, A).

        Raises:
            UnansweredError: No answer within `timeout_s`; the connection is closed.
            RefusedError: The server's own words about an error; openpi's closes the connection.
        """
        self.connect(self.timeout_s)
        started = time.perf_counter()
        found = self._exchange(observation)
        round_trip_ms = (time.perf_counter() - started) * 1e3
        try:
            actions = _float_array(found, "actions")
            if actions.ndim != 2 or not actions.size or not np.isfinite(actions).all():
                raise ProtocolError(f"actions of shape {actions.shape}, or not finite")
        except ProtocolError as error:
            self.close()
            raise UnansweredError(f"{self.url} gave an answer of no use: {error}.") from None
        answer = VlaAnswer(actions[None], timings_ms=_times(found.get("policy_timing")))
        return Answer(answer, _times(found.get("server_timing")), round_trip_ms)

    def close(self) -> None:
        """Drop the connection at once; whatever is under way on it is lost."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError, WebSocketException):
            connection.close()

    def _open(self, within_s: float) -> None:
        try:
            connection = connect(
                self.url,
                additional_headers=self._headers,
                compression=None,
                max_size=MAX_ANSWER,
                open_timeout=within_s,
                close_timeout=1.0,
                proxy=None,
                legacy=True,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            said = bytes(error.response.body or b"").decode(errors="replace").strip()
            sentence = f"{self.url} refuses ({status}): {said[:200] or 'no reason given'}"
            if status >= 500:
                raise UnansweredError(sentence) from None
            remedy = " Set policy.token_file." if status == HTTPStatus.UNAUTHORIZED else ""
            raise RefusedError(f"{sentence}{remedy}") from None
        except ConnectionRefusedError:
            raise UnansweredError(
                f"Nobody listens at {self.url}; start `tmrl vla-server` there"
            ) from None
        except ssl.SSLError as error:
            raise RefusedError(f"{self.url} cannot be trusted: {error.reason}.") from None
        except (OSError, WebSocketException, TimeoutError, EOFError) as error:
            raise UnansweredError(f"{self.url} does not answer: {_short(error)}") from None
        self._connection = connection
        # A send to a server that reads no more would block for ever.
        limit = struct.pack("ll", int(self.timeout_s) + 1, 0)
        with suppress(OSError):
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._take_offer(self._receive(within_s, round(within_s, 1)))

    def _take_offer(self, message: dict[str, Any]) -> None:
        """Keep what the server says first; a reconnection must find the same model."""
        try:
            offer = read_offer(message)
        except ProtocolError as error:
            self.close()
            raise RefusedError(f"{self.url} cannot be used: {error}.") from None
        if self._known and (before := self._offer) != offer:
            self.close()
            names = [item.spec.name if item is not None else "openpi" for item in (before, offer)]
            raise RefusedError(
                f"{self.url} now serves another model or other settings ({names[1]}, before "
                f"{names[0]}): serve the same again, or start the session anew."
            )
        self._offer, self._metadata, self._known = offer, message, True

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one message and wait for its answer, both within `timeout_s`."""
        assert self._connection is not None
        deadline = time.monotonic() + self.timeout_s
        try:
            data = encode(message)
        except CodecError as error:
            raise RefusedError(f"The request cannot be sent: {error}.") from None
        try:
            self._connection.send(data)
        except (ConnectionClosed, OSError) as error:
            self.close()
            raise UnansweredError(f"{self.url} broke off: {_short(error)}.") from None
        return self._receive(deadline - time.monotonic(), self.timeout_s)

    def _receive(self, left_s: float, within_s: float) -> dict[str, Any]:
        assert self._connection is not None
        try:
            message = self._connection.recv(timeout=max(left_s, 1e-3))
        except TimeoutError:
            self.close()
            raise UnansweredError(
                f"{self.url} did not answer within {within_s:g} s; the connection is closed, so "
                "that a late chunk cannot arrive."
            ) from None
        except (ConnectionClosed, OSError) as error:
            self.close()
            raise UnansweredError(f"{self.url} broke off: {_short(error)}.") from None
        if isinstance(message, str):
            if self._offer is None:  # openpi's server closes after an error
                self.close()
            raise RefusedError(f"{self.url} says: {_last_line(message)}")
        try:
            found = decode(message)
        except CodecError as error:
            self.close()
            raise UnansweredError(f"{self.url} gave an answer of no use: {error}.") from None
        if not isinstance(found, dict):
            self.close()
            raise UnansweredError(f"{self.url} gave {type(found).__name__}, not a map of fields.")
        return found


def _answer(found: dict[str, Any]) -> VlaAnswer:
    return VlaAnswer(
        _float_array(found, "actions"),
        _float_array(found, "prefix"),
        _times(found.get("policy_timing")),
    )


def _float_array(found: dict[str, Any], key: str) -> Float32Array:
    value = found.get(key)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise ProtocolError(f"it has no array {key!r}")
    array: Float32Array = value.astype(np.float32)
    return array


def _times(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        return {}
    return {str(k): float(v) for k, v in value.items() if isinstance(v, int | float | np.floating)}


def _last_line(text: str) -> str:
    """The last line says what is wrong, in a sentence of ours and in a traceback of openpi's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "nothing")[:400]


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]
