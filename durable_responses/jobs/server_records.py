"""What Temporal's own records say about a run. Reading them takes no worker.

Open runs: the description, the heartbeats of pending activities, the newest events. Closed runs: the closing event.
"""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import ValidationError
from temporalio import exceptions
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType, VersioningBehavior
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowFailureError

from durable_responses.activities.executions import DescribedExecution
from durable_responses.activities.executions import described as described_execution
from durable_responses.activities.messages import (
    TRANSPORT_OF_ACTIVITY,
    ActivityName,
    AwaitResponse,
    CreateResponse,
    ProgressReport,
    Waiting,
)
from durable_responses.jobs.job_errors import JobNotFound, asking_temporal
from durable_responses.jobs.job_view import THE_RUN, with_live_text
from durable_responses.workflows.contract import (
    CANCEL_SIGNAL,
    WORKFLOW_TYPE,
    AgentError,
    AgentInput,
    AgentResult,
    AgentState,
    AgentStatus,
)
from durable_responses.workflows.contract import TaskQueue as UsualQueue
from durable_responses.workflows.ledger import Ledger
from durable_responses.workflows.rules import absolute_deadline, max_iterations_for
from durable_responses.workflows.search_attributes import AGENT_STATUS
from durable_responses.workflows.web_ui import MEMO_TASK, summary

_NEWEST_EVENTS = 200  # of an execution: more than one iteration has, unless the model asks for dozens of calls at once
_UNREADABLE = "The result cannot be read: it is not an agent's, or this process lacks the codec that encoded it."
T = TypeVar("T")

# --- reading -----------------------------------------------------------------------------------------------------


class Records:
    """Reads the records of agent runs in the client's namespace. Every method raises `JobError`s only."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def describe(self, job_id: str) -> DescribedExecution:
        """The newest execution of an agent run. A workflow of another type is not ours: `JobNotFound`."""
        async with asking_temporal(job_id):
            described = await described_execution(self._client, job_id)
        if described.workflow_type != WORKFLOW_TYPE:
            raise JobNotFound(job_id)
        return described

    async def summary(self, described: DescribedExecution) -> str | None:
        """What the run is called: its static summary, which continue-as-new does not carry over, or its task."""
        first_run = described.raw_info.first_run_id
        if (given := await _readable(described.static_summary())) is not None:
            return given
        if isinstance(task := (await self.memo(described)).get(MEMO_TASK), str):
            return summary(task)  # whoever started the run may have written a whole book there
        if first_run in ("", described.run_id):
            return None
        try:
            async with asking_temporal(described.id):
                first = await described_execution(self._client, described.id, first_run)
        except JobNotFound:  # the first execution closed long ago, and its retention is over
            return None
        return await _readable(first.static_summary())

    async def memo(self, described: DescribedExecution) -> Mapping[str, Any]:
        """What was kept beside the run; nothing where it cannot be read."""
        return await _readable(described.memo()) or {}

    async def last_poll(self, task_queue: str) -> datetime | None:
        """When a worker last polled this queue; None when none did in the last five minutes."""
        request = DescribeTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        async with asking_temporal():
            answer = await self._client.workflow_service.describe_task_queue(request)
        return max((time_of(poller.last_access_time) for poller in answer.pollers), default=None)

    async def outcome(self, described: DescribedExecution) -> AgentResult:
        """The result of a closed execution. One that was closed from outside has little more than a status.

        A result that is not an agent's, or that this process has no codec for, reads as a failure that says so.
        """
        handle = self._client.get_workflow_handle(described.id, run_id=described.run_id, result_type=AgentResult)
        try:
            async with asking_temporal(described.id):
                result = await _readable(handle.result(follow_runs=False))
        except WorkflowFailureError as error:
            return _failed_outcome(error.cause)
        return result or _failed("unreadable_result", _UNREADABLE)

    async def state(self, described: DescribedExecution) -> AgentState:
        """Where a run stands, or stood, as far as the records tell: not its tokens, its function calls and its end."""
        state = await self._at_the_start(described)
        events = await self._newest_events(described)
        await _read_events(state, described, events)
        state.cancel_requested |= any(map(_asks_to_cancel, events))
        for heartbeat in await self.heartbeats(described):
            _read_heartbeat(state, heartbeat)
        if state.response_id is not None or state.iteration > 1:
            state.status = AgentStatus.RUNNING
        if described.typed_search_attributes.get(AGENT_STATUS) == AgentStatus.INPUT_REQUIRED:
            state.status = AgentStatus.INPUT_REQUIRED
        state.updated_at = _last_change(described, events)
        return state

    async def heartbeats(self, described: DescribedExecution) -> list[ProgressReport]:
        """What the pending activities told of their responses in their last heartbeats."""
        told = [
            await decoded(described, pending.heartbeat_details.payloads, ProgressReport)
            for pending in described.raw_description.pending_activities
            if pending.activity_type.name in {*TRANSPORT_OF_ACTIVITY, ActivityName.AWAIT_RESPONSE}
        ]
        return [heartbeat for heartbeat in told if heartbeat is not None]

    async def _at_the_start(self, described: DescribedExecution) -> AgentState:
        """The state that the execution began with: a fresh one, or what continue-as-new carried over."""
        handle = self._client.get_workflow_handle(described.id, run_id=described.run_id)
        async with asking_temporal(described.id):
            started = await anext(handle.fetch_history_events(page_size=1))
        arguments = started.workflow_execution_started_event_attributes.input.payloads
        if carried := await decoded(described, arguments[1:], Ledger):
            return carried.state
        state = AgentState(started_at=described.start_time)
        request = await decoded(described, arguments, AgentInput)
        if request is None:  # the run will fail and say so as soon as there is a worker
            return state
        asked = {"model": request.model, "max_iterations": max_iterations_for(request)}
        return state.model_copy(update={**asked, "deadline": absolute_deadline(request, described.start_time)})

    async def _newest_events(self, described: DescribedExecution) -> Sequence[HistoryEvent]:
        request = GetWorkflowExecutionHistoryReverseRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=described.id, run_id=described.run_id),
            maximum_page_size=_NEWEST_EVENTS,
        )
        async with asking_temporal(described.id):
            answer = await self._client.workflow_service.get_workflow_execution_history_reverse(request)
        return answer.history.events


async def _read_events(state: AgentState, described: DescribedExecution, newest_first: Sequence[HistoryEvent]) -> None:
    """Find the iteration under way and its response, or the response before while this one has no id yet."""
    results: dict[int, Sequence[Payload]] = {}
    iteration = response_id = None
    for event in newest_first:
        if event.HasField("activity_task_completed_event_attributes"):
            completed = event.activity_task_completed_event_attributes
            results[completed.scheduled_event_id] = completed.result.payloads
        if not event.HasField("activity_task_scheduled_event_attributes"):
            continue
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == ActivityName.AWAIT_RESPONSE:
            waits = await decoded(described, scheduled.input.payloads, AwaitResponse)
            response_id = response_id or (waits.response_id if waits else None)
        if scheduled.activity_type.name in TRANSPORT_OF_ACTIVITY:
            create = await decoded(described, scheduled.input.payloads, CreateResponse)
            if create is not None:
                iteration = iteration or create.iteration
                state.model = state.model or create.options.model
            response_id = response_id or await _id_in(described, results.get(event.event_id, []))
        if iteration and response_id:
            break
    state.iteration = iteration or state.iteration
    state.response_id = response_id or state.response_id


async def _id_in(described: DescribedExecution, result: Sequence[Payload]) -> str | None:
    """The response id in the result of an activity that created one: a `CreatedResponse`, or the response itself."""
    content = await decoded(described, result, dict) or {}
    return content.get("response_id") or content.get("id")


async def decoded(described: DescribedExecution, payloads: Sequence[Payload], kind: type[T]) -> T | None:
    """The first value; None where there is none of this kind. A run can be started with anything, or with nothing."""
    if not payloads:
        return None
    values = await _readable(described.data_converter.decode(payloads[:1], [kind]))
    return values[0] if values and isinstance(values[0], kind) else None


async def _readable(content: Awaitable[T]) -> T | None:
    """The content, once it is decoded; None where it is no such object, or encoded by a client that encrypts."""
    try:
        return await content
    except (ValidationError, KeyError, RuntimeError):  # KeyError: an encoding that is not known here
        return None


def _asks_to_cancel(event: HistoryEvent) -> bool:
    signalled = event.workflow_execution_signaled_event_attributes.signal_name == CANCEL_SIGNAL
    return signalled or event.HasField("workflow_execution_cancel_requested_event_attributes")


def _read_heartbeat(state: AgentState, heartbeat: ProgressReport) -> None:
    state.response_id = heartbeat.response_id or state.response_id
    state.response_status = heartbeat.response_status or state.response_status
    state.waiting = heartbeat.waiting
    state.preview = with_live_text(state.preview, heartbeat.preview or "")


def _last_change(described: DescribedExecution, newest_first: Sequence[HistoryEvent]) -> datetime:
    return max([last_heartbeat(described), *(time_of(event.event_time) for event in newest_first[:1])])


def last_heartbeat(described: DescribedExecution) -> datetime:
    """When an activity of the run last sent a heartbeat; without one, when the execution started."""
    heartbeats = [time_of(pending.last_heartbeat_time) for pending in described.raw_description.pending_activities]
    return max([described.start_time, *heartbeats])


def _failed_outcome(cause: BaseException) -> AgentResult:
    match cause:
        case exceptions.CancelledError():
            return AgentResult(status=AgentStatus.CANCELLED)
        case exceptions.ApplicationError(details=[dict() as told, *_]) if told.get("status") == AgentStatus.FAILED:
            return AgentResult.model_validate(told)
        case exceptions.ApplicationError():
            return _failed(cause.type or "workflow_failed", cause.message)
        case exceptions.TerminatedError():
            return _failed("terminated", f"The run was terminated: {cause.message}.")
        case exceptions.TimeoutError():
            return _failed("timed_out", "The run was closed by a timeout of its workflow execution.")
        case _:
            return _failed("workflow_failed", str(cause))


def _failed(kind: str, message: str) -> AgentResult:
    return AgentResult(status=AgentStatus.FAILED, error=AgentError(type=kind, message=message))


_SOON = timedelta(seconds=2)  # a step that a worker has not taken by then is shown to wait
_STEPS = {
    **dict.fromkeys(TRANSPORT_OF_ACTIVITY, "the create"),
    ActivityName.AWAIT_RESPONSE: "the wait for the response",
    ActivityName.CALL_TOOL: "the function calls",
    ActivityName.DECIDE_CALLS: "what the approval rules say of the function calls",
    ActivityName.CANCEL_RESPONSE: "the cancel",
    ActivityName.SAVE_ARTIFACT: "saving the result",
    ActivityName.SAVE_FILES: "saving the files of a response",
}


def is_unattended(described: DescribedExecution) -> bool:
    """Whether an open run has activities to be executed, and no worker executes any of them at the moment."""
    pending = described.raw_description.pending_activities
    scheduled = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return bool(pending) and all(each.state == scheduled and not each.paused for each in pending)


def unattended(described: DescribedExecution, now: datetime) -> Waiting | None:
    """That a run waits for a worker, or for a free slot of one. `now` is the server's time."""
    if not is_unattended(described):
        return None
    first = min(described.raw_description.pending_activities, key=lambda each: time_of(each.scheduled_time))
    step = _STEPS.get(first.activity_type.name, first.activity_type.name)
    due = time_of(first.scheduled_time)
    if first.attempt > 1 and due > now:
        return Waiting(
            what=f"{step} is to be tried again",
            since=time_of(first.last_started_time),
            attempt=first.attempt - 1,
            next_at=due,
            cause=first.last_failure.message or None,
        )
    queue = first.activity_options.task_queue.name
    usual = UsualQueue.TOOLS.under(described.task_queue)
    if first.activity_type.name == ActivityName.CALL_TOOL and queue not in ("", usual):
        what = f"no program takes {step} on {queue}"
    else:
        what = f"no free slot for {step}"
    return Waiting(what=what, since=due, attempt=0) if now - due >= _SOON else None


def is_shown(waiting: Waiting, now: datetime) -> bool:
    """Whether a wait is worth showing: each create waits a moment."""
    return waiting.attempt > 0 or now - waiting.since >= _SOON


def paused_parts(described: DescribedExecution) -> list[str]:
    """The names of the activities that an operator has paused, or is about to; before them `THE_RUN`, if it is."""
    activities = [each.activity_type.name for each in described.raw_description.pending_activities if each.paused]
    return [THE_RUN, *activities] if described.is_paused else activities


def pinned_build(described: DescribedExecution) -> str | None:
    """The build that an open run is pinned to, with the name of its deployment; None for any other run."""
    versioning = described.raw_info.versioning_info
    override = versioning.versioning_override
    pinned = None
    if override.HasField("pinned"):
        pinned = override.pinned.version
    elif not override.HasField("auto_upgrade") and versioning.behavior == VersioningBehavior.VERSIONING_BEHAVIOR_PINNED:
        pinned = versioning.deployment_version
    return f"{pinned.deployment_name}.{pinned.build_id}" if pinned and not is_closed(described) else None


def is_closed(described: DescribedExecution) -> bool:
    """Whether the execution has ended. A chain that was continued as new has not."""
    return described.has_ended


def time_of(stamp: Timestamp) -> datetime:
    """A moment of Temporal's records, in UTC."""
    return stamp.ToDatetime(UTC)
