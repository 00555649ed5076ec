"""Serving task queues with functions of this program, for as long as a run may call them."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from durable_responses.activities.interceptors import Forgotten, WorkerShutdown
from durable_responses.activities.tools import HEARTBEAT_SECONDS, ToolActivities
from durable_responses.jobs.job_errors import JobNotFound, TemporalNotAnswering, TemporalRefused
from durable_responses.jobs.jobs import Jobs
from durable_responses.python.background import background
from durable_responses.responses_api.redaction import Secrets
from durable_responses.settings import Settings
from durable_responses.tools.loops import ToolLoops
from durable_responses.tools.registry import Registry, Tool
from durable_responses.worker.dependencies import tool_context

logger = logging.getLogger(__name__)

_TRY_AGAIN = 5.0  # seconds


def task_queue_for(base: str, run: str | None) -> str:
    """A task queue for the functions of one run: always the same for a run that has a name, else a new one."""
    part = hashlib.sha256(run.encode(errors="surrogatepass")).hexdigest()[:16] if run else secrets.token_hex(8)
    return f"{base}-program-{part}"


class Served(Registry):
    """The functions of one queue, which may be given again: by another start of the same run, for instance."""

    def give(self, tools: Sequence[Tool[..., Any]]) -> None:
        """From now on, call these."""
        Registry.__init__(self, tools)


_served: dict[str, Served] = {}
"""By queue. The SDK takes one worker for a queue in a process."""


class Serving:
    """Functions of this program that are served; `until_end_of` says for which run."""

    def __init__(self, queues: Mapping[str, Sequence[Tool[..., Any]]]) -> None:
        self._queues = queues
        self.job_id: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def until_end_of(self, job_id: str) -> None:
        """Serve until this run has ended, or the program does."""
        for queue, tools in self._queues.items():
            _served[queue].give(tools)
        self.job_id.set_result(job_id)


@asynccontextmanager
async def served(
    client: Client, queues: Mapping[str, Sequence[Tool[..., Any]]], settings: Settings
) -> AsyncIterator[Serving]:
    """While inside, and then until the end of the run that is told, serve these queues with these functions."""
    queues = {queue: tools for queue, tools in queues.items() if tools}
    serving, tasks = Serving(queues), []
    for queue in queues.keys() - _served.keys():
        _served[queue] = Served(queues[queue])
        tasks.append(background().keep(_serve(client, queue, settings, serving.job_id)))
    try:
        yield serving
    finally:
        if not serving.job_id.done():  # there is no run
            for task in tasks:
                task.cancel()


async def _serve(client: Client, queue: str, settings: Settings, job_id: "asyncio.Future[str]") -> None:
    try:
        with ToolLoops() as loops:
            activities = ToolActivities(
                _served[queue], tool_context(settings), loops=loops, secrets=Secrets(settings.secrets())
            )
            while True:
                try:
                    async with _worker(client, queue, activities, settings):
                        await _ended(client, await asyncio.shield(job_id))
                    return
                except (
                    RuntimeError,
                    RPCError,
                ) as error:  # the server was not there when the worker began, for instance
                    logger.warning("Functions are not served on %s for the moment: %s", queue, error)
                await asyncio.sleep(_TRY_AGAIN)
    finally:
        del _served[queue]


def _worker(client: Client, queue: str, activities: ToolActivities, settings: Settings) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        activities=[activities.call_tool],
        max_concurrent_activities=settings.max_tools,
        max_concurrent_activity_task_polls=2,  # a program may have many runs, each with a queue
        max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_SECONDS),
        graceful_shutdown_timeout=timedelta(0),
        interceptors=[Forgotten(), WorkerShutdown()],
    )


async def _ended(client: Client, job_id: str) -> None:
    """Wait until the run has ended, however long the server is away meanwhile."""
    jobs = Jobs(client)
    while True:
        try:
            await jobs.result(job_id)
            return
        except JobNotFound:
            return
        except (TemporalNotAnswering, TemporalRefused):
            await asyncio.sleep(_TRY_AGAIN)
