"""A worker that stands still for a while (a closed lid, a paused container) and then finds an old task in its hands.

Real processes: SIGSTOP, and SIGCONT once Temporal has given the task to another worker and the run has ended.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_responses.emulator.model.script import Script, Text
from durable_responses.health.temporal import ACTIVITIES, pollers_of
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import AgentResult, AgentStatus, OnAmbiguousCreate, TaskQueue, TransportChoice
from tests.support.deployment import Deployment, Run, calls, until
from tests.support.processes import Process, WorkerProcess

BACKGROUND, STREAM, WEBSOCKET = TransportChoice.BACKGROUND, TransportChoice.STREAM, TransportChoice.WEBSOCKET
ANSWER = Script(output=[Text(text="Done.")], write=0)
CREATES = {BACKGROUND: "create_response", STREAM: "stream_response"}
ONE_POLL = {"AGENT_MAX_RESPONSES_IN_FLIGHT": "1", "AGENT_MAX_TOOLS": "1"}  # another would be frozen with a further task


async def worked(deployment: Deployment, name: str) -> Run:
    """A run with two creates and a call; when it has ended, the only worker of a queue has done all it had in hand."""
    deployment.gate(name).open()
    run = await deployment.start(name, [Script(output=[calls("look", name)]), ANSWER], transport=STREAM)
    assert (await run.result()).status is AgentStatus.COMPLETED
    return run


async def polls_again(deployment: Deployment, queue: Queue, run: Run) -> bool:
    """Whether the worker of a queue has begun to wait for its next task since it completed its last one for the run."""
    completed: dict[str, datetime] = {}
    scheduled: dict[int, str] = {}
    for event in (await run.handle.fetch_history()).events:
        scheduled[event.event_id] = event.activity_task_scheduled_event_attributes.task_queue.name
        if event.HasField("activity_task_completed_event_attributes"):
            by = scheduled[event.activity_task_completed_event_attributes.scheduled_event_id]
            completed[by] = event.event_time.ToDatetime(UTC)
    name = TaskQueue(f"agents-{queue}").under(deployment.task_queue)
    pollers = await pollers_of(deployment.client, name, ACTIVITIES)
    return any(poller.last_access_time.ToDatetime(UTC) > completed[name] for poller in pollers)


async def lies_in(worker: WorkerProcess, run: Run, activity: str) -> bool:
    """Whether the server has given the activity to this worker."""
    pending = (await run.handle.describe()).raw_description.pending_activities
    identity = f"{worker.pid}@"
    return any(
        each.activity_type.name == activity and each.last_worker_identity.startswith(identity) for each in pending
    )


async def thawed_too_late(
    deployment: Deployment, queue: Queue, activity: str, scripts: list[Script], **fields: Any
) -> tuple[AgentResult, Run]:
    """The end of a run whose activity lay in a frozen worker, after that has been through what it had in hand."""
    others = [each for each in Queue if each is not queue]
    async with deployment.worker(others):
        worker = deployment.worker([queue], **ONE_POLL)
        await Process.start(worker)
        try:
            before = await worked(deployment, "before")
            await until(lambda: polls_again(deployment, queue, before))
            worker.freeze()
            run = await deployment.start("frozen", scripts, **fields)
            await until(lambda: lies_in(worker, run, activity))
            other = await Process.start(deployment.worker([queue]))
            result = await run.result()
            other.kill()
            worker.thaw()
            await worked(deployment, "after")
        finally:
            worker.kill()
    return result, run


@pytest.mark.parametrize(
    ("transport", "activity"),
    [(BACKGROUND, "create_response"), (WEBSOCKET, "websocket_turn")],
)
async def test_a_create_that_others_were_given_is_not_sent(
    deployment: Deployment, transport: TransportChoice, activity: str
) -> None:
    result, run = await thawed_too_late(deployment, Queue.CREATE, activity, [ANSWER], transport=transport)
    assert (result.status, result.ambiguous_creates) == (AgentStatus.COMPLETED, 1)
    assert [response.id for response in await run.responses()] == [result.response_id]


async def test_a_create_of_a_run_that_has_failed_is_not_sent(deployment: Deployment) -> None:
    result, run = await thawed_too_late(
        deployment,
        Queue.CREATE,
        "create_response",
        [ANSWER],
        transport=BACKGROUND,
        on_ambiguous_create=OnAmbiguousCreate.FAIL,
    )
    assert result.status is AgentStatus.FAILED
    assert await run.responses() == []


async def test_a_once_tool_of_a_run_that_has_ended_is_not_run(deployment: Deployment) -> None:
    scripts = [Script(output=[calls("send", "frozen")]), ANSWER]
    result, _ = await thawed_too_late(deployment, Queue.TOOLS, "call_tool", scripts, transport=BACKGROUND)
    assert result.status is AgentStatus.COMPLETED
    assert deployment.gate("frozen").runs == 0


@pytest.mark.parametrize("transport", [BACKGROUND, STREAM])
async def test_a_worker_that_is_frozen_with_many_polls_costs_one_ambiguous_create(
    deployment: Deployment, transport: TransportChoice
) -> None:
    """Each of its polls is given the create, one after the other."""
    async with deployment.worker([queue for queue in Queue if queue is not Queue.CREATE]):
        frozen = deployment.worker([Queue.CREATE], AGENT_MAX_RESPONSES_IN_FLIGHT="6")
        await Process.start(frozen)
        other = deployment.worker([Queue.CREATE])
        try:
            await worked(deployment, "before")
            frozen.freeze()
            run = await deployment.start("many-polls", [ANSWER], transport=transport)
            await until(lambda: lies_in(frozen, run, CREATES[transport]))
            await Process.start(other)
            result = await run.result(seconds=120)
            frozen.thaw()
            await worked(deployment, "after")
        finally:
            frozen.kill()
            other.kill()
    assert (result.status, result.ambiguous_creates) == (AgentStatus.COMPLETED, 1)
    assert [response.id for response in await run.responses()] == [result.response_id]
