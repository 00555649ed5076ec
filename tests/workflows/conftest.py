"""A worker in this process, on queues of its own, for the session's Temporal server."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_responses.provider import Provider, ProviderKind
from durable_responses.settings import Settings
from tests.support import provider as scripted_provider
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import Agents, working

TOOLS = "tests.support.tools_under_test"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a worker with queues and folders of its own."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return Settings(
        task_queue=f"agents-of-test-{secrets.token_hex(4)}",
        state_folder=tmp_path / "state",
        workspace=workspace,
        files_root=tmp_path,
        output_root=tmp_path,
        tool_modules=[TOOLS],
        poll_first=0.05,
        poll_cap=0.2,
    )


@pytest.fixture
def provider(emulator: RunningEmulator) -> Provider:
    """The emulator as a provider."""
    return Provider(kind=ProviderKind.COMPATIBLE, base_url=emulator.base_url, websocket_base_url=emulator.base_url)


@pytest.fixture
async def agents(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings
) -> AsyncIterator[Agents]:
    """Agent runs, with a worker."""
    async with working(client, provider, settings):
        yield Agents(client, emulator, settings)


@pytest.fixture
async def server() -> AsyncIterator[scripted_provider.Provider]:
    """A provider that answers as it is told."""
    async with scripted_provider.running(scripted_provider.Provider()) as running:
        yield running


@pytest.fixture
async def runs(
    client: Client, emulator: RunningEmulator, settings: Settings, server: scripted_provider.Provider
) -> AsyncIterator[Agents]:
    """Agent runs, with a worker whose provider is the scripted server."""
    provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=server.url, websocket_base_url=server.url)
    async with working(client, provider, settings):
        yield Agents(client, emulator, settings)
