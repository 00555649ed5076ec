"""Our own WebSocket clients at work with the emulator."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from durable_responses.emulator.faults import (
    Answer,
    BreakSocket,
    Effect,
    Fault,
    Operation,
    RefuseSteer,
    SocketBreak,
    Unpublished,
)
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.responses_api.errors import Busy, ChainRejected, HttpOnly, LossCause, RetriesExhausted, TurnLost
from durable_responses.responses_api.events import Event, EventType, RateLimitsUpdated, SteerAccepted, SteerFailed
from durable_responses.responses_api.handshake import ConnectOptions, responses_url
from durable_responses.responses_api.models import CreateRequest, FunctionCallOutput, ResponseStatus
from durable_responses.responses_api.protocol import ResponseCreate
from durable_responses.responses_api.websocket import ConnectionState, ResponsesWebSocket
from durable_responses.responses_api.websocket_pool import Lease, Turn, WebSocketPool
from tests.support.emulator_control import RunningEmulator

ECHO = "scenario:echo"
KEY = "any"


@pytest.fixture
async def pool() -> AsyncIterator[WebSocketPool]:
    async with WebSocketPool(ConnectOptions(max_retries=0)) as pool:
        yield pool


@pytest.fixture
async def lease(pool: WebSocketPool, emulator: RunningEmulator) -> AsyncIterator[Lease]:
    async with pool.lease("session", api_key=KEY, url=responses_url(emulator.base_url)) as lease:
        yield lease


@pytest.fixture
async def manager(emulator: RunningEmulator) -> AsyncIterator[ResponsesWebSocket]:
    options = ConnectOptions(retry_delays=(0,))
    async with ResponsesWebSocket(KEY, url=responses_url(emulator.base_url), options=options) as manager:
        yield manager


async def order(emulator: RunningEmulator, operation: Operation, effect: Effect) -> None:
    await emulator.control.add_fault(Fault(operation=operation, effect=effect))


async def played(turn: Turn) -> Turn:
    async with asyncio.timeout(10):
        async for _ in turn:
            pass
    return turn


def text_of(turn: Turn) -> str:
    assert turn.response is not None
    return turn.response.output_text


# --- the manager -------------------------------------------------------------------------------------------------


async def completed(manager: ResponsesWebSocket, create: ResponseCreate) -> str:
    """Send a create; the id of the response that completes."""
    done = asyncio.Event()
    unsubscribe = manager.on_message(lambda event: done.set() if event.type == EventType.COMPLETED else None)
    await manager.send(create)
    await asyncio.wait_for(done.wait(), 10)
    unsubscribe()
    assert manager.previous_response_id is not None
    return manager.previous_response_id


async def test_two_turns_of_a_dialogue(manager: ResponsesWebSocket) -> None:
    """W18: the follow-up carries the id and only the new items."""
    first = await completed(manager, ResponseCreate(model=ECHO, input="One.", store=False))
    second = await completed(manager, ResponseCreate(model=ECHO, input="Two.", store=False, previous_response_id=first))
    assert first != second


async def test_a_warm_up_can_be_continued(manager: ResponsesWebSocket, emulator: RunningEmulator) -> None:
    """W12: the id of a warm-up can be chained from."""
    warm = asyncio.Event()
    manager.on_message(lambda event: warm.set() if event.type == EventType.COMPLETED else None)
    await manager.warm_up(ECHO, instructions="Be brief.")
    await asyncio.wait_for(warm.wait(), 10)
    await completed(manager, ResponseCreate(model=ECHO, input="Hi.", previous_response_id=manager.previous_response_id))
    assert (await emulator.control.billing()).counts.generations == 1


async def test_the_manager_reconnects_after_a_restart_of_the_server(
    manager: ResponsesWebSocket, emulator: RunningEmulator
) -> None:
    """W4: 1012 is followed by a new connection."""
    opened = asyncio.Event()
    manager.on_open(opened.set)
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.CLOSE, code=1012))
    await manager.send(ResponseCreate(model=ECHO, input="Hi."))
    await asyncio.wait_for(opened.wait(), 10)
    await completed(manager, ResponseCreate(model=ECHO, input="Again."))


async def test_the_manager_reconnects_when_its_hour_is_over(
    manager: ResponsesWebSocket, emulator: RunningEmulator
) -> None:
    opened = asyncio.Event()
    manager.on_open(opened.set)
    await emulator.control.advance(3600)
    await asyncio.wait_for(opened.wait(), 10)
    assert manager.state is ConnectionState.OPEN


async def test_more_than_the_catalogue_has_is_understood(
    manager: ResponsesWebSocket, emulator: RunningEmulator
) -> None:
    events: list[Event] = []
    manager.on_message(events.append)
    await order(emulator, Operation.TURN, Unpublished())
    await completed(manager, ResponseCreate(model="scenario:calls?tool=f", input="Hi."))
    [limits] = [event for event in events if isinstance(event, RateLimitsUpdated)]
    assert [limit.name for limit in limits.rate_limits] == ["requests", "tokens"]


# --- the pool ----------------------------------------------------------------------------------------------------


async def test_calls_are_answered_on_the_same_socket(lease: Lease, pool: WebSocketPool) -> None:
    model = "scenario:calls?tool=f&iterations=3"
    turn = await played(lease.turn(CreateRequest(model=model, input="Go.")))
    iterations = 1
    while turn.response is not None and turn.response.function_calls:
        outputs = [FunctionCallOutput(call_id=call.call_id, output="ok") for call in turn.response.function_calls]
        request = CreateRequest(model=model, input=outputs, previous_response_id=turn.response.id)
        turn = await played(lease.turn(request))
        iterations += 1
    assert (iterations, text_of(turn)) == (4, "All calls are answered.")
    assert pool.leased == 1


async def test_a_forgotten_chain_is_sent_in_full(lease: Lease) -> None:
    """W23: `previous_response_not_found` can be followed by the full input on the same socket."""
    flow_id = lease.flow_id
    with pytest.raises(ChainRejected):
        await played(lease.turn(CreateRequest(model=ECHO, input="Only the new.", previous_response_id="resp_0")))
    turn = await played(lease.turn(CreateRequest(model=ECHO, input="Everything.")))
    assert (text_of(turn), lease.flow_id) == ("Everything.", flow_id)


async def test_a_connection_at_its_limit_is_replaced(lease: Lease, emulator: RunningEmulator) -> None:
    """W23: `websocket_connection_limit_reached` is followed by a new connection."""
    await order(emulator, Operation.CREATE, Answer(status=400, code="websocket_connection_limit_reached"))
    assert text_of(await played(lease.turn(CreateRequest(model=ECHO, input="Hi.")))) == "Hi."


async def test_a_turn_that_loses_its_socket_knows_its_response(lease: Lease, emulator: RunningEmulator) -> None:
    """W13: a close in mid-response fails the turn."""
    await order(emulator, Operation.TURN, BreakSocket(how=SocketBreak.CLOSE, code=1000, after_events=3))
    with pytest.raises(TurnLost) as lost:
        await played(lease.turn(CreateRequest(model=ECHO, input="Hi.")))
    [line] = await emulator.control.responses()
    assert (lost.value.loss, lost.value.response_id) == (LossCause.CLOSED, line.id)


@pytest.mark.parametrize(("status", "error"), [(426, HttpOnly), (429, RetriesExhausted), (503, RetriesExhausted)])
async def test_a_refused_upgrade_says_what_to_do(
    pool: WebSocketPool, emulator: RunningEmulator, status: int, error: type[Exception]
) -> None:
    """W5: 426 means HTTP; 429 and 5xx may be tried again."""
    await order(emulator, Operation.UPGRADE, Answer(status=status, headers={"retry-after": "7"}))
    with pytest.raises(error) as refused:
        await pool.lease("session", api_key=KEY, url=responses_url(emulator.base_url)).__aenter__()
    if isinstance(refused.value, RetriesExhausted):
        assert isinstance(refused.value.__cause__, Busy)
        assert refused.value.retry_after == 7


async def test_a_steered_turn_ends_with_the_successor(lease: Lease, emulator: RunningEmulator) -> None:
    turns = [Script(think=60), Script(output=[Text(text="In short.")])]
    await emulator.control.add_scenario(Scenario(name="steered", responses=turns))
    turn = lease.turn(CreateRequest(model="scenario:steered", input="Write."))
    first = ""
    async with asyncio.timeout(10):
        async for event in turn:
            if event.type == EventType.IN_PROGRESS and not first:
                first = turn.response_id or ""
                await turn.steer("Shorter.")
    assert turn.response is not None
    assert (turn.response.previous_response_id, text_of(turn)) == (first, "In short.")


async def test_a_refused_steer_does_not_end_the_turn(lease: Lease, emulator: RunningEmulator) -> None:
    await order(emulator, Operation.STEER, RefuseSteer())
    turn = lease.turn(CreateRequest(model="scenario:think?seconds=60", input="Think."))
    answers: list[Event] = []
    async for event in turn:
        if event.type == EventType.IN_PROGRESS:
            await turn.steer("Shorter.")
        if isinstance(event, SteerAccepted | SteerFailed):
            answers.append(event)
            await emulator.control.advance(61)
    assert [answer.type for answer in answers] == [EventType.STEER_FAILED]
    assert turn.response is not None
    assert turn.response.status is ResponseStatus.COMPLETED
