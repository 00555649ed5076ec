"""A query that arrives with half a workflow task leaves nothing behind that history does not hold."""

import asyncio
import itertools
import uuid
from datetime import UTC, timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from durable_responses.worker.unfinished_tasks import Reached, ReplaysUnfinishedTasks, Work, is_asked_about, work_of

ROUNDS = 20
Clocked = WorkflowHandle["Clock", list[float]]

received: list[bool] = []
"""Each time that the workflow's code has received the signal: whether that was a replay."""


@workflow.defn(name="clock")
class Clock:
    """Notes the time of each signal, and returns them."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.is_over = False

    @workflow.run
    async def run(self) -> list[float]:
        await workflow.wait_condition(lambda: self.is_over)
        return self.times

    @workflow.signal
    def tick(self) -> None:
        self.times.append(workflow.now().timestamp())
        received.append(workflow.unsafe.is_replaying())

    @workflow.signal
    def end(self) -> None:
        self.is_over = True

    @workflow.query
    def ticks(self) -> int:
        return len(self.times)


AT = Reached(events=21, time=1_000)
LATER = Reached(events=29, time=2_000)
LONGER = Reached(events=28, time=1_000)


@pytest.mark.parametrize(
    ("before", "now", "is_replaying", "work"),
    [
        (None, AT, True, Work.IN_HISTORY),
        (Work.IN_HISTORY, LATER, True, Work.IN_HISTORY),
        (None, AT, False, Work.IN_TURN),  # the first task of the run
        (Work.IN_TURN, LATER, False, Work.IN_TURN),
        (Work.AFTER_REPLAY, LATER, False, Work.IN_TURN),
        (Work.IN_HISTORY, LATER, False, Work.AFTER_REPLAY),
        (Work.IN_HISTORY, LONGER, False, Work.BETWEEN_TASKS),
        (Work.IN_TURN, LONGER, False, Work.BETWEEN_TASKS),
        (Work.IN_TURN, AT, False, Work.IN_TURN),
        (Work.AFTER_REPLAY, AT, False, Work.AFTER_REPLAY),
        (Work.BETWEEN_TASKS, AT, False, Work.BETWEEN_TASKS),
    ],
)
def test_work_is_told_by_what_came_before_it(before: Work | None, now: Reached, is_replaying: bool, work: Work) -> None:
    assert work_of(before, AT, now, is_replaying=is_replaying) is work


@pytest.mark.parametrize(
    ("work", "seconds_ago", "is_asked"),
    [
        (Work.IN_HISTORY, 0.0, False),
        (Work.BETWEEN_TASKS, 0.0, False),  # known without
        (Work.AFTER_REPLAY, 0.001, True),
        (Work.AFTER_REPLAY, 1.9, True),
        (Work.AFTER_REPLAY, 2.0, False),
        (Work.IN_TURN, 0.001, True),
        (Work.IN_TURN, 0.1, False),
    ],
)
def test_the_server_is_asked_about_what_was_run_just_now(work: Work, seconds_ago: float, is_asked: bool) -> None:
    assert is_asked_about(work, seconds_ago) is is_asked


async def test_a_signal_that_a_query_overtook_is_received_when_history_says(client: Client) -> None:
    """Which of both a worker gets first is left to the server, so there are rounds until the query was."""
    for _ in range(ROUNDS):
        run, asked = await _asked_and_then_told(client)
        async with _worker(client, run.id):
            assert await asked == 1
            await run.signal(Clock.end)
            times = await run.result()
        assert times == pytest.approx([await _began_with_the_signal(run)], abs=0.01)
        if len(received) > 1:  # for the query and, forgotten, for its task
            return
    pytest.fail("No query came before its task.")


async def test_what_a_worker_that_died_was_given_is_done_when_history_says(client: Client) -> None:
    """Its poll must have got the task, and not the query; so there are rounds here, too."""
    for _ in range(ROUNDS):
        run, asked = await _asked_and_then_told(client)
        queue = TaskQueue(name=run.id)
        poll = PollWorkflowTaskQueueRequest(namespace=client.namespace, task_queue=queue, identity="dead by now")
        given = await client.workflow_service.poll_workflow_task_queue(poll, timeout=timedelta(seconds=30))
        if given.query.query_type:
            asked.cancel()
            await run.terminate()
            continue
        async with _worker(client, run.id):
            assert await asked == 1
            await run.signal(Clock.end)
            times = await run.result()
        assert times == pytest.approx([await _began_with_the_signal(run)], abs=0.01)
        assert len(received) > 1
        return
    pytest.fail("No task came before its query.")


async def _asked_and_then_told(client: Client) -> tuple[Clocked, "asyncio.Task[int]"]:
    """A run that no worker serves, of a query that waits for one, and then a signal."""
    received.clear()
    queue = f"clock-{uuid.uuid4()}"
    run = await client.start_workflow(Clock.run, id=queue, task_queue=queue, task_timeout=timedelta(seconds=1))
    async with _worker(client, queue):
        assert await run.query(Clock.ticks) == 0
    asked = asyncio.create_task(run.query(Clock.ticks, rpc_timeout=timedelta(seconds=30)))
    await asyncio.sleep(0.1)  # until it is with the server
    await run.signal(Clock.tick)
    return run, asked


async def _began_with_the_signal(run: Clocked) -> float:
    """When the first workflow task after the signal began that has ended, by history."""
    events = (await run.fetch_history()).events
    signal = next(
        at for at, event in enumerate(events) if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    )
    pairs = itertools.pairwise(events[signal:])
    began = next(one for one, after in pairs if after.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    return began.event_time.ToDatetime(UTC).timestamp()


def _worker(client: Client, queue: str) -> Worker:
    worker = Worker(client, task_queue=queue, workflows=[Clock], workflow_runner=(runner := ReplaysUnfinishedTasks()))
    runner.serve(worker)
    return worker
