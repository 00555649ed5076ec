import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from durable_responses.responses_api.capture import CaptureRecord
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    Busy,
    ChainRejected,
    HttpOnly,
    LossCause,
    Misconfigured,
    NotConnected,
    NotProcessed,
    NotSent,
    RetriesExhausted,
    ServerFailed,
    TurnLost,
)
from durable_responses.responses_api.events import Event
from durable_responses.responses_api.handshake import ConnectOptions, Handshake
from durable_responses.responses_api.models import CreateRequest, FunctionCallOutput
from durable_responses.responses_api.protocol import ResponseCreate
from durable_responses.responses_api.websocket_connection import Socket, SocketFactory, open_socket
from durable_responses.responses_api.websocket_pool import Lease, PoolKey, Turn, WebSocketPool
from tests.support.websocket_server import (
    ManualClock,
    Peer,
    Script,
    Server,
    error,
    lifecycle,
    refusal,
    silence,
    until,
)

KEY = "sk-test-0123456789abcdef"
REQUEST = CreateRequest(model="m", input="hello", store=True)
FOLLOW_UP = CreateRequest(
    model="m", input=[FunctionCallOutput(call_id="c", output="42")], store=True, previous_response_id="resp_gone"
)
FULL = CreateRequest(model="m", input="everything", store=True)
KINDS = ["response.created", "response.output_text.delta", "response.completed"]


class Pools:
    """Makes pools and closes them at the end; leases are of the test's server."""

    def __init__(self, server: Server, clock: ManualClock) -> None:
        self.server = server
        self.clock = clock
        self.made: list[WebSocketPool] = []

    def __call__(
        self,
        socket_factory: SocketFactory = open_socket,
        capture: Any = None,
        **options: Any,
    ) -> WebSocketPool:
        pool = WebSocketPool(
            ConnectOptions(**{"close_timeout": 0.2, "max_retries": 1, **options}),
            socket_factory=socket_factory,
            capture=capture,
            clock=self.clock,
            random=lambda: 0.0,
        )
        self.made.append(pool)
        return pool

    def lease(self, pool: WebSocketPool, session: str = "s", api_key: str | None = KEY) -> Lease:
        return pool.lease(session, api_key=api_key, url=self.server.url)


@pytest.fixture
async def pools(server: Server, clock: ManualClock) -> AsyncIterator[Pools]:
    pools = Pools(server, clock)
    yield pools
    for pool in pools.made:
        await pool.close()
        assert (pool.idle, pool.leased) == (0, 0)


@pytest.fixture
def pool(pools: Pools) -> WebSocketPool:
    return pools()


async def kinds_of(turn: Turn) -> list[str]:
    return [event.type async for event in turn]


async def read_into(kinds: list[str], turn: Turn) -> None:
    async for event in turn:
        kinds += [event.type]


async def begun(turn: Turn, events: int = 1) -> list[Event]:
    """The first events of a turn that is still under way."""
    return [await anext(turn) for _ in range(events)]


async def answered(pools: Pools, pool: WebSocketPool, session: str = "s", request: CreateRequest = REQUEST) -> str:
    """One whole turn in a lease of its own; its response id."""
    async with pools.lease(pool, session) as lease:
        turn = lease.turn(request)
        await kinds_of(turn)
        assert turn.response_id is not None
        return turn.response_id


# --- a turn -------------------------------------------------------------------------------------------------------


async def test_a_turn_yields_its_events_and_keeps_its_response(pools: Pools, pool: WebSocketPool) -> None:
    """W18: created, deltas, completed; the id is tracked."""
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        assert await kinds_of(turn) == KINDS
        assert turn.response is not None
        assert turn.response.id == turn.response_id == lease.previous_response_id


async def test_the_request_is_sent_as_a_create(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    await answered(pools, pool)
    assert server.peers[0].heard == [{"type": "response.create", "model": "m", "input": "hello", "store": True}]


async def test_a_dialogue_stays_on_its_socket_and_sends_only_new_items(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W18: the follow-up carries the id and only the new items."""
    first = await answered(pools, pool)
    follow_up = FOLLOW_UP.model_copy(update={"previous_response_id": first})
    await answered(pools, pool, request=follow_up)
    (peer,) = server.peers
    assert peer.heard[1]["input"] == [{"type": "function_call_output", "call_id": "c", "output": "42"}]
    assert peer.heard[1]["previous_response_id"] == first


async def test_the_id_is_known_before_the_response_ends(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    server.will(starts("r1"))
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        await begun(turn)
        assert (turn.response_id, turn.response, turn.is_under_way) == ("r1", None, True)


@pytest.mark.parametrize("status", ["failed", "incomplete"])
async def test_a_response_that_did_not_complete_ends_the_turn_like_one_that_did(
    pools: Pools, pool: WebSocketPool, server: Server, status: str
) -> None:
    """W13: the end of the turn; W20: nothing to continue from."""
    server.will(says(lifecycle("created", "r1"), lifecycle(status, "r1")))
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        await kinds_of(turn)
        assert turn.response is not None
        assert turn.response.status == status
        assert lease.previous_response_id is None


async def test_background_is_refused_before_anything_is_sent(pools: Pools, pool: WebSocketPool) -> None:
    async with pools.lease(pool) as lease:
        with pytest.raises(ValueError, match="`background`"):
            lease.turn(CreateRequest(model="m", input="", background=True))


async def test_a_warm_up_is_a_turn(pools: Pools, pool: WebSocketPool) -> None:
    """W12: its id can be chained from."""
    async with pools.lease(pool) as lease:
        await kinds_of(lease.turn(ResponseCreate(model="m", input=[], generate=False)))
        assert lease.previous_response_id is not None


async def test_events_of_another_response_are_not_the_turns(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W20: events of another response id are ignored."""
    server.will(
        says(
            lifecycle("completed", "other"),
            lifecycle("created", "r1"),
            lifecycle("created", "other"),
            lifecycle("completed", "other"),
            lifecycle("completed", "r1"),
        )
    )
    async with pools.lease(pool) as lease:
        assert await kinds_of(lease.turn(REQUEST)) == ["response.created", "response.completed"]
        assert lease.previous_response_id == "r1"


async def test_unreadable_messages_do_not_disturb_a_turn(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W10: the connection lives on."""
    server.will(says(lifecycle("created", "r1"), "{oops", b"\xff", lifecycle("completed", "r1")))
    assert await answered(pools, pool) == "r1"


async def test_a_turn_can_be_read_slowly(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W24: the reader always runs; what nobody has asked for waits."""
    texts = [{"type": "response.output_text.delta", "item_id": "m", "delta": str(n)} for n in range(1000)]
    server.will(says(lifecycle("created", "r1"), *texts, lifecycle("completed", "r1")))
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        await begun(turn)
        await until(lambda: turn.response is not None)
        assert len(await kinds_of(turn)) == 1001


async def test_one_turn_at_a_time(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    server.will(starts("r1"))
    async with pools.lease(pool) as lease:
        await begun(lease.turn(REQUEST))
        with pytest.raises(RuntimeError, match="under way"):
            await anext(lease.turn(REQUEST))


async def test_a_turn_cannot_outlive_its_lease(pools: Pools, pool: WebSocketPool) -> None:
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
    with pytest.raises(RuntimeError, match="lease has ended"):
        await anext(turn)


# --- scripts ------------------------------------------------------------------------------------------------------


def says(*events: dict[str, Any] | str | bytes) -> Script:
    """Answers the first create with these events, and all others with whole responses."""

    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.tell(*events)
        while True:
            await peer.answer()

    return script


def starts(response_id: str) -> Script:
    """Answers the first create with its first event and no more."""

    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.created(response_id)
        await peer.gone()

    return script


def closes(code: int, *events: dict[str, Any]) -> Script:
    """Closes in the middle of a response, after these events."""

    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.tell(*events)
        if code == 1006:
            peer.abort()
        else:
            await peer.connection.close(code, "why")

    return script


# --- lost after it was sent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 4321])
async def test_a_close_in_mid_response_loses_the_turn_with_its_id(
    pools: Pools, pool: WebSocketPool, server: Server, code: int
) -> None:
    """W13: a close with any code is a failure of that turn; W23: the id is there to read the response by."""
    server.will(closes(code, lifecycle("created", "r1")))
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        with pytest.raises(TurnLost) as caught:
            await kinds_of(turn)
        assert (caught.value.loss, caught.value.response_id, turn.response_id) == (LossCause.CLOSED, "r1", "r1")


async def test_a_lost_turn_is_not_sent_again(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W23: lost after dispatch is never a silent second generation."""
    server.will(closes(1006))
    async with pools.lease(pool) as lease:
        with pytest.raises(TurnLost) as caught:
            await kinds_of(lease.turn(REQUEST))
    assert caught.value.response_id is None
    assert len(server.peers) == 1


async def test_events_that_came_before_the_loss_are_delivered_first(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    text = {"type": "response.output_text.delta", "item_id": "m", "delta": "x"}
    server.will(closes(1006, lifecycle("created", "r1"), text))
    events: list[str] = []
    async with pools.lease(pool) as lease:
        with pytest.raises(TurnLost):
            await read_into(events, lease.turn(REQUEST))
    assert events == KINDS[:2]


async def test_an_error_in_mid_response_is_a_failure_with_its_id(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W13: `error` ends a turn."""
    server.will(says(lifecycle("created", "r1"), error("server_error", 500)))
    async with pools.lease(pool) as lease:
        with pytest.raises(ServerFailed) as caught:
            await kinds_of(lease.turn(REQUEST))
    assert caught.value.response_id == "r1"


async def test_a_turn_without_an_event_for_300_seconds_is_lost(
    pools: Pools, pool: WebSocketPool, server: Server, clock: ManualClock
) -> None:
    """W24: per-event stall timer (300 s)."""
    server.will(silence)
    async with pools.lease(pool) as lease:
        reading = asyncio.create_task(kinds_of(lease.turn(REQUEST)))
        await clock.waits(300)
        with pytest.raises(TurnLost) as caught:
            await reading
    assert caught.value.loss is LossCause.STALLED
    await (await server.peer()).gone()


async def test_every_event_restarts_the_stall_timer(
    pools: Pools, pool: WebSocketPool, server: Server, clock: ManualClock
) -> None:
    """W24: per event, not per turn."""
    server.will(starts("r1"))
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        await begun(turn)
        for _ in range(3):
            clock.advance(299)
            await server.peers[0].text()
            await begun(turn)
        assert turn.is_under_way
        clock.advance(300)
        with pytest.raises(TurnLost):
            await anext(turn)


async def test_events_of_others_do_not_restart_the_stall_timer(
    pools: Pools, pool: WebSocketPool, server: Server, clock: ManualClock
) -> None:
    """W20, W24: only the turn's own events count."""
    server.will(starts("r1"))
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        await begun(turn)
        clock.advance(299)
        await server.peers[0].completed("other")
        await server.peers[0].connection.ping()
        await (await server.peers[0].connection.ping())
        clock.advance(1)
        with pytest.raises(TurnLost):
            await anext(turn)


async def test_a_turn_past_its_deadline_is_lost(
    pools: Pools, pool: WebSocketPool, server: Server, clock: ManualClock
) -> None:
    """W24: a deadline for the turn, however many events come."""
    server.will(starts("r1"))
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST, deadline=60)
        await begun(turn)
        clock.advance(60)
        with pytest.raises(TurnLost) as caught:
            await anext(turn)
    assert (caught.value.loss, caught.value.response_id) == (LossCause.DEADLINE, "r1")


async def test_a_finished_turn_leaves_no_timer(pools: Pools, pool: WebSocketPool, clock: ManualClock) -> None:
    async with pools.lease(pool) as lease:
        await kinds_of(lease.turn(REQUEST, deadline=60))
        assert clock.timers == []


async def test_a_peer_that_reads_nothing_does_not_hold_a_turn_for_ever(
    pools: Pools, pool: WebSocketPool, server: Server, clock: ManualClock
) -> None:
    """W24: the stall timer runs while the request is being written."""
    async with pools.lease(pool) as lease:
        (await server.peer()).connection.transport.pause_reading()
        large = CreateRequest(model="m", input="x" * 20_000_000)
        sending = asyncio.create_task(kinds_of(lease.turn(large)))
        await clock.waits(300)
        with pytest.raises(TurnLost) as caught:
            await sending
    assert caught.value.loss is LossCause.STALLED


# --- before it was sent -------------------------------------------------------------------------------------------


async def test_no_connection_means_nothing_was_sent(pools: Pools) -> None:
    """W23: before dispatch: reconnect, or fall back to HTTP."""
    pool = pools(max_retries=0)
    with pytest.raises(RetriesExhausted) as caught:
        async with pool.lease("s", api_key=KEY, url="ws://127.0.0.1:1"):
            pass
    assert isinstance(caught.value, NotProcessed)


async def test_a_refused_upgrade_is_told_at_once(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W5: permanent."""
    server.will(refusal(401, json.dumps({"error": {"message": "No key."}})))
    with pytest.raises(AuthenticationFailed):
        async with pools.lease(pool):
            pass


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", ["", "<h1>Forbidden</h1>", "nothing here"])
async def test_a_refusal_of_the_upgrade_without_an_error_of_the_api_leaves_http(
    pools: Pools, pool: WebSocketPool, server: Server, status: int, body: str
) -> None:
    """ASGI servers answer so where there is no such route; if it is the key, HTTP will say so."""
    server.will(refusal(status, body))
    with pytest.raises(HttpOnly):
        async with pools.lease(pool):
            pass


async def test_a_missing_key_is_told_before_there_is_a_socket(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W3: a configuration error."""
    with pytest.raises(Misconfigured):
        async with pools.lease(pool, api_key=None):
            pass
    assert server.requests == []


async def test_a_socket_that_died_before_the_turn_is_replaced(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W23: before dispatch it is safe to reconnect."""
    async with pools.lease(pool) as lease:
        (await server.peer()).abort()
        await until(lambda: pool.leased == 0)
        assert await kinds_of(lease.turn(REQUEST)) == KINDS
    assert len(server.peers) == 2


async def test_a_deadline_that_passes_while_connecting_means_nothing_was_sent(
    pools: Pools, pool: WebSocketPool, server: Server, clock: ManualClock
) -> None:
    """W24: the deadline covers the connecting too."""
    async with pools.lease(pool) as lease:
        (await server.peer()).abort()
        await until(lambda: pool.leased == 0)
        server.will(refusal(503), refusal(503))
        turn = asyncio.create_task(kinds_of(lease.turn(REQUEST, deadline=0.5)))
        await clock.waits(0.5)
        with pytest.raises(NotConnected, match="deadline"):
            await turn
    assert clock.timers == []


async def test_a_deadline_that_has_passed_already_sends_nothing(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W24: no money is spent on a turn that nobody can wait for."""
    async with pools.lease(pool) as lease:
        with pytest.raises(NotConnected, match="deadline"):
            await kinds_of(lease.turn(REQUEST, deadline=0))
    assert server.peers[0].heard == []
    assert pool.idle == 1


# --- refused by the server ----------------------------------------------------------------------------------------


async def test_an_unknown_previous_response_leaves_the_socket_for_the_full_input(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W23: `previous_response_not_found` → full input on the same socket."""
    server.will(says(error("previous_response_not_found")))
    async with pools.lease(pool) as lease:
        with pytest.raises(ChainRejected):
            await kinds_of(lease.turn(FOLLOW_UP))
        assert await kinds_of(lease.turn(FULL)) == KINDS
    (peer,) = server.peers
    assert [create["input"] for create in peer.heard][1] == "everything"
    assert "previous_response_id" not in peer.heard[1]


async def test_a_rejected_chain_is_not_sent_again_by_itself(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W23: once: who has the full input decides."""
    server.will(says(error("previous_response_not_found")))
    async with pools.lease(pool) as lease:
        with pytest.raises(ChainRejected):
            await kinds_of(lease.turn(FOLLOW_UP))
    assert len(server.peers[0].heard) == 1


async def test_at_the_connection_limit_the_request_goes_over_a_new_socket(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W23: `websocket_connection_limit_reached` → reconnect and send again."""
    server.will(says(error("websocket_connection_limit_reached")))
    async with pools.lease(pool) as lease:
        assert await kinds_of(lease.turn(REQUEST)) == KINDS
    assert [len(peer.heard) for peer in server.peers] == [1, 1]
    await server.peers[0].gone()


async def test_the_connection_limit_does_not_turn_into_a_loop(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W23: one new connection, no more."""
    limit = says(error("websocket_connection_limit_reached"))
    server.will(limit, limit, limit)
    async with pools.lease(pool) as lease:
        with pytest.raises(Busy):
            await kinds_of(lease.turn(REQUEST))
    assert len(server.peers) == 2


async def test_the_connection_limit_in_mid_response_loses_the_turn(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W23: what was generated may have to be read; it is not sent again."""
    server.will(says(lifecycle("created", "r1"), error("websocket_connection_limit_reached")))
    async with pools.lease(pool) as lease:
        with pytest.raises(ServerFailed) as caught:
            await kinds_of(lease.turn(REQUEST))
    assert caught.value.response_id == "r1"
    assert (len(server.peers), pool.idle) == (1, 0)


async def test_a_rejected_request_is_not_sent_again(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W23: other rejections are the caller's."""
    server.will(says(error("rate_limit_exceeded", 429)))
    async with pools.lease(pool) as lease:
        with pytest.raises(Busy):
            await kinds_of(lease.turn(REQUEST))
    assert len(server.peers[0].heard) == 1


# --- the id to continue from --------------------------------------------------------------------------------------


async def test_the_id_is_out_of_reach_while_the_next_turn_runs(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W20: taken out before sending, put back only by that turn's `response.completed`."""

    async def script(peer: Peer) -> None:
        await peer.answer("r1")
        await peer.hear()
        await peer.created("r2")
        await peer.gone()

    server.will(script)
    ids: list[str | None] = []
    async with pools.lease(pool) as lease:
        ids.append(lease.previous_response_id)
        await kinds_of(lease.turn(REQUEST))
        ids.append(lease.previous_response_id)
        turn = lease.turn(REQUEST.model_copy(update={"previous_response_id": "r1"}))
        await begun(turn)
        ids.append(lease.previous_response_id)
        await server.peers[0].completed("r2")
        await kinds_of(turn)
        ids.append(lease.previous_response_id)
    assert ids == [None, "r1", None, "r2"]


async def test_a_failed_turn_cannot_be_continued_twice(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W20: after a failed turn there is nothing to continue from."""

    async def script(peer: Peer) -> None:
        await peer.answer("r1")
        await peer.hear()
        await peer.tell(error("invalid_value"))
        await peer.gone()

    server.will(script)
    async with pools.lease(pool) as lease:
        await kinds_of(lease.turn(REQUEST))
        with pytest.raises(Exception, match="no"):
            await kinds_of(lease.turn(REQUEST))
        assert lease.previous_response_id is None


async def test_the_next_lease_of_the_session_finds_the_id(pools: Pools, pool: WebSocketPool) -> None:
    """W20, W21: it belongs to the socket."""
    response_id = await answered(pools, pool)
    async with pools.lease(pool) as lease:
        assert lease.previous_response_id == response_id


# --- cancelling ---------------------------------------------------------------------------------------------------


async def test_cancelling_who_waits_aborts_the_socket(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W19: cancelling the waiter aborts the socket; that socket is never reused."""
    server.will(starts("r1"))

    async def work() -> None:
        async with pools.lease(pool) as lease:
            await kinds_of(lease.turn(REQUEST))

    working = asyncio.create_task(work())
    await until(lambda: bool(server.peers) and bool(server.peers[0].heard))
    working.cancel()
    await asyncio.wait({working})
    assert working.cancelled()
    await server.peers[0].gone()
    assert (pool.idle, pool.leased) == (0, 0)
    await answered(pools, pool)
    assert len(server.peers) == 2


async def test_a_wait_that_is_cut_short_aborts_the_socket_at_once(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W19: not only when the lease ends."""
    server.will(starts("r1"))
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        await begun(turn)
        waiting = asyncio.create_task(begun(turn))
        await asyncio.sleep(0)
        waiting.cancel()
        await server.peers[0].gone()
        with pytest.raises(TurnLost) as caught:
            await anext(turn)
    assert caught.value.loss is LossCause.ABANDONED


async def test_leaving_a_turn_in_the_middle_aborts_the_socket(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """W19: also by `break`, or by an error of the caller's own."""
    server.will(starts("r1"))
    async with pools.lease(pool) as lease:
        async for _ in lease.turn(REQUEST):
            break
    await server.peers[0].gone()
    assert pool.idle == 0


async def test_an_error_after_the_turn_does_not_spoil_the_socket(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    async def fails_after_its_turn() -> None:
        async with pools.lease(pool) as lease:
            await kinds_of(lease.turn(REQUEST))
            raise LookupError

    with pytest.raises(LookupError):
        await fails_after_its_turn()
    assert pool.idle == 1


async def test_cancelling_while_connecting_leaves_nothing(pools: Pools, server: Server, clock: ManualClock) -> None:
    """W19: no socket and no timer is left."""
    pool = pools(max_retries=5)
    server.will(refusal(503))
    entering = asyncio.create_task(pools.lease(pool).__aenter__())
    await until(lambda: bool(clock.timers))
    entering.cancel()
    await asyncio.wait({entering})
    assert clock.timers == []
    assert pool.leased == 0


async def test_cancelling_while_writing_aborts_the_socket(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W19: half a request is never followed by another."""
    async with pools.lease(pool) as lease:
        peer = await server.peer()
        peer.connection.transport.pause_reading()
        sending = asyncio.create_task(kinds_of(lease.turn(CreateRequest(model="m", input="x" * 20_000_000))))
        await until(lambda: bool(pools.clock.timers))
        sending.cancel()
        await asyncio.wait({sending})
    assert pool.idle == 0


# --- the pool -----------------------------------------------------------------------------------------------------


async def test_a_session_keeps_its_socket_between_leases(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W21: kept while idle."""
    for _ in range(3):
        await answered(pools, pool)
    assert len(server.peers) == 1


async def test_a_busy_socket_is_not_shared(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W21: a busy socket is not shared."""
    async with pools.lease(pool), pools.lease(pool):
        assert pool.leased == 2
    assert (len(server.peers), pool.idle, pool.leased) == (2, 2, 0)


async def test_sessions_do_not_share_sockets(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W21: keyed by session."""
    await answered(pools, pool, "a")
    await answered(pools, pool, "b")
    assert len(server.peers) == 2


async def test_keys_do_not_share_sockets(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W21: keyed by key hash."""
    for key in (KEY, "sk-another-0123456789"):
        async with pools.lease(pool, api_key=key):
            pass
    assert [request.headers["Authorization"] for request in server.requests] == [
        f"Bearer {KEY}",
        "Bearer sk-another-0123456789",
    ]


async def test_urls_do_not_share_sockets(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W21: keyed by URL."""
    for url in (server.url, f"{server.url}?x"):
        async with pool.lease("s", api_key=KEY, url=url):
            pass
    assert len(server.peers) == 2


def test_the_key_of_a_pool_holds_no_key(pools: Pools) -> None:
    """W21: the hash only."""
    assert KEY not in repr(PoolKey.of("wss://host", SecretStr(KEY), "s"))


async def test_an_idle_socket_is_closed_after_five_minutes(
    pools: Pools, pool: WebSocketPool, server: Server, clock: ManualClock
) -> None:
    """W21: idle 5 min."""
    await answered(pools, pool)
    clock.advance(299)
    assert pool.idle == 1
    clock.advance(1)
    assert pool.idle == 0
    await server.peers[0].gone()
    assert server.peers[0].connection.close_code == 1000


async def test_a_lease_restarts_the_idle_time(pools: Pools, pool: WebSocketPool, clock: ManualClock) -> None:
    """W21: idle means not leased."""
    for _ in range(4):
        await answered(pools, pool)
        clock.advance(299)
    assert pool.idle == 1


async def test_a_socket_of_55_minutes_is_not_leased_again(
    pools: Pools, pool: WebSocketPool, server: Server, clock: ManualClock
) -> None:
    """W21: age 55 min."""
    async with pools.lease(pool) as lease:
        await kinds_of(lease.turn(REQUEST))
        clock.advance(55 * 60)
    assert pool.idle == 0
    await server.peers[0].gone()


async def test_an_idle_socket_is_closed_when_it_is_55_minutes_old(
    pools: Pools, pool: WebSocketPool, clock: ManualClock
) -> None:
    """W21: whichever comes first."""
    async with pools.lease(pool):
        clock.advance(55 * 60 - 1)
    assert pool.idle == 1
    clock.advance(1)
    assert pool.idle == 0


async def test_a_socket_that_the_server_closes_while_idle_is_forgotten(
    pools: Pools, pool: WebSocketPool, server: Server, clock: ManualClock
) -> None:
    """W21: a dead socket is not leased."""
    await answered(pools, pool)
    await server.peers[0].connection.close(1001)
    await until(lambda: pool.idle == 0)
    assert clock.timers == []
    await answered(pools, pool)
    assert len(server.peers) == 2


async def test_a_limit_told_while_idle_is_heeded(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W23: the next lease gets another socket."""
    await answered(pools, pool)
    await server.peers[0].tell(error("websocket_connection_limit_reached"))
    await (await server.peers[0].connection.ping())
    async with pools.lease(pool):
        assert len(server.peers) == 2


async def test_closing_the_pool_closes_what_is_idle(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    await answered(pools, pool)
    await pool.close()
    await server.peers[0].gone()
    assert server.peers[0].connection.close_code == 1000


async def test_closing_the_pool_ends_the_turns_that_run(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    server.will(starts("r1"))
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        await begun(turn)
        await pool.close()
        with pytest.raises(TurnLost):
            await anext(turn)


async def test_a_closed_pool_leases_nothing(pools: Pools, pool: WebSocketPool) -> None:
    await pool.close()
    with pytest.raises(NotConnected, match="pool is closed"):
        async with pools.lease(pool):
            pass


async def test_a_pool_closed_while_a_socket_is_opened_keeps_nothing(pools: Pools, server: Server) -> None:
    opening = asyncio.Event()
    proceed = asyncio.Event()

    async def slow(handshake: Handshake) -> Socket:
        opening.set()
        await proceed.wait()
        return await open_socket(handshake)

    pool = pools(slow)
    entering = asyncio.create_task(pools.lease(pool).__aenter__())
    await opening.wait()
    await pool.close()
    proceed.set()
    with pytest.raises(NotConnected, match="pool was closed"):
        await entering
    await (await server.peer()).gone()


async def test_every_connection_of_a_pool_has_a_flow_id_of_its_own(pools: Pools) -> None:
    """W17: told apart in the capture."""
    seen: list[CaptureRecord] = []
    pool = pools(capture=seen.append)
    await answered(pools, pool, "a")
    await answered(pools, pool, "b")
    assert len({record.flow_id for record in seen}) == 2


# --- steering -----------------------------------------------------------------------------------------------------


async def test_a_running_turn_can_be_steered(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.created("r1")
        steer = await peer.hear()
        target = {"id": "s1", "previous_response_id": steer["previous_response_id"]}
        await peer.tell({"type": "response.steer.accepted", "steer": target}, lifecycle("incomplete", "r1"))
        await peer.created("r2")
        await peer.completed("r2")
        await peer.gone()

    server.will(script)
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        await begun(turn)
        await turn.steer("faster")
        assert await kinds_of(turn) == [
            "response.steer.accepted",
            "response.incomplete",
            "response.created",
            "response.completed",
        ]
        assert turn.response_id == "r2"
    assert server.peers[0].heard[1] == {
        "type": "response.steer",
        "previous_response_id": "r1",
        "input": "faster",
    }


async def test_a_turn_that_is_not_under_way_cannot_be_steered(pools: Pools, pool: WebSocketPool) -> None:
    async with pools.lease(pool) as lease:
        turn = lease.turn(REQUEST)
        with pytest.raises(NotConnected, match="no response"):
            await turn.steer("too early")
        await kinds_of(turn)
        with pytest.raises(NotConnected, match="no response"):
            await turn.steer("too late")


# --- many ---------------------------------------------------------------------------------------------------------


async def test_many_sessions_at_once_lose_and_double_nothing(pools: Pools, pool: WebSocketPool, server: Server) -> None:
    """W21: 50 sessions, 10 turns each: every create was heard once, on the session's own socket."""

    async def session(name: str) -> None:
        for number in range(10):
            await answered(pools, pool, name, REQUEST.model_copy(update={"input": f"{name}/{number}"}))

    await asyncio.gather(*(session(str(n)) for n in range(50)))
    heard = [create["input"] for peer in server.peers for create in peer.heard]
    assert sorted(heard) == sorted(f"{n}/{m}" for n in range(50) for m in range(10))
    assert len(server.peers) == 50


async def test_a_frame_whose_last_byte_was_not_sent_was_not_taken(
    pools: Pools, pool: WebSocketPool, server: Server
) -> None:
    """It may be sent again, over HTTP if need be: no ambiguous create for a line that broke in the upload."""
    accepted, begun = asyncio.Event(), asyncio.Event()

    async def deaf(peer: Peer) -> None:
        peer.connection.transport.pause_reading()
        accepted.set()
        await begun.wait()
        peer.abort()

    server.will(deaf)
    async with pools.lease(pool) as lease:
        await accepted.wait()
        turn = lease.turn(CreateRequest(model="gpt-5.4", input="x" * 2**25))
        sending = asyncio.ensure_future(anext(turn))
        await asyncio.wait((sending,), timeout=0.5)
        begun.set()
        with pytest.raises(NotSent):
            await sending
