"""A headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_S = 180.0  # keeps a broken test from hanging; nothing is measured by it


def find_browser() -> str | None:
    """Path of a Chromium, if one is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab of a browser of its own."""

    def __init__(self, folder: Path, url: str, width: int = 1280, height: int = 800) -> None:
        argv = [
            find_browser() or "chromium",
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-dev-shm-usage", "--disable-background-networking", "--mute-audio"),
            *("--remote-debugging-port=0", "--remote-allow-origins=*", "--hide-scrollbars"),
            f"--user-data-dir={folder}",
            f"--window-size={width},{height}",
            "about:blank",
        ]
        log = (folder.parent / f"{folder.name}.log").open("wb")
        self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.errors: list[str] = []
        self._number = 0
        port = self._port(folder / "DevToolsActivePort")
        with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE_S) as reply:
            tabs = json.load(reply)
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        opened = connect(address, max_size=None, open_timeout=PATIENCE_S, ping_interval=None)
        self._open = contextlib.ExitStack()
        self.socket = self._open.enter_context(opened)
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.resize(width, height)
        self.open(url)

    def _port(self, file: Path) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError, IndexError):
                return int(file.read_text().splitlines()[0])
            assert self.process.poll() is None, "the browser has ended"
            time.sleep(0.05)
        raise AssertionError("the browser does not open its DevTools port")

    def ask(self, method: str, **params: object) -> dict:
        """Send a command of the protocol and return its result."""
        self._number += 1
        self.socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=PATIENCE_S))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict) -> None:
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(message["params"]["exceptionDetails"]))

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Give the page a size in CSS pixels."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def open(self, url: str) -> None:
        """Go to an address and wait until its page is there."""
        self.ask("Page.navigate", url=url)
        self.until("location.protocol == 'http:' && document.readyState == 'complete'", url)

    def evaluate(self, expression: str) -> object:
        """Value of a JavaScript expression."""
        found = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        """Text of the first element that a selector finds."""
        words = json.dumps(selector)
        return str(self.evaluate(f"document.querySelector({words})?.textContent ?? ''"))

    def until(self, expression: str, what: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element, as a hand would."""
        words = json.dumps(selector)
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({words}); e.scrollIntoView({{block: "
            "'nearest'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        x, y = box
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press_space(self) -> None:
        """Press and release the space bar."""
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                code="Space",
                key=" ",
                text=" " if kind == "keyDown" else "",
                windowsVirtualKeyCode=32,
            )

    def screenshot(self, file: Path) -> None:
        """Save what the page looks like."""
        found = self.ask("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(WebSocketException, OSError, TimeoutError):
            self.ask("Browser.close")
        self._open.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5.0)
        self.process.kill()
        self.process.wait()
