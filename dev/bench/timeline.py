"""Reading times out of a run's history."""

from collections.abc import Sequence
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

from durable_responses.activities.messages import TRANSPORT_OF_ACTIVITY


async def events_of(run: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    """The run's history."""
    return list((await run.fetch_history()).events)


def creates_scheduled(events: Sequence[HistoryEvent]) -> list[float]:
    """When the creates of an agent run were scheduled; seconds since the epoch."""
    return [at for kind, at in _scheduled(events) if kind in TRANSPORT_OF_ACTIVITY]


def activities_scheduled(events: Sequence[HistoryEvent]) -> list[float]:
    """When activities of any kind were scheduled; seconds since the epoch."""
    return [at for _, at in _scheduled(events)]


def _scheduled(events: Sequence[HistoryEvent]) -> list[tuple[str, float]]:
    return [
        (event.activity_task_scheduled_event_attributes.activity_type.name, second_of(event))
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
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
