"""Composition root of a worker: build clients, build activities, register, run."""

import argparse
import asyncio
import logging
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from pydantic import SecretStr
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import (
    FixedSizeSlotSupplier,
    Interceptor,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkerTuner,
)

from durable_responses.activities.admission import AdmissionSlots, IdFile, ResponsesInFlight, sweep
from durable_responses.activities.artifacts import ArtifactActivities
from durable_responses.activities.interceptors import HandOver, TellOfSearchAttributes
from durable_responses.activities.polling import Cadence, GetBudget
from durable_responses.activities.requests import RequestBuilder
from durable_responses.activities.responses import ResponsesActivities
from durable_responses.activities.tools import HEARTBEAT_SECONDS, ToolActivities
from durable_responses.activities.websocket import CoolDown, RunSockets, WebSocketActivities
from durable_responses.connection import connect
from durable_responses.jobs.attribute_registration import register
from durable_responses.process import end_telemetry, leave, setup_telemetry
from durable_responses.provider import Provider, ProviderKind, find_provider
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.handshake import ConnectOptions, RequestOverrides, responses_url
from durable_responses.responses_api.websocket_pool import WebSocketPool
from durable_responses.settings import Settings, SetupError
from durable_responses.telemetry.instruments import observe_in_flight
from durable_responses.tools.registry import Registry, RegistryError, ToolContext
from durable_responses.workflows.agent import AgentWorkflow
from durable_responses.workflows.contract import TaskQueue
from durable_responses.workspace import prepare_workspace

logger = logging.getLogger("durable_responses.worker")

TOOL_MODULES = ["durable_responses.tools.files", "durable_responses.tools.web"]
# A POST takes 30 s at most; cut earlier, the provider would finish it all the same.
LET_CREATES_END = timedelta(seconds=35)
LET_TOOLS_END = timedelta(seconds=30)
# Seconds. Under load each poll brings a create sooner; without load none comes at the moment of the stop.
LET_POLLS_END = 2.0
# A WebSocket is not opened without a key; a server that takes requests without one does not look at it.
NO_KEY = SecretStr("none")
# On the queue of a worker's own sockets, beside as many turns as there may be responses in flight.
ROOM_FOR_TEXTS = 50


class Queue(StrEnum):
    """What a worker may serve (`--queues`): each is one task queue."""

    AGENTS = "agents"
    CREATE = "create"
    WAITING = "waiting"
    TOOLS = "tools"


async def run_worker(
    client: Client,
    provider: Provider,
    settings: Settings,
    queues: list[Queue],
    stop: asyncio.Event,
    let_polls_end: float = LET_POLLS_END,
) -> None:
    """Serve the queues until `stop` is set, then let what runs come to its end. Raises `RegistryError`."""
    registry = Registry.from_modules([*TOOL_MODULES, *settings.tool_modules])
    with IdFile.claim(settings.state_folder) as ids:
        async with (
            ResponsesClient(
                provider.base_url, provider.api_key, connection_age=settings.connection_age
            ) as responses_client,
            WebSocketPool(socket_options(provider)) as pool,
        ):
            in_flight = ResponsesInFlight(settings.max_responses_in_flight, ids)
            observe_in_flight(in_flight)
            responses = ResponsesActivities(
                client=responses_client,
                requests=RequestBuilder(responses_client, registry, settings.model, [settings.files_root]),
                in_flight=in_flight,
                budget=GetBudget(settings.gets_per_second),
                cadence=Cadence(settings.poll_first, settings.poll_factor, settings.poll_cap),
            )
            slots = AdmissionSlots(in_flight)
            # These count no responses, but are closed as those of the create queue are.
            own_slots = AdmissionSlots(ResponsesInFlight(settings.max_responses_in_flight + ROOM_FOR_TEXTS))
            websockets = websocket_activities(provider, settings, responses, pool)
            marks: list[Interceptor] = [TellOfSearchAttributes()] if await register(client) else []
            build = {
                Queue.AGENTS: lambda: [agents_worker(client, settings, responses)],
                Queue.CREATE: lambda: [
                    create_worker(client, settings, responses, slots, websockets, marks),
                    socket_worker(client, own_slots, websockets, marks),
                ],
                Queue.WAITING: lambda: [waiting_worker(client, settings, responses)],
                Queue.TOOLS: lambda: [tools_worker(client, settings, registry)],
            }
            workers = [worker for queue in queues for worker in build[queue]()]
            logger.info("Serving %s on namespace %s. %s", ", ".join(queues), client.namespace, provider.sentence)
            if version := deployment_version(settings):
                logger.info("Build %s of %s gets work once it is current.", version.build_id, version.deployment_name)
            sweeping = asyncio.create_task(sweep(responses_client, in_flight, responses.waiters))
            try:
                async with health_of(workers, client, responses_client, provider, settings):
                    await _serve(workers, [slots, own_slots], stop, let_polls_end)
            finally:
                sweeping.cancel()


def deployment_version(settings: Settings) -> WorkerDeploymentVersion | None:
    """The version that this worker is; None for a worker without versioning."""
    if settings.deployment_name is None or settings.build_id is None:
        return None
    return WorkerDeploymentVersion(settings.deployment_name, settings.build_id)


def deployment_config(settings: Settings) -> WorkerDeploymentConfig | None:
    """Worker versioning, for all queues that outlive a worker. docs/changing-the-workflow.md says why runs move on."""
    version = deployment_version(settings)
    if version is None:
        return None
    return WorkerDeploymentConfig(
        version=version, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE
    )


def agents_worker(client: Client, settings: Settings, responses: ResponsesActivities) -> Worker:
    """Workflow tasks, and the short activities that must never wait."""
    return Worker(
        client,
        task_queue=TaskQueue.AGENTS.under(settings.task_queue),
        workflows=[AgentWorkflow],
        activities=[responses.cancel_response, ArtifactActivities([settings.output_root]).save_artifact],
        # The sandbox is for the tests. Here it would cost 1 ms for each activity and 75 KB for each run in memory, and
        # load the workflow from its file for every run, whatever that file has become since this process started.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=settings.max_cached_workflows,
        # After a SIGKILL, tasks go to the dead worker's queue for this long.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=LET_TOOLS_END,
        deployment_config=deployment_config(settings),
        interceptors=[HandOver()],
    )


def create_worker(
    client: Client,
    settings: Settings,
    responses: ResponsesActivities,
    slots: AdmissionSlots,
    websockets: WebSocketActivities,
    marks: Sequence[Interceptor],
) -> Worker:
    """Creates, admitted only while fewer than N responses are in flight here."""
    return Worker(
        client,
        task_queue=TaskQueue.CREATE.under(settings.task_queue),
        activities=[responses.create_response, responses.stream_response, websockets.websocket_turn],
        interceptors=[HandOver(), *marks],
        tuner=_activities_within(slots),
        # The heartbeat that holds a response's id must be at the server before this process can be killed.
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
        graceful_shutdown_timeout=LET_CREATES_END,
        deployment_config=deployment_config(settings),
    )


def socket_worker(
    client: Client, slots: AdmissionSlots, websockets: WebSocketActivities, marks: Sequence[Interceptor]
) -> Worker:
    """Further turns over the sockets that this worker holds, and texts for the responses under way on them."""
    return Worker(
        client,
        task_queue=websockets.queue,
        activities=[websockets.websocket_turn, websockets.steer_response],
        interceptors=marks,
        tuner=_activities_within(slots),
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
        graceful_shutdown_timeout=LET_CREATES_END,
        # No deployment: a version whose queues come and go with its processes could not be replaced.
    )


def _activities_within(slots: AdmissionSlots) -> WorkerTuner:
    some = FixedSizeSlotSupplier(1)
    return WorkerTuner.create_composite(
        workflow_supplier=some, activity_supplier=slots, local_activity_supplier=some, nexus_supplier=some
    )


def websocket_activities(
    provider: Provider, settings: Settings, responses: ResponsesActivities, pool: WebSocketPool
) -> WebSocketActivities:
    """The activities of the WebSocket, with a task queue that only this process serves."""
    url = responses_url(provider.websocket_base_url)
    return WebSocketActivities(
        client=responses.client,
        requests=responses.requests,
        in_flight=responses.in_flight,
        sockets=RunSockets(pool, url, provider.api_key or NO_KEY, CoolDown(time.monotonic)),
        queue=f"{settings.task_queue}-socket-{secrets.token_hex(8)}",
        now=time.time,
        cadence=responses.cadence,
    )


def socket_options(provider: Provider) -> ConnectOptions:
    """One attempt to connect: HTTP is there where it fails. A socket may go wherever requests over HTTP go."""
    overrides = RequestOverrides(
        allow_plaintext=provider.base_url.startswith("http:"),
        allow_private_network=provider.kind is not ProviderKind.OPENAI,
    )
    return ConnectOptions(max_retries=0, overrides=overrides)


def waiting_worker(client: Client, settings: Settings, responses: ResponsesActivities) -> Worker:
    """Waits: thousands at once, handed to another worker at once when this one stops."""
    return Worker(
        client,
        task_queue=TaskQueue.WAITING.under(settings.task_queue),
        activities=[responses.await_response],
        max_concurrent_activities=settings.max_waiting,
        # A wait beats rarely by itself, and often only while somebody may watch its text grow.
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(0),
        deployment_config=deployment_config(settings),
        interceptors=[HandOver()],
    )


def tools_worker(client: Client, settings: Settings, registry: Registry) -> Worker:
    """Function calls."""
    context = ToolContext(settings.workspace, settings.allow_private_addresses)
    return Worker(
        client,
        task_queue=TaskQueue.TOOLS.under(settings.task_queue),
        activities=[ToolActivities(registry, context).call_tool],
        max_concurrent_activities=settings.max_tools,
        max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_SECONDS),
        graceful_shutdown_timeout=LET_TOOLS_END,
        deployment_config=deployment_config(settings),
        interceptors=[HandOver()],
    )


@asynccontextmanager
async def health_of(
    workers: list[Worker], client: Client, responses_client: ResponsesClient, provider: Provider, settings: Settings
) -> AsyncIterator[None]:
    """While inside, tell over HTTP how the worker does, where a port is set for it. Raises `SettingsError`."""
    if settings.health_port is None:
        yield
        return
    from durable_responses.health.server import Readiness, serving_health

    queues, of_workflows = {worker.task_queue for worker in workers}, TaskQueue.AGENTS.under(settings.task_queue)
    readiness = Readiness(client, responses_client, provider, queues & {of_workflows}, queues - {of_workflows})
    async with serving_health(readiness, settings.health_host, settings.health_port) as url:
        logger.info("Health at %s/livez and %s/readyz.", url, url)
        yield


async def _serve(workers: list[Worker], slots: list[AdmissionSlots], stop: asyncio.Event, let_polls_end: float) -> None:
    """Run all workers until `stop`, or until one of them fails."""
    running = [asyncio.create_task(worker.run()) for worker in workers]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await asyncio.gather(*(each.close(let_polls_end) for each in slots))
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    await asyncio.gather(*running)


async def _main(settings: Settings, queues: list[Queue]) -> None:
    if Queue.TOOLS in queues:
        prepare_workspace(settings, logger.info)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_worker(await connect(settings), find_provider(settings), settings, queues, stop)


def main(given: Sequence[str] | None = None) -> NoReturn:
    """The program: one worker, configured by the environment; `given` are its arguments, else the process's."""
    parser = argparse.ArgumentParser(
        prog="durable-responses worker", description="A worker of agent runs, configured by the environment."
    )
    parser.add_argument(
        "--queues", nargs="+", type=Queue, choices=list(Queue), default=list(Queue), help="what to serve (default: all)"
    )
    arguments = parser.parse_args(given)
    # A user's tool modules lie where the program was started; last, so that no file of theirs hides one of ours.
    sys.path.append(str(Path.cwd()))
    try:
        settings = Settings.load()
        setup_telemetry(settings, "durable-responses-worker")
        asyncio.run(_main(settings, arguments.queues))
    except (SetupError, RegistryError) as error:
        leave(1, f"worker: {error}")
    except BaseException:
        end_telemetry()  # what led to it is still to be sent
        raise
    leave(0)


if __name__ == "__main__":
    main()
