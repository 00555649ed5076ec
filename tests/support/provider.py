"""A provider that says, byte by byte, what a test tells it to, and remembers what it was asked."""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Then(Enum):
    """What the provider does with the connection after its answer."""

    KEEP = auto()  # waits for the next request
    CLOSE = auto()
    RESET = auto()
    HOLD = auto()  # says nothing more, until the client leaves
    DRIP = auto()  # sends a byte now and then, until the client leaves


@dataclass(frozen=True)
class Answer:
    """The bytes of one answer and what follows them; it comes `once` something has happened."""

    data: bytes = b""
    then: Then = Then.KEEP
    once: asyncio.Event | None = None


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; `connection` counts from 1."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answer(body: Any, status: int = 200, then: Then = Then.KEEP, **headers: str) -> Answer:
    """A whole HTTP answer. `body` is JSON, or bytes as they are; `_` in header names stands for `-`."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Any", f"content-length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Answer("\r\n".join([*lines, "", ""]).encode() + data, then)


def event_stream(*events: dict[str, Any] | str, then: Then = Then.CLOSE) -> Answer:
    """The beginning of an event stream; a text stands for itself."""
    text = "".join(
        event if isinstance(event, str) else f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
        for event in events
    )
    return Answer(f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{text}".encode(), then)


@dataclass
class Provider:
    """Gives the answers one after the other, over however many connections the requests come; or by a rule."""

    port: int = 0
    answers: deque[Answer] = field(default_factory=deque)
    rule: Callable[[Asked], Answer] | None = None
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    client_left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def will(self, *answers: Answer) -> None:
        self.answers.extend(answers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while (asked := await _read_request(reader, number)) is not None:
                self.asked.append(asked)
                reply = self.rule(asked) if self.rule else self.answers.popleft()
                if reply.once is not None:
                    await reply.once.wait()
                writer.write(reply.data)
                if reply.then is not Then.KEEP:
                    await self._end(reply.then, reader, writer)
                    return
        except ConnectionError:
            self.client_left.set()
        finally:
            writer.close()

    async def _end(self, then: Then, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if then is Then.RESET:
            await writer.drain()
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        while then in (Then.HOLD, Then.DRIP):
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.02 if then is Then.DRIP else None)
                self.client_left.set()
                return
            writer.write(b"x")


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = head.decode().split("\r\n")[:-2]
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = start.split(" ")
    return Asked(connection, method, target, headers, body)


@asynccontextmanager
async def running(provider: Provider) -> AsyncIterator[Provider]:
    """Run it on a free port of this machine."""
    server = await asyncio.start_server(provider.serve, "127.0.0.1")
    provider.port = server.sockets[0].getsockname()[1]
    async with server:
        yield provider
