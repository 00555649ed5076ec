"""Steering as the server does it: accepted, pending, failed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseSteerEventParam

from durable_responses.emulator.faults import Answer, End, Fault, Operation, RefuseSteer
from durable_responses.emulator.model.script import Ending
from durable_responses.responses_api.models import ResponseStatus
from tests.support import strictly
from tests.support.emulator_control import RunningEmulator
from tests.support.emulator_sockets import RawSocket, open_socket

WRITE = "scenario:write?seconds=60&words=60"
CALL = "scenario:calls?tool=f&think=60"
THINK = "scenario:calls?iterations=0&think=60"


@pytest.fixture
async def socket(emulator: RunningEmulator) -> AsyncIterator[RawSocket]:
    async with open_socket(emulator) as socket:
        yield socket


async def begin(socket: RawSocket, model: str = WRITE, until: str = "response.created", **request: Any) -> str:
    """Ask for a response and wait for an event of it; its id."""
    await socket.create(model, **request)
    created = await socket.event("response.created")
    if until != "response.created":
        await socket.event(until)
    return str(created["response"]["id"])


async def steered_to_the_end(emulator: RunningEmulator, socket: RawSocket, said: str = "Be quick.") -> str:
    """Steer a response that calls a function, and let it complete; its id."""
    response_id = await begin(socket, CALL)
    await socket.steer(response_id, said)
    await socket.event("response.steer.accepted")
    await emulator.control.advance(61)
    return response_id


async def inputs(official: AsyncOpenAI, response_id: str) -> list[Any]:
    """The input of a response, as it can be read over HTTP."""
    return list((await official.responses.input_items.list(response_id, order="asc")).data)


async def test_an_accepted_steer_has_an_id(socket: RawSocket) -> None:
    response_id = await begin(socket)
    await socket.steer(response_id)
    steer = (await socket.event("response.steer.accepted"))["steer"]
    assert steer["id"].startswith("steer_")
    assert steer["previous_response_id"] == response_id


async def test_a_steered_response_is_incomplete(socket: RawSocket) -> None:
    await socket.steer(await begin(socket))
    response = (await socket.event("response.incomplete"))["response"]
    assert response["incomplete_details"] == {"reason": "steered"}


async def test_a_steered_response_keeps_what_was_written(socket: RawSocket) -> None:
    response_id = await begin(socket)
    first = await socket.event("response.output_text.delta")
    await socket.steer(response_id)
    done = await socket.event("response.output_text.done")
    response = (await socket.event("response.incomplete"))["response"]
    assert done["text"].startswith(first["delta"])
    assert response["output"][-1]["content"][0]["text"] == done["text"]


async def test_what_was_being_written_is_closed_before_the_end(socket: RawSocket) -> None:
    response_id = await begin(socket, until="response.output_text.delta")
    await socket.steer(response_id)
    await socket.event("response.steer.accepted")
    kinds: list[str] = []
    while (event := await socket.event())["type"] != "response.incomplete":
        kinds.append(event["type"])
    assert kinds == ["response.output_text.done", "response.content_part.done", "response.output_item.done"]


async def test_thoughts_are_closed_too(socket: RawSocket) -> None:
    response_id = await begin(socket, "scenario:think?seconds=60", "response.output_item.added")
    await socket.steer(response_id)
    thought = (await socket.event("response.output_item.done"))["item"]
    response = (await socket.event("response.incomplete"))["response"]
    assert response["output"] == [thought]
    assert thought["type"] == "reasoning"


async def test_a_steered_response_costs_what_it_has_thought(socket: RawSocket, emulator: RunningEmulator) -> None:
    response_id = await begin(socket, "scenario:think?seconds=60")
    await emulator.control.advance(30)
    await socket.steer(response_id)
    usage = (await socket.event("response.incomplete"))["response"]["usage"]
    assert 30 * 40 <= usage["output_tokens_details"]["reasoning_tokens"] < 60 * 40


async def test_the_events_of_a_steered_response_are_numbered_without_a_gap(socket: RawSocket) -> None:
    await socket.create(WRITE)
    numbers, response_id = [], ""
    while True:
        event = await socket.event()
        numbers.append(event["sequence_number"])
        if event["type"] == "response.created":
            response_id = event["response"]["id"]
        if event["type"] == "response.output_text.delta":
            await socket.steer(response_id)
        if event["type"] == "response.incomplete":
            break
    assert numbers == list(range(len(numbers)))


async def test_the_successor_follows_by_itself_with_the_input(socket: RawSocket, official: AsyncOpenAI) -> None:
    response_id = await begin(socket, "scenario:think?seconds=60", instructions="Think.")
    await socket.steer(response_id, "Write a poem instead.")
    await socket.event("response.incomplete")
    successor = (await socket.event("response.created"))["response"]
    assert (successor["previous_response_id"], successor["instructions"]) == (response_id, "Think.")
    [message] = await inputs(official, successor["id"])
    assert message.content[0].text == "Write a poem instead."


async def test_several_steers_make_one_successor(socket: RawSocket, official: AsyncOpenAI) -> None:
    response_id = await begin(socket, THINK)
    for said in ("One.", "Two."):
        await socket.steer(response_id, said)
    await socket.event("response.steer.accepted")
    successor = (await socket.event("response.created"))["response"]
    assert [item.content[0].text for item in await inputs(official, successor["id"])] == ["One.", "Two."]


async def test_the_next_create_of_the_lane_waits_for_the_successor(
    emulator: RunningEmulator, socket: RawSocket
) -> None:
    response_id = await begin(socket, THINK)
    await socket.create("scenario:echo", "Last.")
    await socket.steer(response_id)
    assert (await socket.event("response.created"))["response"]["previous_response_id"] == response_id
    await emulator.control.advance(61)
    assert (await socket.event("response.created"))["response"]["model"] == "scenario:echo"


async def test_a_steer_waits_for_the_answers_of_calls(emulator: RunningEmulator, socket: RawSocket) -> None:
    await socket.steer(await begin(socket, CALL))
    accepted = await socket.event("response.steer.accepted")
    await emulator.control.advance(61)
    completed = await socket.event("response.completed")
    pending = await socket.event()
    [call] = [item for item in completed["response"]["output"] if item["type"] == "function_call"]
    assert pending["type"] == "response.steer.pending"
    assert pending["steer"] == accepted["steer"]
    assert pending["reason"] == "waiting_for_required_input"
    assert pending["required_input"] == [
        {"type": "function_call_output", "call_id": call["call_id"], "name": call["name"]}
    ]


async def test_pending_input_goes_before_the_answers(
    emulator: RunningEmulator, socket: RawSocket, official: AsyncOpenAI
) -> None:
    response_id = await steered_to_the_end(emulator, socket)
    [stub] = (await socket.event("response.steer.pending"))["required_input"]
    answer = {"type": "function_call_output", "call_id": stub["call_id"], "output": "ok"}
    successor = await socket.answer("scenario:calls", [answer], previous_response_id=response_id)
    assert [item.type for item in await inputs(official, successor["id"])] == ["message", "function_call_output"]


async def test_pending_input_is_applied_once(
    emulator: RunningEmulator, socket: RawSocket, official: AsyncOpenAI
) -> None:
    response_id = await steered_to_the_end(emulator, socket)
    [stub] = (await socket.event("response.steer.pending"))["required_input"]
    answer = {"type": "function_call_output", "call_id": stub["call_id"], "output": "ok"}
    await socket.answer("scenario:calls", [answer], previous_response_id=response_id)
    again = await socket.answer("scenario:calls", [answer], previous_response_id=response_id)
    assert [item.type for item in await inputs(official, again["id"])] == ["function_call_output"]


async def failed(socket: RawSocket) -> dict[str, Any]:
    return await socket.event("response.steer.failed")


async def test_an_unknown_response_cannot_be_steered(socket: RawSocket) -> None:
    await socket.steer("resp_0", "Stop.")
    event = await failed(socket)
    assert event["error"]["code"] == "response_not_found"
    assert event["steer"] == {"previous_response_id": "resp_0", "input": "Stop."}


async def test_a_completed_response_cannot_be_steered(socket: RawSocket) -> None:
    await socket.steer((await socket.answer())["id"])
    assert (await failed(socket))["error"]["code"] == "response_already_completed"


async def test_invalid_input_cannot_steer(socket: RawSocket) -> None:
    response_id = await begin(socket)
    wrong: list[tuple[object, dict[str, str]]] = [
        ([], {}),
        ([{"type": "message", "role": "system", "content": "Stop."}], {}),
        ([{"type": "function_call_output", "call_id": "c", "output": "x"}], {}),
        (7, {}),
        ("Stop.", {"stream_id": "main"}),
        ("Stop.", {"model": "m"}),
    ]
    for said, fields in wrong:
        await socket.steer(response_id, said, **fields)
    events = [await failed(socket) for _ in wrong]
    assert [event["steer"]["input"] for event in events] == [said for said, _ in wrong]
    assert {event["error"]["code"] for event in events} == {"invalid_input"}


async def test_a_steer_that_names_no_response_fails(socket: RawSocket) -> None:
    await socket.connection.send('{"type": "response.steer", "previous_response_id": 7, "input": "Stop."}')
    assert (await failed(socket))["error"]["code"] == "invalid_input"


async def test_messages_with_parts_can_steer(socket: RawSocket) -> None:
    parts = [{"type": "input_text", "text": "Stop."}]
    await socket.steer(await begin(socket), [{"role": "user", "content": parts}])
    assert (await socket.event("response.steer.accepted"))["steer"]["id"]


async def test_a_fault_refuses_at_once(emulator: RunningEmulator, socket: RawSocket) -> None:
    await emulator.control.add_fault(Fault(operation=Operation.STEER, effect=RefuseSteer()))
    await socket.steer(await begin(socket, stream_id="main"), "Stop.")
    event = await failed(socket)
    assert (event["error"]["code"], event["steer"]["input"]) == ("steering_not_supported", "Stop.")
    assert event["stream_id"] == "main"
    assert "id" not in event["steer"]


async def test_a_fault_fails_what_was_accepted(emulator: RunningEmulator, socket: RawSocket) -> None:
    refusal = RefuseSteer(code="response_not_active", after_acceptance=True)
    await emulator.control.add_fault(Fault(operation=Operation.STEER, effect=refusal))
    await socket.steer(await begin(socket), "Stop.")
    accepted = await socket.event("response.steer.accepted")
    event = await failed(socket)
    assert event["error"]["code"] == "response_not_active"
    assert event["steer"] == {**accepted["steer"], "input": "Stop."}


async def test_input_is_handed_back_when_there_can_be_no_successor(
    emulator: RunningEmulator, socket: RawSocket
) -> None:
    response_id = await begin(socket)
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=Answer(status=429)))
    await socket.steer(response_id, "Stop.")
    event = await failed(socket)
    assert (event["error"]["code"], event["steer"]["input"]) == ("successor_creation_failed", "Stop.")


async def test_input_is_handed_back_when_the_response_fails(emulator: RunningEmulator, socket: RawSocket) -> None:
    end = End(ending=Ending(status=ResponseStatus.FAILED))
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=end))
    await steered_to_the_end(emulator, socket, "Stop.")
    await socket.event("response.failed")
    assert (await failed(socket))["error"]["code"] == "successor_creation_failed"


async def test_steering_is_read_strictly_by_the_official_client(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    seen: list[str] = []
    async with strictly.connected(official) as socket:
        await socket.connection.response.create(model=CALL, input="Hi.")
        while "response.steer.pending" not in seen:
            event = await socket.event()
            seen.append(event.type)
            if event.type == "response.created":
                steer: ResponseSteerEventParam = {
                    "type": "response.steer",
                    "previous_response_id": event.response.id,
                    "input": "Be quick.",
                }
                await socket.connection.send(steer)
            if event.type == "response.steer.accepted":
                await emulator.control.advance(61)
    assert "response.steer.accepted" in seen


async def test_a_failed_steer_is_read_strictly_by_the_official_client(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    refusal = RefuseSteer(after_acceptance=True)
    await emulator.control.add_fault(Fault(operation=Operation.STEER, effect=refusal))
    async with strictly.connected(official) as socket:
        await socket.connection.response.create(model=THINK, input="Hi.")
        event = await socket.event()
        while event.type != "response.steer.failed":
            if event.type == "response.created":
                steer: ResponseSteerEventParam = {
                    "type": "response.steer",
                    "previous_response_id": event.response.id,
                    "input": [{"type": "message", "role": "user", "content": "Stop."}],
                }
                await socket.connection.send(steer)
            event = await socket.event()
    assert event.steer.id is not None
