"""The slow lane, `make test-stack`: what `make stack` starts, under load, while its parts are killed.

`make test` leaves it out: it needs PostgreSQL, and a Temporal server that takes minutes to build, once.
"""

import asyncio
import itertools
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from durable_responses.connection import connect
from durable_responses.emulator.state.billing import BilledResponse
from durable_responses.stack_file import PartName
from durable_responses.workflows.contract import (
    WORKFLOW_TYPE,
    AgentInput,
    AgentResult,
    AgentStatus,
    TaskQueue,
    TransportChoice,
    agent_workflow_id,
)
from tests.embedded.conftest import Stack
from tests.support.emulator_control import EmulatorControl
from tests.support.foreign_pages import STARTED, listening_ports, send_all
from tests.support.processes import Process

WORKERS = [PartName.WORKER, f"{PartName.WORKER}-2", f"{PartName.WORKER}-3"]
RUNS = 200
KILL_EVERY = 10.0
ITERATIONS = 2
IN_FLIGHT = "20"
"""Responses of one worker at once: most runs are queued at first, and few creates are under way at any moment."""
ENOUGH = 600.0

Run = WorkflowHandle[Any, AgentResult]


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The stack of `make stack`, with three workers."""
    stack = Stack(tmp_path_factory.mktemp("stack") / "state")
    async with StackProcess(stack):
        yield stack
    await stack.kill_everything()
    cluster = stack.folder / "postgres"
    shutil.rmtree(cluster.resolve())


class StackProcess(Process):
    """`make stack`, on a state folder."""

    def __init__(self, stack: Stack) -> None:
        command = [sys.executable, "-m", "durable_responses.embedded", "stack", "--workers", str(len(WORKERS))]
        environment = {**stack.environment, "AGENT_MAX_RESPONSES_IN_FLIGHT": IN_FLIGHT}
        super().__init__(command, log=stack.folder.parent / "stack.log", env=environment)
        self.stack = stack

    async def start(self) -> "StackProcess":
        """Start it, and wait until all parts serve. The first time ever it builds the server."""
        await super().start()
        give_up = time.monotonic() + 1800
        while not ((file := self.stack.running) and file.is_ready):
            assert self.is_alive, self.tail()
            assert time.monotonic() < give_up, self.tail()
            await asyncio.sleep(0.1)
        return self


@pytest.fixture(scope="module")
async def client(stack: Stack) -> Client:
    return await connect(stack.settings)


async def start(client: Client, think: int = 2) -> Run:
    """Two iterations with a function call each, and an answer; each thought about for so many seconds."""
    scenario = f'calls?iterations={ITERATIONS}&tool=list_files&arguments={{"folder": "."}}&think={think}'
    return await client.start_workflow(
        WORKFLOW_TYPE,
        AgentInput(task="Look around.", transport=TransportChoice.BACKGROUND, metadata={"scenario": scenario}),
        id=agent_workflow_id(),
        task_queue=TaskQueue.AGENTS,
        result_type=AgentResult,
    )


async def result_of(run: Run) -> AgentResult:
    """How a run ended, also when it failed; asked again while the server is down."""
    async with asyncio.timeout(ENOUGH):
        while True:
            try:
                return await run.result()
            except WorkflowFailureError as failure:
                assert isinstance(failure.cause, ApplicationError), failure.cause
                return AgentResult.model_validate(failure.cause.details[0])
            except RPCError:
                await asyncio.sleep(0.5)


@dataclass
class Fire:
    """What was done to the stack, and what came of the runs."""

    results: list[AgentResult] = field(default_factory=list)
    responses: list[BilledResponse] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def iterations(self) -> int:
        return sum(result.iterations for result in self.results)

    @property
    def ambiguous(self) -> int:
        return sum(result.ambiguous_creates for result in self.results)

    @property
    def created_twice(self) -> list[tuple[str, str]]:
        """The iterations, each with its run, that the emulator has seen more than one create of."""
        creates = Counter((each.metadata["workflow_id"], each.metadata["iteration"]) for each in self.responses)
        return [iteration for iteration, count in creates.items() if count > 1]

    def print(self, stack: Stack) -> None:
        restarts = {name: part.restarts for name, part in stack.file.parts.items()}
        print(
            f"\n{len(self.results)} runs in {self.seconds:.0f} s: "
            + ", ".join(f"{count} {status}" for status, count in Counter(each.status for each in self.results).items()),
            f"killed: {dict(self.killed)}; restarts seen by the stack: {restarts}",
            f"iterations {self.iterations}, creates {len(self.responses)}, created twice {len(self.created_twice)}, "
            f"ambiguous creates {self.ambiguous}",
            *(f"failed: {each.error.message}" for each in self.results if each.error),
            sep="\n",
        )


@pytest.fixture(scope="module")
async def fire(stack: Stack, client: Client) -> Fire:
    """200 runs, while one of three workers is killed every ten seconds, and the server once."""
    fire, began = Fire(), time.monotonic()
    # Of different lengths, or all of them would create at the same moments.
    runs = await asyncio.gather(*(start(client, think=8 + number % 9) for number in range(RUNS)))
    results = asyncio.gather(*(result_of(run) for run in runs))
    for number, worker in enumerate(itertools.cycle(WORKERS)):
        done, _ = await asyncio.wait([results], timeout=KILL_EVERY)
        if done:
            break
        parts: list[str] = [worker, PartName.TEMPORAL] if number == 2 else [worker]
        for part in parts:
            await kill(stack, part)
            fire.killed[str(part)] += 1
    fire.results, fire.seconds = await results, time.monotonic() - began
    ids = {run.id for run in runs}
    assert stack.file.emulator_url
    everything = await EmulatorControl(stack.file.emulator_url).responses()
    fire.responses = [each for each in everything if each.metadata.get("workflow_id") in ids]
    fire.print(stack)
    return fire


async def kill(stack: Stack, part: str) -> None:
    """SIGKILL, once it is there again after an earlier one."""
    file = await stack.until(lambda file: file.parts[part].pid is not None)
    pid = file.parts[part].pid
    assert pid
    stack.kill(pid)


async def test_all_runs_complete_while_workers_and_the_server_are_killed(fire: Fire) -> None:
    """A20."""
    assert Counter(result.status for result in fire.results) == {AgentStatus.COMPLETED: RUNS}


async def test_workers_and_the_server_were_killed(fire: Fire) -> None:
    assert fire.killed[PartName.TEMPORAL] == 1
    assert sum(fire.killed[worker] for worker in WORKERS) >= 3


async def test_no_create_is_sent_twice_unless_its_outcome_cannot_be_known_and_the_run_says_so(fire: Fire) -> None:
    assert len(fire.created_twice) <= fire.ambiguous
    assert len(fire.responses) == fire.iterations + len(fire.created_twice)


async def test_runs_outlive_the_death_of_postgres(stack: Stack, client: Client) -> None:
    run = await start(client)
    await kill(stack, PartName.POSTGRES)
    assert (await result_of(run)).status is AgentStatus.COMPLETED


async def test_the_web_ui_shows_a_run(stack: Stack, client: Client) -> None:
    run = await start(client)
    await run.result()
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(stack.file.run_url(run.id) or "")).is_success
        shown = await http.get(f"{stack.file.web_ui}/api/v1/namespaces/default/workflows/{run.id}")
    assert shown.json()["workflowExecutionInfo"]["status"] == "WORKFLOW_EXECUTION_STATUS_COMPLETED"


async def test_the_namespace_keeps_finished_runs_as_long_as_the_setting_says(stack: Stack, client: Client) -> None:
    """A20."""
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    kept: timedelta = described.config.workflow_execution_retention_ttl.ToTimedelta()
    assert kept == stack.settings.retention


async def test_a_stack_that_is_stopped_and_started_again_goes_on_with_its_runs(stack: Stack, client: Client) -> None:
    run = await start(client)
    process = next(process for process in Process.started if isinstance(process, StackProcess))
    assert await process.terminate(timeout=90) == 0
    await process.start()
    handle = (await connect(stack.settings)).get_workflow_handle(run.id, result_type=AgentResult)
    assert (await handle.result()).status is AgentStatus.COMPLETED


async def test_no_port_of_the_stack_does_or_tells_anything_to_a_foreign_page(stack: Stack, client: Client) -> None:
    file = stack.file
    assert file.emulator_url is not None
    bystander = await client.start_workflow(
        WORKFLOW_TYPE, {"task": "t"}, id="bystander", task_queue=TaskQueue.AGENTS, start_delay=timedelta(hours=1)
    )
    emulator = EmulatorControl(file.emulator_url)
    bill = await emulator.billing()
    ports = listening_ports([file.pid, *(part.pid for part in file.parts.values() if part.pid is not None)])
    assert {file.ports.temporal, file.ports.temporal + 1, file.ports.web_ui, file.ports.postgres} <= set(ports)
    for port, program in ports.items():
        for answer in await send_all(port):
            assert b" 200 " not in answer.split(b"\r\n")[0], f"{program} at port {port} says {answer[:500]!r}"
            assert b"bystander" not in answer, f"{program} at port {port} says {answer[:500]!r}"
    with pytest.raises(RPCError, match="not found"):
        await client.get_workflow_handle(STARTED).describe()
    assert await emulator.billing() == bill
    assert [event.event_type async for event in bystander.fetch_history_events()] == [1]
    await bystander.terminate()
