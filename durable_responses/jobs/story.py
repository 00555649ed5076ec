"""What happened in a run, step by step: every response and every function call, from Temporal's history of it.

No worker is asked, so it can be read for as long as the server keeps the run.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from durable_responses.activities.executions import DescribedExecution
from durable_responses.activities.messages import (
    TRANSPORT_OF_ACTIVITY,
    ActivityName,
    CallTool,
    CompactConversation,
    CreatedResponse,
    CreateResponse,
    ListedTools,
    ResponseCost,
    ResponseRecord,
    ToolOutcome,
    ToolResult,
    WebSocketTurn,
)
from durable_responses.jobs.job_errors import JobNotFound, asking_temporal
from durable_responses.jobs.server_records import decoded, time_of
from durable_responses.mcp_tools.names import dotted
from durable_responses.responses_api.models import CallAnswer, FunctionCallOutput
from durable_responses.tools.owner import ASK_OWNER, question_in, read_question
from durable_responses.workflows.compaction import COMPACTION, is_compaction
from durable_responses.workflows.contract import AgentInput, AgentResult, AgentUsage, InputRequestKind
from durable_responses.workflows.ledger import usage_of
from durable_responses.workflows.rules import calls_to_approve, may_be_continued, unanswerable_calls

NOT_EXECUTED = "not executed: the run ended"
_LONGEST_READING = 60.0  # seconds, for all pages of a history


class StepKind(StrEnum):
    """What a step of a run is."""

    RESPONSE = "response"
    CALL = "call"


class Step(BaseModel):
    """A response, or a function call, of a run.

    `status`: the response's or the call's; `running` while it is under way. `seconds` from when it was wanted to its
    end, of which it `waited_seconds` before anything was done. `attempts` counts the times that an activity was begun
    for it; `retried_because`: why, if more than once. `error`: why there is no result.
    """

    model_config = ConfigDict(protected_namespaces=())

    kind: StepKind
    iteration: int | None = None
    status: str = "running"
    started_at: datetime
    seconds: float | None = None
    waited_seconds: float | None = None
    attempts: int = 0
    retried_because: str | None = None
    error: str | None = None


class WantedCall(BaseModel):
    """A function call as a response asks for it, whether it was executed or not."""

    call_id: str
    name: str
    arguments: str


class ResponseStep(Step):
    """A response: what it said and what it cost.

    `calls`, `to_approve` (the ids of requests to approve a call of the provider's), `can_be_continued` and `is_kept`
    (by the provider, to continue from by its id) are for those who continue the run; they are not printed. `compacts`:
    it is no answer, the conversation was compacted; its status says so.
    """

    kind: StepKind = StepKind.RESPONSE
    response_id: str | None = None
    model: str | None = None
    transport: str | None = None
    usage: AgentUsage | None = None
    cost: ResponseCost | None = None
    text: str = ""
    reasoning_summary: str = ""
    calls: list[WantedCall] = Field([], exclude=True)
    to_approve: list[str] = Field([], exclude=True)
    can_be_continued: bool = Field(False, exclude=True)
    is_kept: bool = Field(True, exclude=True)
    compacts: bool = Field(False, exclude=True)


class CallStep(Step):
    """A function call: its arguments as the model wrote them, and the answer that the model was given.

    Not every call was executed: an owner may deny one, or answer it, and one may be open when the run ends.

    `server_tool`: the tool of an MCP server that is called, by the names that it has there. `asked`: what the server
    asked before it answered; then the call is made again.
    """

    kind: StepKind = StepKind.CALL
    call_id: str
    name: str
    arguments: str
    output: str | None = None
    server_tool: str | None = None
    asked: list[str] | None = None


class Story(BaseModel):
    """What a run was asked for, and all of its steps in the order in which they were wanted.

    `request` is None where it cannot be read. `is_whole`: whether the beginning of the run is still kept. `mcp`: the
    tools of MCP servers that it was offered, and those that could not be.
    """

    request: AgentInput | None = None
    steps: list[ResponseStep | CallStep] = []
    is_whole: bool = True
    mcp: ListedTools | None = None


async def story_of(client: Client, described: DescribedExecution) -> Story:
    """The steps of a run so far, over all of its executions. Raises `JobError`."""
    first = described.raw_info.first_run_id or described.run_id
    try:
        return await _told_from(first, client, described)
    except JobNotFound:  # the first execution closed long ago, and its retention is over
        if first == described.run_id:
            raise
    return (await _told_from(described.run_id, client, described)).model_copy(update={"is_whole": False})


async def request_of(client: Client, described: DescribedExecution) -> AgentInput | None:
    """What a run was asked for; None if it cannot be read. Raises `JobError`."""
    async with asking_temporal(described.id):
        handle = client.get_workflow_handle(described.id, run_id=described.run_id)
        async for event in handle.fetch_history_events(page_size=1):
            given = event.workflow_execution_started_event_attributes.input.payloads
            return await decoded(described, given[:1], AgentInput)
    return None


async def _told_from(run_id: str, client: Client, described: DescribedExecution) -> Story:
    telling = _Telling(described)
    following: str | None = run_id
    async with asking_temporal(described.id, seconds=_LONGEST_READING):
        while following:
            history = client.get_workflow_handle(described.id, run_id=following).fetch_history_events(page_size=500)
            telling.begin_execution()
            following = None
            async for event in history:
                await telling.take(event)
                following = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id or None
    telling.end()
    return telling.story


class _Telling:
    """Takes the events of a history, one after the other."""

    def __init__(self, described: DescribedExecution) -> None:
        self.story = Story()
        self._described = described
        self._steps: dict[int, ResponseStep | CallStep] = {}
        self._lists: int | None = None
        self._last_event: HistoryEvent | None = None
        self._result: AgentResult | None = None

    def begin_execution(self) -> None:
        """The events of another execution follow; their numbers begin anew."""
        self._steps, self._lists = {}, None

    async def take(self, event: HistoryEvent) -> None:
        """Take the next event."""
        self._last_event = event
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
                given = event.workflow_execution_started_event_attributes.input.payloads
                self.story.request = self.story.request or await decoded(self._described, given, AgentInput)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                await self._wanted(event)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                started = event.activity_task_started_event_attributes
                if step := self._steps.get(started.scheduled_event_id):
                    step.attempts += started.attempt
                    if step.waited_seconds is None:
                        step.waited_seconds = _between(step.started_at, time_of(event.event_time))
                    step.retried_because = started.last_failure.message or step.retried_because
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                completed = event.activity_task_completed_event_attributes
                await self._completed(completed.scheduled_event_id, completed.result.payloads, event)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                failed = event.activity_task_failed_event_attributes
                self._ended(failed.scheduled_event_id, event, "failed", failed.failure.message)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
                late = event.activity_task_timed_out_event_attributes
                self._ended(
                    late.scheduled_event_id, event, "failed", late.failure.cause.message or late.failure.message
                )
            case EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
                cancelled = event.activity_task_canceled_event_attributes
                self._ended(cancelled.scheduled_event_id, event, "cancelled", "")
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                ended = event.workflow_execution_completed_event_attributes
                self._result = await decoded(self._described, ended.result.payloads, AgentResult)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
                failure = event.workflow_execution_failed_event_attributes.failure
                details = failure.application_failure_info.details.payloads
                self._result = await decoded(self._described, details, AgentResult)

    def end(self) -> None:
        """There are no more events: calls of the last response that nothing has become of are open, or were left so."""
        if self._last_event is None:
            return
        now, is_over = time_of(self._last_event.event_time), self._last_event.event_type in _ENDS
        answers = self._answers_of_the_owner()
        for call in self._open_calls():
            step = self._not_executed(call, now)
            if (answer := answers.get(call.call_id)) is not None:
                step.status, step.output = ToolOutcome.SUCCEEDED, answer
            elif is_over:
                step.status, step.error = ToolOutcome.FAILED, NOT_EXECUTED

    def _answers_of_the_owner(self) -> dict[str, str]:
        """What the owner has answered to open calls that ask it something. The requests have no ids of calls."""
        asked = [
            each for each in (self._result.requests if self._result else []) if each.kind is InputRequestKind.QUESTION
        ]
        answers: dict[str, str] = {}
        for call in self._open_calls():
            text = _question_of(call)
            for request in asked if text is not None else []:
                if request.answer is not None and question_in(request.message) == text:
                    asked.remove(request)
                    answers[call.call_id] = request.answer
                    break
        return answers

    def _open_calls(self) -> "list[WantedCall]":
        latest = next(
            (step for step in reversed(self.story.steps) if isinstance(step, ResponseStep) and not step.compacts), None
        )
        known = {step.call_id for step in self.story.steps if isinstance(step, CallStep)}
        return [call for call in (latest.calls if latest else []) if call.call_id not in known]

    def _not_executed(self, call: "WantedCall", now: datetime) -> CallStep:
        latest = self._latest_response()
        step = CallStep(started_at=now, iteration=latest.iteration if latest else None, **call.model_dump())
        self.story.steps.append(step)
        return step

    def _answered(self, answers: Sequence[CallAnswer], now: datetime) -> None:
        """The next response is given the answers to all calls, also to those that were not executed."""
        outputs = {each.call_id: each.text for each in answers if isinstance(each, FunctionCallOutput)}
        for call in self._open_calls():
            if (output := outputs.get(call.call_id)) is not None:
                step = self._not_executed(call, now)
                step.output = output
                step.status = ToolOutcome.SUCCEEDED if _question_of(call) is not None else ToolOutcome.FAILED

    async def _wanted(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        name, payloads, now = scheduled.activity_type.name, scheduled.input.payloads, time_of(event.event_time)
        step: ResponseStep | CallStep | None = None
        if name in TRANSPORT_OF_ACTIVITY:
            create = await decoded(self._described, payloads, CreateResponse)
            self._answered(create.new_items if create else [], now)
            step = ResponseStep(
                started_at=now,
                iteration=create.iteration if create else None,
                model=create.options.model if create else None,
                transport=TRANSPORT_OF_ACTIVITY[name],
                is_kept=create is None or _is_kept(create),
                compacts=create is not None and create.compacts is True,
            )
        elif name == ActivityName.COMPACT_CONVERSATION:
            asked = await decoded(self._described, payloads, CompactConversation)
            step = ResponseStep(started_at=now, iteration=asked.create.iteration if asked else None, compacts=True)
        elif name == ActivityName.CALL_TOOL:
            call = await decoded(self._described, payloads, CallTool)
            if call is not None:
                step = CallStep(
                    started_at=now,
                    iteration=call.iteration,
                    call_id=call.call_id,
                    name=call.name,
                    arguments=call.arguments,
                    server_tool=dotted(call.mcp.server, call.mcp.tool) if call.mcp else None,
                )
        elif name == ActivityName.LIST_TOOLS:
            self._lists = event.event_id
        elif name in (ActivityName.AWAIT_RESPONSE, ActivityName.CANCEL_RESPONSE):
            # They go on with the response that was created last.
            if latest := self._latest_response():
                self._steps[event.event_id] = latest
            return
        if step is not None:
            self._steps[event.event_id] = step
            self.story.steps.append(step)

    async def _completed(self, scheduled: int, payloads: Sequence[Payload], event: HistoryEvent) -> None:
        if scheduled == self._lists:
            self.story.mcp = await decoded(self._described, payloads, ListedTools) or self.story.mcp
        step = self._steps.get(scheduled)
        if step is None:
            return
        step.seconds = _between(step.started_at, time_of(event.event_time))
        if isinstance(step, CallStep):
            answer = await decoded(self._described, payloads, ToolResult)
            if answer is not None:
                step.status, step.output = answer.outcome, answer.output
                if answer.asks is not None:  # what it has as an output is for those who can ask nobody
                    step.status, step.output = "running", None
                    step.asked = [each.message for each in answer.asks.questions]
            return
        response = await self._response_in(payloads)
        if isinstance(response, CreatedResponse) and response.finished is None:
            step.response_id, step.status = response.response_id, response.status
            step.model = response.model or step.model
        elif response is not None:
            record = response.finished if isinstance(response, CreatedResponse) else response
            assert record is not None, "a response, or what a create has finished"
            _tell(step, record)

    async def _response_in(self, payloads: Sequence[Payload]) -> CreatedResponse | ResponseRecord | None:
        content = await decoded(self._described, payloads, dict) or {}
        kind: type[BaseModel] = ResponseRecord
        if "response_id" in content:
            kind = CreatedResponse
        elif isinstance(content.get("response"), dict):
            kind = WebSocketTurn
        elif "id" not in content:
            return None
        value = await decoded(self._described, payloads, kind)
        if isinstance(value, WebSocketTurn):
            return value.response
        return value if isinstance(value, CreatedResponse | ResponseRecord) else None

    def _ended(self, scheduled: int, event: HistoryEvent, status: str, why: str) -> None:
        if step := self._steps.get(scheduled):
            step.seconds = _between(step.started_at, time_of(event.event_time))
            step.status, step.error = status, why or step.error

    def _latest_response(self) -> ResponseStep | None:
        return next((step for step in reversed(self.story.steps) if isinstance(step, ResponseStep)), None)


def _question_of(call: WantedCall) -> str | None:
    """What a call asks the owner; None for any other call."""
    if call.name != ASK_OWNER:
        return None
    try:
        return read_question(call.arguments).question
    except ValueError:
        return None


_ENDS = (
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
)


def _is_kept(create: CreateResponse) -> bool:
    told = create.conversation
    if told is None or told.store is False:
        return told is None
    begins_anew = told.compacted is not None and told.before.count == told.opens_with  # and is chained from then on
    return not told.in_full or begins_anew


def _tell(step: ResponseStep, record: ResponseRecord) -> None:
    step.response_id, step.status = record.id, record.status
    step.model = record.model or step.model
    step.usage, step.cost = usage_of(record.usage), record.cost
    step.text, step.reasoning_summary = record.all_text, record.reasoning_summary
    step.calls = [
        WantedCall(call_id=call.call_id, name=call.name, arguments=call.arguments) for call in record.function_calls
    ]
    step.to_approve = [call.call_id for call in calls_to_approve(record)]
    step.can_be_continued = may_be_continued(record) and not unanswerable_calls(record)
    if step.compacts:
        step.text, step.calls, step.can_be_continued = "", [], False
        step.status = COMPACTION if is_compaction(record) else record.status
    step.error = record.error.message if record.error else None
    if record.incomplete_details is not None and record.incomplete_details.reason:
        step.error = record.incomplete_details.reason


def _between(start: datetime, end: datetime) -> float:
    return round(max((end - start).total_seconds(), 0), 3)
