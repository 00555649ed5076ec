"""A WebSocket server that plays a script, one for each connection, and the clock that its tests turn by hand."""

import asyncio
import http
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from durable_responses.responses_api.websocket_connection import Timer


async def until(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    """Wait for a state of this process, with a bound."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


class Peer:
    """The server's side of one connection."""

    _ids = itertools.count(1)

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.heard: list[dict[str, Any]] = []

    async def hear(self) -> dict[str, Any]:
        """The next event of the client."""
        event: dict[str, Any] = json.loads(await self.connection.recv())
        self.heard.append(event)
        return event

    async def tell(self, *events: dict[str, Any] | str | bytes) -> None:
        """Send events, or raw text and bytes as they are."""
        for event in events:
            await self.connection.send(json.dumps(event) if isinstance(event, dict) else event)

    async def created(self, response_id: str, **fields: Any) -> None:
        await self.tell(lifecycle("created", response_id, status="in_progress", **fields))

    async def text(self, text: str = "Hi") -> None:
        await self.tell({"type": "response.output_text.delta", "item_id": "msg", "delta": text})

    async def completed(self, response_id: str, **fields: Any) -> None:
        await self.tell(lifecycle("completed", response_id, **fields))

    async def answer(self, response_id: str | None = None, **fields: Any) -> str:
        """Hear a create and answer it with a whole response."""
        create = await self.hear()
        response_id = response_id or f"resp_{next(self._ids)}"
        fields = {"store": create.get("store", True), **fields}
        await self.created(response_id, **fields)
        await self.text()
        await self.completed(response_id, **fields)
        return response_id

    async def gone(self) -> None:
        """Wait until the client has left."""
        await self.connection.wait_closed()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self.connection.transport.abort()


def lifecycle(kind: str, response_id: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": {"id": response_id, "status": kind, **fields}}


def error(code: str, status: int | None = 400) -> dict[str, Any]:
    return {
        "type": "error",
        "status": status,
        "error": {"type": "invalid_request_error", "code": code, "message": "no"},
    }


Script = Callable[[Peer], Awaitable[object]]


async def answers(peer: Peer) -> None:
    """The script of a server that answers every create."""
    while True:
        await peer.answer()


async def silence(peer: Peer) -> None:
    """The script of a server that hears everything and says nothing."""
    while True:
        await peer.hear()


def refusal(status: int, body: str = "", **headers: str) -> Response:
    """A handshake's answer other than 101; `_` in header names stands for `-`."""
    content = body.encode()
    fields = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    fields["Content-Length"] = str(len(content))
    fields["Connection"] = "close"
    return Response(status, http.HTTPStatus(status).phrase, fields, content)


@dataclass
class Server:
    """What the server did. Scripts are played in order; when none is left, every create is answered."""

    url: str = ""
    scripts: list[Script | Response] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    _playing: dict[int, Script] = field(default_factory=dict)

    def will(self, *scripts: Script | Response) -> None:
        """Play these on the next connections."""
        self.scripts += scripts

    async def peer(self, number: int = 1) -> Peer:
        """The connection of this number, from 1, as soon as there is one."""
        await until(lambda: len(self.peers) >= number)
        return self.peers[number - 1]

    @property
    def open(self) -> int:
        """How many connections are open."""
        return sum(peer.connection.close_code is None for peer in self.peers)

    def _on_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        script = self.scripts.pop(0) if self.scripts else answers
        if isinstance(script, Response):
            return script
        self._playing[id(connection)] = script
        return None

    async def _on_connection(self, connection: ServerConnection) -> None:
        peer = Peer(connection)
        self.peers.append(peer)
        try:
            await self._playing.pop(id(connection))(peer)
        except ConnectionClosed:
            pass
        except Exception as failure:
            self.failures.append(failure)
            raise


@asynccontextmanager
async def running(tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Server]:
    """A server on a port of its own."""
    server = Server()
    options = {"ping_interval": None, "close_timeout": 0.2, "max_size": None, **options}
    async with serve(
        server._on_connection,
        "127.0.0.1",
        0,
        process_request=server._on_request,
        ssl=tls,
        **options,
    ) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        server.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/v1/responses"
        yield server
        for peer in server.peers:
            peer.abort()
    if server.failures:
        raise server.failures[0]


# --- time ---------------------------------------------------------------------------------------------------------


class ManualTimer:
    """A timer of a `ManualClock`."""

    def __init__(self, when: float, callback: Callable[[], object], timers: list["ManualTimer"]) -> None:
        self.when = when
        self.callback = callback
        self._timers = timers

    def cancel(self) -> None:
        if self in self._timers:
            self._timers.remove(self)


class ManualClock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[ManualTimer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        timer = ManualTimer(self.now + delay, callback, self.timers)
        self.timers.append(timer)
        return timer

    @property
    def delays(self) -> list[float]:
        """Seconds until each timer, the soonest first."""
        return sorted(timer.when - self.now for timer in self.timers)

    def advance(self, seconds: float) -> None:
        """Let time pass, and with it every timer that is due by then."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.when <= end]:
            timer = min(due, key=lambda each: each.when)
            timer.cancel()
            self.now = max(self.now, timer.when)
            timer.callback()
        self.now = end

    async def waits(self, seconds: float) -> None:
        """Wait until someone waits for so long, and let that time pass."""
        await until(lambda: any(abs(delay - seconds) < 1e-6 for delay in self.delays))
        self.advance(seconds)


# --- leaks --------------------------------------------------------------------------------------------------------


def _tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def _open_files() -> int:
    return psutil.Process().num_fds()


@asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """What runs inside must end its tasks and close its sockets."""
    tasks, files = _tasks(), _open_files()
    yield
    try:
        await until(lambda: not _tasks() - tasks and _open_files() <= files)
    except TimeoutError:
        raise AssertionError(f"left: {_open_files() - files} files, tasks {_tasks() - tasks}") from None
