"""The official client of the test's own emulator, and conversations without a server."""

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from tests.emulator_control import RunningEmulator


@pytest.fixture
async def official(emulator: RunningEmulator) -> AsyncIterator[AsyncOpenAI]:
    """The official client; it retries nothing."""
    async with AsyncOpenAI(base_url=emulator.base_url, api_key="any", max_retries=0) as client:
        yield client
