"""The server under test: the emulator, or any other with `pytest tests/conformance --base-url URL --model NAME`.

The key of another server is taken from `OPENAI_API_KEY`.
"""

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from durable_responses.emulator.server import EmulatorOptions
from durable_responses.settings import child_environment
from tests.support.emulator_control import running_emulator

# Read before the tests begin: they run without anybody's key.
KEY = child_environment().get("OPENAI_API_KEY")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--base-url", help="a Responses API server, such as https://api.openai.com/v1")
    group.addoption("--model", help="a cheap model of that server")


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest) -> str:
    """The model that is asked."""
    return str(request.config.getoption("--model", default=None) or "gpt-5.4-mini")


@pytest.fixture(scope="session")
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncOpenAI]:
    """The official client of the server under test."""
    # The options are unknown where the whole suite was asked for: then it is the emulator.
    base_url = request.config.getoption("--base-url", default=None)
    if base_url:
        async with AsyncOpenAI(base_url=base_url, api_key=KEY) as official:
            yield official
        return
    async with (
        running_emulator(EmulatorOptions(pace=0.2)) as emulator,
        AsyncOpenAI(base_url=emulator.base_url, api_key="any", max_retries=0) as official,
    ):
        yield official
