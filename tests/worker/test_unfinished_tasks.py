"""A query that arrives with half a workflow task leaves nothing behind that history does not hold."""

import asyncio
import uuid
from datetime import UTC, timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from durable_responses.worker.unfinished_tasks import Reached, ReplaysUnfinishedTasks, Work, may_be_unfinished, work_of

ROUNDS = 20
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
        (None, AT, False, Work.FIRST),
        (Work.FIRST, LATER, False, Work.IN_TURN),
        (Work.FIRST, LONGER, False, Work.BETWEEN_TASKS),
        (None, AT, True, Work.REPLAYED),
        (Work.IN_TURN, LATER, False, Work.IN_TURN),
        (Work.AFTER_REPLAY, LATER, False, Work.IN_TURN),
        (Work.REPLAYED, LATER, True, Work.REPLAYED),
        (Work.REPLAYED, LATER, False, Work.AFTER_REPLAY),
        (Work.REPLAYED, LONGER, False, Work.BETWEEN_TASKS),
        (Work.IN_TURN, LONGER, False, Work.BETWEEN_TASKS),
        (Work.IN_TURN, AT, False, Work.IN_TURN),
        (Work.AFTER_REPLAY, AT, False, Work.AFTER_REPLAY),
        (Work.BETWEEN_TASKS, AT, False, Work.BETWEEN_TASKS),
    ],
)
def test_work_is_told_by_what_came_before_it(before: Work | None, now: Reached, is_replaying: bool, work: Work) -> None:
    assert work_of(before, AT, now, is_replaying=is_replaying) is work


@pytest.mark.parametrize(
    ("work", "seconds_ago", "may_be"),
    [
        (Work.FIRST, 0.0, False),
        (Work.REPLAYED, 0.0, False),
        (Work.BETWEEN_TASKS, 0.001, True),
        (Work.BETWEEN_TASKS, 3600.0, True),
        (Work.AFTER_REPLAY, 0.001, True),
        (Work.AFTER_REPLAY, 1.9, True),
        (Work.AFTER_REPLAY, 2.0, False),
        (Work.IN_TURN, 0.001, True),
        (Work.IN_TURN, 0.5, False),
    ],
)
def test_what_was_run_just_now_may_be_for_a_query(work: Work, seconds_ago: float, may_be: bool) -> None:
    assert may_be_unfinished(work, seconds_ago) is may_be


async def test_a_signal_that_a_query_overtook_is_received_when_history_says(client: Client) -> None:
    """Which of both a worker gets first is left to the server, so there are rounds until the query was."""
    for _ in range(ROUNDS):
        received.clear()
        run = await client.start_workflow(Clock.run, id=(queue := f"clock-{uuid.uuid4()}"), task_queue=queue)
        async with _worker(client, queue):
            assert await run.query(Clock.ticks) == 0
        asked = asyncio.create_task(run.query(Clock.ticks, rpc_timeout=timedelta(seconds=30)))
        await asyncio.sleep(0.2)  # it is with the server, and no worker is there
        await run.signal(Clock.tick)
        async with _worker(client, queue):
            assert await asked == 1
            await run.signal(Clock.end)
            times = await run.result()
        assert times == pytest.approx([await _began_with_the_signal(run)], abs=0.01)
        if len(received) > 1:  # for the query and, forgotten, for its task
            return
    pytest.fail("No query came before its task.")


async def _began_with_the_signal(run: WorkflowHandle[Clock, list[float]]) -> float:
    """When the workflow task began that the signal was received in, by history."""
    events = (await run.fetch_history()).events
    signal = next(
        at for at, event in enumerate(events) if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    )
    began = next(event for event in events[signal:] if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
    return began.event_time.ToDatetime(UTC).timestamp()


def _worker(client: Client, queue: str) -> Worker:
    worker = Worker(client, task_queue=queue, workflows=[Clock], workflow_runner=(runner := ReplaysUnfinishedTasks()))
    runner.serve(worker)
    return worker
