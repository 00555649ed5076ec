"""Running a worker: from its dependencies to its shutdown, with what runs beside its queues."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from durable_responses.activities.admission import sweep
from durable_responses.activities.run_sessions import close_ended
from durable_responses.jobs.attribute_registration import AttributeWatch, registered
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from durable_responses.telemetry.instruments import observe_in_flight
from durable_responses.worker.arguments import Queue
from durable_responses.worker.dependencies import SHUTDOWN_TIMEOUTS, Dependencies, ShutdownTimeouts, opened
from durable_responses.worker.queue_watch import QueueWatch
from durable_responses.worker.queues import deployment_version, to_be_started_eagerly, workers_for
from durable_responses.workflows.contract import TaskQueue

logger = logging.getLogger("durable_responses.worker")


async def run_worker(
    temporal: Client,
    provider: Provider,
    settings: Settings,
    queues: Sequence[Queue],
    stop: asyncio.Event,
    shutdown: ShutdownTimeouts = SHUTDOWN_TIMEOUTS,
) -> None:
    """Serve the queues until `stop` is set, then let what is under way finish.

    Raises `RegistryError` for a module of tools, `SettingsError` for the port of the health endpoints.
    """
    async with opened(temporal, provider, settings, shutdown, to_be_started_eagerly(queues)) as dependencies:
        observe_in_flight(dependencies.in_flight)
        attributes = await registered(temporal)
        await dependencies.queue_watch.look()
        workers = workers_for(queues, dependencies, attributes)
        logger.info("Serving %s on namespace %s. %s", ", ".join(queues), temporal.namespace, provider.sentence)
        if version := deployment_version(settings):
            logger.info("Build %s of %s gets work once it is current.", version.build_id, version.deployment_name)
        watches = watching(attributes, temporal, dependencies.queue_watch)
        async with sweeping(dependencies), closing_sessions(dependencies), watches, health_of(workers, dependencies):
            await serve(workers, dependencies, stop)


async def serve(workers: Sequence[Worker], dependencies: Dependencies, stop: asyncio.Event) -> None:
    """Run all workers until `stop`, or until one of them fails."""
    running = [asyncio.create_task(worker.run()) for worker in workers]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    patience = dependencies.shutdown.polls.total_seconds()
    slots = (dependencies.run_slots, dependencies.create_slots, dependencies.socket_slots, dependencies.tool_slots)
    await asyncio.gather(*(each.close(patience) for each in slots))
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    await asyncio.gather(*running)


def sweeping(dependencies: Dependencies) -> AbstractAsyncContextManager[None]:
    """While inside, find out which responses in flight have ended that nothing here waits for."""
    waiters = dependencies.responses.waiters
    return _running(sweep(dependencies.client, dependencies.in_flight, waiters, dependencies.temporal))


def closing_sessions(dependencies: Dependencies) -> AbstractAsyncContextManager[None]:
    """While inside, close the sessions with MCP servers that ended runs have left."""
    return _running(close_ended(dependencies.sessions, dependencies.temporal))


@asynccontextmanager
async def watching(attributes: AttributeWatch, temporal: Client, queues: QueueWatch) -> AsyncIterator[None]:
    """While inside, notice that our search attributes were removed, registered again, or given another type; and what
    the queues are set to.
    """
    async with _running(attributes.run(temporal)), _running(queues.run()):
        yield


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def health_of(workers: Sequence[Worker], dependencies: Dependencies) -> AsyncIterator[None]:
    """While inside, serve the worker's health over HTTP, if a port is set for it. Raises `SettingsError`."""
    settings = dependencies.settings
    if settings.health_port is None:
        yield
        return
    from durable_responses.health.server import Readiness, serving_health

    queues, of_workflows = {worker.task_queue for worker in workers}, TaskQueue.AGENTS.under(settings.task_queue)
    readiness = Readiness(
        dependencies.temporal,
        dependencies.client,
        dependencies.provider,
        queues & {of_workflows},
        queues - {of_workflows},
        dependencies.capabilities,
    )
    async with serving_health(readiness, settings.health_host, settings.health_port) as url:
        logger.info("Health at %s/livez and %s/readyz.", url, url)
        yield
