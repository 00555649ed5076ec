import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from durable_responses.responses_api.capture import PREVIEW_BYTES, CaptureHook, CaptureKind, CaptureRecord, Direction
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    BadRequest,
    Busy,
    ClosedByClient,
    HttpOnly,
    InvalidFrame,
    Misconfigured,
    NoSuchEndpoint,
    NotConnected,
    NotSent,
    QuotaExhausted,
    ResponsesError,
    RetriesExhausted,
    TurnLost,
    Unreachable,
)
from durable_responses.responses_api.events import Event
from durable_responses.responses_api.handshake import ConnectOptions, Handshake
from durable_responses.responses_api.models import FunctionCallOutput, FunctionTool
from durable_responses.responses_api.protocol import Close, ResponseCreate
from durable_responses.responses_api.websocket import ConnectionState, ResponsesWebSocket
from durable_responses.responses_api.websocket_connection import LibrarySocket, Socket, SocketFactory, open_socket
from tests.support.websocket_server import (
    ManualClock,
    Peer,
    Server,
    answers,
    lifecycle,
    refusal,
    silence,
    until,
)

KEY = "sk-test-0123456789abcdef"
CREATE = ResponseCreate(model="m", input="hello", store=True)


class Journal:
    """What a manager told its subscribers, in order."""

    def __init__(self, manager: ResponsesWebSocket) -> None:
        self.entries: list[tuple[Any, ...]] = []
        manager.on_message(lambda event: self.entries.append((event.type,)))
        manager.on_open(lambda: self.entries.append(("open",)))
        manager.on_close(lambda code, reason: self.entries.append(("close", code, reason)))
        manager.on_error(lambda error: self.entries.append(("error", error)))

    @property
    def errors(self) -> list[ResponsesError]:
        return [entry[1] for entry in self.entries if entry[0] == "error"]

    async def has(self, *entry: Any) -> None:
        await until(lambda: entry in self.entries)


class CountingFactory:
    """Opens real sockets and counts the attempts."""

    def __init__(self) -> None:
        self.attempts = 0
        self.sockets: list[LibrarySocket] = []

    async def __call__(self, handshake: Handshake) -> Socket:
        self.attempts += 1
        socket = await open_socket(handshake)
        self.sockets.append(socket)
        return socket


class Managers:
    """Makes managers and closes them at the end."""

    def __init__(self, server: Server, clock: ManualClock) -> None:
        self.server = server
        self.clock = clock
        self.made: list[ResponsesWebSocket] = []

    def __call__(
        self,
        *,
        url: str | None = None,
        api_key: str | None = KEY,
        socket_factory: SocketFactory = open_socket,
        capture: CaptureHook | None = None,
        **options: Any,
    ) -> ResponsesWebSocket:
        manager = ResponsesWebSocket(
            api_key,
            url=url or self.server.url,
            options=ConnectOptions(**{"close_timeout": 0.2, **options}),
            socket_factory=socket_factory,
            capture=capture,
            clock=self.clock,
            random=lambda: 0.0,
        )
        self.made.append(manager)
        return manager

    async def open(self, **options: Any) -> ResponsesWebSocket:
        manager = self(**options)
        await manager.connect()
        return manager


@pytest.fixture
async def managers(server: Server, clock: ManualClock) -> AsyncIterator[Managers]:
    managers = Managers(server, clock)
    yield managers
    for manager in managers.made:
        await manager.close()


@asynccontextmanager
async def connecting(manager: ResponsesWebSocket) -> AsyncIterator[asyncio.Task[None]]:
    """`connect()` under way in a task of its own."""
    task = asyncio.create_task(manager.connect())
    await asyncio.sleep(0)
    assert manager.state == "connecting"
    try:
        yield task
    except BaseException:
        task.cancel()
        raise
    finally:
        await asyncio.wait({task})


@asynccontextmanager
async def mute_server() -> AsyncIterator[tuple[str, list[asyncio.StreamReader]]]:
    """The URL of a server that answers no handshake, and its connections. It ends when its clients have left."""
    reached: list[asyncio.StreamReader] = []
    left: list[asyncio.StreamReader] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(reader)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        left.append(reader)

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as listening:
        yield f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}", reached
        await until(lambda: left == reached)


def closing_with(code: int, reason: str = "") -> Callable[[Peer], Awaitable[None]]:
    """The script of a server that closes as soon as it has heard something."""

    async def script(peer: Peer) -> None:
        await peer.hear()
        if code == 1006:
            peer.abort()
        elif code == 1005:
            peer.connection.transport.write(Frame(Opcode.CLOSE, b"").serialize(mask=False))
            peer.connection.transport.close()
        else:
            await peer.connection.close(code, reason)

    return script


# --- the opening --------------------------------------------------------------------------------------------------


async def test_a_manager_is_idle_until_it_is_told_to_connect(managers: Managers) -> None:
    """W2: the first state is idle."""
    manager = managers()
    assert (manager.state, manager.is_connected, manager.last_close, manager.previous_response_id) == (
        "idle",
        False,
        None,
        None,
    )


async def test_connect_returns_when_the_connection_is_open(managers: Managers) -> None:
    """W3: `connect()` resolves on open."""
    manager = await managers.open()
    assert (manager.state, manager.is_connected) == ("open", True)


async def test_the_handshake_carries_key_and_beta_to_the_url_as_given(managers: Managers, server: Server) -> None:
    """W1: the URL verbatim, the bearer key, the `OpenAI-Beta` header."""
    await managers.open(url=f"{server.url}?a=b%20c")
    request = server.requests[0]
    assert request.path == "/v1/responses?a=b%20c"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["OpenAI-Beta"] == "responses-websocket=v1"


async def test_a_missing_key_fails_before_there_is_a_socket(managers: Managers) -> None:
    """W3: configuration errors fail before any socket exists and leave the state idle."""
    factory = CountingFactory()
    manager = managers(api_key=None, socket_factory=factory)
    with pytest.raises(Misconfigured, match="API key"):
        await manager.connect()
    assert (factory.attempts, manager.state) == (0, "idle")


async def test_verification_switched_off_fails_before_there_is_a_socket(managers: Managers) -> None:
    """W3: so does TLS verification switched off."""
    factory = CountingFactory()
    manager = managers(url="wss://localhost/v1/responses", socket_factory=factory, overrides={"tls": {"verify": False}})
    with pytest.raises(Misconfigured, match=r"`tls\.verify`"):
        await manager.connect()
    assert (factory.attempts, manager.state) == (0, "idle")


async def test_a_handshake_that_is_not_answered_times_out(managers: Managers, leak_free: None) -> None:
    """W3: a handshake timeout exists."""
    async with mute_server() as (url, _):
        manager = managers(url=url, handshake_timeout=0.05, max_retries=0)
        with pytest.raises(RetriesExhausted) as caught:
            await manager.connect()
    assert isinstance(caught.value.__cause__, Unreachable)
    assert "timed out" in str(caught.value)


async def test_a_server_that_is_not_there_is_tried_again(managers: Managers, clock: ManualClock) -> None:
    """W3, W4: `connect()` waits through the retries: max 3 means 1 + 3 sockets, after 1, 2, 4 s."""
    factory = CountingFactory()
    manager = managers(url="ws://127.0.0.1:1", socket_factory=factory, max_retries=3)
    async with connecting(manager) as task:
        for seconds in (1, 2, 4):
            await clock.waits(seconds)
    assert factory.attempts == 4
    with pytest.raises(RetriesExhausted, match="3 retries") as caught:
        task.result()
    assert isinstance(caught.value.__cause__, Unreachable)
    assert (manager.state, clock.timers) == ("closed", [])


async def test_without_retries_there_is_one_socket(managers: Managers) -> None:
    """W3: `max_retries=0` means one socket."""
    factory = CountingFactory()
    manager = managers(url="ws://127.0.0.1:1", socket_factory=factory, max_retries=0)
    with pytest.raises(RetriesExhausted):
        await manager.connect()
    assert factory.attempts == 1


async def test_connect_succeeds_when_a_later_attempt_does(
    managers: Managers, server: Server, clock: ManualClock
) -> None:
    """W3: `connect()` waits through the retries."""
    server.will(refusal(503), refusal(500))
    manager = managers()
    async with connecting(manager):
        await clock.waits(1)
        await clock.waits(2)
    assert manager.is_connected


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BadRequest), (401, HttpOnly), (403, HttpOnly), (404, NoSuchEndpoint)],
)
async def test_a_permanent_refusal_is_not_tried_again(
    managers: Managers, server: Server, status: int, kind: type[ResponsesError]
) -> None:
    """W5: an upgrade refused with 400, 401, 403, 404 is permanent; W3: it raises at once and leaves `closed`."""
    server.will(refusal(status))
    manager = managers()
    with pytest.raises(kind) as caught:
        await manager.connect()
    assert (caught.value.status, len(server.requests), manager.state) == (status, 1, "closed")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_passing_refusal_is_tried_again(
    managers: Managers, server: Server, clock: ManualClock, status: int
) -> None:
    """W5: 429 and 5xx are retryable."""
    server.will(refusal(status))
    manager = managers()
    async with connecting(manager):
        await clock.waits(1)
    assert manager.is_connected


@pytest.mark.parametrize("header", [{"Retry_After": "7"}, {"retry_after_ms": "7000"}])
async def test_the_next_attempt_waits_as_long_as_the_server_asks(
    managers: Managers, server: Server, clock: ManualClock, header: dict[str, str]
) -> None:
    """W5: with `Retry-After`."""
    server.will(refusal(429, **header))
    manager = managers()
    async with connecting(manager):
        await clock.waits(7)
    assert manager.is_connected


async def test_a_server_that_asks_for_an_hour_is_not_waited_for(managers: Managers, server: Server) -> None:
    """W5: the error says how long the server wants to be left alone."""
    server.will(refusal(503, Retry_After="3600"))
    with pytest.raises(RetriesExhausted) as caught:
        await managers().connect()
    assert caught.value.retry_after == 3600
    assert isinstance(caught.value.__cause__, Busy)


async def test_426_means_http(managers: Managers, server: Server) -> None:
    """W5: 426 means: use HTTP."""
    server.will(refusal(426, Upgrade="h2c"))
    with pytest.raises(HttpOnly):
        await managers().connect()
    assert len(server.requests) == 1


async def test_an_exhausted_quota_is_not_tried_again(managers: Managers, server: Server) -> None:
    server.will(refusal(429, json.dumps({"error": {"message": "no credit", "code": "insufficient_quota"}})))
    with pytest.raises(QuotaExhausted, match="no credit"):
        await managers().connect()


async def test_a_redirect_is_not_followed(managers: Managers, server: Server) -> None:
    """W5: the key goes nowhere else."""
    server.will(refusal(307, Location=server.url))
    with pytest.raises(NoSuchEndpoint, match="redirects"):
        await managers().connect()
    assert len(server.requests) == 1


async def test_a_server_that_knows_no_websocket_is_not_tried_again(managers: Managers, server: Server) -> None:
    server.will(refusal(200, "<html>hello</html>"))
    with pytest.raises(NoSuchEndpoint, match="plain HTTP"):
        await managers().connect()


async def test_a_refusal_that_repeats_the_key_does_not_pass_it_on(managers: Managers, server: Server) -> None:
    key = "a-key-that-looks-like-nothing"
    server.will(refusal(401, json.dumps({"error": {"message": f"Wrong key {key}."}})))
    with pytest.raises(AuthenticationFailed) as caught:
        await managers(api_key=key).connect()
    assert key not in str(caught.value)


async def test_an_error_of_a_socket_factory_reaches_connect(managers: Managers) -> None:
    async def factory(handshake: Handshake) -> Socket:
        raise LookupError("no socket today")

    manager = managers(socket_factory=factory)
    with pytest.raises(Unreachable, match="no socket today"):
        await manager.connect()
    assert manager.state == "closed"


async def test_the_key_is_not_logged_at_any_level(managers: Managers, caplog: pytest.LogCaptureFixture) -> None:
    """A25: the `websockets` library would write every header at level DEBUG."""
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "websockets"):
        manager = await managers.open()
        await manager.send(CREATE)
        await until(lambda: manager.previous_response_id is not None)
        await manager.close()
    ours = [record.getMessage() for record in caplog.records if "server" not in record.name]
    assert KEY not in "".join(ours)


async def test_connect_again_while_open_changes_nothing(managers: Managers, server: Server) -> None:
    """W7: `connect()` twice does not leak a socket."""
    manager = await managers.open()
    await manager.connect()
    assert (len(server.peers), server.open) == (1, 1)


async def test_connect_twice_at_once_opens_one_socket(managers: Managers, server: Server) -> None:
    """W7: the second caller waits for the same socket."""
    manager = managers()
    await asyncio.gather(manager.connect(), manager.connect())
    assert len(server.peers) == 1


async def test_connect_clears_the_last_close_and_restores_the_budget(
    managers: Managers, server: Server, clock: ManualClock
) -> None:
    """W3: `connect()` clears `last_close` and restores the retry budget."""
    server.will(closing_with(1008))
    manager = await managers.open(max_retries=1)
    await manager.send(CREATE)
    await until(lambda: manager.last_close is not None)
    server.will(refusal(503))
    async with connecting(manager):
        assert manager.last_close is None
        await clock.waits(1)
    assert manager.is_connected


async def test_connect_while_open_clears_the_close_before(
    managers: Managers, server: Server, clock: ManualClock
) -> None:
    """W3: `connect()` clears `last_close`."""
    server.will(closing_with(1012))
    manager = await managers.open()
    await manager.send(CREATE)
    await clock.waits(1)
    await until(lambda: manager.is_connected)
    await manager.connect()
    assert manager.last_close is None


async def test_a_cancelled_connect_leaves_nothing_running(managers: Managers) -> None:
    """W3: nothing runs on."""
    manager = managers(url="ws://127.0.0.1:1")
    async with connecting(manager) as task:
        await until(lambda: bool(managers.clock.timers))
        task.cancel()
    assert (manager.state, managers.clock.timers) == ("closed", [])


async def test_a_cancelled_connect_does_not_end_that_of_another(managers: Managers) -> None:
    manager = managers()
    async with connecting(manager) as first:
        second = asyncio.create_task(manager.connect())
        await asyncio.sleep(0)
        first.cancel()
        await second
    assert manager.is_connected


# --- closing ------------------------------------------------------------------------------------------------------


async def test_close_says_client_closed(managers: Managers, server: Server) -> None:
    """W6: closes with 1000 `Client closed`."""
    manager = await managers.open()
    peer = await server.peer()
    await manager.close()
    await peer.gone()
    assert (peer.connection.close_code, peer.connection.close_reason) == (1000, "Client closed")
    assert (manager.state, manager.last_close) == ("closed", Close(1000, "Client closed"))


async def test_close_is_idempotent(managers: Managers) -> None:
    """W6: idempotent, also at the same time."""
    manager = await managers.open()
    journal = Journal(manager)
    await asyncio.gather(manager.close(), manager.close())
    await manager.close()
    assert journal.entries == [("close", 1000, "Client closed")]


async def test_close_before_connect_is_final(managers: Managers) -> None:
    """W6: safe before connect."""
    manager = managers()
    await manager.close()
    assert manager.state == "closed"


async def test_close_while_connecting_fails_the_connect_that_waits(managers: Managers) -> None:
    """W6: while connecting the waiting connect fails cleanly."""
    manager = managers(url="ws://127.0.0.1:1")
    async with connecting(manager) as task:
        await until(lambda: bool(managers.clock.timers))
        await manager.close()
    with pytest.raises(ClosedByClient):
        task.result()
    assert (manager.state, managers.clock.timers) == ("closed", [])


async def test_close_during_the_handshake_fails_the_connect_that_waits(managers: Managers, leak_free: None) -> None:
    """W6: the same in the middle of a handshake; the socket is gone."""
    async with mute_server() as (url, reached):
        manager = managers(url=url)
        async with connecting(manager) as task:
            await until(lambda: bool(reached))
            await manager.close()
    with pytest.raises(ClosedByClient):
        task.result()


async def test_close_during_a_response_loses_the_turn(managers: Managers, server: Server) -> None:
    """W6: safe while a response is under way; W13: the turn failed, and the manager says so."""

    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.created("r1")
        await peer.gone()

    server.will(script)
    manager = await managers.open()
    journal = Journal(manager)
    await manager.send(CREATE)
    await journal.has("response.created")
    await manager.close()
    (error,) = journal.errors
    assert isinstance(error, TurnLost)
    assert error.response_id == "r1"


async def test_there_is_no_reconnect_after_close(managers: Managers, server: Server, clock: ManualClock) -> None:
    """W6: no reconnect afterwards."""
    manager = await managers.open()
    await manager.close()
    assert (clock.timers, server.open) == ([], 0)


async def test_close_ends_a_reconnect(managers: Managers, server: Server, clock: ManualClock) -> None:
    """W6: final, at any time."""
    server.will(closing_with(1012))
    manager = await managers.open()
    await manager.send(CREATE)
    await until(lambda: bool(clock.timers))
    await manager.close()
    assert (manager.state, clock.timers) == ("closed", [])


async def test_close_does_not_wait_for_a_server_that_does_not_answer(managers: Managers, server: Server) -> None:
    """W6: safe with a half-open peer."""
    manager = await managers.open(close_timeout=0.05)
    peer = await server.peer()
    peer.connection.transport.pause_reading()
    await manager.close()
    assert manager.state == "closed"


async def test_a_cancelled_close_hangs_up(managers: Managers, server: Server) -> None:
    """W6: nothing is left even if nobody waits for the end."""
    manager = await managers.open(close_timeout=30)
    (await server.peer()).connection.transport.pause_reading()
    closing = asyncio.create_task(manager.close())
    await until(lambda: manager.state is ConnectionState.CLOSED)
    closing.cancel()
    await until(lambda: manager.last_close is not None)
    assert closing.cancelled()


async def test_an_explicit_connect_opens_afresh_after_close(managers: Managers) -> None:
    """W6: an explicit later `connect()` opens afresh."""
    manager = await managers.open()
    await manager.close()
    await manager.connect()
    assert manager.is_connected


async def test_leaving_the_context_closes(managers: Managers) -> None:
    async with managers() as manager:
        assert manager.is_connected
    assert manager.state == "closed"


class ClingingSocket:
    """A real socket that goes on receiving whatever its owner does to end it."""

    def __init__(self, socket: LibrarySocket) -> None:
        self._socket = socket
        self.is_open = True
        self.receive = socket.receive
        self.send = socket.send

    async def close(self, code: int, reason: str) -> None:  # noqa: ARG002 - as `Socket` has it
        await asyncio.Event().wait()

    def abort(self) -> None:
        """Not yet."""

    def really_abort(self) -> None:
        self._socket.abort()


async def test_a_superseded_socket_does_not_touch_the_state(managers: Managers, server: Server) -> None:
    """W7: events from a superseded socket never touch the state."""
    clinging: list[ClingingSocket] = []

    async def factory(handshake: Handshake) -> Socket:
        opened = await open_socket(handshake)
        if clinging:
            return opened
        clinging.append(ClingingSocket(opened))
        return clinging[0]

    manager = await managers.open(socket_factory=factory)
    journal = Journal(manager)
    closing = asyncio.create_task(manager.close())
    await until(lambda: manager.state is ConnectionState.CLOSED)
    await manager.connect()
    await server.peers[0].completed("r_old", store=True)
    await (await server.peers[0].connection.ping())
    clinging[0].really_abort()
    closing.cancel()
    await until(lambda: any(entry[:2] == ("close", 1006) for entry in journal.entries))
    assert manager.previous_response_id is None
    assert ("response.completed",) not in journal.entries
    assert (manager.state, manager.last_close) == ("open", None)


# --- reconnecting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1012, 1013])
async def test_a_passing_close_is_followed_by_a_new_connection(
    managers: Managers, server: Server, clock: ManualClock, code: int
) -> None:
    """W4: reconnect on 1001, 1005, 1006, 1011, 1012, 1013; W2: reconnecting meanwhile, `last_close` tells why."""
    server.will(closing_with(code))
    manager = await managers.open()
    await manager.send(CREATE)
    await until(lambda: manager.state is ConnectionState.RECONNECTING)
    assert manager.last_close is not None
    assert (manager.last_close.code, manager.last_close.retryable) == (code, True)
    await clock.waits(1)
    await until(lambda: manager.is_connected)


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4000])
async def test_a_final_close_is_not_followed_by_a_new_connection(
    managers: Managers, server: Server, clock: ManualClock, code: int
) -> None:
    """W4: no other code is retried."""
    server.will(closing_with(code, "why"))
    manager = await managers.open()
    journal = Journal(manager)
    await manager.send(CREATE)
    await journal.has("close", code, "why")
    assert (manager.state, manager.last_close) == ("closed", Close(code, "why"))
    assert clock.timers == []


async def test_reconnecting_gives_up_after_the_last_attempt_and_says_so(
    managers: Managers, server: Server, clock: ManualClock
) -> None:
    """W4: at most 5 attempts after 1, 2, 4, 8, 16 s; exhaustion is an error that says so."""
    server.will(closing_with(1011), *[refusal(503)] * 5)
    manager = await managers.open()
    journal = Journal(manager)
    await manager.send(CREATE)
    for seconds in (1, 2, 4, 8, 16):
        await clock.waits(seconds)
    await until(lambda: manager.state is ConnectionState.CLOSED)
    assert len(server.requests) == 6
    assert isinstance(journal.errors[-1], RetriesExhausted)
    assert "5 retries" in str(journal.errors[-1])


async def test_a_successful_reconnect_restores_the_budget(
    managers: Managers, server: Server, clock: ManualClock
) -> None:
    """W4: a successful reconnect restores the budget."""
    server.will(closing_with(1012), refusal(503), closing_with(1012))
    manager = await managers.open(max_retries=2)
    await manager.send(CREATE)
    await clock.waits(1)
    await clock.waits(2)
    await until(lambda: manager.is_connected)
    await manager.send(CREATE)
    await clock.waits(1)
    await until(lambda: manager.is_connected)


async def test_a_permanent_refusal_ends_reconnecting(managers: Managers, server: Server, clock: ManualClock) -> None:
    """W5: also on reconnecting."""
    server.will(closing_with(1012), refusal(401, json.dumps({"error": {"message": "No key."}})))
    manager = await managers.open()
    journal = Journal(manager)
    await manager.send(CREATE)
    await clock.waits(1)
    await until(lambda: manager.state is ConnectionState.CLOSED)
    assert isinstance(journal.errors[-1], AuthenticationFailed)


async def test_connect_while_reconnecting_does_not_wait_for_the_delay(
    managers: Managers, server: Server, clock: ManualClock
) -> None:
    """W7: it supersedes the reconnect; no second socket comes of that."""
    server.will(closing_with(1012))
    manager = await managers.open()
    await manager.send(CREATE)
    await until(lambda: bool(clock.timers))
    await manager.connect()
    assert (manager.is_connected, clock.timers, server.open) == (True, [], 1)


async def test_open_and_close_are_told_for_every_connection(
    managers: Managers, server: Server, clock: ManualClock
) -> None:
    """W9: subscriptions open and close(code, reason)."""
    server.will(closing_with(1012, "restart"))
    manager = managers()
    journal = Journal(manager)
    await manager.connect()
    await manager.send(CREATE)
    await clock.waits(1)
    await until(lambda: manager.is_connected)
    await manager.close()
    told = [entry for entry in journal.entries if entry[0] in ("open", "close")]
    assert told == [("open",), ("close", 1012, "restart"), ("open",), ("close", 1000, "Client closed")]


async def test_a_server_that_says_goodbye_and_stays_is_left(managers: Managers, server: Server) -> None:
    """W4: a close frame ends the connection even if the server does not hang up."""

    async def script(peer: Peer) -> None:
        await peer.hear()
        peer.connection.transport.write(Frame(Opcode.CLOSE, b"\x03\xf0").serialize(mask=False))
        peer.connection.transport.pause_reading()
        await peer.gone()

    server.will(script)
    manager = await managers.open(close_timeout=0.05)
    await manager.send(CREATE)
    await until(lambda: manager.state is ConnectionState.CLOSED)
    assert manager.last_close == Close(1008)


async def test_a_peer_that_does_not_answer_pings_is_left(managers: Managers, server: Server) -> None:
    """W24: client pings notice a half-open peer."""
    manager = await managers.open(ping_interval=0.02, ping_timeout=0.02, close_timeout=0.02)
    (await server.peer()).connection.transport.pause_reading()
    await until(lambda: manager.last_close is not None)
    assert manager.last_close == Close(1011, "keepalive ping timeout")
    assert manager.state == "reconnecting"


async def test_pings_are_answered_while_nobody_listens(managers: Managers, server: Server) -> None:
    """W24: the reader always runs, however many events nobody asked for."""
    manager = await managers.open()
    peer = await server.peer()
    for _ in range(200):
        await peer.text()
    await (await peer.connection.ping())
    assert manager.is_connected


# --- sending ------------------------------------------------------------------------------------------------------


async def test_send_sends_exactly_one_text_frame(managers: Managers, server: Server) -> None:
    """W8: exactly one JSON text frame."""
    messages: list[Any] = []

    async def script(peer: Peer) -> None:
        messages.extend([await peer.connection.recv(), await peer.connection.recv()])

    server.will(script)
    manager = await managers.open()
    await manager.send(CREATE)
    await manager.send(ResponseCreate(model="m", input="second"))
    await until(lambda: len(messages) == 2)
    assert [json.loads(text)["input"] for text in messages] == ["hello", "second"]
    assert [type(text) for text in messages] == [str, str]


async def test_send_before_open_says_so_and_the_state(managers: Managers) -> None:
    """W8: before open it raises "cannot send" with the state."""
    with pytest.raises(NotConnected, match=r"(?i)cannot send response\.create: the connection is idle"):
        await managers().send(CREATE)


async def test_send_after_close_says_so_and_the_state(managers: Managers) -> None:
    """W8: likewise when closed."""
    manager = await managers.open()
    await manager.close()
    with pytest.raises(NotConnected, match="is closed"):
        await manager.send(CREATE)


async def test_send_while_reconnecting_sends_nothing_later(
    managers: Managers, server: Server, clock: ManualClock
) -> None:
    """W8: nothing is queued for a later connection."""
    server.will(closing_with(1012))
    manager = await managers.open()
    await manager.send(CREATE)
    await until(lambda: manager.state is ConnectionState.RECONNECTING)
    with pytest.raises(NotConnected, match="reconnecting"):
        await manager.send(CREATE)
    await clock.waits(1)
    await until(lambda: manager.is_connected)
    await manager.send(ResponseCreate(model="m", input="only this"))
    await until(lambda: bool(server.peers[1].heard))
    assert [event["input"] for event in server.peers[1].heard] == ["only this"]


async def test_a_large_event_is_sent_whole(managers: Managers, server: Server) -> None:
    manager = await managers.open()
    await manager.send(ResponseCreate(model="m", input="x" * 5_000_000))
    peer = await server.peer()
    await until(lambda: bool(peer.heard))
    assert len(peer.heard[0]["input"]) == 5_000_000


async def test_a_connection_that_breaks_while_sending_has_not_sent_the_turn(managers: Managers, server: Server) -> None:
    """W13: a frame without its end is no request."""
    manager = await managers.open()
    peer = await server.peer()
    peer.connection.transport.pause_reading()
    sending = asyncio.create_task(manager.send(ResponseCreate(model="m", input="x" * 50_000_000)))
    await asyncio.sleep(0)
    peer.abort()
    with pytest.raises(NotSent):
        await sending


async def test_warm_up_sends_tools_and_instructions_with_generate_off(managers: Managers, server: Server) -> None:
    """W12: `response.create` with `generate: false`, empty input, and what was given."""
    manager = await managers.open()
    tool = FunctionTool(name="f", parameters={"type": "object"})
    await manager.warm_up("m", tools=[tool], instructions="Be brief.", metadata={"a": "b"})
    peer = await server.peer()
    await until(lambda: bool(peer.heard))
    assert peer.heard == [
        {
            "type": "response.create",
            "model": "m",
            "input": [],
            "generate": False,
            "tools": [tool.model_dump()],
            "instructions": "Be brief.",
            "metadata": {"a": "b"},
        }
    ]


async def test_warm_up_omits_what_was_not_given(managers: Managers, server: Server) -> None:
    """W12: tools, instructions and metadata that were not given are omitted."""
    manager = await managers.open()
    await manager.warm_up("m")
    peer = await server.peer()
    await until(lambda: bool(peer.heard))
    assert peer.heard[0].keys() == {"type", "model", "input", "generate"}


async def test_a_warm_up_can_be_continued_from(managers: Managers) -> None:
    """W12: its id can be chained from."""
    manager = await managers.open()
    await manager.warm_up("m")
    await until(lambda: manager.previous_response_id is not None)


# --- receiving ----------------------------------------------------------------------------------------------------


async def test_a_dialogue_of_two_turns(managers: Managers, server: Server) -> None:
    """W18: the follow-up carries the id and only the new items."""
    manager = await managers.open()
    journal = Journal(manager)
    await manager.send(CREATE)
    await journal.has("response.completed")
    output = FunctionCallOutput(call_id="c", output="42")
    await manager.send(ResponseCreate(model="m", input=[output], previous_response_id=manager.previous_response_id))
    await until(lambda: len(journal.entries) == 6)
    kinds = ["response.created", "response.output_text.delta", "response.completed"]
    assert [entry[0] for entry in journal.entries] == kinds * 2
    first, second = (await server.peer()).heard
    assert (first["input"], "previous_response_id" in first) == ("hello", False)
    assert second["input"] == [{"type": "function_call_output", "call_id": "c", "output": "42"}]
    assert second["previous_response_id"].startswith("resp_")


async def test_an_unstored_response_is_forgotten_when_the_connection_is_lost(
    managers: Managers, server: Server
) -> None:
    """W11: forgotten when the connection that cached it is gone and `store` is false."""
    manager = await managers.open()
    await manager.send(CREATE.model_copy(update={"store": False}))
    await until(lambda: manager.previous_response_id is not None)
    server.peers[0].abort()
    await until(lambda: not manager.is_connected)
    assert manager.previous_response_id is None


async def test_a_stored_response_survives_the_connection(managers: Managers, server: Server) -> None:
    """W11: kept where `store` is true."""
    manager = await managers.open()
    await manager.send(CREATE)
    await until(lambda: manager.previous_response_id is not None)
    server.peers[0].abort()
    await until(lambda: not manager.is_connected)
    assert manager.previous_response_id is not None


async def say(managers: Managers, *messages: Any) -> tuple[ResponsesWebSocket, Journal]:
    """A manager to which the server has said this."""
    manager = await managers.open()
    journal = Journal(manager)
    peer = await managers.server.peer()
    for message in messages:
        await peer.connection.send(message)
    await peer.completed("last")
    await journal.has("response.completed")
    return manager, journal


async def test_binary_and_fragmented_messages_are_events(managers: Managers) -> None:
    """W10: text, binary, fragmented."""
    event = json.dumps({"type": "x"})
    _, journal = await say(managers, event, event.encode(), [event[:3], event[3:9], event[9:]])
    assert journal.entries[:3] == [("x",)] * 3


@pytest.mark.parametrize("message", ["{oops", "[1]", '{"type": 7}', b"\xff\xff"])
async def test_an_unreadable_message_is_an_error_and_the_connection_lives_on(
    managers: Managers, message: str | bytes
) -> None:
    """W10: invalid JSON and a missing type are errors; the connection lives on."""
    manager, journal = await say(managers, message)
    assert [type(error) for error in journal.errors] == [InvalidFrame]
    assert manager.is_connected


async def test_a_message_over_a_mebibyte_is_received(managers: Managers) -> None:
    """W10: messages over 1 MiB are received."""
    texts: list[Event] = []
    manager = await managers.open()
    manager.on_message(texts.append)
    await (await managers.server.peer()).text("x" * 3 * 2**20)
    await until(lambda: bool(texts))
    assert len(getattr(texts[0], "delta", "")) == 3 * 2**20


async def test_a_message_beyond_the_limit_ends_the_connection_for_good(managers: Managers) -> None:
    manager = await managers.open(max_message_bytes=1000)
    await (await managers.server.peer()).text("x" * 1001)
    await until(lambda: manager.state is ConnectionState.CLOSED)
    assert manager.last_close is not None
    assert manager.last_close.code == 1009


async def test_compression_can_be_switched_on(managers: Managers, server: Server) -> None:
    await managers.open()
    await managers.open(compression=True)
    assert ["Sec-WebSocket-Extensions" in request.headers for request in server.requests] == [False, True]


# --- subscribers --------------------------------------------------------------------------------------------------


async def test_subscribers_are_called_in_order_until_they_unsubscribe(managers: Managers) -> None:
    """W9: many subscribers, in order, each with its unsubscribe."""
    manager = await managers.open()
    calls: list[str] = []
    manager.on_message(lambda _: calls.append("a"))
    unsubscribe = manager.on_message(lambda _: calls.append("b"))
    manager.on_message(lambda _: calls.append("c"))
    peer = await managers.server.peer()
    await peer.text()
    await until(lambda: len(calls) == 3)
    unsubscribe()
    unsubscribe()
    await peer.text()
    await until(lambda: len(calls) == 5)
    assert calls == ["a", "b", "c", "a", "c"]


async def test_one_function_can_subscribe_twice(managers: Managers) -> None:
    """W9: each subscription has its own unsubscribe."""
    manager = await managers.open()
    events: list[Event] = []
    manager.on_message(events.append)
    manager.on_message(events.append)()
    await (await managers.server.peer()).text()
    await until(lambda: bool(events))
    assert len(events) == 1


async def test_a_subscriber_may_unsubscribe_one_that_comes_after_it(managers: Managers) -> None:
    """W9: who has unsubscribed is not called any more."""
    manager = await managers.open()
    calls: list[str] = []
    manager.on_message(lambda _: unsubscribe())
    unsubscribe = manager.on_message(lambda _: calls.append("late"))
    manager.on_message(lambda _: calls.append("end"))
    await (await managers.server.peer()).text()
    await until(lambda: bool(calls))
    assert calls == ["end"]


async def test_a_subscriber_that_raises_stops_nobody(managers: Managers, caplog: pytest.LogCaptureFixture) -> None:
    """W9: one that raises neither stops the others nor the connection, and it is logged."""
    manager = await managers.open()
    calls: list[Event] = []

    def fail(event: Event) -> None:
        raise RuntimeError("a bug of the subscriber")

    manager.on_message(fail)
    manager.on_message(calls.append)
    peer = await managers.server.peer()
    await peer.text()
    await peer.text()
    await until(lambda: len(calls) == 2)
    assert manager.is_connected
    assert "a bug of the subscriber" in caplog.text


async def test_a_coroutine_function_cannot_subscribe(managers: Managers) -> None:
    async def nobody_awaits(event: Event) -> None: ...

    with pytest.raises(TypeError, match="coroutine"):
        managers().on_message(nobody_awaits)


async def test_an_error_without_a_subscriber_is_logged(managers: Managers, caplog: pytest.LogCaptureFixture) -> None:
    """W9: an error without a subscriber is logged, never raised."""
    manager = await managers.open()
    events: list[Event] = []
    manager.on_message(events.append)
    await (await managers.server.peer()).tell("{oops", {"type": "x"})
    await until(lambda: bool(events))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "{oops" in caplog.text


# --- capture ------------------------------------------------------------------------------------------------------


async def test_the_capture_hook_sees_a_conversation(managers: Managers, server: Server) -> None:
    """W17: open, frame, close with direction, kind and one flow id."""
    seen: list[CaptureRecord] = []
    server.will(answers)
    manager = await managers.open(capture=seen.append)
    await manager.send(CREATE)
    await until(lambda: len(seen) == 5)
    await manager.close()
    assert [(record.direction, record.kind) for record in seen] == [
        (Direction.LOCAL, CaptureKind.OPEN),
        (Direction.OUTBOUND, CaptureKind.FRAME),
        *[(Direction.INBOUND, CaptureKind.FRAME)] * 3,
        (Direction.LOCAL, CaptureKind.CLOSE),
    ]
    assert len({record.flow_id for record in seen}) == 1
    assert seen[-1].close_code == 1000


async def test_the_capture_hook_sees_one_flow_across_connections(
    managers: Managers, server: Server, clock: ManualClock
) -> None:
    """W17: one flow id per manager; another manager has another."""
    seen: list[CaptureRecord] = []
    server.will(closing_with(1012, "restart"))
    manager = await managers.open(capture=seen.append)
    await manager.send(CREATE)
    await clock.waits(1)
    await until(lambda: manager.is_connected)
    assert len({record.flow_id for record in seen}) == 1
    assert [(r.direction, r.close_code, r.error) for r in seen if r.kind == "close"] == [("inbound", 1012, "restart")]
    await managers.open(capture=seen.append)
    assert len({record.flow_id for record in seen}) == 2


async def test_the_capture_hook_sees_errors(managers: Managers, server: Server, clock: ManualClock) -> None:
    """W17: kind error, with its text: failed attempts and unreadable frames."""
    seen: list[CaptureRecord] = []
    server.will(refusal(503))
    manager = managers(capture=seen.append)
    async with connecting(manager):
        await clock.waits(1)
    await (await server.peer()).tell("{oops")
    await until(lambda: len(seen) == 4)
    assert [record.kind for record in seen] == ["error", "open", "error", "frame"]
    assert "503" in str(seen[0].error)


async def test_a_preview_is_at_most_8192_bytes_and_whole_characters(managers: Managers) -> None:
    """W17: a preview of at most 8192 bytes."""
    seen: list[CaptureRecord] = []
    await managers.open(capture=seen.append)
    await (await managers.server.peer()).tell("x" + "é" * 10_000)
    await until(lambda: len(seen) == 3)
    assert seen[2].preview is not None
    assert len(seen[2].preview.encode()) == PREVIEW_BYTES - 1
    assert seen[2].size == 20_001


async def test_the_capture_hook_never_sees_headers(managers: Managers, server: Server) -> None:
    """W17: never headers."""
    seen: list[CaptureRecord] = []
    server.will(refusal(401, json.dumps({"error": {"message": f"Wrong key {KEY}."}})))
    with pytest.raises(AuthenticationFailed):
        await managers.open(capture=seen.append)
    manager = await managers.open(capture=seen.append)
    await manager.send(CREATE)
    await until(lambda: len(seen) > 3)
    assert KEY not in repr(seen)


async def test_the_capture_hook_sees_no_key_that_a_server_repeats_in_its_goodbye(
    managers: Managers, server: Server
) -> None:
    """W17, A25."""
    seen: list[CaptureRecord] = []
    manager = await managers.open(capture=seen.append)
    await (await server.peer()).connection.close(1000, f"bad key {KEY}")
    await until(lambda: manager.state is ConnectionState.CLOSED)
    assert seen[-1].error == "bad key ***"


async def test_a_capture_hook_that_raises_stops_no_frame(managers: Managers, caplog: pytest.LogCaptureFixture) -> None:
    """W17: never blocks a frame."""

    def hook(record: CaptureRecord) -> None:
        raise RuntimeError("a bug of the hook")

    manager = await managers.open(capture=hook)
    await manager.send(CREATE)
    await until(lambda: manager.previous_response_id is not None)
    assert "a bug of the hook" in caplog.text


async def test_no_frame_of_a_response_is_lost_when_the_server_closes_right_after(
    managers: Managers, server: Server
) -> None:
    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.created("r1")
        for _ in range(500):
            await peer.text()
        await peer.completed("r1", store=True)
        await peer.connection.close(1000)

    server.will(script)
    manager = await managers.open()
    journal = Journal(manager)
    await manager.send(CREATE)
    await journal.has("close", 1000, "")
    assert len(journal.entries) == 503
    assert manager.previous_response_id == "r1"
    assert journal.errors == []


async def test_silence_and_lifecycle_of_other_kinds_leave_the_id_alone(managers: Managers, server: Server) -> None:
    """W11: no other event sets the id."""
    server.will(silence)
    _, journal = await say(managers, json.dumps(lifecycle("failed", "bad")))
    assert [entry[0] for entry in journal.entries] == ["response.failed", "response.completed"]
