"""Reading times out of a run's history."""

from collections.abc import Sequence
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

from durable_responses.workflows.contract import TaskQueue


async def events_of(run: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    """The run's history."""
    return list((await run.fetch_history()).events)


def scheduled_on(queue: TaskQueue, events: Sequence[HistoryEvent]) -> list[float]:
    """When activities were scheduled on a queue of any deployment; seconds since the epoch."""
    end = queue.under("")
    return [
        second_of(event)
        for event in events
        if event.activity_task_scheduled_event_attributes.task_queue.name.endswith(end)
        and event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]


def last_known(events: Sequence[HistoryEvent]) -> float:
    """When the workflow was given the result of its last activity; seconds since the epoch."""
    ended = [i for i, event in enumerate(events) if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED]
    return next(
        second_of(event)
        for event in events[ended[-1] :]
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
    )


def last_start(events: Sequence[HistoryEvent]) -> float:
    """When the last attempt of the last activity began; seconds since the epoch."""
    return [second_of(event) for event in events if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED][-1]


def second_of(event: HistoryEvent) -> float:
    """When an event happened, in seconds since the epoch."""
    return event.event_time.ToNanoseconds() / 1e9
