"""Connections that are opened ahead, against a provider that counts them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from durable_responses.responses_api.spares import MOST_SPARES, SingleUseConnector, SingleUseTransport
from tests.support.provider import Provider, answer
from tests.support.websocket_server import nothing_left_behind

ANY_TIME = 0.0
pytestmark = pytest.mark.usefixtures("without_proxies")


@pytest.fixture
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


class Sender:
    """Posts to a provider, and knows what connections lie ready for that."""

    def __init__(self, provider: Provider, connector: SingleUseConnector) -> None:
        self.transport = SingleUseTransport(AiohttpTransport(client=aiohttp.ClientSession(connector=connector)))
        self._url = httpx.URL(provider.url)
        self._provider = provider

    async def post(self) -> int:
        """POST, and return the number of connections that the provider has seen."""
        self._provider.will(answer({}))
        response = await self.transport.handle_async_request(httpx.Request("POST", self._url, content=b"{}"))
        await response.aread()
        await response.aclose()
        return self._provider.connections

    async def open_ahead(self) -> None:
        """Open a connection ahead, and wait until the provider has it."""
        opening = self.transport.open_ahead(self._url, 5)
        assert opening is not None
        before = self._provider.connections
        await opening
        async with asyncio.timeout(5):
            while self._provider.connections == before:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def sending(provider: Provider, *, age: float = 60, worth_it: float = ANY_TIME) -> AsyncIterator[Sender]:
    async with nothing_left_behind():
        sender = Sender(provider, SingleUseConnector(age=age, worth_it=worth_it))
        try:
            await sender.post()
            yield sender
        finally:
            await sender.transport.aclose()


async def test_a_request_uses_the_connection_that_was_opened_for_it(provider: Provider) -> None:
    async with sending(provider) as sender:
        await sender.open_ahead()
        assert provider.connections == 2
        assert await sender.post() == 2


async def test_nothing_is_sent_on_a_connection_that_waits(provider: Provider) -> None:
    async with sending(provider) as sender:
        await sender.open_ahead()
        assert len(provider.asked) == 1


async def test_a_connection_carries_one_request(provider: Provider) -> None:
    async with sending(provider) as sender:
        await sender.open_ahead()
        await sender.post()
        assert await sender.post() == 3


async def test_a_connection_that_has_waited_too_long_is_not_used(provider: Provider) -> None:
    async with sending(provider, age=0.05) as sender:
        await sender.open_ahead()
        await asyncio.sleep(0.1)
        assert await sender.post() == 3


async def test_where_connections_open_at_once_none_is_opened_ahead(provider: Provider) -> None:
    async with sending(provider, worth_it=5) as sender:
        assert sender.transport.open_ahead(httpx.URL(provider.url), 5) is None


async def test_only_so_many_lie_ready(provider: Provider) -> None:
    async with sending(provider) as sender:
        for _ in range(MOST_SPARES):
            await sender.open_ahead()
        assert sender.transport.open_ahead(httpx.URL(provider.url), 5) is None


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n"], ids=["silently", "with an answer"])
async def test_a_connection_that_the_server_has_closed_is_not_used(provider: Provider, words: bytes) -> None:
    closed = asyncio.Event()
    serve = provider.serve

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if provider.connections == 1:
            provider.connections += 1
            writer.write(words)
            writer.close()
            await writer.wait_closed()
            closed.set()
        else:
            await serve(reader, writer)

    async with await asyncio.start_server(hang_up, "127.0.0.1") as server:
        provider.port = server.sockets[0].getsockname()[1]
        async with sending(provider) as sender:
            await sender.open_ahead()
            await closed.wait()
            for _ in range(10):
                await asyncio.sleep(0)  # until the client has seen it
            assert await sender.post() == 3
