"""The provider learns which trace a request belongs to."""

from collections.abc import Iterator

import opentelemetry.context
import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.handshake import ConnectOptions, RequestOverrides, prepare
from tests.responses_api.conftest import KEY
from tests.support.provider import Provider, answer

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RESPONSE = answer({"id": "resp_1", "object": "response", "status": "completed", "output": []})


@pytest.fixture
def inside_a_trace() -> Iterator[None]:
    _, trace, span, _ = TRACEPARENT.split("-")
    context = SpanContext(int(trace, 16), int(span, 16), is_remote=False, trace_flags=TraceFlags(1))
    token = opentelemetry.context.attach(set_span_in_context(NonRecordingSpan(context)))
    yield
    opentelemetry.context.detach(token)


async def test_a_request_inside_a_trace_says_so(provider: Provider, inside_a_trace: None) -> None:
    provider.answers.append(RESPONSE)
    async with ResponsesClient(provider.url, KEY) as api:
        await api.retrieve("resp_1")
    assert provider.asked[0].headers["traceparent"] == TRACEPARENT


async def test_a_request_outside_a_trace_says_nothing_of_one(api: ResponsesClient, provider: Provider) -> None:
    provider.answers.append(RESPONSE)
    await api.retrieve("resp_1")
    assert "traceparent" not in provider.asked[0].headers


def test_a_websocket_inside_a_trace_says_so(inside_a_trace: None) -> None:
    options = ConnectOptions(overrides=RequestOverrides(allow_plaintext=True))
    assert prepare("ws://127.0.0.1:9/v1/responses", KEY, options).headers["traceparent"] == TRACEPARENT
