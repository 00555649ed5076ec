"""A headless Chromium, driven by the Chrome DevTools Protocol over its WebSocket: no further package is needed.

https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import base64
import itertools
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from durable_responses.settings import SetupError, child_environment

WIDTH, HEIGHT = 1440, 900
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 60.0
# `innerText` leaves out the labels of drawings.
_SHOWN_TEXT = (
    "[document.body?.innerText ?? '', ...[...document.querySelectorAll('svg text')].map(each => each.textContent)]"
    ".join(' ')"
)


class ChromiumMissing(SetupError):
    """There is no Chromium."""


class Page:
    """The one page of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    async def show(self, url: str, text: str) -> None:
        """Open a page and wait until it shows a text. Raises `TimeoutError`."""
        await self._command("Page.navigate", url=url)
        await self.wait_for(text)

    async def wait_for(self, text: str) -> None:
        """Wait until the page shows a text. Raises `TimeoutError`."""
        await self.wait_until(f"{_SHOWN_TEXT}.includes({json.dumps(text)})")

    async def wait_until(self, condition: str) -> None:
        """Wait until an expression is true in the page. Raises `TimeoutError`."""
        give_up = time.monotonic() + _PATIENCE
        while not await self.evaluate(condition):
            if time.monotonic() > give_up:
                raise TimeoutError(f"Never true in the page: {condition}; it shows {await self.evaluate(_SHOWN_TEXT)}")
            await asyncio.sleep(0.1)

    async def click(self, label: str) -> None:
        """Press the button with this text."""
        buttons = "[...document.querySelectorAll('button')]"
        await self.evaluate(f"{buttons}.find(each => each.innerText.trim() === {json.dumps(label)}).click()")

    async def replace(self, text: str, by: str) -> None:
        """Show another text wherever the page shows this one."""
        walk = "document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)"
        put = f"walk.currentNode.data = walk.currentNode.data.replaceAll({json.dumps(text)}, {json.dumps(by)})"
        await self.evaluate(f"{{ const walk = {walk}; while (walk.nextNode()) {put}; }}")

    async def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = await self._command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    async def take(self, height: int) -> bytes:
        """What the page shows, so many pixels high, as PNG."""
        size = {"width": WIDTH, "height": height}
        await self._command("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)
        await asyncio.sleep(1)  # its transitions
        answer = await self._command("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def _command(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(_PATIENCE):
            async for message in self._connection:
                answer = json.loads(message)
                if answer.get("id") == number:
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']['message']}")
                    result: dict[str, Any] = answer["result"]
                    return result
        raise RuntimeError(f"Chromium ended during {method}.")


@asynccontextmanager
async def chromium() -> AsyncIterator[Page]:
    """A browser with one page; it ends with the block. Raises `ChromiumMissing`."""
    program = find_chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(program, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}"),
            *("--hide-scrollbars", "--disable-gpu", "--no-first-run", f"--window-size={WIDTH},{HEIGHT}"),
            # The sandbox refuses to run as root.
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                url = await _page_of(process)
            async with connect(url, max_size=None, proxy=None) as connection:
                yield Page(connection)
        finally:
            process.kill()
            await process.wait()


def find_chromium() -> str:
    """The path of a Chromium. Raises `ChromiumMissing`."""
    path = child_environment().get("PATH")
    for name in _PROGRAMS:
        if program := shutil.which(name, path=path):
            return program
    raise ChromiumMissing("No Chromium was found: install it (Debian: `apt-get install chromium`).")


async def _page_of(process: asyncio.subprocess.Process) -> str:
    """The WebSocket of the page; Chromium writes on standard error where it listens."""
    assert process.stderr is not None
    async for line in process.stderr:
        if match := re.search(rb"listening on ws://([^/]+)/", line):
            break
    else:
        raise RuntimeError("Chromium ended before it listened.")
    async with httpx.AsyncClient(trust_env=False) as http:
        targets = (await http.get(f"http://{match[1].decode()}/json/list")).json()
    return next(str(target["webSocketDebuggerUrl"]) for target in targets if target["type"] == "page")
