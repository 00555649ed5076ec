"""Shells for the tests of commands."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_responses.jobs.jobs import Jobs
from durable_responses.settings import Settings, child_environment
from tests.support.processes import TemporalServer
from tests.support.served_folder import served
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
    state = bare.folder / "worker"
    async with served(client, bare.task_queue, bare.folder, model=model, state=state, within=20) as control:
        bare.control = control
        yield
