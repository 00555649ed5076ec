"""Runs that are started and signalled with headers that are no trace's context."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    WorkflowHandle,
)

from durable_responses.emulator.model.script import Script, Text
from durable_responses.telemetry.foreign_headers import TRACER_DATA, readable
from durable_responses.workflows.contract import AgentStatus
from tests.support.deployment import Deployment, calls
from tests.support.receiver import Received
from tests.telemetry.conftest import exporting_worker


def payload(data: Any, encoding: bytes = b"json/plain") -> Payload:
    return Payload(metadata={"encoding": encoding}, data=data if isinstance(data, bytes) else json.dumps(data).encode())


ODD: dict[str, Payload] = {
    "encrypted": payload(b"\x00\xff", b"binary/encrypted"),
    "bytes": payload(b"\x00\xff", b"binary/plain"),
    "without an encoding": Payload(data=b"?"),
    "not JSON": payload(b"{"),
    "text": payload("00-1-2-3"),
    "a list": payload(["traceparent"]),
    "a number": payload(1),
    "null": payload(None),
    "a number for a traceparent": payload({"traceparent": 5}),
    "an object for a traceparent": payload({"traceparent": {"traceId": "a"}}),
    "null for a traceparent": payload({"traceparent": None}),
    "a list in it": payload({"traceparent": [[1]], "tracestate": [2]}),
}
HARMLESS: dict[str, Payload] = {
    "no traceparent": payload({"traceparent": "?"}),
    "another's": payload({"uber-trace-id": "1:2:3:4", "baggage": "=,;=%"}),
    "a traceparent": payload({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
    "nothing": payload({}),
}


@pytest.mark.parametrize("header", ODD.values(), ids=ODD)
def test_a_header_that_is_no_context_is_left_out(header: Payload) -> None:
    other = payload("kept")
    assert readable({TRACER_DATA: header, "other": other}) == {"other": other}


@pytest.mark.parametrize("header", HARMLESS.values(), ids=HARMLESS)
def test_a_header_that_may_be_one_stays(header: Payload) -> None:
    assert readable({TRACER_DATA: header}) == {TRACER_DATA: header}


class WithHeaders(Interceptor):
    """A client that gives a run these headers, with whatever it asks of it."""

    def __init__(self, headers: Mapping[str, Payload]) -> None:
        self._headers = headers

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 the SDK's word
        given = self._headers

        class Outbound(OutboundInterceptor):
            async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
                input.headers = given
                return await super().start_workflow(input)

            async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002
                input.headers = given
                await super().signal_workflow(input)

            async def query_workflow(self, input: QueryWorkflowInput) -> Any:  # noqa: A002
                input.headers = given
                return await super().query_workflow(input)

        return Outbound(next)


async def test_no_header_stops_a_run_whose_worker_traces(apart: Deployment, received: Received) -> None:
    async with exporting_worker(apart, received):
        for number, (name, header) in enumerate((ODD | HARMLESS).items()):
            headers = {TRACER_DATA: header, "traceparent": header, "": header}
            config = apart.client.config()
            config["interceptors"] = [WithHeaders(headers)]
            odd = Client(**config)
            deployment = Deployment(apart.temporal, odd, apart.emulator, apart.folder / f"run-{number}")
            deployment.task_queue = apart.task_queue
            scripts = [Script(output=[calls("look", "open")]), Script(output=[Text(text="Done.")])]
            run = await deployment.start(f"headers-{number}", scripts)
            await run.handle.signal("steer", "Go on.")
            await run.progress()
            assert (await run.result()).status is AgentStatus.COMPLETED, name
