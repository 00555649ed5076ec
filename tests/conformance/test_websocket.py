"""Turns over a WebSocket: events, lanes, continuation, steering."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponsesServerEvent

from tests.conformance.test_create import DICE
from tests.support import strictly
from tests.support.strictly import Socket


@pytest.fixture
async def socket(client: AsyncOpenAI) -> AsyncIterator[Socket]:
    async with strictly.connected(client) as socket:
        yield socket


async def test_a_turn_begins_with_created_and_ends_with_completed(socket: Socket, model: str) -> None:
    events = await socket.turn(model=model, input="Say hello.")
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")


async def test_events_are_numbered_from_zero_in_every_turn(socket: Socket, model: str) -> None:
    for _ in range(2):
        events = await socket.turn(model=model, input="Say hello.")
        assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_a_stored_response_can_be_read_over_http(client: AsyncOpenAI, socket: Socket, model: str) -> None:
    response = await socket.answer(model=model, input="Say hello.", store=True)
    assert await strictly.retrieve(client, response.id) == response


async def test_calls_are_answered_in_the_next_turn(socket: Socket, model: str) -> None:
    first = await socket.answer(model=model, input="Roll a die.", tools=[DICE], tool_choice="required", store=False)
    [call] = [item for item in first.output if item.type == "function_call"]
    second = await socket.answer(
        model=model,
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "4"}],
        tools=[DICE],
        tool_choice="none",
        store=False,
    )
    assert second.output_text


async def test_a_stored_response_of_another_connection_can_be_continued(client: AsyncOpenAI, model: str) -> None:
    async with strictly.connected(client) as one:
        first = await one.answer(model=model, input="Say hello.", store=True)
    async with strictly.connected(client) as other:
        second = await other.answer(model=model, input="And goodbye.", previous_response_id=first.id)
    assert second.previous_response_id == first.id


async def test_an_unstored_response_of_another_connection_is_unknown(client: AsyncOpenAI, model: str) -> None:
    async with strictly.connected(client) as one:
        first = await one.answer(model=model, input="Say hello.", store=False)
    async with strictly.connected(client) as other:
        [error] = await other.turn(model=model, input="And goodbye.", previous_response_id=first.id, store=False)
    assert error.type == "error"
    assert (error.status, error.error.code, error.error.param) == (
        400,
        "previous_response_not_found",
        "previous_response_id",
    )


async def test_after_an_error_the_connection_lives_on(socket: Socket, model: str) -> None:
    [error] = await socket.turn(model=model, input="Hi.", previous_response_id="resp_0")
    assert error.type == "error"
    assert (await socket.answer(model=model, input="Say hello.")).output_text


async def test_a_warm_up_writes_nothing_and_can_be_continued(socket: Socket, model: str) -> None:
    warm = await socket.answer(model=model, input=[], tools=[DICE], generate=False, store=False)
    response = await socket.answer(model=model, input="Say hello.", previous_response_id=warm.id, store=False)
    assert warm.output == []
    assert response.output_text


async def test_events_of_a_named_lane_carry_its_name(socket: Socket, model: str) -> None:
    events = await socket.turn(model=model, input="Say hello.", stream_id="main")
    assert {event.stream_id for event in events} == {"main"}


async def test_events_of_the_default_lane_carry_none(socket: Socket, model: str) -> None:
    events = await socket.turn(model=model, input="Say hello.")
    assert {event.stream_id for event in events} == {None}


async def test_two_lanes_are_answered_side_by_side(socket: Socket, model: str) -> None:
    for lane in ("planner", "research"):
        await socket.connection.response.create(model=model, input="Say hello.", stream_id=lane)
    ended: set[str | None] = set()
    async with asyncio.timeout(120):
        while ended < {"planner", "research"}:
            event = await socket.event()
            if event.type == "response.completed":
                ended.add(event.stream_id)
    assert ended == {"planner", "research"}


async def test_a_lane_can_fork_from_another(socket: Socket, model: str) -> None:
    parent = await socket.answer(model=model, input="Say hello.", store=False, stream_id="main")
    fork = await socket.answer(
        model=model, input="And goodbye.", store=False, previous_response_id=parent.id, stream_id="critic"
    )
    assert fork.previous_response_id == parent.id


async def test_an_invalid_name_of_a_lane_is_refused(socket: Socket, model: str) -> None:
    [error] = await socket.turn(model=model, input="Say hello.", stream_id="no spaces")
    assert error.type == "error"
    assert error.error.code == "invalid_stream_id"


async def test_steering_an_unknown_response_fails(socket: Socket) -> None:
    await socket.connection.send({"type": "response.steer", "previous_response_id": "resp_0", "input": "Stop."})
    event: ResponsesServerEvent = await socket.event()
    assert event.type == "response.steer.failed"
    assert (event.error.code, event.steer.input) == ("response_not_found", "Stop.")
