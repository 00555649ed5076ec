"""A span for each attempt of an activity, below its response's, with its metrics and the ids for its log lines."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_tracer
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from durable_responses import genai_attributes as gen_ai
from durable_responses.activities.messages import (
    AwaitResponse,
    CallTool,
    CancelResponse,
    CreatedResponse,
    HeartbeatDetails,
    ResponseRecord,
    ToolResult,
)
from durable_responses.telemetry import genai, instruments
from durable_responses.telemetry.export import Content
from durable_responses.telemetry.log_lines import current_response

_tracer = get_tracer(instruments.SCOPE)


class ActivityTelemetry(Interceptor):
    """Watches the activities of a worker. Without exporters it only records the ids for the log."""

    def __init__(self, content: Content = Content.NONE) -> None:
        self._content = content

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Watch one activity."""
        return _Inbound(next, self._content)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, content: Content) -> None:
        super().__init__(inner)
        self._content = content

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 the SDK's word
        info = activity.info()
        waited = (info.started_time - info.current_attempt_scheduled_time).total_seconds()
        instruments.queue_wait.record(max(0.0, waited), {"activity": info.activity_type})
        argument = input.args[0] if input.args else None
        current_response.set(_response_of(argument))
        with _span(info, argument, self._content) as span:
            began = perf_counter()
            result = await super().execute_activity(input)
            span.set_attributes(_attributes_of(result, self._content))
            if isinstance(result, ToolResult) and isinstance(argument, CallTool):
                labels = {gen_ai.TOOL_NAME: argument.name, "outcome": str(result.outcome)}
                seconds = perf_counter() - began
                instruments.tool_duration.record(seconds, labels)
                instruments.execute_tool_duration.record(seconds, genai.labels_of_call(argument, result))
            return result


class _Outbound(ActivityOutboundInterceptor):
    """Learns the id of a response that an activity creates from the activity's heartbeats."""

    def heartbeat(self, *details: Any) -> None:
        if details and isinstance(details[0], HeartbeatDetails) and details[0].response_id:
            current_response.set(details[0].response_id)
        super().heartbeat(*details)


@contextmanager
def _span(info: activity.Info, argument: Any, content: Content) -> Iterator[Span]:
    attributes: genai.Attributes = {
        "temporal.workflow_id": info.workflow_id or "",
        "temporal.run_id": info.workflow_run_id or "",
        "temporal.activity": info.activity_type,
        "temporal.attempt": info.attempt,
    }
    name = info.activity_type
    if isinstance(argument, CallTool):
        name = f"{genai.Operation.TOOL} {argument.name}"
        attributes |= genai.of_call(argument, content)
    elif response_id := _response_of(argument):
        attributes[gen_ai.RESPONSE_ID] = response_id
    with _tracer.start_as_current_span(
        name, kind=SpanKind.INTERNAL, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except ApplicationError as error:
            # Its type only: a message may quote what the provider said of the content.
            span.set_attribute(ERROR_TYPE, error.type or "error")
            span.set_status(Status(StatusCode.ERROR, error.type))
            raise
        except asyncio.CancelledError:
            span.set_attribute("temporal.cancelled", True)  # by the run, or because this worker stops
            raise
        except BaseException as error:
            span.set_attribute(ERROR_TYPE, type(error).__name__)
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def _response_of(argument: Any) -> str | None:
    return argument.response_id if isinstance(argument, AwaitResponse | CancelResponse) else None


def _attributes_of(result: Any, content: Content) -> genai.Attributes:
    match result:
        case ToolResult():
            return genai.of_answer(result, content)
        case CreatedResponse():
            return {gen_ai.RESPONSE_ID: result.response_id}
        case ResponseRecord():
            return {gen_ai.RESPONSE_ID: result.id, "agent.response.status": result.status}
    return {}
