"""A WebSocket of the emulator without a client: what is really sent, frame by frame."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from durable_responses.emulator.state.billing import Bill
from tests.support.emulator_control import EmulatorControl, RunningEmulator

TURN_ENDS = frozenset({"response.completed", "response.failed", "response.incomplete", "error"})
SLOW = "scenario:think?seconds=60"


def url_of(base_url: str) -> str:
    """The WebSocket under a base URL."""
    return base_url.replace("http", "ws", 1) + "/responses"


class RawSocket:
    """One open WebSocket. Waits at most ten seconds for anything."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def create(self, model: str = "scenario:echo", said: Any = "Hi.", **request: Any) -> None:
        """Ask for a response."""
        await self.connection.send(json.dumps({"type": "response.create", "model": model, "input": said, **request}))

    async def steer(self, response_id: str, said: Any = "Stop.", **fields: Any) -> None:
        """Give a response more input."""
        event = {"type": "response.steer", "previous_response_id": response_id, "input": said, **fields}
        await self.connection.send(json.dumps(event))

    async def event(self, kind: str | None = None) -> dict[str, Any]:
        """The next event, or the next of a kind."""
        async with asyncio.timeout(10):
            while True:
                event: dict[str, Any] = json.loads(await self.connection.recv())
                if kind in (None, event["type"]):
                    return event

    async def end(self) -> dict[str, Any]:
        """The event that ends the turn."""
        while (event := await self.event())["type"] not in TURN_ENDS:
            pass
        return event

    async def answer(self, *args: Any, **request: Any) -> dict[str, Any]:
        """Ask for a response, and the response as it completed."""
        await self.create(*args, **request)
        last = await self.end()
        assert last["type"] == "response.completed", last
        response: dict[str, Any] = last["response"]
        return response

    async def refused(self, *args: Any, **request: Any) -> dict[str, Any]:
        """Ask for a response that is refused; the error."""
        await self.create(*args, **request)
        event = await self.event()
        assert event["type"] == "error", event
        return event


@asynccontextmanager
async def open_socket(emulator: RunningEmulator | str, **options: Any) -> AsyncIterator[RawSocket]:
    """A WebSocket to an emulator, or to the one with this base URL."""
    base_url = emulator if isinstance(emulator, str) else emulator.base_url
    # What a test leaves unread would hold up the closing handshake.
    async with connect(url_of(base_url), proxy=None, max_size=None, **{"close_timeout": 0.1, **options}) as connection:
        yield RawSocket(connection)


async def billed(control: EmulatorControl, condition: Callable[[Bill], bool]) -> Bill:
    """The bill as soon as it fulfils a condition."""
    async with asyncio.timeout(10):
        while not condition(bill := await control.billing()):
            await asyncio.sleep(0.01)
    return bill
