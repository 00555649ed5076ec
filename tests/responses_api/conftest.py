"""Scripted providers on real sockets, over HTTP and WebSocket, and what their tests need."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from durable_responses.responses_api.client import ResponsesClient
from tests.support import websocket_server
from tests.support.provider import Provider, running
from tests.support.websocket_server import ManualClock, Server, nothing_left_behind

KEY = SecretStr("sk-test-0123456789abcdef")


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running(Provider()) as provider:
        yield provider


@pytest.fixture
async def api(provider: Provider) -> AsyncIterator[ResponsesClient]:
    async with ResponsesClient(provider.url, KEY) as api:
        yield api


@pytest.fixture
async def leak_free() -> AsyncIterator[None]:
    """The test ends with no task and no socket more than it began with."""
    async with nothing_left_behind():
        yield


@pytest.fixture
async def server(leak_free: None) -> AsyncIterator[Server]:
    async with websocket_server.running() as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
