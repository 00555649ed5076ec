"""One attempt of an activity, without a worker, and what it tells while it runs."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from temporalio.client import (
    AsyncActivityCancelledError,
    Client,
    HeartbeatAsyncActivityInput,
    Interceptor,
    OutboundInterceptor,
    SignalWorkflowInput,
)
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.messages import HeartbeatDetails, ProgressReport
from durable_responses.activities.polling import Cadence, GetBudget
from durable_responses.activities.requests import RequestBuilder
from durable_responses.activities.responses import ResponsesActivities
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.tools.registry import Registry

WORKFLOW_ID = "agent-1"
RUN_ID = "run-1"
QUICK = Cadence(
    first=0.01, factor=1.5, cap=0.05, jitter=0.005, old_age=float("inf"), first_back_off=0.01, longest_back_off=0.02
)


class Attempt(ActivityEnvironment):
    """An attempt of an activity of the run `agent-1`.

    `number`: 1 for the first; `earlier`: the last heartbeat of the one before; `age`: how many seconds ago the server
    started it. `told`: the time (seconds since the
    epoch) and the details of each heartbeat, None for one without details.
    """

    unread: ClassVar["Reports"]
    """Where reports go that a test does not ask for."""

    def __init__(
        self,
        number: int = 1,
        *,
        earlier: HeartbeatDetails | None = None,
        heartbeat_timeout: float | None = None,
        reports: "Reports | None" = None,
        age: float = 0.0,
    ) -> None:
        super().__init__((reports or self.unread).client)
        self.info = replace(
            self.info,
            attempt=number,
            heartbeat_details=[] if earlier is None else [earlier.model_dump()],
            heartbeat_timeout=None if heartbeat_timeout is None else timedelta(seconds=heartbeat_timeout),
            started_time=datetime.now(UTC) - timedelta(seconds=age),
            workflow_id=WORKFLOW_ID,
            workflow_run_id=RUN_ID,
        )
        self.told: list[tuple[float, HeartbeatDetails | None]] = []
        self.on_heartbeat = self._keep

    @property
    def heartbeats(self) -> list[HeartbeatDetails]:
        """The heartbeats that said something."""
        return [heartbeat for _, heartbeat in self.told if heartbeat is not None]

    def _keep(self, *details: HeartbeatDetails) -> None:
        self.told.append((time.time(), details[0].model_copy() if details else None))


class Reports(OutboundInterceptor, Interceptor):
    """The reports that activities send to their run, kept at the edge of a client that never connects.

    They arrive once `arriving` is set, which it is at first; then `fails_with` is raised, if there is something.
    `proofs` are the heartbeats that wait for the server's answer, which is the first of `answers`, else that all is
    well.
    """

    client: Client

    def __init__(self) -> None:
        self.told: list[ProgressReport] = []
        self.addressed: list[SignalWorkflowInput] = []
        self.arriving = asyncio.Event()
        self.arriving.set()
        self.fails_with: RPCError | None = None
        self.proofs: list[Any] = []
        self.answers: list[RPCError | AsyncActivityCancelledError] = []

    @classmethod
    async def begin(cls) -> Self:
        """Make the client."""
        reports = cls()
        reports.client = await Client.connect(
            "127.0.0.1:1", lazy=True, interceptors=[reports], data_converter=pydantic_data_converter
        )
        return reports

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 the SDK's name
        """The SDK asks for what stands between a client and its connection."""
        self.next = next
        return self

    async def heartbeat_async_activity(self, input: HeartbeatAsyncActivityInput) -> None:  # noqa: A002 the SDK's name
        """Keep it, and answer."""
        self.proofs += [(time.time(), heartbeat.model_copy()) for heartbeat in input.details]
        if self.answers:
            raise self.answers.pop(0)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002 the SDK's name
        """Keep it."""
        self.addressed.append(input)
        self.told += [report.model_copy() for report in input.args]
        await self.arriving.wait()
        if self.fails_with is not None:
            raise self.fails_with


def activities_of(client: ResponsesClient, **parts: Any) -> ResponsesActivities:
    """The activities of one worker that looks often; `parts` replaces any of the rest."""
    given: dict[str, Any] = {
        "requests": RequestBuilder(client, Registry([]), "gpt-5.4", []),
        "in_flight": ResponsesInFlight(10),
        "budget": GetBudget(1000),
        "cadence": QUICK,
    }
    return ResponsesActivities(client=client, **{**given, **parts})
