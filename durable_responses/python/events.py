"""What is told of a run while it is under way. Pure: two views of it in, what is new out."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from durable_responses.jobs.job_view import JobView, Source
from durable_responses.workflows.contract import (
    AgentResult,
    AgentState,
    AgentStatus,
    AgentUsage,
    CallRecord,
    CallStatus,
    InputRequest,
)
from durable_responses.workflows.rules import waiting_text


@dataclass(frozen=True)
class Event:
    """Something that has happened in a run: `at` is when it was last heard of, `usage` what the run has cost so far."""

    job_id: str
    at: datetime | None
    usage: AgentUsage


@dataclass(frozen=True)
class IterationStarted(Event):
    """The run asks for its next response; `max_iterations` is 0 where that is not known."""

    iteration: int
    max_iterations: int


@dataclass(frozen=True)
class ResponseChanged(Event):
    """A response has been created, or has another status."""

    iteration: int
    response_id: str
    status: str | None


@dataclass(frozen=True)
class CallStarted(Event):
    """The model has called a function."""

    call: CallRecord


@dataclass(frozen=True)
class CallEnded(Event):
    """A function call has ended; `call.status` says how, and `call.reason` why if it has failed."""

    call: CallRecord


@dataclass(frozen=True)
class TextWritten(Event):
    """The model has written: `text` is what is new. A long text that came at once is here by its end only."""

    text: str


@dataclass(frozen=True)
class Waiting(Event):
    """The run waits for something that is not its response; `reason` is a sentence, None when it waits no longer."""

    reason: str | None


@dataclass(frozen=True)
class InputRequested(Event):
    """The run asks its owner something, and waits for the answer: `await job.respond("…")`."""

    request: InputRequest


@dataclass(frozen=True)
class Ended(Event):
    """The run has ended: the last event."""

    result: AgentResult


_Head = tuple[str, datetime | None, AgentUsage]

NO_TEMPORAL = "Temporal is not responding. The run is safe and this view resumes when it is back."
NO_WORKER = "No worker is running: the run is safe, and resumes when there is one."


def events_between(before: JobView | None, view: JobView) -> Iterator[Event]:
    """What is new in `view`, in the order in which it happened."""
    state, known = view.state, before.state if before else None
    head = (view.job_id, state.updated_at, state.usage)
    calls = list(_of_calls(head, known, state))
    yield from (event for event in calls if event.call.iteration < state.iteration)
    if state.iteration and (known is None or state.iteration != known.iteration):
        yield IterationStarted(*head, state.iteration, state.max_iterations)
    if state.response_id and (
        known is None or (state.response_id, state.response_status) != (known.response_id, known.response_status)
    ):
        yield ResponseChanged(*head, state.iteration, state.response_id, state.response_status)
    if text := new_text(known.preview if known else "", state.preview):
        yield TextWritten(*head, text)
    yield from (event for event in calls if event.call.iteration >= state.iteration)
    reason = reason_to_wait(view)
    if reason != (reason_to_wait(before) if before else None):
        yield Waiting(*head, reason)
    asked = {(each.id, each.asked_as) for each in known.input_requests} if known else set()
    for request in state.input_requests:
        if request.is_open and (request.id, request.asked_as) not in asked:
            yield InputRequested(*head, request)
    if view.result is not None:
        yield Ended(*head, view.result)


def _of_calls(head: _Head, known: AgentState | None, state: AgentState) -> Iterator[CallStarted | CallEnded]:
    statuses = {(call.iteration, call.call_id): call.status for call in known.function_calls} if known else {}
    for call in state.function_calls:
        status = statuses.get((call.iteration, call.call_id))
        if status is None:
            begun = {"status": CallStatus.RUNNING, "seconds": None, "reason": None}
            yield CallStarted(*head, call.model_copy(update=begun))
        if call.status is not CallStatus.RUNNING and call.status is not status:
            yield CallEnded(*head, call)


def reason_to_wait(view: JobView) -> str | None:
    """What a run waits for that is not its response; None if for nothing."""
    if view.is_closed:
        return None
    if view.source is Source.EARLIER:
        return NO_TEMPORAL
    if not view.worker_running:
        return NO_WORKER
    return waiting_text(view.state) if view.state.status is not AgentStatus.QUEUED or view.state.waiting else None


def new_text(before: str, now: str) -> str:
    """What was written since: `now` is the tail of all text, and begins with some of `before`."""
    for length in range(min(len(before), len(now)), 0, -1):
        if now.startswith(before[-length:]):
            return now[length:]
    return now
