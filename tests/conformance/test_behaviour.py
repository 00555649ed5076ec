"""What a run needs of a server, read as the product reads it: leniently.

The other files judge every field by the official client's types, as OpenAI and the emulator keep them. Here a server
passes if runs on it can come to their end. What it need not be able to do (background responses, reading by id, a
chain) is skipped where it says that it cannot.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import GiveUp, ResponsesError
from durable_responses.responses_api.events import ResponseEvent
from durable_responses.responses_api.models import CreateRequest, FunctionCallOutput, FunctionTool, Response
from tests.conformance.conftest import KEY, Asked

pytestmark = pytest.mark.behaviour

LOOK = FunctionTool(
    name="look",
    description="Wait for a gate.",
    parameters={
        "type": "object",
        "properties": {"gate": {"type": "string"}},
        "required": ["gate"],
        "additionalProperties": False,
    },
)
CALL_TASK = "Look at the gate."
# The emulator's script for it; a model of others reads the task.
ONE_CALL = {"scenario": 'calls?iterations=1&tool=look&arguments={"gate": "open"}'}


@pytest.fixture
async def api(asked: Asked) -> AsyncIterator[ResponsesClient]:
    """Our own client."""
    async with ResponsesClient(asked.base_url, SecretStr(KEY or "any"), create_timeout=120) as client:
        yield client


def request(asked: Asked, content: str | list[Any], **fields: Any) -> CreateRequest:
    """A request for the model under test."""
    return CreateRequest(model=asked.model, input=content, max_output_tokens=500, **fields)


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


async def test_a_task_is_answered_with_text(api: ResponsesClient, asked: Asked) -> None:
    response = await api.create(request(asked, "Say hello."))
    assert response.is_finished
    assert response.status in ("completed", "incomplete")
    assert response.output_text


async def test_a_stream_names_its_response_and_ends_with_its_text(api: ResponsesClient, asked: Asked) -> None:
    async with api.stream(request(asked, "Say hello.")) as events:
        known = [event.response async for event in events if isinstance(event, ResponseEvent)]
    assert known[0].id
    assert known[-1].is_finished
    assert known[-1].output_text


async def called(api: ResponsesClient, asked: Asked) -> Response:
    """A response with a function call."""
    response = await api.create(request(asked, [user(CALL_TASK)], tools=[LOOK], metadata=ONE_CALL))
    if not response.function_calls:
        pytest.skip("the model calls no function")
    return response


async def test_a_function_call_has_its_id_its_name_and_its_arguments(api: ResponsesClient, asked: Asked) -> None:
    [call] = (await called(api, asked)).function_calls
    assert call.call_id
    assert call.name == "look"
    assert call.arguments.replace(" ", "") == '{"gate":"open"}'


async def test_the_answer_to_a_call_is_taken_with_the_whole_conversation(api: ResponsesClient, asked: Asked) -> None:
    """Any server can be asked so; some cannot be asked otherwise."""
    [call] = (await called(api, asked)).function_calls
    items = [
        user(CALL_TASK),
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        FunctionCallOutput(call_id=call.call_id, output="The gate open is open.").model_dump(),
    ]
    answered = await api.create(request(asked, items, tools=[LOOK], metadata=ONE_CALL))
    assert answered.output_text


async def test_a_chain_is_continued_or_known_not_to_be(api: ResponsesClient, asked: Asked) -> None:
    """Refused by an error that says so, or answered without naming what it continues: both are seen."""
    first = await called(api, asked)
    output = FunctionCallOutput(call_id=first.function_calls[0].call_id, output="The gate open is open.")
    continued = request(
        asked, [output.model_dump()], tools=[LOOK], metadata=ONE_CALL, previous_response_id=first.id, store=True
    )
    try:
        answered = await api.create(continued)
    except ResponsesError as refused:
        pytest.skip(f"chains are refused: {refused}")
    if answered.previous_response_id is None:
        pytest.skip("chains are taken and ignored")
    assert answered.output_text


async def test_a_background_response_is_answered_at_once_or_read_by_its_id(api: ResponsesClient, asked: Asked) -> None:
    try:
        response = await api.create(request(asked, "Say hello.", background=True, store=True))
        async with asyncio.timeout(60):
            while not response.is_finished:
                await asyncio.sleep(0.1)
                response = (await api.retrieve(response.id)).response
    except GiveUp as refused:
        pytest.skip(f"there are no background responses: {refused}")
    assert response.output_text


async def test_an_unknown_response_is_an_error(api: ResponsesClient) -> None:
    with pytest.raises(ResponsesError) as refused:
        await api.retrieve("resp_0123456789abcdef0123456789abcdef0123456789abcdef")
    assert str(refused.value)
