"""Providers for activities: one scripted byte by byte, and the emulator, each with a client of it."""

from collections.abc import AsyncIterator

import pytest

from durable_responses.responses_api.client import ResponsesClient
from tests.responses_api.conftest import api, provider  # noqa: F401 fixtures: a scripted provider and its client
from tests.support.attempts import Attempt, Reports
from tests.support.emulator_control import RunningEmulator


@pytest.fixture
async def emulated(emulator: RunningEmulator) -> AsyncIterator[ResponsesClient]:
    """A client of the emulator."""
    async with ResponsesClient(emulator.base_url, None) as client:
        yield client


@pytest.fixture
async def reports() -> Reports:
    """What activities report to their run."""
    return await Reports.begin()


@pytest.fixture(scope="session", autouse=True)
async def unread_reports() -> None:
    """A slow machine makes any attempt report, sooner or later."""
    Attempt.unread = await Reports.begin()
