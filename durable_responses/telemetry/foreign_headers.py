"""Headers that others have given a run: what cannot be read in them is left out.

Whoever starts or signals a run writes its headers: a program in another language, one with a codec of its own, or by
hand. OpenTelemetry's interceptor expects a carrier of texts there, and what it raises for anything else would fail the
workflow task for ever.
"""

import logging
from collections.abc import Mapping
from typing import Any

import temporalio.client
from opentelemetry.propagate import get_global_textmap
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

logger = logging.getLogger(__name__)

TRACER_DATA = "_tracer-data"
"""The header in which Temporal's SDKs carry the context of a trace."""


class ReadableHeaders(temporalio.client.Interceptor, Interceptor):
    """Comes before the interceptors that read headers.

    One of the client's, too, although it leaves clients alone: a worker takes those of its client first.
    """

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type["_RunInbound"]:  # noqa: A002, ARG002
        """For each run."""
        return _RunInbound

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """For each activity."""
        return _ActivityInbound(next)


class _RunInbound(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 the SDK's word
        input.headers = readable(input.headers)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002
        input.headers = readable(input.headers)
        await super().handle_signal(input)

    async def handle_query(self, input: HandleQueryInput) -> Any:  # noqa: A002
        input.headers = readable(input.headers)
        return await super().handle_query(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:  # noqa: A002
        input.headers = readable(input.headers)
        super().handle_update_validator(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:  # noqa: A002
        input.headers = readable(input.headers)
        return await super().handle_update_handler(input)


class _ActivityInbound(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        input.headers = readable(input.headers)
        return await super().execute_activity(input)


def readable(headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
    """The headers without a trace's context that is not one. Raises nothing."""
    given = headers.get(TRACER_DATA)
    if given is None or _is_readable(given):
        return headers
    logger.debug("A header %s cannot be read: the trace of the caller is not continued.", TRACER_DATA)
    return {name: payload for name, payload in headers.items() if name != TRACER_DATA}


def _is_readable(payload: Payload) -> bool:
    try:
        [carrier] = PayloadConverter.default.from_payloads([payload])
        get_global_textmap().extract(carrier)
    except Exception:  # a propagator may raise anything for what is no carrier
        return False
    return isinstance(carrier, dict) and all(
        isinstance(name, str) and isinstance(value, str) for name, value in carrier.items()
    )
