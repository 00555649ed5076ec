"""Shells for the tests of commands."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_responses.embedded.readiness import worker_polls
from durable_responses.jobs.jobs import Jobs
from durable_responses.provider import Provider, ProviderKind
from durable_responses.settings import Settings, child_environment
from tests.support.emulator_control import running_emulator
from tests.support.processes import TemporalServer
from tests.support.runs import until, working
from tests.support.shell import Shell


@pytest.fixture
async def bare(temporal: TemporalServer, client: Client, tmp_path: Path) -> Shell:
    """A shell with Temporal configured, on a task queue that no worker serves."""
    queue = f"agents-of-test-{secrets.token_hex(4)}"
    env = child_environment(
        TEMPORAL_ADDRESS=temporal.address, AGENT_TASK_QUEUE=queue, AGENT_STATE_FOLDER=str(tmp_path / "state")
    )
    return Shell(tmp_path, env, Jobs(client, queue), queue)


@pytest.fixture
async def shell(bare: Shell, client: Client) -> AsyncIterator[Shell]:
    """The same with a worker and an emulator."""
    async with _served(bare, client, Settings().model):
        yield bare


@pytest.fixture
async def echoing(bare: Shell, client: Client) -> AsyncIterator[Shell]:
    """The same where the usual model repeats what it is told."""
    async with _served(bare, client, "scenario:echo"):
        yield bare


@asynccontextmanager
async def _served(bare: Shell, client: Client, model: str) -> AsyncIterator[None]:
    settings = Settings(
        model=model,
        task_queue=bare.task_queue,
        state_folder=bare.folder / "worker",
        workspace=bare.folder,
        files_root=bare.folder,
        output_root=bare.folder,
        poll_first=0.05,
        poll_cap=0.2,
    )
    async with running_emulator() as emulator:
        url = emulator.base_url
        provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=url, websocket_base_url=url)
        began = time.time()
        async with working(client, provider, settings):
            # A command that finds no worker would start one.
            await until(lambda: worker_polls(client, bare.task_queue, since=began))
            bare.control = emulator.control
            yield
