"""Connections that each carry one request, and one that is opened before its request is there.

A create gets a connection of its own, since only a connection that has never carried anything lets a failure prove that
the request was not processed (see `transport`). To open one takes two round trips, TCP and TLS. They can be spent while
the model still answers and the tools run: nothing is sent on such a spare connection either.
"""

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport

SPARE_AGE = 4.0
"""Seconds after which a spare connection is closed unused: some servers hang up on a silent one after five."""
MOST_SPARES = 20
WORTH_IT = 0.005
"""Seconds. Where connections open sooner, none is opened ahead: a server next door may have few to give."""

_is_opened_ahead: ContextVar[bool] = ContextVar("is_opened_ahead", default=False)


class _OpenedAhead(Exception):
    """Ends a request that was only made to open its connection, before anything of it is sent."""


@dataclass
class _Spare:
    connection: Connection
    key: ConnectionKey
    opened_at: float


def _is_unused(connection: Connection) -> bool:
    """Whether it is open, and the server has said nothing on it either."""
    protocol = connection.protocol
    # An aiohttp protocol without data is false.
    return protocol is not None and protocol.is_connected() and not protocol.should_close


class SingleUseConnector(aiohttp.TCPConnector):
    """Gives each request a connection that has never carried another one: a spare one, else a new one.

    `age`, `worth_it`: seconds, as `SPARE_AGE` and `WORTH_IT`.
    """

    def __init__(self, *, age: float = SPARE_AGE, worth_it: float = WORTH_IT, **options: Any) -> None:
        super().__init__(force_close=True, **options)
        self._age = age
        self._worth_it = worth_it
        self._took = 0.0
        self._spares: list[_Spare] = []

    @property
    def needs_a_spare(self) -> bool:
        """Whether opening a connection takes long enough, as far as is known, and there are not too many open ones."""
        return self._took >= self._worth_it and len(self._spares) < MOST_SPARES

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """A connection for a request."""
        if _is_opened_ahead.get():
            self._keep(await self._open(req, traces, timeout), req.connection_key)
            raise _OpenedAhead
        # A request through a proxy is changed while its connection is opened.
        spare = None if req.proxy else self._take(req.connection_key)
        return spare or await self._open(req, traces, timeout)

    async def _open(self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout) -> Connection:
        began = self._loop.time()
        connection = await super().connect(req, traces, timeout)
        self._took = 0.0 if req.proxy else self._loop.time() - began
        return connection

    def _keep(self, connection: Connection, key: ConnectionKey) -> None:
        spare = _Spare(connection, key, self._loop.time())
        self._spares.append(spare)
        self._loop.call_later(self._age, self._drop, spare)

    def _take(self, key: ConnectionKey) -> Connection | None:
        """The oldest spare connection that can be used."""
        oldest = self._loop.time() - self._age
        for spare in [spare for spare in self._spares if spare.key == key]:
            # The timer may be late, as after a pause of the whole process.
            if spare.opened_at > oldest and _is_unused(spare.connection):
                self._spares.remove(spare)
                return spare.connection
            self._drop(spare)
        return None

    def close_spares(self) -> None:
        """Close the connections that nobody has used yet."""
        for spare in list(self._spares):
            self._drop(spare)

    def _drop(self, spare: _Spare) -> None:
        if spare in self._spares:
            self._spares.remove(spare)
            spare.connection.close()


class SingleUseTransport(httpx.AsyncBaseTransport):
    """Sends each request over a connection of its own."""

    def __init__(self, transport: AiohttpTransport) -> None:
        self._transport = transport
        self._opening: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        return await self._transport.handle_async_request(request)

    def open_ahead(self, url: httpx.URL, timeout: float) -> asyncio.Task[None] | None:
        """Open a connection for a request that follows soon, within `timeout` seconds. Returns the work, which goes on.

        Does nothing where that is not worth it. A connection that cannot be opened is not missed: the request tells.
        """
        connector = self._connector
        if connector is None or not connector.needs_a_spare:
            return None
        opening = asyncio.create_task(self._open(url, timeout))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return opening

    @property
    def _connector(self) -> SingleUseConnector | None:
        """None as long as nothing was sent."""
        session = self._transport.client
        connector = session.connector if isinstance(session, aiohttp.ClientSession) else None
        return connector if isinstance(connector, SingleUseConnector) and not connector.closed else None

    async def _open(self, url: httpx.URL, timeout: float) -> None:
        _is_opened_ahead.set(True)  # in the context of this task only
        request = httpx.Request("HEAD", url, extensions={"timeout": {"connect": timeout, "pool": timeout}})
        with suppress(_OpenedAhead, httpx.HTTPError, aiohttp.ClientError, OSError):
            await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        for opening in list(self._opening):
            opening.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        if self._connector is not None:
            self._connector.close_spares()
        await self._transport.aclose()
