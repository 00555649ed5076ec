"""Kept WebSockets for those who want one response after the other: leases and turns.

    async with pool.lease(session, api_key=key) as lease:
        turn = lease.turn(request, deadline=60)
        async for event in turn:
            ...
        turn.response

A failure of a turn says by its class what was sent: NotProcessed, nothing, so connect again or use HTTP; OutcomeUnknown
(TurnLost, ServerFailed), everything, so read the response by `turn.response_id` before another create; any other
ResponsesError, the server has refused the request. A turn is never sent a second time after it may have been taken.
"""

import asyncio
import hashlib
import random as random_module
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import SecretStr

from durable_responses.responses_api.capture import CaptureHook, Tap
from durable_responses.responses_api.connection import Clock, Connection, SocketFactory, Timer, dial, open_socket
from durable_responses.responses_api.errors import InvalidFrame, LossCause, NotConnected, ResponsesError
from durable_responses.responses_api.events import Event, EventType
from durable_responses.responses_api.handshake import DEFAULT_URL, ConnectOptions, Handshake, prepare
from durable_responses.responses_api.models import CreateRequest, Response
from durable_responses.responses_api.protocol import (
    ClientEvent,
    Close,
    CloseCode,
    Continuation,
    Incoming,
    Recovery,
    ResponseCreate,
    ResponseSteer,
    RetryBudget,
    TurnPhase,
    TurnState,
    recovery_from,
)

Rebuild = Callable[[], Awaitable[CreateRequest]]
"""Makes the request with the full input, for a server that does not know the previous response."""

T = TypeVar("T")

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
        clock: Clock | None = None,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self.limits = limits or PoolLimits()
        self._options = options or ConnectOptions()
        self._factory = socket_factory
        self._capture = capture
        self._clock = clock
        self._random = random
        self._idle: dict[PoolKey, list[_Kept]] = {}
        self._leased: set[_Kept] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def idle(self) -> int:
        """How many sockets wait for a lease."""
        return sum(len(kept) for kept in self._idle.values())

    @property
    def leased(self) -> int:
        """How many sockets are in use."""
        return len(self._leased)

    def lease(self, session: str, *, api_key: SecretStr | str | None = None, url: str = DEFAULT_URL) -> "Lease":
        """A socket for `async with`: a kept one of the same URL, key and session, or a new one.

        Entering it raises NotProcessed or GiveUp as opening a socket does; nothing was sent then.
        """
        secret = SecretStr(api_key) if isinstance(api_key, str) else api_key
        return Lease(self, PoolKey.of(url, secret, session), partial(prepare, url, secret, self._options))

    async def close(self) -> None:
        """Close the sockets that are kept, abort those that are leased, and wait until nothing is left."""
        self._closed = True
        idle = [kept for group in self._idle.values() for kept in group]
        for kept in idle:
            self._retire(kept)
        leased = list(self._leased)
        for kept in leased:
            kept.connection.abort()
        await asyncio.gather(*self._closing, *(kept.connection.wait_closed() for kept in leased))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # For leases and their sockets

    def _now(self) -> float:
        return self._time().time()

    def _time(self) -> Clock:
        return self._clock or asyncio.get_running_loop()

    async def _acquire(self, key: PoolKey, handshake: Handshake) -> "_Kept":
        if self._closed:
            raise NotConnected("The pool is closed: nothing was sent.")
        return self._take_idle(key) or await self._open(key, handshake)

    def _release(self, kept: "_Kept") -> None:
        self._leased.discard(kept)
        if self._closed or not kept.is_reusable:
            kept.connection.abort()
        elif (left := self._age_left(kept)) <= 0:
            self._retire(kept)
        else:
            self._idle.setdefault(kept.key, []).append(kept)
            kept.timer = self._time().call_later(min(self.limits.idle, left), partial(self._retire, kept))

    def _forget(self, kept: "_Kept") -> None:
        self._leased.discard(kept)
        self._remove_idle(kept)

    def _age_left(self, kept: "_Kept") -> float:
        return self.limits.age - (self._now() - kept.opened_at)

    def _take_idle(self, key: PoolKey) -> "_Kept | None":
        while group := self._idle.get(key):
            # The newest first: what it completed last is the latest, and the others can idle out.
            kept = group[-1]
            self._remove_idle(kept)
            if kept.is_reusable and self._age_left(kept) > 0:
                self._leased.add(kept)
                return kept
            self._retire(kept)
        return None

    async def _open(self, key: PoolKey, handshake: Handshake) -> "_Kept":
        options = self._options
        budget = RetryBudget(options.max_retries, options.retry_delays, options.max_retry_after, self._random)
        tap = Tap(self._capture)
        socket = await dial(handshake, self._factory, budget, self._time(), tap)
        if self._closed:
            socket.abort()
            raise NotConnected("The pool was closed while the WebSocket was being opened: nothing was sent.")
        kept = _Kept(self, key)
        kept.connection = Connection(socket, kept, tap)
        kept.flow_id = tap.flow_id
        self._leased.add(kept)
        return kept

    def _remove_idle(self, kept: "_Kept") -> None:
        if kept.timer is not None:
            kept.timer.cancel()
            kept.timer = None
        group = self._idle.get(kept.key, [])
        if kept in group:
            group.remove(kept)
        if not group:
            self._idle.pop(kept.key, None)

    def _retire(self, kept: "_Kept") -> None:
        self._remove_idle(kept)
        closing = asyncio.create_task(kept.connection.close(CloseCode.NORMAL_CLOSURE, "Client closed"))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class _Kept:
    """A socket of a pool: its connection, what can be continued on it, and the turn that is under way on it."""

    connection: Connection
    flow_id: str

    def __init__(self, pool: WebSocketPool, key: PoolKey) -> None:
        self.key = key
        self.opened_at = pool._now()
        self.continuation = Continuation()
        self.exchange: _Exchange | None = None
        self.timer: Timer | None = None
        self._pool = pool

    @property
    def is_reusable(self) -> bool:
        return self.connection.is_open and self.connection.conversation.is_reusable

    # What the connection tells (see `Listener`)

    def on_incoming(self, incoming: Incoming) -> None:
        if self.exchange is not None and incoming.turn is self.exchange.state:
            self.continuation.receive(incoming)
            self.exchange.receive(incoming.event)

    def on_invalid(self, error: InvalidFrame) -> None:
        """Nothing to be done: the connection lives on, and the capture hook has seen it."""

    def on_closed(self, close: Close, lost: list[TurnState]) -> None:  # noqa: ARG002 - as `Listener` has it
        self.continuation.connection_lost()
        self._pool._forget(self)
        if self.exchange is not None:
            self.exchange.wake()


class Lease:
    """The use of one socket, for one turn after the other. Made by `WebSocketPool.lease`.

    Left in the middle of a turn, it hangs up: the socket is never used again, and the provider sees that nobody waits.
    """

    def __init__(self, pool: WebSocketPool, key: PoolKey, prepare: Callable[[], Handshake]) -> None:
        self._pool = pool
        self._key = key
        self._prepare = prepare
        self._kept: _Kept | None = None
        self._turn: Turn | None = None

    @property
    def previous_response_id(self) -> str | None:
        """The response that the socket last completed, to be continued from once. None after a turn that failed."""
        return self._kept.continuation.response_id if self._kept else None

    @property
    def flow_id(self) -> str | None:
        """Which socket it is, as in the capture; None when the lease has ended."""
        return self._kept.flow_id if self._kept else None

    def turn(self, request: CreateRequest, *, rebuild: Rebuild | None = None, deadline: float | None = None) -> "Turn":
        """The turn of one request, to be iterated over; it is sent when its first event is asked for.

        `rebuild` makes the full input if the server does not know the previous response; without it that is a failure
        (ChainRejected). `deadline` is in seconds from the first event asked for. Raises ValueError for `background`.
        """
        return Turn(self, ResponseCreate.of(request), rebuild, deadline)

    async def __aenter__(self) -> Self:
        self._kept = await self._pool._acquire(self._key, self._prepare())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await self._give_back(kept)

    async def _socket_for(self, turn: "Turn") -> _Kept:
        """The lease's socket, or a new one if it has died: nothing of the turn was sent over it."""
        if self._turn is not None and self._turn is not turn and self._turn.is_under_way:
            raise RuntimeError("A turn is under way on this lease: read it to its end first.")
        self._turn = turn
        if self._kept is None:
            raise RuntimeError("The lease has ended: take another.")
        if not self._kept.is_reusable:
            await self._give_back(self._kept)
            self._kept = await self._pool._acquire(self._key, self._prepare())
        return self._kept

    async def _give_back(self, kept: _Kept) -> None:
        if kept.exchange is not None:
            kept.exchange.end(LossCause.ABANDONED)
            kept.exchange = None
        self._pool._release(kept)
        if not kept.connection.is_open:
            await kept.connection.wait_closed()


class Turn:
    """One request and the events that answer it: an asynchronous iterator, ending with the response's last event.

    A response that failed or is incomplete ends it like one that is complete: look at `response.status`.
    """

    def __init__(self, lease: Lease, request: ResponseCreate, rebuild: Rebuild | None, deadline: float | None) -> None:
        self._lease = lease
        self._request = request
        self._rebuild = rebuild
        self._deadline = deadline
        self._deadline_at: float | None = None
        self._reconnects = 0
        self._exchange: _Exchange | None = None

    @property
    def response_id(self) -> str | None:
        """The id of the response, from `response.created` on."""
        return self._exchange.state.response_id if self._exchange else None

    @property
    def response(self) -> Response | None:
        """The response as its last event gave it."""
        return self._exchange.state.response if self._exchange else None

    @property
    def is_under_way(self) -> bool:
        """Whether it was sent and is not over."""
        return self._exchange is not None and not self._exchange.state.is_over

    async def steer(self, input: str | list[Any]) -> None:  # noqa: A002 - the API's own name
        """Give the response more input while it is written. What becomes of it comes as events of the turn.

        Raises NotConnected if there is no response to steer; ConnectionLost if it may or may not have arrived.
        """
        exchange = self._exchange
        if exchange is None or exchange.state.is_over or exchange.state.response_id is None:
            raise NotConnected("Cannot send response.steer: no response of this turn is under way.")
        await exchange.send(ResponseSteer(previous_response_id=exchange.state.response_id, input=input))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._exchange is None:
            if self._deadline is not None:
                self._deadline_at = self._lease._pool._now() + self._deadline
            await self._dispatch()
        while True:
            assert self._exchange is not None
            event = await self._exchange.next_event()
            if event is not None:
                return event
            state = self._exchange.state
            failure = state.failure()
            if failure is None:
                raise StopAsyncIteration
            if state.phase is not TurnPhase.REJECTED or state.error is None:
                raise failure
            await self._recover(recovery_from(state.error), failure)

    async def _dispatch(self) -> None:
        kept = await self._in_time(partial(self._lease._socket_for, self))
        # Out of reach before anything is sent: only this turn's own completion brings an id back.
        kept.continuation.take()
        self._exchange = _Exchange(kept, self._request, self._lease._pool)
        await self._exchange.start(self._deadline_at)

    async def _recover(self, recovery: Recovery, rejection: ResponsesError) -> None:
        """Send a rejected turn again where that helps; nothing was generated for it. Raises the rejection if not."""
        if recovery is Recovery.SEND_FULL_INPUT and self._rebuild is not None:
            rebuild, self._rebuild = self._rebuild, None
            try:
                self._request = ResponseCreate.of(await self._in_time(rebuild))
            except ResponsesError as error:
                # Not the error itself: its class tells of another request than this turn's.
                raise rejection from error
        elif recovery is Recovery.RECONNECT and self._reconnects < MAX_RECONNECTS:
            self._reconnects += 1
        else:
            raise rejection
        await self._dispatch()

    async def _in_time(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what comes before sending within the deadline. Raises NotConnected if it takes longer, or has passed."""
        if self._deadline_at is None:
            return await work()
        pool = self._lease._pool
        left = self._deadline_at - pool._now()
        if left <= 0:
            raise NotConnected(_TOO_LATE)
        try:
            async with asyncio.timeout(None) as limit:
                expire = partial(limit.reschedule, asyncio.get_running_loop().time())
                timer = pool._time().call_later(left, expire)
                try:
                    return await work()
                finally:
                    timer.cancel()
        except TimeoutError:
            if not limit.expired():
                raise
            raise NotConnected(_TOO_LATE) from None


class _Exchange:
    """One `response.create` on one socket, the events that answer it, and the timers that watch over it."""

    def __init__(self, kept: _Kept, request: ResponseCreate, pool: WebSocketPool) -> None:
        self._connection = kept.connection
        self._clock = pool._time()
        self._stall = pool.limits.stall
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._timers: dict[LossCause, Timer] = {}
        self._outgoing = self._connection.dispatch(request)
        assert self._outgoing.turn is not None
        self.state = self._outgoing.turn
        self._heard_at = self._clock.time()
        kept.exchange = self

    async def start(self, deadline_at: float | None) -> None:
        """Watch, and write the request. Raises TurnLost if the connection closes meanwhile. Cancelled, hang up."""
        self._watch()
        if deadline_at is not None:
            self._arm(LossCause.DEADLINE, deadline_at - self._clock.time(), partial(self.end, LossCause.DEADLINE))
        try:
            await self._connection.write(self._outgoing)
        except BaseException:
            self.end(LossCause.ABANDONED)
            raise

    async def send(self, event: ClientEvent) -> None:
        """Send another event about this turn."""
        await self._connection.write(self._connection.dispatch(event))

    async def next_event(self) -> Event | None:
        """The next event, or None when the turn is over. Cancelled, hang up."""
        while not self._events:
            if self.state.is_over:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                self.end(LossCause.ABANDONED)
                raise
        return self._events.popleft()

    def receive(self, event: Event) -> None:
        """An event of this turn has arrived. An error is not passed on but becomes the turn's failure."""
        self._heard_at = self._clock.time()
        if event.type != EventType.ERROR:
            self._events.append(event)
        self.wake()

    def end(self, cause: LossCause) -> None:
        """Give the turn up, if it is not over, and hang up."""
        if not self.state.is_over:
            self._connection.conversation.give_up(self.state, cause)
            self._connection.abort()
        self.wake()

    def wake(self) -> None:
        """Something has changed: look again."""
        if self.state.is_over:
            for timer in self._timers.values():
                timer.cancel()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _watch(self) -> None:
        # One timer for the whole turn, set again when it fires: events come by the thousand.
        left = self._stall - (self._clock.time() - self._heard_at)
        if left <= 0:
            self.end(LossCause.STALLED)
        else:
            self._arm(LossCause.STALLED, left, self._watch)

    def _arm(self, cause: LossCause, seconds: float, callback: Callable[[], object]) -> None:
        self._timers[cause] = self._clock.call_later(max(0.0, seconds), callback)
