"""Server-sent events: their order, their numbers, and resuming."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types.responses import ResponseStreamEvent

from tests.conformance.test_create import DICE
from tests.support import strictly


async def _all(events: AsyncIterator[ResponseStreamEvent]) -> list[ResponseStreamEvent]:
    async with asyncio.timeout(120):
        return [event async for event in events]


async def test_a_stream_begins_with_created_and_ends_with_completed(client: AsyncOpenAI, model: str) -> None:
    events = await _all(strictly.stream(client, model=model, input="Say hello."))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


async def test_events_are_numbered_from_zero(client: AsyncOpenAI, model: str) -> None:
    events = await _all(strictly.stream(client, model=model, input="Say hello."))
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_the_deltas_make_up_the_text(client: AsyncOpenAI, model: str) -> None:
    events = await _all(strictly.stream(client, model=model, input="Count to five, in words."))
    last = events[-1]
    assert last.type == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == (
        last.response.output_text
    )


async def test_the_last_event_shows_the_stored_response(client: AsyncOpenAI, model: str) -> None:
    last = (await _all(strictly.stream(client, model=model, input="Say hello.")))[-1]
    assert last.type == "response.completed"
    assert await strictly.retrieve(client, last.response.id) == last.response


async def test_every_item_is_added_and_done_in_its_place(client: AsyncOpenAI, model: str) -> None:
    events = await _all(strictly.stream(client, model=model, input="Roll a die.", tools=[DICE], tool_choice="required"))
    added = [event.output_index for event in events if event.type == "response.output_item.added"]
    done = [event.output_index for event in events if event.type == "response.output_item.done"]
    last = events[-1]
    assert last.type == "response.completed"
    assert added == done == list(range(len(last.response.output)))


async def test_the_arguments_of_a_call_arrive_in_pieces(client: AsyncOpenAI, model: str) -> None:
    events = await _all(strictly.stream(client, model=model, input="Roll a die.", tools=[DICE], tool_choice="required"))
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    [whole] = [event.arguments for event in events if event.type == "response.function_call_arguments.done"]
    assert "".join(pieces) == whole


async def test_a_background_stream_is_resumed_where_it_was_left(client: AsyncOpenAI, model: str) -> None:
    seen: list[ResponseStreamEvent] = []
    response_id = ""
    async for event in strictly.stream(client, model=model, input="Count to ten, in words.", background=True):
        seen.append(event)
        if event.type == "response.created":
            response_id = event.response.id
        if event.sequence_number == 3:
            break
    seen += await _all(strictly.resume(client, response_id, starting_after=3))
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.completed"


async def test_a_response_that_was_not_streamed_cannot_be_resumed(client: AsyncOpenAI, model: str) -> None:
    created = await strictly.create(client, model=model, input="Say hello.", background=True)
    with pytest.raises(BadRequestError):
        await _all(strictly.resume(client, created.id, starting_after=0))


async def test_a_stream_ends_as_failed_when_its_response_is_cancelled(client: AsyncOpenAI, model: str) -> None:
    last: ResponseStreamEvent | None = None
    async for event in strictly.stream(client, model=model, input="Write 300 words about the sea.", background=True):
        if event.type == "response.in_progress":
            await client.responses.cancel(event.response.id)
        last = event
    assert last is not None
    assert last.type == "response.failed"
    assert last.response.status == "cancelled"


async def test_the_official_accumulator_accepts_the_stream(client: AsyncOpenAI, model: str) -> None:
    async with client.responses.stream(model=model, input="Say hello.") as events:
        final = await events.get_final_response()
    assert final.output_text
