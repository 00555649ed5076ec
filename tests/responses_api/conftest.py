"""A scripted provider on a real socket, and a client of it."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from responses_api.client import ResponsesClient
from tests.responses_api.provider import Provider, running

KEY = SecretStr("sk-test-0123456789abcdef")


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running(Provider()) as provider:
        yield provider


@pytest.fixture
async def api(provider: Provider) -> AsyncIterator[ResponsesClient]:
    async with ResponsesClient(provider.url, KEY) as api:
        yield api
