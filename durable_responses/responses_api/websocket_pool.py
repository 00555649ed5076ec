"""A pool of WebSockets for one response after the other: leases and turns.

    async with pool.lease(session, api_key=key) as lease:
        turn = lease.turn(request, deadline=60)
        async for event in turn:
            ...
        turn.response

A failure of a turn says by its class what was sent: NotProcessed, nothing, so connect again or use HTTP; OutcomeUnknown
(TurnLost, ServerFailed), everything, so read the response by `turn.response_id` before another create; any other
ResponsesError, the server has refused the request (ChainRejected: `lease.turn` with the full input goes over the same
socket). A turn is never sent a second time after it may have been taken.

A pool keeps `PooledSocket`s; a `Lease` has one at a time, and a `Turn` is one request on it and the events that answer.
What each needs of the others is handed to it when it is made.
"""

import asyncio
import hashlib
import random as random_module
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from durable_responses.responses_api.capture import CaptureHook, Tap
from durable_responses.responses_api.errors import InvalidFrame, LossCause, NotConnected
from durable_responses.responses_api.events import Event, EventType
from durable_responses.responses_api.handshake import DEFAULT_URL, ConnectOptions, Handshake, prepare
from durable_responses.responses_api.models import CreateRequest, Response
from durable_responses.responses_api.protocol import (
    Close,
    CloseCode,
    Continuation,
    Incoming,
    Outgoing,
    ResponseCreate,
    ResponseSteer,
    RetryBudget,
    TurnState,
)
from durable_responses.responses_api.websocket_connection import (
    LOOP_CLOCK,
    Clock,
    Connection,
    Socket,
    SocketFactory,
    Timer,
    dial,
    open_socket,
    within,
)

# One new connection is all that `websocket_connection_limit_reached` can call for.
MAX_RECONNECTS = 1

_TOO_LATE = "The turn's deadline passed before it was sent."


@dataclass(frozen=True)
class PoolKey:
    """What two leases must have in common to use one socket, one after the other. Holds no key, only its hash."""

    url: str
    key_hash: str
    session: str

    @classmethod
    def of(cls, url: str, api_key: SecretStr | None, session: str) -> Self:
        """The key of a session's sockets."""
        secret = api_key.get_secret_value() if api_key else ""
        return cls(url, hashlib.sha256(secret.encode()).hexdigest(), session)


@dataclass(frozen=True)
class PoolLimits:
    """How long sockets are kept, and how long a turn may be silent. Seconds."""

    idle: float = 300
    """A socket that nobody has leased for so long is closed."""
    age: float = 3300
    """A socket so old is not leased again: the provider closes it after 60 minutes."""
    stall: float = 300
    """A turn without an event for so long is lost."""


class WebSocketPool:
    """Sockets that are kept between leases. A socket belongs to one lease at a time.

    `socket_factory`, `capture`, `clock` and `random` as for `ResponsesWebSocket`; each connection has a flow id of its
    own. Close the pool, or use it as a context manager.
    """

    def __init__(
        self,
        options: ConnectOptions | None = None,
        *,
        limits: PoolLimits | None = None,
        socket_factory: SocketFactory = open_socket,
        capture: CaptureHook | None = None,
        clock: Clock = LOOP_CLOCK,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self.limits = limits or PoolLimits()
        self._options = options or ConnectOptions()
        self._factory = socket_factory
        self._capture = capture
        self._clock = clock
        self._random = random
        self._idle: dict[PoolKey, list[PooledSocket]] = {}
        self._leased: set[PooledSocket] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def idle(self) -> int:
        """How many sockets wait for a lease."""
        return sum(len(sockets) for sockets in self._idle.values())

    @property
    def leased(self) -> int:
        """How many sockets are in use."""
        return len(self._leased)

    def lease(self, session: str, *, api_key: SecretStr | str | None = None, url: str = DEFAULT_URL) -> "Lease":
        """A socket for `async with`: a kept one of the same URL, key and session, or a new one.

        Entering it raises NotProcessed or GiveUp as opening a socket does; nothing was sent then.
        """
        secret = SecretStr(api_key) if isinstance(api_key, str) else api_key
        key, prepared = PoolKey.of(url, secret, session), partial(prepare, url, secret, self._options)
        return Lease(lambda: self._take(key, prepared()), self._give_back, self._clock, self.limits.stall)

    async def close(self) -> None:
        """Close the sockets that are kept, abort those that are leased, and wait until nothing is left."""
        self._closed = True
        for socket in [socket for group in self._idle.values() for socket in group]:
            self._retire(socket)
        leased = list(self._leased)
        for socket in leased:
            socket.connection.abort()
        await asyncio.gather(*self._closing, *(socket.connection.wait_closed() for socket in leased))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # Handed to leases and sockets

    async def _take(self, key: PoolKey, handshake: Handshake) -> "PooledSocket":
        if self._closed:
            raise NotConnected("The pool is closed: nothing was sent.")
        socket = self._take_idle(key) or await self._open(key, handshake)
        self._leased.add(socket)
        return socket

    def _give_back(self, socket: "PooledSocket") -> None:
        self._leased.discard(socket)
        left = self._age_left(socket)
        if self._closed or not socket.is_reusable:
            socket.connection.abort()
        elif left <= 0:
            self._retire(socket)
        else:
            self._idle.setdefault(socket.key, []).append(socket)
            socket.idle_timer = self._clock.call_later(min(self.limits.idle, left), partial(self._retire, socket))

    def _forget(self, socket: "PooledSocket") -> None:
        self._leased.discard(socket)
        self._remove_idle(socket)

    # Its own

    def _age_left(self, socket: "PooledSocket") -> float:
        return self.limits.age - (self._clock.time() - socket.opened_at)

    def _take_idle(self, key: PoolKey) -> "PooledSocket | None":
        while group := self._idle.get(key):
            # The newest first: what it completed last is the latest, and the others can idle out.
            socket = group[-1]
            self._remove_idle(socket)
            if socket.is_reusable and self._age_left(socket) > 0:
                return socket
            self._retire(socket)
        return None

    async def _open(self, key: PoolKey, handshake: Handshake) -> "PooledSocket":
        options = self._options
        budget = RetryBudget(options.max_retries, options.retry_delays, options.max_retry_after, self._random)
        tap = Tap(self._capture)
        socket = await dial(handshake, self._factory, budget, self._clock, tap)
        if self._closed:
            socket.abort()
            raise NotConnected("The pool was closed while the WebSocket was being opened: nothing was sent.")
        return PooledSocket(key, socket, tap, self._clock.time(), self._forget)

    def _remove_idle(self, socket: "PooledSocket") -> None:
        if socket.idle_timer is not None:
            socket.idle_timer.cancel()
            socket.idle_timer = None
        group = self._idle.get(socket.key, [])
        if socket in group:
            group.remove(socket)
        if not group:
            self._idle.pop(socket.key, None)

    def _retire(self, socket: "PooledSocket") -> None:
        self._remove_idle(socket)
        closing = asyncio.create_task(socket.connection.close(CloseCode.NORMAL_CLOSURE, "Client closed"))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class PooledSocket:
    """One socket of a pool: its connection, what can be continued on it, and the turn that it carries or carried last.

    `opened_at` is in seconds of the pool's clock. `on_gone` is told once, when the connection is gone.
    """

    def __init__(
        self, key: PoolKey, socket: Socket, tap: Tap, opened_at: float, on_gone: Callable[["PooledSocket"], None]
    ) -> None:
        self.key = key
        self.flow_id = tap.flow_id
        self.opened_at = opened_at
        self.continuation = Continuation()
        self.turn: Turn | None = None
        self.idle_timer: Timer | None = None
        self.connection = Connection(socket, self, tap)
        self._on_gone = on_gone

    @property
    def is_reusable(self) -> bool:
        """Whether the next turn may use it."""
        return self.connection.is_open and self.connection.conversation.is_reusable

    def dispatch(self, turn: "Turn", request: ResponseCreate) -> Outgoing:
        """Register the request of a turn, which is written next, and make it the turn of this socket.

        Raises NotConnected, or ValueError if it cannot be written as JSON; nothing was sent then.
        """
        outgoing = self.connection.dispatch(request)
        # Out of reach before anything is sent: only this turn's own completion brings an id back.
        self.continuation.take()
        self.turn = turn
        return outgoing

    # What the connection tells (see `Listener`)

    def on_incoming(self, incoming: Incoming) -> None:
        """An event has arrived; only those of the turn count."""
        if self.turn is not None and incoming.turn is self.turn.state:
            self.continuation.receive(incoming)
            self.turn.receive(incoming.event)

    def on_invalid(self, error: InvalidFrame) -> None:
        """Nothing to be done: the connection lives on, and the capture hook has seen it."""

    def on_closed(self, close: Close, lost: list[TurnState]) -> None:  # noqa: ARG002 - as `Listener` has it
        """The connection is gone, and with it the turn."""
        self.continuation.connection_lost()
        self._on_gone(self)
        if self.turn is not None:
            self.turn.wake()


class Lease:
    """The use of one socket, for one turn after the other. Made by `WebSocketPool.lease`.

    Left in the middle of a turn, it hangs up: the socket is never used again, and the provider sees that nobody waits.
    """

    def __init__(
        self,
        take: Callable[[], Awaitable[PooledSocket]],
        give_back: Callable[[PooledSocket], None],
        clock: Clock,
        stall: float,
    ) -> None:
        self._take = take
        self._give_back = give_back
        self._clock = clock
        self._stall = stall
        self._socket: PooledSocket | None = None
        self._turn: Turn | None = None

    @property
    def previous_response_id(self) -> str | None:
        """The response that the socket last completed, to be continued from once. None after a turn that failed."""
        return self._socket.continuation.response_id if self._socket else None

    @property
    def flow_id(self) -> str | None:
        """Which socket it is, as in the capture; None when the lease has ended."""
        return self._socket.flow_id if self._socket else None

    def turn(self, request: CreateRequest, *, deadline: float | None = None) -> "Turn":
        """The turn of one request, to be iterated over; it is sent when its first event is asked for.

        `deadline` is in seconds from the first event asked for. Raises ValueError for `background`.
        """
        return Turn(ResponseCreate.of(request), self._socket_for, self._clock, self._stall, deadline)

    async def __aenter__(self) -> Self:
        self._socket = await self._take()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await self._leave(socket)

    async def _socket_for(self, turn: "Turn") -> PooledSocket:
        """The lease's socket, or a new one if it has died: nothing of the turn was sent over it."""
        if self._turn is not None and self._turn is not turn and self._turn.is_under_way:
            raise RuntimeError("A turn is under way on this lease: read it to its end first.")
        self._turn = turn
        if self._socket is None:
            raise RuntimeError("The lease has ended: take another.")
        if not self._socket.is_reusable:
            await self._leave(self._socket)
            self._socket = await self._take()
        return self._socket

    async def _leave(self, socket: PooledSocket) -> None:
        if socket.turn is not None:
            socket.turn.give_up(LossCause.ABANDONED)
            socket.turn = None
        self._give_back(socket)
        if not socket.connection.is_open:
            await socket.connection.wait_closed()


class Turn:
    """One request and the events that answer it: an asynchronous iterator, ending with the response's last event.

    A response that failed or is incomplete ends it like one that is complete: look at `response.status`.
    """

    def __init__(
        self,
        request: ResponseCreate,
        socket_for: Callable[["Turn"], Awaitable[PooledSocket]],
        clock: Clock,
        stall: float,
        deadline: float | None,
    ) -> None:
        self.state: TurnState | None = None
        """What the protocol knows of it; None until it is sent."""
        self._request = request
        self._socket_for = socket_for
        self._clock = clock
        self._stall = stall
        self._deadline = deadline
        self._deadline_at: float | None = None
        self._reconnects = 0
        self._connection: Connection | None = None
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._timers: dict[LossCause, Timer] = {}
        self._heard_at = 0.0

    @property
    def response_id(self) -> str | None:
        """The id of the response, from `response.created` on."""
        return self.state.response_id if self.state else None

    @property
    def response(self) -> Response | None:
        """The response as its last event gave it."""
        return self.state.response if self.state else None

    @property
    def is_under_way(self) -> bool:
        """Whether it was sent and is not over."""
        return self.state is not None and not self.state.is_over

    async def steer(self, input: str | list[Any]) -> None:  # noqa: A002 - the API's own name
        """Give the response more input while it is written. What becomes of it comes as events of the turn.

        Raises NotConnected if there is no response to steer; ConnectionLost if it may or may not have arrived.
        """
        if self._connection is None or not self.is_under_way or self.response_id is None:
            raise NotConnected("Cannot send response.steer: no response of this turn is under way.")
        steer = ResponseSteer(previous_response_id=self.response_id, input=input)
        await self._connection.write(self._connection.dispatch(steer))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self.state is None:
            if self._deadline is not None:
                self._deadline_at = self._clock.time() + self._deadline
            await self._send()
        while (event := await self._next_event()) is None:
            await self._go_on()
        return event

    async def _send(self) -> None:
        """Send the request over the lease's socket, watched. Raises NotConnected, TurnLost. Cancelled, hang up."""
        socket = await self._socket_in_time()
        outgoing = socket.dispatch(self, self._request)
        self._connection, self.state = socket.connection, outgoing.turn
        self._heard_at = self._clock.time()
        self._watch()
        if self._deadline_at is not None:
            left = self._deadline_at - self._clock.time()
            self._arm(LossCause.DEADLINE, left, partial(self.give_up, LossCause.DEADLINE))
        try:
            await self._connection.write(outgoing)
        except BaseException:
            self.give_up(LossCause.ABANDONED)
            raise

    async def _socket_in_time(self) -> PooledSocket:
        """The socket. Raises NotConnected if there is none before the deadline."""
        if self._deadline_at is None:
            return await self._socket_for(self)
        left = self._deadline_at - self._clock.time()
        if left <= 0:
            raise NotConnected(_TOO_LATE)
        try:
            return await within(self._clock, left, partial(self._socket_for, self))
        except TimeoutError:
            raise NotConnected(_TOO_LATE) from None

    async def _next_event(self) -> Event | None:
        """The next event, or None when the turn is over. Cancelled, hang up."""
        while not self._events:
            if not self.is_under_way:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                self.give_up(LossCause.ABANDONED)
                raise
        return self._events.popleft()

    async def _go_on(self) -> None:
        """Send the turn again where nothing was generated and that helps. Otherwise end it, with its failure or not."""
        assert self.state is not None
        failure = self.state.failure()
        if failure is None:
            raise StopAsyncIteration
        if not self.state.needs_new_connection or self._reconnects >= MAX_RECONNECTS:
            raise failure
        self._reconnects += 1
        await self._send()

    # Called by its socket, its lease and its timers

    def receive(self, event: Event) -> None:
        """An event of this turn has arrived. An error is not passed on but becomes the turn's failure."""
        self._heard_at = self._clock.time()
        if event.type != EventType.ERROR:
            self._events.append(event)
        self.wake()

    def give_up(self, cause: LossCause) -> None:
        """End the turn as lost, unless it is over, and hang up."""
        if self._connection is not None and self.state is not None and not self.state.is_over:
            self._connection.conversation.give_up(self.state, cause)
            self._connection.abort()
        self.wake()

    def wake(self) -> None:
        """Something has changed: look again."""
        if not self.is_under_way:
            for timer in self._timers.values():
                timer.cancel()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _watch(self) -> None:
        # One timer for the whole turn, set again when it fires: events come by the thousand.
        left = self._stall - (self._clock.time() - self._heard_at)
        if left <= 0:
            self.give_up(LossCause.STALLED)
        else:
            self._arm(LossCause.STALLED, left, self._watch)

    def _arm(self, cause: LossCause, seconds: float, callback: Callable[[], object]) -> None:
        self._timers[cause] = self._clock.call_later(max(0.0, seconds), callback)
