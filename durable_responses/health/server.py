"""A worker's liveness and readiness over HTTP, for process managers.

`GET /livez`: 200 while the process answers at all. `GET /readyz`: 200 if it polls Temporal and its provider answers and
accepts its key, else 503; it counts the runs that wait for their owner. Both say what was found, as JSON.
"""

import os
import socket
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.client import Client
from temporalio.service import RPCError

from durable_responses.capabilities import Capabilities
from durable_responses.health import provider as providers
from durable_responses.health.checks import Check, Report, ok, problem
from durable_responses.health.temporal import ACTIVITIES, WORKFLOWS, check_input_requests, pollers_of
from durable_responses.host_check import HostCheck
from durable_responses.jobs.server_clock import server_is_ahead_by
from durable_responses.provider import Provider
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.settings import SettingsError

# However often they are called, provider and server are asked once in this time.
_SECONDS_KEPT = 5.0
_SKEW = timedelta(seconds=2)


@dataclass
class Readiness:
    """Whether this worker can do its work. `workflows` and `activities` are the names of the queues that it serves."""

    client: Client
    responses: ResponsesClient
    provider: Provider
    workflows: Collection[str]
    activities: Collection[str]
    capabilities: Capabilities | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _ahead: timedelta | None = None
    _last: Report | None = None
    _looked_at: float = float("-inf")

    async def report(self) -> Report:
        """The report of now, or of a moment ago."""
        if self._last is None or time.monotonic() - self._looked_at > _SECONDS_KEPT or not self._last.is_well:
            self._last = Report(checks=[await self._polls(), *await self._provider(), *await self._waiting()])
            self._looked_at = time.monotonic()
        return self._last

    async def _provider(self) -> list[Check]:
        return await providers.ask(self.responses, self.provider, self.capabilities)

    async def _waiting(self) -> list[Check]:
        return [await check_input_requests(self.client, queue) for queue in self.workflows]

    async def _polls(self) -> Check:
        if self._ahead is None:
            self._ahead = await server_is_ahead_by(self.client)
        ahead = self._ahead
        queues = [*((name, WORKFLOWS) for name in self.workflows), *((name, ACTIVITIES) for name in self.activities)]
        try:
            # One is enough: while all slots of a queue are taken, it is not polled.
            for name, kind in queues:
                for poller in await pollers_of(self.client, name, kind, ahead):
                    since_start = poller.last_access_time.ToDatetime(UTC) >= self.started_at + ahead - _SKEW
                    if poller.identity == self.client.identity and since_start:
                        return ok("polls", f"polls {name}")
        except RPCError as error:
            return problem("polls", f"Temporal did not answer: {error.message}", "check the Temporal server")
        self._ahead = None  # one of the clocks may have been set
        return problem("polls", "this worker is not polling", "wait a moment if it has just started")


@asynccontextmanager
async def serving_health(readiness: Readiness, host: str, port: int) -> AsyncIterator[str]:
    """Answer on this address while inside; gives the base URL. Port 0 takes a free one. Raises `SettingsError`."""

    async def alive(_: Request) -> Response:
        return _answer(Report(checks=[ok("alive", f"process {os.getpid()}")]))

    async def ready(_: Request) -> Response:
        return _answer(await readiness.report())

    app = Starlette(
        routes=[Route("/livez", alive), Route("/readyz", ready)],
        middleware=[Middleware(HostCheck, allowed=[host])],
    )
    listener = _listen(host, port)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    # Driven directly: `serve` would take the worker's signals away from it.
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        await server.shutdown(sockets=[listener])


def _answer(report: Report) -> Response:
    return Response(report.model_dump_json(), 200 if report.is_well else 503, media_type="application/json")


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise SettingsError(f"AGENT_HEALTH_PORT {port} of {host} cannot be used: {why}.") from error
