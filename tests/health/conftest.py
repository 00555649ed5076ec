"""Workers for which whole runs are not needed: their settings, and a provider that says what a test wants."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durable_responses.settings import Settings
from tests.support.provider import Provider, running


@pytest.fixture
async def scripted() -> AsyncIterator[Provider]:
    """A provider that gives the answers that it is told to."""
    async with running(Provider()) as provider:
        yield provider


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a worker with queues and folders of its own."""
    return Settings(
        task_queue=f"agents-of-test-{secrets.token_hex(4)}",
        state_folder=tmp_path / "state",
        workspace=tmp_path,
        files_root=tmp_path,
        output_root=tmp_path,
    )
