"""The console's web server: a thread with an event loop of its own that never waits for the node.

What it answers is in `routes`. It also watches the pages, and presses stop when the last is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from aiohttp import web

from tmrl_ros.console.access import Access
from tmrl_ros.console.routes import Console, Routes
from tmrl_ros.core.errors import OperatorError

LIFELINE_PERIOD_S = 0.05
START_S = 10.0


class ConsoleServer:
    """Serves the page from a thread of its own.

    Args:
        console: What it serves.
        address: Interface to listen on.
        ports: Tried in order; 0 is any free one.
        token: What a page must know.
        say: Told what went wrong, from the server's thread.
    """

    def __init__(
        self,
        console: Console,
        *,
        address: str,
        ports: tuple[int, ...],
        token: str,
        say: Callable[[str], None],
    ) -> None:
        self._console = console
        self._address = address
        self._ports = ports
        self._token = token
        self._say = say
        self._loop = asyncio.new_event_loop()
        self._ready: Future[int] = Future()
        self._stop = asyncio.Event()
        self._routes = Routes(console, Access(token, address, 0))
        self._thread = threading.Thread(target=self._run, name="console server", daemon=True)

    def start(self) -> str:
        """Start the thread; returns the page's address.

        Raises:
            OperatorError: No port is free.
        """
        self._thread.start()
        port = self._ready.result(START_S)
        host = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{host}:{port}/?token={self._token}"

    def close(self) -> None:
        """End the thread and close all connections."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(3.0)

    def wake(self) -> None:
        """Send the state now rather than at the next turn; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._routes.wake)

    # the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            else:
                self._say(f"The console's server has failed: {error!r}")
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        runner = web.AppRunner(self._routes.application(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            port = await self._listen(runner)
            self._routes.access = Access(self._token, self._address, port)
            self._ready.set_result(port)
            watch = asyncio.create_task(self._watch_pages())
            await self._stop.wait()
            watch.cancel()
            await self._routes.close_sockets()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> int:
        for port in self._ports:
            site = web.TCPSite(runner, self._address, port, reuse_address=True)
            try:
                await site.start()
            except OSError:
                continue
            return int(runner.addresses[0][1])
        raise OperatorError(
            f"The console cannot listen on {self._address}, ports {self._ports}: name a free one "
            "with session.console_port."
        )

    async def _watch_pages(self) -> None:
        """Press stop when the last page is lost and the configuration wants that."""
        while True:
            await asyncio.sleep(LIFELINE_PERIOD_S)
            if self._console.lifeline.is_lost(time.monotonic()):
                self._say("The last page of the console is lost: pressing the software stop.")
                self._console.operator.stop()
