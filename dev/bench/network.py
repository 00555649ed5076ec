"""A distance between client and provider: a TCP forwarder that lets bytes arrive late. On loopback there is none."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext

_ROUND_TRIPS_TO_CONNECT = 1  # TCP's; TLS makes its own
_PIECE = 2**16  # bytes


@dataclass(frozen=True)
class Distance:
    """Seconds for a round trip. What a connection costs to be opened is taken from the first bytes sent over it."""

    round_trip: float

    @asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[int]:
        """Forward to a port of this machine from a new one."""
        loop = asyncio.get_running_loop()
        async with await loop.create_server(lambda: _Near(self, port), "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def behind_tls(port: int, tls: SSLContext) -> AsyncIterator[int]:
    """Serve a plain port of this machine over TLS, on a new one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # at the end, which asyncio would report
            plain_reader, plain_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pass_on(reader, plain_writer), _pass_on(plain_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()


class _End(asyncio.Protocol):
    """One end of a forwarded connection: what it receives arrives at the other end, late."""

    def __init__(self, distance: Distance, opened: float = 0.0) -> None:
        self._distance = distance
        self._last = opened + distance.round_trip / 2
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        for data in self._early:
            transport.write(data)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_at(self._next(), self._arrive, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio has it
        asyncio.get_running_loop().call_at(self._next(), self._hang_up)

    def _next(self) -> float:
        """When what is sent now arrives. Later than what was sent before: calls at one time come in any order."""
        now = asyncio.get_running_loop().time()
        self._last = max(now + self._distance.round_trip / 2, self._last + 1e-6)
        return self._last

    def _arrive(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def _hang_up(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def write(self, data: bytes) -> None:
        """Send, as soon as this end is connected."""
        if self.transport is None:
            self._early.append(data)
        elif not self.transport.is_closing():
            self.transport.write(data)


class _Near(_End):
    """The client's end: it opens the other one."""

    def __init__(self, distance: Distance, port: int) -> None:
        super().__init__(distance, asyncio.get_running_loop().time() + _ROUND_TRIPS_TO_CONNECT * distance.round_trip)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.other = far = _End(self._distance)
        far.other = self
        self._opening = asyncio.create_task(self._open(far))

    async def _open(self, far: _End) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", self._port)
