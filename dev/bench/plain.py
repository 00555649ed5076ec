"""The same conversation held by a plain loop without Temporal: what the provider alone takes for an iteration."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from dev.bench import tools
from durable_responses.activities.messages import ModelOptions, Transport
from durable_responses.activities.requests import create_request
from durable_responses.activities.tools import definitions
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.events import ResponseEvent
from durable_responses.responses_api.models import CreateRequest, FunctionCallOutput, Response
from durable_responses.tools.registry import Registry


async def model_seconds(base_url: str, scenario: str, transport: Transport) -> list[float]:
    """Seconds that each response of a scenario takes when its calls are answered at once."""
    options = ModelOptions(metadata={"scenario": scenario})
    functions = definitions(Registry.from_modules([tools.__name__]), None)
    seconds: list[float] = []
    new_input: str | list[Any] = "Do nothing, often."
    previous: str | None = None
    async with ResponsesClient(base_url, None) as client:
        obtain = _OBTAIN[transport]
        while new_input:
            request = create_request(
                options,
                default_model="gpt-5.4",
                functions=functions,
                input=new_input,
                previous_response_id=previous,
                metadata={},
                background=transport is Transport.BACKGROUND,
                stream=transport is Transport.STREAM,
            )
            start = time.perf_counter()
            response = await obtain(client, request)
            seconds.append(time.perf_counter() - start)
            previous = response.id
            new_input = [FunctionCallOutput(call_id=call.call_id, output="") for call in response.function_calls]
    return seconds


async def _in_background(client: ResponsesClient, request: CreateRequest) -> Response:
    response = await client.create(request)
    while not response.is_finished:
        response = (await client.retrieve(response.id)).response
    return response


async def _streamed(client: ResponsesClient, request: CreateRequest) -> Response:
    async with client.stream(request) as events:
        ended = [event async for event in events][-1]
    assert isinstance(ended, ResponseEvent)
    return ended.response


_OBTAIN: dict[Transport, Callable[[ResponsesClient, CreateRequest], Awaitable[Response]]] = {
    Transport.BACKGROUND: _in_background,
    Transport.STREAM: _streamed,
}
