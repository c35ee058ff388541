"""Serves one model over WebSocket, to this project's clients and to openpi's.

One thread runs the model, one request after the other; a connection has at most one request under
way. What a client sends is checked before the model sees it, and answered with one sentence in a
text frame if it is wrong. A request whose client has gone is not begun; what is computed already is
thrown away.
"""

from __future__ import annotations

import asyncio
import http
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tmrl_ros.core.errors import ConfigurationError
from tmrl_ros.serving.access import check_address, is_authorised
from tmrl_ros.serving.codec import CodecError, decode, encode
from tmrl_ros.serving.protocol import (
    VERSION,
    VERSION_KEY,
    Asked,
    Limits,
    ProtocolError,
    check_answer,
    metadata,
    read_request,
)
from tmrl_ros.vla.interface import VlaAnswer, VlaModel, VlaRequest

SEND_S = 10.0  # within which a client must take an answer
PING_S = 20.0
CONNECTIONS = 8
LOG = logging.getLogger("tmrl.vla_server")


@dataclass(frozen=True)
class Settings:
    """Where a server listens and what it takes.

    Attributes:
        host: Interface; anything but loopback needs a token.
        port: 0 for any free one.
        token: Which clients must send as `Authorization: Api-Key <token>`; "" for none.
        limits: Size of a request, samples of an answer.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    limits: Limits = field(default_factory=Limits)


class VlaServer:
    """One model, behind one port; `port` and `connections` say which, and how many ask."""

    def __init__(self, load: Callable[[], VlaModel], settings: Settings) -> None:
        """Nothing is loaded yet.

        Args:
            load: Makes the model; called in the thread that also runs it.
            settings: Where to listen.

        Raises:
            ConfigurationError: Other machines would be let in without a token.
        """
        check_address(settings.host, settings.token)
        self.settings = settings
        self.port = settings.port
        self._load = load
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._model: VlaModel | None = None
        self._first = b""
        self._ready: asyncio.Event | None = None
        self.connections = 0

    async def run(self, started: Callable[[int], None] = lambda port: None) -> None:
        """Listen, load and warm up the model, then answer until cancelled.

        Args:
            started: Called with the port once the model is ready.

        Raises:
            ConfigurationError: The port is taken.
            Exception: What loading the model raised.
        """
        self._ready = asyncio.Event()
        try:
            async with await self._listen() as server:
                self.port = server.sockets[0].getsockname()[1]
                loop = asyncio.get_running_loop()
                self._model = await loop.run_in_executor(self._worker, self._prepare)
                bundle = getattr(self._model, "bundle", None)
                self._first = encode(metadata(self._model.spec, self.settings.limits, bundle))
                self._ready.set()
                started(self.port)
                await loop.create_future()  # until cancelled
        finally:
            self._worker.shutdown(wait=False, cancel_futures=True)

    async def _listen(self) -> Server:
        settings = self.settings
        try:
            return await serve(
                self._handle,
                settings.host,
                settings.port,
                process_request=self._admit,
                origins=[None],  # a page in a browser has one
                compression=None,
                max_size=settings.limits.message_bytes,
                max_queue=1,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=1.0,
                server_header=None,
            )
        except OSError as error:
            raise ConfigurationError(
                f"Nothing can listen on {settings.host}:{settings.port} "
                f"({error.strerror or error}): choose another --host or --port."
            ) from None

    def _prepare(self) -> VlaModel:
        model = self._load()
        started = time.perf_counter()
        model.warm_up()
        LOG.info("%s is warm (%.1f s).", model.spec.name, time.perf_counter() - started)
        return model

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer health checks, refuse strangers; None lets a client in."""
        ready = self._ready is not None and self._ready.is_set()
        if request.path == "/healthz":
            if ready:
                return connection.respond(http.HTTPStatus.OK, "OK\n")
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE, "The model is being loaded.\n"
            )
        said = request.headers.get_all("Authorization")
        if not is_authorised(said[0] if len(said) == 1 else None, self.settings.token):
            return connection.respond(
                http.HTTPStatus.UNAUTHORIZED,
                "This server needs its token: Authorization: Api-Key <token>.\n",
            )
        if self.connections >= CONNECTIONS:
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE, f"{CONNECTIONS} clients are connected.\n"
            )
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        """One client, from its first message to its last."""
        self.connections += 1
        LOG.info("%s has connected.", connection.remote_address)
        try:
            assert self._ready is not None
            await self._ready.wait()
            await self._send(connection, self._first)
            previous_ms: float | None = None
            async for message in connection:
                started = time.perf_counter()
                answer = await self._answer(connection, message, previous_ms)
                if answer is None:
                    break
                await self._send(connection, answer)
                previous_ms = (time.perf_counter() - started) * 1e3
        except ConnectionClosed as error:
            LOG.info("%s: %s.", connection.remote_address, error)
        finally:
            self.connections -= 1
            LOG.info("%s has gone.", connection.remote_address)

    async def _send(self, connection: ServerConnection, answer: bytes | str) -> None:
        """Send, or drop a client that does not take it."""
        try:
            await asyncio.wait_for(connection.send(answer), SEND_S)
        except TimeoutError:
            LOG.warning("%s takes no answer; dropped.", connection.remote_address)
            connection.transport.abort()

    async def _answer(
        self, connection: ServerConnection, message: bytes | str, previous_ms: float | None
    ) -> bytes | str | None:
        """The answer to one message, or None if its client has gone meanwhile."""
        assert self._model is not None
        try:
            if isinstance(message, str):
                raise ProtocolError("Requests are binary msgpack, this is text.")
            asked = read_request(decode(message), self._model.spec, self.settings.limits)
        except (ProtocolError, CodecError) as error:
            LOG.warning("%s asked wrongly: %s", connection.remote_address, error)
            return str(error)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._worker, self._infer, asked, previous_ms)
        closed = loop.create_task(connection.wait_closed())
        try:
            either: set[asyncio.Future[Any]] = {future, closed}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
        if future.done():
            return future.result()
        future.cancel()  # if it has not been begun
        return None

    def _infer(self, asked: Asked, previous_ms: float | None) -> bytes | str:
        """Run the model; what it raises is for the log, and for the client in one sentence."""
        assert self._model is not None
        started = time.perf_counter()
        try:
            answer = joined(self._model, asked)
            check_answer(answer, self._model.spec, asked.request.samples)
        except ValueError as error:
            LOG.warning("A request was not answered: %s", error)
            return str(error)
        except Exception as error:
            LOG.exception("The model has failed")
            return f"The model has failed ({type(error).__name__}); the server's log says why."
        timing = {"infer_ms": (time.perf_counter() - started) * 1e3}
        if previous_ms is not None:
            timing["prev_total_ms"] = previous_ms
        return encode(self._fields(asked, answer, timing))

    def _fields(self, asked: Asked, answer: VlaAnswer, timing: dict[str, float]) -> dict[str, Any]:
        assert self._model is not None
        spec = self._model.spec
        model_ms = {name: float(value) for name, value in answer.timings_ms.items()}
        fields = {"server_timing": timing, "policy_timing": model_ms}
        actions = np.ascontiguousarray(answer.actions, np.float32)
        if asked.plain:
            return {"actions": actions[0], **fields}
        return {
            VERSION_KEY: VERSION,
            "request": asked.number,
            "actions": actions,
            "prefix": np.ascontiguousarray(answer.prefix, np.float32),
            "model_sha256": spec.model_sha256,
            "normalisation_sha256": spec.normalisation_sha256,
            **fields,
        }


@runtime_checkable
class SeededModel(Protocol):
    """A model that makes samples of different context noise in one go."""

    def infer_seeded(self, request: VlaRequest, seeds: NDArray[np.int64]) -> VlaAnswer:
        """As `infer`, with a seed (n,) for every sample."""


def joined(model: VlaModel, asked: Asked) -> VlaAnswer:
    """A model's answer; samples with seeds of their own are asked for together, or by seed."""
    if asked.seeds is not None and isinstance(model, SeededModel):
        return model.infer_seeded(asked.request, asked.seeds)
    parts = list(asked.parts())
    if len(parts) == 1:
        return model.infer(parts[0][1])
    answers = [(rows, model.infer(request)) for rows, request in parts]
    first = answers[0][1]
    actions = np.empty((asked.request.samples, *first.actions.shape[1:]), np.float32)
    timings: dict[str, float] = {}
    for rows, answer in answers:
        actions[rows] = answer.actions
        for name, value in answer.timings_ms.items():
            timings[name] = timings.get(name, 0.0) + value
    return VlaAnswer(actions, first.prefix, timings)


@contextmanager
def running(server: VlaServer, within_s: float = 60.0) -> Iterator[VlaServer]:
    """Run a server in a thread, for as long as the block lasts; it is ready when the block begins.

    Raises:
        Exception: What starting it raised.
    """
    ready, failed = threading.Event(), []
    loop = asyncio.new_event_loop()
    task: list[asyncio.Task[None]] = []

    def work() -> None:
        task.append(loop.create_task(server.run(lambda port: ready.set())))
        try:
            loop.run_until_complete(task[0])
        except asyncio.CancelledError:
            pass
        except Exception as error:
            failed.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=work, name="vla server", daemon=True)
    thread.start()
    try:
        if not ready.wait(within_s):
            raise TimeoutError(f"the server was not ready within {within_s:g} s")
        if failed:
            raise failed[0]
        yield server
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(task[0].cancel)
        thread.join(within_s)
