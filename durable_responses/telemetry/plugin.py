"""The plugin that makes a Temporal client, and the workers on it, send telemetry."""

from typing import Any

import temporalio.client
from opentelemetry.trace import SpanKind, get_tracer
from temporalio.client import OutboundInterceptor, SignalWorkflowInput, StartWorkflowInput, WorkflowHandle
from temporalio.contrib.opentelemetry import OpenTelemetryInterceptor, OpenTelemetryPlugin
from temporalio.plugin import SimplePlugin
from temporalio.worker import Interceptor, WorkflowInterceptorClassInput

from durable_responses.activities.messages import REPORT_PROGRESS
from durable_responses.telemetry.activities import ActivityTelemetry
from durable_responses.telemetry.export import Content
from durable_responses.telemetry.foreign_headers import ReadableHeaders
from durable_responses.telemetry.instruments import SCOPE
from durable_responses.telemetry.runs import RunInbound

_tracer = get_tracer(SCOPE)


class ClientSpans(temporalio.client.Interceptor):
    """Spans for what starts and steers a run. Queries have none: there are too many."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 the SDK's word
        """Watch one client."""
        return _ClientOutbound(next)


class _ClientOutbound(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        with _tracer.start_as_current_span(
            f"start {input.workflow}", kind=SpanKind.PRODUCER, attributes={"temporal.workflow_id": input.id}
        ):
            return await super().start_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002 the SDK's word
        if input.signal == REPORT_PROGRESS:
            return await super().signal_workflow(input)
        with _tracer.start_as_current_span(
            f"signal {input.signal}", kind=SpanKind.PRODUCER, attributes={"temporal.workflow_id": input.id}
        ):
            return await super().signal_workflow(input)


class RunTelemetry(Interceptor):
    """Watches the runs of a worker."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[RunInbound]:  # noqa: A002, ARG002
        """Watch each run."""
        shown = self._content

        class Inbound(RunInbound):
            content = shown

        return Inbound


def tracing_plugin(content: Content) -> SimplePlugin:
    """For a process with a replay-safe tracer provider (`telemetry.providers.begin`).

    The order counts. Outermost first: a client's span is opened before the header is written; the header's context is
    attached before the spans of run and activity are opened.
    """
    runner = OpenTelemetryPlugin().workflow_runner  # lets the sandbox use OpenTelemetry as it is
    return SimplePlugin(
        "durable_responses.telemetry",
        interceptors=[
            ClientSpans(),
            ReadableHeaders(),
            OpenTelemetryInterceptor(),
            RunTelemetry(content),
            ActivityTelemetry(content),
        ],
        workflow_runner=runner,
    )
