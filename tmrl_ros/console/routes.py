"""What the console answers: the page's files, its sockets, recordings, and the buttons.

Buttons are `POST` requests, which a browser sends over other connections than the two sockets, so
that a press of stop never queues behind pictures, however many pages are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from tmrl_ros.console.access import Access
from tmrl_ros.console.buttons import Answer, Operator
from tmrl_ros.console.hold import HoldLink
from tmrl_ros.console.lifeline import Lifeline
from tmrl_ros.console.model import ConsoleModel
from tmrl_ros.console.pictures import Pictures
from tmrl_ros.core.errors import OperatorError
from tmrl_ros.session.trimming import trim_episode

PAGE = Path(__file__).parent / "page"
FILES = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "stop.js": "text/javascript",
    "hold.js": "text/javascript",
    "player.js": "text/javascript",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}
STATE_PERIOD_S = 0.2
PICTURE_PERIOD_S = 0.2
ANSWER_S = 3.0
PLAYBACK_S = 60.0
MAX_BODY_BYTES = 4096
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass
class Console:
    """What the server serves.

    Attributes:
        model: State of the graph.
        pictures: Camera pictures.
        operator: The buttons.
        lifeline: Presses stop when the last page is lost, if it is to.
        bags: Folder of the session's bags.
    """

    model: ConsoleModel
    pictures: Pictures
    operator: Operator
    lifeline: Lifeline
    bags: Path


class Routes:
    """The requests that the console knows; all but the constructor runs in the server's loop.

    Args:
        console: What is served.
        access: Who may come in; set again once the port is known.
    """

    def __init__(self, console: Console, access: Access) -> None:
        self.access = access
        self._console = console
        self._changed = asyncio.Event()
        self._sockets: set[web.WebSocketResponse] = set()
        self._files = ThreadPoolExecutor(1, thread_name_prefix="files")

    def application(self) -> web.Application:
        """All of them, behind the guard."""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/", self._index)
        for name in FILES:
            app.router.add_get(f"/{name}", self._file)
        app.router.add_get("/alive", self._alive)
        app.router.add_get("/api/state", self._state)
        app.router.add_get("/api/hold", self._hold)
        app.router.add_get("/api/pictures", self._picture_stream)
        app.router.add_get("/api/log", self._log)
        app.router.add_get("/api/episodes/{episode}", self._playback)
        app.router.add_post("/api/{command}", self._command)
        return app

    def wake(self) -> None:
        """Send the state now rather than at the next turn."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def close_sockets(self) -> None:
        """Say goodbye to every page."""
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY)

    # who may come in

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        refusal = self.access.refusal(request.headers)
        if refusal:
            return _refused(403, refusal)
        needs_token = request.path == "/" or request.path.startswith("/api/")
        if needs_token and not self.access.knows(_token_of(request)):
            return _refused(401, "Open the console with the address that the terminal shows.")
        response: web.StreamResponse = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    # files

    async def _index(self, _: web.Request) -> web.Response:
        return _file(PAGE / "index.html", "text/html")

    async def _file(self, request: web.Request) -> web.Response:
        name = request.path.lstrip("/")
        return _file(PAGE / name, FILES[name])

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="console")

    # what the page shows

    async def _state(self, request: web.Request) -> web.WebSocketResponse:
        """Send the state five times a second; hear the page's pulse and echo it."""
        lifeline = self._console.lifeline
        async with self._socket(request) as socket:
            page = lifeline.join(time.monotonic())
            sender = asyncio.create_task(self._send_state(socket))
            try:
                async for message in socket:
                    if message.type is not WSMsgType.TEXT or len(message.data) > 100:
                        break
                    lifeline.hear(page, time.monotonic())
                    await socket.send_str(json.dumps({"pulse": message.data}))
            finally:
                lifeline.leave(page)
                sender.cancel()
        return socket

    async def _send_state(self, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while not socket.closed:
                changed = self._changed
                state = self._console.model.snapshot(time.monotonic())
                await socket.send_str(json.dumps({"state": state}))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), STATE_PERIOD_S)

    async def _hold(self, request: web.Request) -> web.WebSocketResponse:
        """Hear a page's hold-to-run button; whose connection ends has released it."""
        link, operator = HoldLink(), self._console.operator
        async with self._socket(request) as socket:
            try:
                async for message in socket:
                    if message.type is not WSMsgType.TEXT or len(message.data) > 100:
                        break
                    operator.hold(link.hear(message.data, time.monotonic()))
            except ValueError:  # somebody else's words
                pass
            finally:
                operator.hold(False)
        return socket

    async def _picture_stream(self, request: web.Request) -> web.WebSocketResponse:
        """Send every camera's newest picture: one byte of length, its name, the JPEG file."""
        pictures, seen = self._console.pictures, dict[str, int]()
        async with self._socket(request) as socket:
            pictures.viewers += 1
            try:
                while not socket.closed:
                    for camera, jpeg in pictures.newer(seen):
                        name = camera.encode()
                        await socket.send_bytes(bytes([len(name)]) + name + jpeg)
                    with contextlib.suppress(TimeoutError):  # also notices that the page has gone
                        await socket.receive(PICTURE_PERIOD_S)
            except ConnectionError:
                pass
            finally:
                pictures.viewers -= 1
        return socket

    @contextlib.asynccontextmanager
    async def _socket(self, request: web.Request) -> AsyncIterator[web.WebSocketResponse]:
        socket = web.WebSocketResponse(max_msg_size=MAX_BODY_BYTES, compress=False)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            yield socket
        finally:
            self._sockets.discard(socket)

    async def _log(self, _: web.Request) -> web.Response:
        return web.json_response(self._console.model.log())

    async def _playback(self, request: web.Request) -> web.Response:
        name = request.match_info["episode"]
        bag = self._console.bags / name
        if Path(name).name != name or name.startswith(".") or not bag.is_dir():
            return _refused(404, f"There is no recording of {name!r} in this session.")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tmrl_ros.console.playback", str(bag)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), PLAYBACK_S)
        except TimeoutError:
            return _refused(504, f"Reading the recording of {name} took too long.")
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            text = output.decode(errors="replace").strip()
            return _refused(500, text or f"The recording of {name} cannot be read.")
        return web.Response(body=output, content_type="application/json")

    # buttons

    async def _command(self, request: web.Request) -> web.Response:
        press = self._buttons().get(request.match_info["command"])
        if press is None:
            return _refused(404, "There is no such button.")
        try:
            words = await request.json() if request.can_read_body else {}
            pressed = press(words if isinstance(words, dict) else {})
            answer = await asyncio.wait_for(asyncio.wrap_future(pressed), ANSWER_S)
        except TimeoutError:
            answer = Answer(False, f"No answer within {ANSWER_S:g} s: does the graph run?")
        except (ValueError, KeyError) as error:
            return _refused(400, f"The request is not understood: {error}.")
        body = {"success": answer.success, "message": answer.message}
        return web.json_response(body, status=200 if answer.success else 409)

    def _buttons(self) -> dict[str, Callable[[Mapping[str, Any]], Future[Answer]]]:
        operator = self._console.operator
        return {
            "stop": lambda _: operator.stop(),
            "reset": lambda _: operator.reset(),
            "start": lambda _: operator.start(),
            "pause": lambda _: operator.pause(),
            "label": lambda words: operator.label(
                str(words["outcome"]), str(words.get("episode", ""))
            ),
            "prompt": lambda words: operator.prompt(str(words["text"])),
            "trim": self._trim,
        }

    def _trim(self, words: Mapping[str, Any]) -> Future[Answer]:
        """Cut a recorded episode, which is a line in a file: in a thread, for disks may be slow."""
        episode, decisions = str(words["episode"]), words["decisions"]
        if decisions is not None and type(decisions) is not int:
            raise ValueError(f"decisions {decisions!r} is no whole number")
        session, outcome = self._console.bags.parent, str(words.get("outcome", ""))

        def cut() -> Answer:
            try:
                return Answer(True, trim_episode(session, episode, decisions, outcome=outcome))
            except (OperatorError, OSError) as error:
                return Answer(False, str(error))

        return self._files.submit(cut)


def _token_of(request: web.Request) -> str:
    """From the header for requests, from the address for the page and for sockets."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer":
        return token
    return request.query.get("token", "") if request.method == "GET" else ""


def _file(path: Path, kind: str) -> web.Response:
    return web.Response(body=path.read_bytes(), content_type=kind, charset="utf-8")


def _refused(status: int, why: str) -> web.Response:
    return web.json_response(
        {"success": False, "message": why}, status=status, headers=dict(HEADERS)
    )
