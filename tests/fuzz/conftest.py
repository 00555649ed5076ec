"""How many examples: a few, always the same, in `make test`; as many new ones as wanted with `make fuzz EXAMPLES=…`."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings
from pydantic import SecretStr

from durable_responses.responses_api.client import ResponsesClient
from tests.support.provider import Provider, running

_UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("fuzz").addoption("--examples", type=int, help="new examples for each property, so many")


def pytest_configure(config: pytest.Config) -> None:
    # The option is unknown where the whole suite was asked for.
    examples = config.getoption("--examples", default=None)
    always_the_same = settings(
        max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=_UNHURRIED
    )
    settings.register_profile("always the same", always_the_same)
    settings.register_profile(
        "new", max_examples=examples or 100, deadline=None, suppress_health_check=_UNHURRIED, print_blob=True
    )
    settings.load_profile("new" if examples else "always the same")


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[Provider]:
    async with running(Provider()) as provider:
        yield provider


@pytest.fixture(scope="module")
async def api(provider: Provider) -> AsyncIterator[ResponsesClient]:
    async with ResponsesClient(provider.url, SecretStr("sk-test-0123456789abcdef")) as api:
        yield api
