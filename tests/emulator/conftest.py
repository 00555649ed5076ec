"""The official client of the test's own emulator, and conversations without a server."""

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from tests.support.emulator_control import RunningEmulator


@pytest.fixture(scope="session")
async def official_client() -> AsyncIterator[AsyncOpenAI]:
    """One client for all: it takes longer to make than most tests run. Retries nothing."""
    async with AsyncOpenAI(base_url="http://unset.invalid", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def official(official_client: AsyncOpenAI, emulator: RunningEmulator) -> AsyncOpenAI:
    """The official client of the test's emulator."""
    return official_client.with_options(base_url=emulator.base_url)
