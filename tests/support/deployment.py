"""Agent runs on real processes: a Temporal server, an emulator with a state file, and workers that can be killed."""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from durable_responses.activities.messages import HeartbeatDetails
from durable_responses.emulator.faults import Effect, Fault, Operation
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script
from durable_responses.emulator.state.billing import Bill, BilledResponse
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import (
    PROGRESS_QUERY,
    WORKFLOW_TYPE,
    AgentInput,
    AgentResult,
    AgentState,
    agent_workflow_id,
)
from tests.support import gated_tools
from tests.support.emulator_control import EmulatorControl, EmulatorProcess
from tests.support.gated_tools import Gate
from tests.support.ledgers import PRICES, differences
from tests.support.processes import TemporalServer, WorkerProcess

HEARTBEAT_TIMEOUT = 2.0
_QUERY_TIMEOUT = timedelta(seconds=10)  # a worker that has just started has to replay the run first
T = TypeVar("T")


async def until(ask: Callable[[], Awaitable[T | None]], *, seconds: float = 30) -> T:
    """Ask again and again until the answer is neither None nor False, and return it."""
    async with asyncio.timeout(seconds):
        while not (answer := await ask()):
            await asyncio.sleep(0.03)
    return answer


def calls(tool: str, gate: str) -> FunctionCallStep:
    """The model calls one of `tests.gated_tools`."""
    return FunctionCallStep(name=tool, arguments={"gate": gate})


@dataclass(frozen=True)
class Run:
    """One agent run, seen from outside."""

    handle: WorkflowHandle[Any, AgentResult]
    control: EmulatorControl
    is_priced: bool = False

    async def result(self, *, seconds: float = 40) -> AgentResult:
        """How it ended, also when it failed. Its ledger is the emulator's bill, or says what it does not know."""
        result = await self._ended(seconds)
        bill = await self.bill() if self.is_priced else None
        if bill is not None and bill.responses:  # else another provider has answered
            wrong = differences(result, bill)
            assert not wrong, "; ".join(wrong[:5])
        return result

    async def _ended(self, seconds: float) -> AgentResult:
        try:
            return await asyncio.wait_for(self.handle.result(), seconds)
        except TimeoutError:
            story = "\n".join(await self.story())
            raise AssertionError(f"{self.handle.id} did not end in {seconds:g} s:\n{story}") from None
        except WorkflowFailureError as failure:
            assert isinstance(failure.cause, ApplicationError), failure.cause
            return AgentResult.model_validate(failure.cause.details[0])

    async def progress(self) -> AgentState:
        """The answer to the query `progress`; takes a worker."""
        state: AgentState = await self.handle.query(PROGRESS_QUERY, result_type=AgentState, rpc_timeout=_QUERY_TIMEOUT)
        return state

    async def story(self) -> list[str]:
        """Its history, one line for each event: seconds since the start, what happened, which activity."""
        events = (await self.handle.fetch_history()).events
        start = events[0].event_time.ToDatetime()
        return [
            f"{(event.event_time.ToDatetime() - start).total_seconds():8.3f} {EventType.Name(event.event_type)}"
            f" {event.activity_task_scheduled_event_attributes.activity_type.name}"
            for event in events
        ]

    async def bill(self) -> Bill:
        """What the emulator has counted for it."""
        return await self.control.billing(workflow_id=self.handle.id)

    async def responses(self) -> list[BilledResponse]:
        """Its responses at the emulator, oldest first."""
        return (await self.bill()).responses

    async def heartbeat_of(self, activity: str) -> HeartbeatDetails | None:
        """The last heartbeat of an activity that runs now; None when it does not, or has not beaten yet."""
        described = await self.handle.describe()
        for pending in described.raw_description.pending_activities:
            started = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            if pending.activity_type.name == activity and started and pending.heartbeat_details.payloads:
                heartbeats = await described.data_converter.decode(
                    pending.heartbeat_details.payloads, [HeartbeatDetails]
                )
                return HeartbeatDetails.model_validate(heartbeats[0])
        return None


class Deployment:
    """What a run needs, on a task queue of its own. The parts are started, killed and ended by the test."""

    def __init__(self, temporal: TemporalServer, client: Client, emulator: EmulatorProcess, folder: Path) -> None:
        self.temporal = temporal
        self.client = client
        self.emulator = emulator
        self.folder = folder
        self.task_queue = f"agents-{secrets.token_hex(4)}"
        self.workspace = folder / "workspace"
        self.workspace.mkdir(parents=True)
        self._workers = itertools.count(1)

    def worker(self, queues: Sequence[Queue] = (), *, base_url: str | None = None, **settings: str) -> WorkerProcess:
        """A worker that is not started yet; it serves all queues unless some are named."""
        worker = WorkerProcess(
            self.temporal,
            base_url or self.emulator.base_url,
            folder=self.folder,
            name=f"worker-{next(self._workers)}",
            **{
                "AGENT_TASK_QUEUE": self.task_queue,
                "AGENT_WORKSPACE": str(self.workspace),
                "AGENT_TOOL_MODULES": gated_tools.__name__,
                "AGENT_POLL_FIRST": "0.1",
                "AGENT_POLL_CAP": "0.3",
                **settings,
            },
        )
        if queues:
            worker.command += ["--queues", *queues]
        return worker

    def gate(self, name: str) -> Gate:
        """The gate of that name, closed at first."""
        return Gate(self.workspace, name)

    def open_gates(self) -> None:
        """Open every gate, those included that no call has come to yet."""
        Gate.open_all(self.workspace)

    async def start(self, name: str, scripts: list[Script], *, fault: Effect | None = None, **fields: Any) -> Run:
        """Start a run that goes by this script. `fault` happens to its first create; `fields` are of `AgentInput`."""
        await self.emulator.control.add_scenario(Scenario(name=name, responses=scripts))
        metadata = {"scenario": name}
        if fault is not None:
            await self.emulator.control.add_fault(Fault(operation=Operation.CREATE, metadata=metadata, effect=fault))
        return await self.start_only(metadata=metadata, **fields)

    async def start_only(self, **fields: Any) -> Run:
        """Start a run without telling the emulator, which need not be there."""
        fields = {"task": "Go on.", "heartbeat_timeout": HEARTBEAT_TIMEOUT, "prices": PRICES, **fields}
        handle: WorkflowHandle[Any, AgentResult] = await self.client.start_workflow(
            WORKFLOW_TYPE,
            AgentInput.model_validate(fields),
            id=agent_workflow_id(),
            task_queue=self.task_queue,
            result_type=AgentResult,
        )
        return Run(handle, self.emulator.control, is_priced=fields["prices"] == PRICES)
