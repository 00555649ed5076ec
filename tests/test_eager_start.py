"""Creates and function calls are started on the queue of their run, except where that would break a promise."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType, TaskQueueType
from temporalio.api.taskqueue.v1 import RateLimit
from temporalio.api.taskqueue.v1 import TaskQueue as QueueName
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, UpdateTaskQueueConfigRequest
from temporalio.worker import Worker

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import AgentStatus, TaskQueue, TransportChoice
from tests.support.deployment import Deployment, Run, calls, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import Process, TemporalServer

ALLOWED = 8
BACKGROUND, STREAM = TransportChoice.BACKGROUND, TransportChoice.STREAM
SCENARIO = "eager"
CREATES = ("create_response", "stream_response")


@pytest.fixture(autouse=True)
async def emulator_without_memory(emulator_process: EmulatorProcess) -> None:
    await emulator_process.control.reset()


async def scenario(deployment: Deployment, iterations: int, *, think: float = 0) -> None:
    """The model calls a tool in each response but the last."""
    deployment.open_gates()
    turn = Script(think=think, output=[calls("look", "open")])
    end = Script(think=think, output=[Text(text="Done.")], write=0)
    await deployment.emulator.control.add_scenario(Scenario(name=SCENARIO, responses=[*[turn] * iterations, end]))


async def start(deployment: Deployment, transport: TransportChoice = STREAM) -> Run:
    return await deployment.start_only(transport=transport, metadata={"scenario": SCENARIO}, max_iterations=50)


async def queues_of(deployment: Deployment, *runs: Run) -> dict[str, Counter[str]]:
    """On which queues each kind of activity was scheduled, by their usual names, and how often."""
    names = {queue.under(deployment.task_queue): str(queue) for queue in TaskQueue}
    found: dict[str, Counter[str]] = {"create": Counter(), "tool": Counter()}
    for run in runs:
        async for event in run.handle.fetch_history_events():
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled = event.activity_task_scheduled_event_attributes
                kind = "create" if scheduled.activity_type.name in CREATES else "tool"
                if scheduled.activity_type.name in (*CREATES, "call_tool"):
                    found[kind][names[scheduled.task_queue.name]] += 1
    return found


@asynccontextmanager
async def serving(deployment: Deployment, queue: Queue) -> AsyncIterator[None]:
    """A worker of this queue alone, once the server knows of it."""
    worker = deployment.worker([queue])
    await Process.start(worker)
    name = TaskQueue(f"agents-{queue}").under(deployment.task_queue)
    asked = DescribeTaskQueueRequest(
        namespace=deployment.client.namespace,
        task_queue=QueueName(name=name),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )

    async def is_known() -> bool:
        return bool((await deployment.client.workflow_service.describe_task_queue(asked)).pollers)

    await until(is_known)
    try:
        yield
    finally:
        worker.kill()


async def completed(*runs: Run) -> None:
    results = await asyncio.gather(*(run.result() for run in runs))
    assert {result.status for result in results} == {AgentStatus.COMPLETED}


@pytest.mark.parametrize("transport", [BACKGROUND, STREAM])
async def test_a_worker_that_serves_all_starts_creates_and_calls_on_the_queue_of_the_run(
    deployment: Deployment, transport: TransportChoice
) -> None:
    await scenario(deployment, 4)
    async with deployment.worker():
        run = await start(deployment, transport)
        await completed(run)
    found = await queues_of(deployment, run)
    assert found["create"]["agents"] >= 4
    assert found["tool"] == {"agents": 4}


async def test_two_workers_never_have_more_in_flight_than_they_may_and_use_both_ways(deployment: Deployment) -> None:
    """A21: first there are more runs than may have responses, and at the end fewer."""
    await scenario(deployment, 5, think=0.2)
    workers = [deployment.worker(AGENT_MAX_RESPONSES_IN_FLIGHT=str(ALLOWED)) for _ in range(2)]
    async with workers[0], workers[1]:
        runs = await asyncio.gather(*(start(deployment, (BACKGROUND, STREAM)[n % 2]) for n in range(3 * ALLOWED)))
        await completed(*runs)
        last = await start(deployment)
        await until(lambda: _is_done(last))
        counts = (await deployment.emulator.control.billing()).counts
    assert counts.creates_accepted == 6 * (len(runs) + 1)
    assert counts.max_in_flight <= 2 * ALLOWED
    found = (await queues_of(deployment, *runs, last))["create"]
    assert found["agents-create"] > 0
    assert found["agents"] > 0


async def _is_done(run: Run) -> bool:
    return (await run.progress()).status.is_final


async def test_a_create_that_waits_is_not_overtaken_by_runs_under_way(deployment: Deployment) -> None:
    await scenario(deployment, 30, think=0.1)
    once = Script(think=0.1, output=[Text(text="Done.")], write=0)
    async with deployment.worker(AGENT_MAX_RESPONSES_IN_FLIGHT="4"):
        first = await asyncio.gather(*(start(deployment) for _ in range(6)))

        async def under_way() -> bool:
            return [(await run.progress()).iteration > 1 for run in first].count(True) >= 4

        await until(under_way)
        late = await asyncio.gather(*(deployment.start(f"late-{n}", [once], transport=STREAM) for n in range(6)))
        await completed(*late)
        shown = [await run.progress() for run in first]
        assert all(state.iteration < 25 for state in shown), [state.iteration for state in shown]
        await asyncio.gather(*(run.handle.terminate() for run in first))


@pytest.mark.parametrize("limited", ["agents-create", "agents-tools"])
async def test_work_of_a_queue_with_a_rate_limit_goes_through_it(deployment: Deployment, limited: str) -> None:
    await scenario(deployment, 3)
    queue = TaskQueue(limited).under(deployment.task_queue)
    await deployment.client.workflow_service.update_task_queue_config(
        UpdateTaskQueueConfigRequest(
            namespace=deployment.client.namespace,
            task_queue=queue,
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            update_queue_rate_limit=UpdateTaskQueueConfigRequest.RateLimitUpdate(
                rate_limit=RateLimit(requests_per_second=50)
            ),
        )
    )
    async with deployment.worker():
        run = await start(deployment)
        await completed(run)
    found = await queues_of(deployment, run)
    kind, other = ("create", "tool") if limited == "agents-create" else ("tool", "create")
    assert set(found[kind]) == {limited}
    assert found[other]["agents"] > 0


async def test_where_the_queues_are_served_by_several_workers_they_stay_apart(deployment: Deployment) -> None:
    await scenario(deployment, 3)
    async with serving(deployment, Queue.CREATE), serving(deployment, Queue.TOOLS), deployment.worker([Queue.AGENTS]):
        run = await start(deployment)
        await completed(run)
    assert await queues_of(deployment, run) == {"create": {"agents-create": 4}, "tool": {"agents-tools": 3}}


async def test_a_machine_for_function_calls_keeps_getting_them(deployment: Deployment) -> None:
    await scenario(deployment, 3)
    async with serving(deployment, Queue.TOOLS), deployment.worker():
        run = await start(deployment)
        await completed(run)
    found = await queues_of(deployment, run)
    assert found["tool"] == {"agents-tools": 3}
    assert found["create"]["agents"] > 0


@pytest.fixture
async def without_eager_start(emulator_process: EmulatorProcess, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A server that hands out nothing eagerly: whoever polls the queue of the runs gets what lies there."""
    server = await TemporalServer.on(tmp_path / "temporal")
    server.command += ["--dynamic-config-value", "system.enableActivityEagerExecution=false"]
    async with server:
        yield Deployment(server, await server.client(), emulator_process, tmp_path / "runs")


async def test_what_comes_to_a_worker_that_does_not_do_it_is_moved(without_eager_start: Deployment) -> None:
    deployment = without_eager_start
    await scenario(deployment, 10)
    async with deployment.worker(), deployment.worker([Queue.AGENTS]):
        run = await start(deployment, BACKGROUND)
        await completed(run)
        bill = await run.bill()
    assert (bill.counts.creates_accepted, (await run.result()).ambiguous_creates) == (11, 0)


@activity.defn(name="cancel_response")
async def something_else() -> None:
    """All that the worker of an older version has on the queue of the runs."""


async def test_what_comes_to_a_worker_of_an_older_version_is_moved(without_eager_start: Deployment) -> None:
    deployment = without_eager_start
    await scenario(deployment, 10)
    old = Worker(deployment.client, task_queue=deployment.task_queue, activities=[something_else])
    async with deployment.worker(), old:
        run = await start(deployment, STREAM)
        await completed(run)
        bill = await run.bill()
    assert (bill.counts.creates_accepted, (await run.result()).ambiguous_creates) == (11, 0)
