"""Agent runs under test: started, looked at, waited for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from durable_responses.emulator.state.billing import BilledResponse
from durable_responses.provider import Provider, ProviderKind
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.models import FunctionCallOutput
from durable_responses.settings import Settings
from durable_responses.worker.arguments import Queue
from durable_responses.worker.dependencies import ShutdownTimeouts
from durable_responses.worker.serving import run_worker
from durable_responses.workflows.agent import AgentWorkflow
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentState,
    InputRequest,
    TaskQueue,
    agent_workflow_id,
)
from tests.support.emulator_control import RunningEmulator

_AT_ONCE = ShutdownTimeouts(polls=timedelta(0), creates=timedelta(seconds=0.2), tools=timedelta(seconds=0.2))


class Agents:
    """Starts agent runs whose worker is this process, and looks at them."""

    def __init__(self, client: Client, emulator: RunningEmulator, settings: Settings) -> None:
        self.client = client
        self.emulator = emulator
        self.settings = settings

    async def start(self, agent_input: AgentInput | Any, **options: Any) -> WorkflowHandle[AgentWorkflow, AgentResult]:
        """Start a run with this input, which need not be a valid one."""
        return await self.client.start_workflow(
            "AgentWorkflow",
            agent_input,
            id=agent_workflow_id(),
            task_queue=TaskQueue.AGENTS.under(self.settings.task_queue),
            result_type=AgentResult,
            **options,
        )

    async def run(self, agent_input: AgentInput | Any) -> AgentResult:
        """Start a run and wait for its result, which may be a failed one."""
        return await result_of(await self.start(agent_input))

    async def responses(self, run: WorkflowHandle[Any, Any]) -> list[BilledResponse]:
        """What the emulator bills for a run."""
        return await self.emulator.control.responses(workflow_id=run.id)

    async def answers(self, run: WorkflowHandle[Any, Any], iteration: int) -> list[str]:
        """The texts of the answers to function calls that the model was given with this iteration's create."""
        return [answer.text for answer in await self.function_outputs(run, iteration)]

    async def function_outputs(self, run: WorkflowHandle[Any, Any], iteration: int) -> list[FunctionCallOutput]:
        """The answers themselves."""
        [response] = [bill for bill in await self.responses(run) if bill.metadata["iteration"] == str(iteration)]
        async with ResponsesClient(self.emulator.base_url, None) as client:
            items = await client.input_items(response.id)
        return [item for item in items if isinstance(item, FunctionCallOutput)]


async def result_of(run: WorkflowHandle[Any, Any], seconds: float = 30) -> AgentResult:
    """The result of a run, also when it closed as Failed."""
    try:
        return AgentResult.model_validate(await asyncio.wait_for(run.result(), seconds))
    except WorkflowFailureError as failure:
        assert isinstance(failure.cause, ApplicationError), failure.cause
        return AgentResult.model_validate(failure.cause.details[0])


async def progress(run: WorkflowHandle[Any, Any]) -> AgentState:
    """The run's answer to the query `progress`."""
    return AgentState.model_validate(await run.query("progress"))


async def reached(run: WorkflowHandle[Any, Any], condition: Callable[[AgentState], bool]) -> AgentState:
    """Wait until the run's state fulfils a condition."""
    async with asyncio.timeout(20):
        while not condition(state := await progress(run)):
            await asyncio.sleep(0.02)
    return state


async def asked(run: WorkflowHandle[Any, Any]) -> InputRequest:
    """What the run asks its owner."""
    state = await reached(run, lambda state: any(request.is_open for request in state.input_requests))
    return next(request for request in state.input_requests if request.is_open)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until something asked for repeatedly becomes true."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def working(
    client: Client, provider: Provider, settings: Settings, queues: Sequence[Queue] = tuple(Queue)
) -> AsyncIterator[None]:
    """A worker in this process, of all queues unless some are named. At its end it waits for nothing."""
    stop = asyncio.Event()
    serving = asyncio.create_task(run_worker(client, provider, settings, list(queues), stop, _AT_ONCE))
    try:
        yield
    finally:
        stop.set()
        await serving


class Served(Protocol):
    """A server that a test runs."""

    base_url: str


@asynccontextmanager
async def agents_at(
    server: Served, client: Client, emulator: RunningEmulator, settings: Settings
) -> AsyncIterator[Agents]:
    """Agent runs whose provider is this server."""
    url = server.base_url
    provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=url, websocket_base_url=url.replace("http", "ws"))
    async with working(client, provider, settings):
        yield Agents(client, emulator, settings)
