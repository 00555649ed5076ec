"""A run as spans: one for the run, one for each of its responses from create to result, and what they measure.

The workflow opens both, and no activity, because only it sees a response as a whole: its create, the waits on whatever
workers, its cancel. A replay-safe tracer provider gives a span that a replay opens again the same id and start, and
lets none end in a replay; so a run that moved to another worker has one span all the same.

The run's span is the root of its trace, with a link to the span that started it: that one is over in milliseconds, was
sent by another process, and may be lost. A run that is continued as new opens a span of its own below its first one.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import opentelemetry.context
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    get_tracer,
    set_span_in_context,
)
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle, ContinueAsNewError

from durable_responses import genai_attributes as gen_ai
from durable_responses.activities.messages import (
    TRANSPORT_OF_ACTIVITY,
    AwaitResponse,
    CallTool,
    CancelResponse,
    CreatedResponse,
    CreateResponse,
    FailureType,
    ResponseRecord,
    Transport,
    WebSocketTurn,
)
from durable_responses.responses_api.models import Usage
from durable_responses.telemetry import genai, instruments
from durable_responses.telemetry.export import Content
from durable_responses.workflows import activity_errors, rules
from durable_responses.workflows.contract import CANCEL_SIGNAL, AgentInput, AgentResult, AgentState, AgentStatus

_tracer = get_tracer(instruments.SCOPE)

_CREATED = "created"


@contextmanager
def _inside(context: opentelemetry.context.Context) -> Iterator[None]:
    token = opentelemetry.context.attach(context)
    try:
        yield
    finally:
        opentelemetry.context.detach(token)


class ResponseStory:
    """One response on its way, from the create on. Seconds are the workflow's."""

    def __init__(self, create: CreateResponse, transport: Transport, content: Content) -> None:
        self._content = content
        self._transport = transport
        self._model = create.options.model or ""
        self._began_at = workflow.time()
        self._span: Span = _tracer.start_span(
            genai.name_of_response(create.options.model),
            kind=SpanKind.CLIENT,
            attributes=genai.of_create(create, workflow.info().workflow_id, transport, content),
        )
        self._is_over = False

    @property
    def context(self) -> opentelemetry.context.Context:
        """What an activity for this response is started in."""
        return set_span_in_context(self._span)

    def created(self, created: CreatedResponse) -> None:
        """The provider has taken the request."""
        self._span.set_attribute(gen_ai.RESPONSE_ID, created.response_id)
        if created.model and not self._model:  # the run names none: it was the worker's
            self._model = created.model
            self._span.set_attribute(gen_ai.REQUEST_MODEL, created.model)
            self._span.update_name(genai.name_of_response(created.model))
        instruments.creates.add(1, self._labels(outcome=_CREATED))

    def create_failed(self, error: ActivityError) -> None:
        """The create had no result; its worker may have told an id before it died."""
        if activity_errors.was_cancelled(error):
            self._end(AgentStatus.CANCELLED)
            return
        failure = activity_errors.failure_type_of(error) or FailureType.TRY_LATER
        heartbeat, response_id = activity_errors.last_heartbeat_of(error), activity_errors.detail_of(error).response_id
        if response_id is None:
            instruments.creates.add(1, self._labels(outcome=failure))
        else:
            self.created(CreatedResponse(response_id=response_id, status=""))
        is_waited_for = (
            self._transport is Transport.BACKGROUND and heartbeat is not None and heartbeat.response_id is not None
        )
        if not is_waited_for:
            self._fail(failure)

    def wait_failed(self, error: ActivityError) -> None:
        """The response could not be waited for."""
        if not activity_errors.was_cancelled(error):
            self._fail(activity_errors.failure_type_of(error) or "timeout")

    def has_become(self, response: ResponseRecord) -> None:
        """What the provider, or the deadline, has made of it."""
        if self._is_over:
            return
        self._model = self._model or response.model
        self._span.set_attributes(genai.of_response(response, self._content))
        if not response.is_finished:
            return  # it is cancelled next, and what it has become then is recorded
        self._measure(response)
        if response.error is not None:
            self._span.set_status(Status(StatusCode.ERROR, response.error.code or response.status))
        self._end(response.status)

    def was_superseded(self, earlier: ResponseRecord) -> None:
        """A steering message ended a response early, and this one continues it: one span for both, but each counts."""
        instruments.responses.add(1, self._labels(status=earlier.status))
        self._measure(earlier)

    def left(self) -> None:
        """Nobody follows it any more."""
        if not self._is_over:
            self._end("unfinished")

    def _measure(self, response: ResponseRecord) -> None:
        if response.completed_at is not None:
            # The clocks of two machines: a response is not known before it is completed.
            instruments.knowing_delay.record(max(0.0, workflow.time() - response.completed_at), self._labels())
        self._use(response.usage or Usage())
        if response.cost is not None:
            cost = response.cost.usd if response.cost.usd is not None else response.cost.known or 0
            instruments.response_cost.add(cost, self._labels(status=response.status))
        if response.usage is not None:
            labels = self._conventional()
            instruments.inference_input_tokens.record(response.usage.input_tokens, labels)
            instruments.inference_output_tokens.record(response.usage.output_tokens, labels)
            for kind, tokens in (("input", response.usage.input_tokens), ("output", response.usage.output_tokens)):
                instruments.token_usage.record(tokens, {**labels, gen_ai.TOKEN_TYPE: kind})

    def _use(self, usage: Usage) -> None:
        # Every response is counted, by the conventions: those of which no usage is known with 0.
        labels = self._conventional() | {gen_ai.TOKEN_MODALITY: "unknown"}
        instruments.used_input_tokens.add(usage.input_tokens, labels)
        instruments.used_cached_tokens.add(usage.input_tokens_details.cached_tokens, labels)
        instruments.used_output_tokens.add(usage.output_tokens, labels)
        instruments.used_reasoning_tokens.add(usage.output_tokens_details.reasoning_tokens, labels)

    def _fail(self, why: str) -> None:
        if self._is_over:
            return
        self._span.set_attribute(ERROR_TYPE, why)
        self._span.set_status(Status(StatusCode.ERROR, why))
        self._use(Usage())
        self._end("failed", error=why)

    def _end(self, status: str, error: str | None = None) -> None:
        self._is_over = True
        labels = self._conventional() | ({ERROR_TYPE: error} if error else {})
        seconds = workflow.time() - self._began_at
        instruments.inference_duration.record(seconds, labels)
        instruments.response_duration.record(seconds, labels)
        instruments.responses.add(1, self._labels(status=status))
        self._span.end()

    def _labels(self, **more: str) -> dict[str, str]:
        return {"transport": self._transport, gen_ai.REQUEST_MODEL: self._model, **more}

    def _conventional(self) -> dict[str, str]:
        return genai.labels_of_response(self._model)


class RunStory:
    """One run, from its start or its continuation to its end, or to the next continuation."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._response: ResponseStory | None = None
        self._span: Span | None = None
        self._parent = opentelemetry.context.Context()
        self._is_continued = False
        self._model: str | None = None
        self._calls = 0  # since the last continuation; the state knows the newest hundred, over all
        self._cancelled_at: float | None = None

    def begins(self, request: AgentInput | None, *, is_continued: bool) -> opentelemetry.context.Context:
        """The context for the run: the root of a trace, or below the first one of those that it continues."""
        info = workflow.info()
        starter = get_current_span().get_span_context()
        self._is_continued = is_continued
        self._model = request.model if request is not None else None
        self._parent = opentelemetry.context.get_current()
        if not is_continued:
            self._parent = set_span_in_context(INVALID_SPAN)  # baggage of the starter stays
        self._span = _tracer.start_span(
            f"{genai.Operation.RUN} {info.workflow_type}",
            context=self._parent,
            kind=SpanKind.INTERNAL,
            attributes=genai.of_run(info.workflow_id, request, self._content) | {"temporal.run_id": info.run_id},
            links=[Link(starter)] if starter.is_valid and not is_continued else [],
        )
        return set_span_in_context(self._span)

    def continuation(self) -> opentelemetry.context.Context:
        """The context that the next run begins in: below the first one."""
        if self._is_continued or self._span is None:
            return self._parent
        return set_span_in_context(self._span)

    def cancel_requested(self) -> None:
        """The run was asked to stop."""
        if self._cancelled_at is None:
            self._cancelled_at = workflow.time()

    # --- responses -----------------------------------------------------------------------------------------------

    def start(self, name: str, argument: Any) -> "ResponseStory | None":
        """The response that an activity of this name is started for; None when it is for none."""
        match argument:
            case CreateResponse() if name in TRANSPORT_OF_ACTIVITY:
                self._leave()
                self._response = ResponseStory(argument, TRANSPORT_OF_ACTIVITY[name], self._content)
            case CancelResponse():
                self.cancel_requested()
            case AwaitResponse():
                pass
            case CallTool():
                self._calls += 1
                return None
            case _:
                return None
        return self._response

    def _leave(self) -> None:
        if self._response is not None:
            self._response.left()
        self._response = None

    # --- the end -------------------------------------------------------------------------------------------------

    def ends(self, status: AgentStatus, result: AgentResult | None) -> None:
        """The run is over."""
        self._leave()
        labels = {"status": str(status)}
        instruments.runs.add(1, labels)
        state = _state()
        instruments.run_iterations.record(state.iteration, labels)
        if state.cost is not None:
            instruments.run_cost.record(state.cost.known, labels)
            instruments.wasted_cost.add(state.cost.wasted)
            instruments.unknown_costs.add(state.cost.unknown)
        error = result.error.type if result is not None and result.error is not None else "error"
        of_agent = genai.labels_of_run(self._model) | ({ERROR_TYPE: error} if status is AgentStatus.FAILED else {})
        if state.started_at is not None:
            seconds = (workflow.now() - state.started_at).total_seconds()
            instruments.run_duration.record(seconds, labels)
            instruments.agent_duration.record(seconds, of_agent)
        instruments.agent_inference_calls.record(len(result.responses) if result else state.iteration, of_agent)
        instruments.agent_tool_calls.record(max(self._calls, len(state.function_calls)), of_agent)
        if self._cancelled_at is not None and status is AgentStatus.CANCELLED:
            instruments.cancel_duration.record(workflow.time() - self._cancelled_at)
        assert self._span is not None
        self._span.set_attribute("agent.status", status)
        if result is not None:
            self._span.set_attributes(genai.of_result(result, self._content))
        if status is AgentStatus.FAILED:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()

    def goes_on(self) -> None:
        """The run is continued as new."""
        self._leave()
        assert self._span is not None
        self._span.set_attribute("agent.continued_as_new", True)
        self._span.end()


def _state() -> AgentState:
    """What the run says about itself, over all its continuations and even if it was cancelled."""
    state: AgentState = workflow.instance().progress()
    return state


class RunInbound(WorkflowInboundInterceptor):
    """Records one run. Comes inside the interceptor that attaches the context of the run's header."""

    content = Content.NONE

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Watch what the run starts."""
        self._story = RunStory(self.content)
        super().init(RunOutbound(outbound, self._story))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 the SDK's word
        """The run, inside its span. An instance that is thrown out of the cache ends nothing."""
        with _inside(self._story.begins(_request_of(input), is_continued=_carried_by(input) is not None)):
            try:
                result = await super().execute_workflow(input)
            except ContinueAsNewError:
                self._story.goes_on()
                raise
            except (Exception, asyncio.CancelledError) as error:
                if is_cancelled_exception(error) and workflow.cancellation_reason() is not None:
                    self._story.ends(AgentStatus.CANCELLED, None)
                elif isinstance(error, ApplicationError):
                    self._story.ends(AgentStatus.FAILED, _result_in(error.details))
                raise
            status = result.status if isinstance(result, AgentResult) else AgentStatus.COMPLETED
            self._story.ends(status, result if isinstance(result, AgentResult) else None)
            return result

    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002 the SDK's word
        """Note when the run was told to stop."""
        if input.signal == CANCEL_SIGNAL:
            self._story.cancel_requested()
        await super().handle_signal(input)


class RunOutbound(WorkflowOutboundInterceptor):
    """Starts each activity inside the span of its response."""

    def __init__(self, outbound: WorkflowOutboundInterceptor, story: RunStory) -> None:
        super().__init__(outbound)
        self._story = story

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:  # noqa: A002 the SDK's word
        """Start it, and record what becomes of its response."""
        response = self._story.start(input.activity, input.args[0] if input.args else None)
        if response is None:
            return super().start_activity(input)
        with _inside(response.context):
            handle = super().start_activity(input)
        handle.add_done_callback(
            lambda ended: _tell(response, ended, is_create=input.activity in TRANSPORT_OF_ACTIVITY)
        )
        return handle

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:  # noqa: A002 the SDK's word
        """Carry the trace on."""
        with _inside(self._story.continuation()):
            super().continue_as_new(input)


def _tell(response: ResponseStory, ended: "asyncio.Future[Any]", *, is_create: bool) -> None:
    if ended.cancelled() or not workflow.in_workflow():  # the instance is being thrown out of the cache
        return
    error = ended.exception()
    if isinstance(error, ActivityError):
        response.create_failed(error) if is_create else response.wait_failed(error)
        return
    if error is not None:
        return
    match ended.result():
        case CreatedResponse() as created:
            response.created(created)
        case ResponseRecord() as record:
            if is_create:
                response.created(_created(record))
            response.has_become(record)
        case WebSocketTurn() as turn:
            response.created(_created(turn.response))
            for earlier in turn.superseded:
                response.was_superseded(earlier)
            response.has_become(turn.response)


def _created(record: ResponseRecord) -> CreatedResponse:
    return CreatedResponse(response_id=record.id, status=record.status, model=record.model or None)


def _request_of(input: ExecuteWorkflowInput) -> AgentInput | None:  # noqa: A002 the SDK's word
    try:
        return rules.parse_input(input.args[0] if input.args else None)
    except ValueError:  # the run itself says what is wrong with it
        return None


def _carried_by(input: ExecuteWorkflowInput) -> Any:  # noqa: A002 the SDK's word
    return input.args[1] if len(input.args) > 1 else None


def _result_in(details: Any) -> AgentResult | None:
    return next((detail for detail in details if isinstance(detail, AgentResult)), None)
