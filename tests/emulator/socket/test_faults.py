"""Every fault of a WebSocket, as a client of RFC 6455 meets it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from durable_responses.emulator.faults import (
    Answer,
    BreakSocket,
    Delay,
    Effect,
    ExtraFrame,
    Fault,
    Operation,
    RejectChain,
    Reset,
    SlowFrames,
    SocketBreak,
    Stuck,
    Unpublished,
)
from tests.support.emulator_control import RunningEmulator
from tests.support.emulator_sockets import SLOW, RawSocket, billed, open_socket
from tests.support.websocket_server import nothing_left_behind


@pytest.fixture
async def socket(emulator: RunningEmulator) -> AsyncIterator[RawSocket]:
    async with open_socket(emulator) as socket:
        yield socket


async def order(emulator: RunningEmulator, operation: Operation, effect: Effect, **options: Any) -> None:
    await emulator.control.add_fault(Fault(operation=operation, effect=effect, **options))


async def messages(socket: RawSocket) -> AsyncIterator[str | bytes]:
    """All that still comes before the connection ends."""
    async with asyncio.timeout(10):
        async for message in socket.connection:
            yield message


async def closed(socket: RawSocket) -> tuple[int, str]:
    """How the connection ends, as the client sees it, whatever comes before."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in messages(socket):
            pass
    assert socket.connection.close_code is not None
    return socket.connection.close_code, socket.connection.close_reason or ""


async def is_silent(socket: RawSocket) -> bool:
    """Whether nothing is on its way: a ping is answered, and nothing came before."""
    await asyncio.wait_for(await socket.connection.ping(), 5)
    try:
        await asyncio.wait_for(socket.connection.recv(), 0.05)
    except TimeoutError:
        return True
    return False


# --- the upgrade -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers"),
    [(401, {}), (403, {}), (404, {}), (426, {}), (429, {"retry-after": "7"}), (503, {"retry-after": "2"})],
)
async def test_an_upgrade_is_refused(emulator: RunningEmulator, status: int, headers: dict[str, str]) -> None:
    await order(emulator, Operation.UPGRADE, Answer(status=status, code="no", headers=headers))
    with pytest.raises(InvalidStatus) as refused:
        async with open_socket(emulator):
            pass
    answer = refused.value.response
    assert answer.status_code == status
    assert json.loads(answer.body or b"")["error"]["code"] == "no"
    assert headers.items() <= dict(answer.headers).items()


async def test_after_a_refused_upgrade_the_next_one_is_open(emulator: RunningEmulator) -> None:
    await order(emulator, Operation.UPGRADE, Answer(status=503))
    with pytest.raises(InvalidStatus):
        async with open_socket(emulator):
            pass
    async with open_socket(emulator) as socket:
        assert (await socket.answer())["status"] == "completed"


async def test_an_upgrade_is_reset(emulator: RunningEmulator) -> None:
    await order(emulator, Operation.UPGRADE, Reset())
    with pytest.raises((InvalidHandshake, OSError, EOFError)):
        async with open_socket(emulator):
            pass


async def test_an_upgrade_is_never_answered(emulator: RunningEmulator) -> None:
    await order(emulator, Operation.UPGRADE, Delay())
    with pytest.raises(TimeoutError):
        async with open_socket(emulator, open_timeout=0.1):
            pass


async def test_an_upgrade_is_late(emulator: RunningEmulator) -> None:
    await order(emulator, Operation.UPGRADE, Delay(seconds=0.05))
    async with open_socket(emulator) as socket:
        assert (await socket.answer())["status"] == "completed"


async def test_a_socket_breaks_as_soon_as_it_is_open(emulator: RunningEmulator) -> None:
    await order(emulator, Operation.UPGRADE, BreakSocket(how=SocketBreak.CLOSE, code=1013, reason="later"))
    async with open_socket(emulator) as socket:
        assert await closed(socket) == (1013, "later")


# --- the create --------------------------------------------------------------------------------------------------


async def test_a_create_is_refused_by_an_event(emulator: RunningEmulator, socket: RawSocket) -> None:
    refusal = Answer(
        status=429, code="rate_limit_exceeded", error_type="requests", message="Slow.", headers={"retry-after": "2"}
    )
    await order(emulator, Operation.CREATE, refusal)
    assert await socket.refused() == {
        "type": "error",
        "status": 429,
        "error": {
            "message": "Slow.",
            "type": "requests",
            "code": "rate_limit_exceeded",
            "headers": {"retry-after": "2"},
        },
    }


async def test_a_chain_is_rejected(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.CREATE, RejectChain())
    first = await socket.answer()
    error = await socket.refused(previous_response_id=first["id"])
    assert error["error"]["message"].startswith("No tool call found for function call output")


async def test_a_socket_breaks_instead_of_processing_the_create(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.CREATE, BreakSocket(how=SocketBreak.CLOSE, code=1012))
    await socket.create()
    assert (await closed(socket))[0] == 1012
    assert (await emulator.control.billing()).counts.creates_accepted == 0


@pytest.mark.parametrize("processed", [False, True])
async def test_a_create_is_reset(emulator: RunningEmulator, socket: RawSocket, processed: bool) -> None:
    await order(emulator, Operation.CREATE, Reset(processed=processed))
    await socket.create(SLOW)
    assert (await closed(socket))[0] == 1006
    bill = await billed(emulator.control, lambda bill: bill.counts.in_flight == 0)
    assert bill.counts.creates_accepted == int(processed)


async def test_a_late_answer_comes_when_the_time_has_passed(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.CREATE, Delay(seconds=60, processed=True))
    await socket.create()
    await billed(emulator.control, lambda bill: bill.counts.creates_accepted == 1)
    assert await is_silent(socket)
    await emulator.control.advance(60)
    assert (await socket.end())["type"] == "response.completed"


async def test_a_stuck_response_says_that_it_was_created_and_no_more(
    emulator: RunningEmulator, socket: RawSocket
) -> None:
    await order(emulator, Operation.CREATE, Stuck())
    await socket.create()
    assert (await socket.event())["type"] == "response.created"
    assert await is_silent(socket)


# --- the turn ----------------------------------------------------------------------------------------------------


async def test_a_socket_is_closed_with_any_code(emulator: RunningEmulator) -> None:
    codes = [1000, 1001, 1008, 1009, 1011, 1012, 1013, 3000, 4999]
    seen = []
    for code in codes:
        await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.CLOSE, code=code, reason="so"))
        async with open_socket(emulator) as socket:
            await socket.create()
            seen.append(await closed(socket))
    assert seen == [(code, "so") for code in codes]


async def test_a_socket_is_closed_without_a_code(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.CLOSE, code=None))
    await socket.create()
    assert (await closed(socket))[0] == 1005


async def test_a_socket_is_closed_with_a_code_that_is_no_code(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.CLOSE, code=999))
    await socket.create()
    with pytest.raises(ConnectionClosed, match=r"1002 .*invalid status code"):
        await socket.event()


async def test_a_socket_is_cut(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, BreakSocket())
    await socket.create()
    assert (await closed(socket))[0] == 1006


@pytest.mark.parametrize("events", [0, 1, 3, 12])
async def test_a_socket_breaks_after_so_many_events(emulator: RunningEmulator, socket: RawSocket, events: int) -> None:
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.CLOSE, code=1000, after_events=events))
    await socket.create("scenario:write?seconds=0")
    assert len([message async for message in messages(socket)]) == events


async def test_a_socket_breaks_after_the_last_event(emulator: RunningEmulator, socket: RawSocket) -> None:
    await socket.create()
    count = 1
    while (await socket.event())["type"] != "response.completed":
        count += 1
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.CLOSE, after_events=count))
    assert (await socket.answer())["status"] == "completed"
    assert (await closed(socket))[0] == 1011


async def test_a_response_dies_with_a_broken_socket(
    emulator: RunningEmulator, socket: RawSocket, official: AsyncOpenAI
) -> None:
    await order(emulator, Operation.TURN, BreakSocket(after_events=1))
    await socket.create(SLOW)
    response_id = (await socket.event())["response"]["id"]
    await closed(socket)
    assert (await official.responses.retrieve(response_id)).status == "cancelled"


async def test_a_response_may_survive_a_broken_socket(
    emulator: RunningEmulator, socket: RawSocket, official: AsyncOpenAI
) -> None:
    await order(emulator, Operation.TURN, BreakSocket(after_events=1, survives=True))
    await socket.create(SLOW)
    response_id = (await socket.event())["response"]["id"]
    await closed(socket)
    await emulator.control.advance(61)
    assert (await official.responses.retrieve(response_id)).status == "completed"


async def test_other_lanes_die_with_a_broken_socket(emulator: RunningEmulator, socket: RawSocket) -> None:
    await socket.create(SLOW, stream_id="one")
    await socket.event("response.created")
    await order(emulator, Operation.TURN, BreakSocket(survives=True))
    await socket.create(SLOW, stream_id="two")
    await closed(socket)
    bill = await billed(emulator.control, lambda bill: bill.counts.in_flight == 1)
    assert [line.status for line in bill.responses] == ["cancelled", "in_progress"]


async def test_a_silent_socket_still_answers_pings(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.SILENCE, after_events=1))
    await socket.create()
    assert (await socket.event())["type"] == "response.created"
    assert await is_silent(socket)


async def test_on_a_silent_socket_every_lane_is_silent(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.SILENCE))
    await socket.create(stream_id="one")
    await billed(emulator.control, lambda bill: bill.counts.creates_accepted == 1)
    await socket.create(stream_id="two")
    await billed(emulator.control, lambda bill: bill.counts.creates_accepted == 2)
    assert await is_silent(socket)


async def test_a_client_can_leave_a_silent_socket_that_it_has_talked_to(emulator: RunningEmulator) -> None:
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.SILENCE))
    async with nothing_left_behind(), open_socket(emulator) as socket:
        await socket.create(SLOW)
        await billed(emulator.control, lambda bill: bill.counts.creates_accepted == 1)
        await socket.connection.send("}{")
        assert await is_silent(socket)


async def test_a_half_open_peer_answers_no_ping(emulator: RunningEmulator) -> None:
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.HALF_OPEN, after_events=1))
    async with open_socket(emulator, ping_interval=0.05, ping_timeout=0.1, close_timeout=0.1) as socket:
        await socket.create()
        assert (await socket.event())["type"] == "response.created"
        with pytest.raises(ConnectionClosed, match="keepalive ping timeout"):
            await socket.event()


async def test_a_garbage_frame_comes_between_events(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, ExtraFrame(after_events=1, text="}{"))
    await socket.create()
    first, extra = await socket.connection.recv(), await socket.connection.recv()
    assert json.loads(first)["type"] == "response.created"
    assert extra == "}{"
    assert (await socket.end())["type"] == "response.completed"


async def test_a_garbage_frame_may_be_binary(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, ExtraFrame(text="}{", binary=True))
    await socket.create()
    assert await socket.connection.recv() == b"}{"


async def test_a_frame_may_be_huge(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, ExtraFrame(text='{"type": "response.huge"}', size=5 * 2**20))
    await socket.create()
    message = await socket.connection.recv()
    assert len(message) == 5 * 2**20
    assert json.loads(message) == {"type": "response.huge"}


async def test_events_come_in_fragments_and_slowly(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, SlowFrames(seconds=0.01, fragments=3))
    await socket.create()
    fragments = [piece async for piece in socket.connection.recv_streaming()]
    assert len(fragments) == 3
    assert json.loads("".join(map(str, fragments)))["type"] == "response.created"
    assert (await socket.end())["type"] == "response.completed"


async def test_a_slow_event_waits_for_the_clock(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, SlowFrames(seconds=100))
    await socket.create()
    await billed(emulator.control, lambda bill: bill.counts.creates_accepted == 1)
    assert await is_silent(socket)
    await emulator.control.advance(100)
    assert (await socket.event())["type"] == "response.created"


async def test_rate_limits_are_told_where_the_server_tells_them(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, Unpublished())
    await socket.create(stream_id="main")
    limits = await socket.event("rate_limits.updated")
    assert limits["stream_id"] == "main"
    assert set(limits["rate_limits"][0]) == {"name", "limit", "remaining", "reset_seconds"}


async def test_arguments_name_their_call_where_the_server_does(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, Unpublished())
    await socket.create("scenario:calls?tool=f")
    delta = await socket.event("response.function_call_arguments.delta")
    call = (await socket.event("response.output_item.done"))["item"]
    assert delta["call_id"] == call["call_id"]


async def test_a_fault_meets_only_the_turns_with_its_metadata(emulator: RunningEmulator, socket: RawSocket) -> None:
    await order(emulator, Operation.TURN, BreakSocket(), metadata={"workflow_id": "w"})
    assert (await socket.answer())["status"] == "completed"
    await socket.create(metadata={"workflow_id": "w"})
    assert (await closed(socket))[0] == 1006
