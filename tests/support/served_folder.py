"""A folder with all that runs need: a worker of its own in this process, and an emulator."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from durable_responses.embedded.readiness import worker_polls
from durable_responses.provider import Provider, ProviderKind
from durable_responses.settings import Settings
from tests.support.emulator_control import EmulatorControl, running_emulator
from tests.support.runs import until, working


@asynccontextmanager
async def served(
    client: Client, task_queue: str, folder: Path, *, model: str, state: Path, within: float
) -> AsyncIterator[EmulatorControl]:
    """Serve the task queue for a folder: the worker polls `within` so many seconds. Gives the emulator's control."""
    settings = Settings(
        model=model,
        task_queue=task_queue,
        state_folder=state,
        workspace=folder,
        files_root=folder,
        output_root=folder,
        poll_first=0.05,
        poll_cap=0.2,
    )
    async with running_emulator() as emulator:
        url = emulator.base_url
        provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=url, websocket_base_url=url)
        began = time.time()
        async with working(client, provider, settings):
            # A command, or a program, that finds no worker would start one.
            await until(lambda: worker_polls(client, task_queue, since=began), seconds=within)
            yield emulator.control
