"""The server under test: the emulator, or any other with `pytest tests/conformance --base-url URL --model NAME`.

Two levels: `strict`, every field by the official client's types, as the emulator and OpenAI keep them; and `behaviour`,
what a run needs, by our own reading. `--level behaviour` tries that alone; without it both are tried.
The key of another server is taken from `OPENAI_API_KEY`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

import pytest
from openai import AsyncOpenAI

from durable_responses.emulator.server import EmulatorOptions
from durable_responses.settings import child_environment
from tests.support.emulator_control import running_emulator

# Read before the tests begin: they run without anybody's key.
KEY = child_environment().get("OPENAI_API_KEY")


class Level(StrEnum):
    """How a server is judged."""

    STRICT = "strict"
    BEHAVIOUR = "behaviour"


@dataclass(frozen=True)
class Asked:
    """The server under test, and the model that is asked."""

    base_url: str
    model: str


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--base-url", help="a Responses API server, such as https://api.openai.com/v1")
    group.addoption("--model", help="a cheap model of that server")
    group.addoption("--level", choices=[*Level], help="one of the two levels; default: both")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (level := config.getoption("--level", default=None)) is None:
        return
    wanted = [
        item for item in items if (item.get_closest_marker(Level.BEHAVIOUR) is not None) == (level == "behaviour")
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest) -> str:
    """The model that is asked."""
    return str(request.config.getoption("--model", default=None) or "gpt-5.4-mini")


@pytest.fixture(scope="session")
async def asked(request: pytest.FixtureRequest, model: str) -> AsyncIterator[Asked]:
    """The server under test."""
    # The options are unknown where the whole suite was asked for: then it is the emulator.
    if base_url := request.config.getoption("--base-url", default=None):
        yield Asked(base_url, model)
        return
    async with running_emulator(EmulatorOptions(pace=0.2)) as emulator:
        yield Asked(emulator.base_url, model)


@pytest.fixture(scope="session")
async def client(request: pytest.FixtureRequest, asked: Asked) -> AsyncIterator[AsyncOpenAI]:
    """The official client of the server under test."""
    retries = 2 if request.config.getoption("--base-url", default=None) else 0
    async with AsyncOpenAI(base_url=asked.base_url, api_key=KEY or "any", max_retries=retries) as official:
        yield official
