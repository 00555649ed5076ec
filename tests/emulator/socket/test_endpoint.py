"""The WebSocket endpoint: events in and out, lanes, continuation from memory, age, bill."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed, InvalidStatus

from durable_responses.emulator.faults import End, Fault, Operation
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Ending, Script, Text
from durable_responses.emulator.server import EmulatorOptions
from durable_responses.emulator.state.lifecycle import Transport
from durable_responses.responses_api.models import ResponseStatus
from tests.support.emulator_control import RunningEmulator, running_emulator
from tests.support.emulator_sockets import SLOW, RawSocket, billed, open_socket

CALL = "scenario:calls?tool=f"


@pytest.fixture
async def socket(emulator: RunningEmulator) -> AsyncIterator[RawSocket]:
    async with open_socket(emulator) as socket:
        yield socket


# --- events ------------------------------------------------------------------------------------------------------


async def test_a_wrong_event_is_refused_by_naming_what_is_wrong(socket: RawSocket) -> None:
    create = '{"type": "response.create", "model": "m", "input": "Hi."'
    wrong_params = {
        "}{": None,
        "[]": None,
        "{}": "type",
        '{"type": 7}': "type",
        '{"type": "response.dance"}': "type",
        '{"type": "response.create", "input": "Hi."}': "model",
        create + ', "colour": "red"}': "colour",
        create + ', "generate": 7}': "generate",
        create + ', "background": true}': "background",
        create + ', "stream_id": ""}': "stream_id",
        create + ', "stream_id": 7}': "stream_id",
    }
    named = {}
    for message in wrong_params:
        await socket.connection.send(message)
        event = await socket.event("error")
        assert event["status"] == 400
        named[message] = event["error"].get("param")
    assert named == wrong_params
    assert (await socket.answer())["status"] == "completed"


async def test_a_refused_create_is_answered_on_its_lane(socket: RawSocket) -> None:
    event = await socket.refused("unknown-model", stream_id="main")
    assert (event["status"], event["error"]["code"], event["stream_id"]) == (404, "model_not_found", "main")


async def test_stream_is_implied_and_may_be_said(socket: RawSocket) -> None:
    assert (await socket.answer(stream=True, background=False))["status"] == "completed"


async def test_what_codex_sends_beside_the_published_fields_is_accepted(socket: RawSocket) -> None:
    answer = await socket.answer(client_metadata={"x-codex-turn-metadata": '{"turn_id": "1"}'}, frequency_penalty=0.5)
    assert (answer["status"], answer["frequency_penalty"]) == ("completed", 0.5)


async def test_a_message_of_three_megabytes_is_accepted(socket: RawSocket) -> None:
    response = await socket.answer(said="x" * 3 * 2**20)
    assert response["usage"]["input_tokens"] > 700_000


async def test_a_binary_message_is_read_as_text_is(socket: RawSocket) -> None:
    await socket.connection.send(b'{"type": "response.create", "model": "scenario:echo", "input": "Hi."}')
    assert (await socket.end())["type"] == "response.completed"


async def test_a_message_may_come_in_fragments(socket: RawSocket) -> None:
    await socket.connection.send(
        iter(['{"type": "response.create", "model"', ': "scenario:echo", ', '"input": "Hi."}'])
    )
    assert (await socket.end())["type"] == "response.completed"


async def test_the_events_are_those_of_a_stream(socket: RawSocket, official: AsyncOpenAI) -> None:
    await socket.create("scenario:web_search")
    over_socket = [(await socket.event())["type"]]
    while over_socket[-1] != "response.completed":
        over_socket.append((await socket.event())["type"])
    stream = await official.responses.create(model="scenario:web_search", input="Hi.", stream=True)
    assert over_socket == [event.type async for event in stream]


async def test_a_message_keeps_its_phase(socket: RawSocket, emulator: RunningEmulator) -> None:
    turn = Script(output=[Text(text="Let me see.", phase="commentary")])
    await emulator.control.add_scenario(Scenario(name="phase", responses=[turn]))
    response = await socket.answer("scenario:phase", reasoning={"effort": "none"})
    assert response["output"][0]["phase"] == "commentary"


async def test_a_wrong_key_cannot_upgrade() -> None:
    async with running_emulator(EmulatorOptions(api_key="right")) as emulator:
        with pytest.raises(InvalidStatus) as refused:
            async with open_socket(emulator, additional_headers={"Authorization": "Bearer wrong"}):
                pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body or b"")["error"]["code"] == "invalid_api_key"


async def test_the_right_key_can_upgrade() -> None:
    async with (
        running_emulator(EmulatorOptions(api_key="right")) as emulator,
        open_socket(emulator, additional_headers={"Authorization": "Bearer right"}) as socket,
    ):
        assert (await socket.answer())["status"] == "completed"


# --- lanes -------------------------------------------------------------------------------------------------------


async def test_a_lane_is_first_in_first_out(socket: RawSocket) -> None:
    for said in ("one", "two", "three"):
        await socket.create("scenario:echo", said, stream_id="main")
    answers = [(await socket.end())["response"]["output"][-1]["content"][0]["text"] for _ in range(3)]
    assert answers == ["one", "two", "three"]


async def test_the_turns_of_a_lane_do_not_overlap(socket: RawSocket) -> None:
    for _ in range(2):
        await socket.create("scenario:think?seconds=0.05", stream_id="main")
    kinds: list[str] = []
    while kinds.count("response.completed") < 2:
        kinds.append((await socket.event())["type"])
    assert kinds.index("response.completed") < len(kinds) - 1 - kinds[::-1].index("response.created")


async def test_an_error_comes_when_its_turn_in_the_lane_has_come(socket: RawSocket) -> None:
    await socket.create("scenario:think?seconds=0.05", stream_id="main")
    await socket.create("unknown-model", stream_id="main")
    assert [(await socket.end())["type"] for _ in range(2)] == ["response.completed", "error"]


async def test_a_slow_lane_holds_up_no_other(socket: RawSocket) -> None:
    await socket.create(SLOW, stream_id="slow")
    await socket.create(stream_id="fast")
    assert (await socket.end())["stream_id"] == "fast"


async def test_the_seventeenth_response_waits_until_one_has_ended(socket: RawSocket, emulator: RunningEmulator) -> None:
    for lane in range(17):
        await socket.create(SLOW, stream_id=str(lane))
    for _ in range(16):
        await socket.event("response.created")
    assert (await emulator.control.billing()).counts.in_flight == 16
    await emulator.control.advance(61)
    assert (await socket.event("response.created"))["stream_id"] == "16"


async def test_there_are_32_named_lanes_and_the_default_one(socket: RawSocket) -> None:
    for lane in range(32):
        await socket.answer(stream_id=str(lane))
    event = await socket.refused(stream_id="32")
    assert (event["error"]["code"], event["stream_id"]) == ("websocket_stream_limit_reached", "32")
    assert (await socket.answer(stream_id="31"))["status"] == "completed"
    assert (await socket.answer())["status"] == "completed"


# --- continuing --------------------------------------------------------------------------------------------------


async def not_found(socket: RawSocket, response_id: str, **request: Any) -> bool:
    event = await socket.refused(previous_response_id=response_id, **request)
    return bool(event["error"]["code"] == "previous_response_not_found")


async def test_a_lane_keeps_its_latest_response_in_memory(socket: RawSocket) -> None:
    first = await socket.answer("scenario:echo", "one", store=False)
    second = await socket.answer("scenario:echo", "two", store=False, previous_response_id=first["id"])
    assert second["usage"]["input_tokens_details"]["cached_tokens"] > 0


async def test_a_lane_keeps_only_its_latest_response(socket: RawSocket) -> None:
    first = await socket.answer(store=False)
    await socket.answer(store=False, previous_response_id=first["id"])
    assert await not_found(socket, first["id"], store=False)


async def test_every_lane_keeps_its_own(socket: RawSocket) -> None:
    first = await socket.answer(store=False, stream_id="one")
    await socket.answer(store=False, stream_id="two")
    again = await socket.answer(store=False, stream_id="one", previous_response_id=first["id"])
    assert again["previous_response_id"] == first["id"]


async def test_a_failed_continuation_drops_what_it_continued(socket: RawSocket) -> None:
    first = await socket.answer(CALL, store=False)
    error = await socket.refused(store=False, previous_response_id=first["id"])
    assert error["error"]["message"].startswith("No tool output found for function call")
    assert await not_found(socket, first["id"], store=False)


async def test_a_failed_response_drops_what_it_continued(socket: RawSocket, emulator: RunningEmulator) -> None:
    first = await socket.answer(store=False)
    failed = End(ending=Ending(status=ResponseStatus.FAILED))
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=failed))
    await socket.create(store=False, previous_response_id=first["id"])
    assert (await socket.end())["type"] == "response.failed"
    assert await not_found(socket, first["id"], store=False)


async def test_a_failed_fork_leaves_the_other_lane_alone(socket: RawSocket) -> None:
    first = await socket.answer(store=False, stream_id="main")
    error = await socket.refused("unknown-model", store=False, stream_id="fork", previous_response_id=first["id"])
    assert error["error"]["code"] == "model_not_found"
    again = await socket.answer(store=False, stream_id="main", previous_response_id=first["id"])
    assert again["previous_response_id"] == first["id"]


async def test_a_stored_response_is_found_though_it_was_dropped(socket: RawSocket) -> None:
    first = await socket.answer()
    await socket.refused("unknown-model", previous_response_id=first["id"])
    assert (await socket.answer(previous_response_id=first["id"]))["previous_response_id"] == first["id"]


async def test_a_deleted_response_is_not_found(socket: RawSocket, official: AsyncOpenAI) -> None:
    first = await socket.answer()
    await official.responses.delete(first["id"])
    assert await not_found(socket, first["id"])


async def test_an_incomplete_response_can_be_continued(socket: RawSocket) -> None:
    await socket.create("scenario:write?seconds=0", store=False, max_output_tokens=16)
    first = await socket.end()
    assert first["type"] == "response.incomplete"
    second = await socket.answer(store=False, previous_response_id=first["response"]["id"])
    assert second["previous_response_id"] == first["response"]["id"]


async def test_a_warm_up_is_continued_and_costs_no_generation(socket: RawSocket, emulator: RunningEmulator) -> None:
    warm = await socket.answer(said=[], generate=False, store=False, instructions="Be brief.")
    await socket.answer(previous_response_id=warm["id"])
    counts = (await emulator.control.billing()).counts
    assert (counts.creates_accepted, counts.generations) == (2, 1)


async def test_a_warm_up_may_leave_out_its_input(socket: RawSocket) -> None:
    await socket.connection.send(json.dumps({"type": "response.create", "model": "m", "generate": False}))
    assert (await socket.end())["response"]["output"] == []


# --- age ---------------------------------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed_after_an_hour(socket: RawSocket, emulator: RunningEmulator) -> None:
    await socket.answer()
    await emulator.control.advance(3600)
    assert (await socket.event())["error"]["code"] == "websocket_connection_limit_reached"
    with pytest.raises(ConnectionClosed) as closed:
        await socket.event()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


async def test_a_connection_of_59_minutes_goes_on(socket: RawSocket, emulator: RunningEmulator) -> None:
    await emulator.control.advance(3540)
    assert (await socket.answer())["status"] == "completed"


async def test_after_an_hour_what_is_under_way_ends_and_the_rest_is_refused(
    socket: RawSocket, emulator: RunningEmulator
) -> None:
    await socket.create("scenario:think?seconds=4000", stream_id="slow")
    await socket.event("response.created")
    await emulator.control.advance(3600)
    await socket.create(stream_id="late")
    refused = await socket.event("error")
    assert (refused["error"]["code"], refused["stream_id"]) == ("websocket_connection_limit_reached", "late")
    await emulator.control.advance(401)
    assert (await socket.end())["type"] == "response.completed"


# --- bill and hanging up -----------------------------------------------------------------------------------------


async def test_the_bill_says_how_a_response_was_asked_for(
    socket: RawSocket, official: AsyncOpenAI, emulator: RunningEmulator
) -> None:
    await socket.answer(metadata={"workflow_id": "w"})
    await official.responses.create(model="scenario:echo", input="Hi.", metadata={"workflow_id": "w"})
    lines = await emulator.control.responses(workflow_id="w")
    assert [line.transport for line in lines] == [Transport.WEBSOCKET, Transport.HTTP]


async def test_a_refused_create_is_on_the_bill(socket: RawSocket, emulator: RunningEmulator) -> None:
    await socket.refused(previous_response_id="resp_0", metadata={"workflow_id": "w"})
    [rejection] = (await emulator.control.billing(workflow_id="w")).rejections
    assert (rejection.code, rejection.transport) == ("previous_response_not_found", Transport.WEBSOCKET)


async def test_a_response_dies_with_its_connection(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    async with open_socket(emulator) as socket:
        await socket.create(SLOW)
        response_id = (await socket.event("response.created"))["response"]["id"]
    await billed(emulator.control, lambda bill: bill.counts.in_flight == 0)
    assert (await official.responses.retrieve(response_id)).status == "cancelled"


async def test_what_waits_in_a_lane_is_never_created_once_the_client_is_gone(emulator: RunningEmulator) -> None:
    async with open_socket(emulator) as socket:
        await socket.create(SLOW)
        await socket.create(SLOW)
        await socket.event("response.created")
    bill = await billed(emulator.control, lambda bill: bill.counts.in_flight == 0)
    assert bill.counts.creates_accepted == 1


async def test_a_finished_response_outlives_its_connection(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    async with open_socket(emulator) as socket:
        response = await socket.answer()
    assert (await official.responses.retrieve(response["id"])).status == "completed"
