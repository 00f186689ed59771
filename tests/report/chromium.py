"""A real headless Chromium, driven through its DevTools: a page is loaded, asked and looked at, its requests kept."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip
Answer = TypeVar("Answer")


def executable() -> str:
    """Where Chromium is; the test is skipped where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path")
    return found


class Chromium:
    """A browser, for any number of pages: it takes longer to start than to draw most of them."""

    def __init__(self, profile: Path) -> None:
        command = [executable(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._profile, self._process = profile, subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            self.address = f"http://127.0.0.1:{self._port()}"
        except BaseException:
            self.close()
            raise

    def _port(self) -> int:
        """Waits for the port on which the browser listens."""
        told, deadline = self._profile / "DevToolsActivePort", time.monotonic() + 60
        while not (told.is_file() and "\n" in told.read_text()):
            assert self._process.poll() is None, "the browser has ended"
            assert time.monotonic() < deadline, "the browser does not listen"
            time.sleep(0.05)
        return int(told.read_text().split()[0])

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)


class Page:
    """One page of a browser, loaded and settled.

    Attributes:
        requests: URLs asked for, without their data.
        complaints: errors and warnings on the console, exceptions, and what the page's policy refused.
    """

    def __init__(self, browser: Chromium, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        aiohttp = pytest.importorskip("aiohttp", reason="aiohttp speaks to the browser")
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._numbers = itertools.count(1)
        self._address = browser.address
        self._loop = asyncio.new_event_loop()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()
        try:
            self._run(self._connect(aiohttp, width, height, dark))
        except BaseException:
            self.close()
            raise

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self._loop.run_until_complete(asyncio.wait_for(work, 60))

    async def _connect(self, aiohttp: Any, width: int, height: int, dark: bool) -> None:
        self._session = aiohttp.ClientSession()
        async with self._session.put(f"{self._address}/json/new?about:blank") as answer:
            target = await answer.json()
        self._target = target["id"]
        self._socket = await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        self._reader = self._loop.create_task(self._read())
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self._send(f"{domain}.enable")
        await self._send("Emulation.setFocusEmulationEnabled", enabled=True)  # a page behind others draws nothing
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._send("Emulation.setEmulatedMedia", features=[scheme])

    async def _read(self) -> None:
        async for message in self._socket:
            content = message.json()
            if "id" in content:
                self._waiting.pop(content["id"]).set_result(content)
            else:
                self._hear(content["method"], content["params"])

    def _hear(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"].partition(",")[0])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(a.get("value", a)) for a in told["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif method == "Page.loadEventFired":
            self._loaded.set()

    async def _send(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._waiting[number] = self._loop.create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await self._waiting[number]
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path) -> None:
        """Load a file from disk and wait until it is there."""
        self._loaded.clear()
        self._run(self._send("Page.navigate", url=path.resolve().as_uri()))
        self._run(self._loaded.wait())

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited where it is a promise."""
        options = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self._run(self._send("Runtime.evaluate", **options))
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_until(self, expression: str, seconds: float = 30.0) -> None:
        """Wait for a JavaScript expression to become true."""
        end = time.monotonic() + seconds
        while not self.ask(expression):
            assert time.monotonic() < end, f"never came true: {expression}"
            self._run(asyncio.sleep(0.05))

    def media(self, name: str) -> None:
        """Show the page as for "print" or "screen"."""
        self._run(self._send("Emulation.setEmulatedMedia", media=name))

    def screenshot(self, path: Path, selector: str | None = None) -> None:
        """A PNG of the window, or of a whole element."""
        options: dict[str, Any] = {"format": "png"}
        if selector is not None:
            box = self.ask(
                f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
                "return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1}; })()"
            )
            options |= {"clip": box, "captureBeyondViewport": True}
        path.write_bytes(base64.b64decode(self._run(self._send("Page.captureScreenshot", **options))["data"]))

    def pdf(self, path: Path) -> None:
        """The page printed."""
        options = {"preferCSSPageSize": True, "printBackground": True}
        path.write_bytes(base64.b64decode(self._run(self._send("Page.printToPDF", **options))["data"]))

    async def _disconnect(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()
        async with self._session.get(f"{self._address}/json/close/{self._target}"):
            pass
        await self._session.close()
        await asyncio.sleep(0.05)  # aiohttp lets go of its sockets in the loop's next rounds

    def close(self) -> None:
        """Close the page."""
        if hasattr(self, "_reader"):
            self._run(self._disconnect())
        self._loop.close()
