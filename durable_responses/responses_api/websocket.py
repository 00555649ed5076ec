"""A WebSocket to the Responses API that stays connected: it is opened, watched, reopened and closed for its user.

    manager = ResponsesWebSocket(api_key=key)
    await manager.connect()
    unsubscribe = manager.on_message(print)
    await manager.send(ResponseCreate(model=model, input="Say hello."))
    ...
    await manager.send(ResponseCreate(model=model, input="More.", previous_response_id=manager.previous_response_id))
    ...
    await manager.close()

It does not wait for responses: events come to the subscribers. For one response after the other, with deadlines and
failures that say whether anything was sent, see `websocket_pool.py`.
"""

import asyncio
import inspect
import logging
import random as random_module
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Generic, ParamSpec, Self

from pydantic import SecretStr

from durable_responses.responses_api.capture import CaptureHook, Tap
from durable_responses.responses_api.errors import (
    ClosedByClient,
    InvalidFrame,
    NotConnected,
    ResponsesError,
    Unreachable,
)
from durable_responses.responses_api.events import Event
from durable_responses.responses_api.handshake import DEFAULT_URL, ConnectOptions, Handshake, prepare
from durable_responses.responses_api.models import RequestTool
from durable_responses.responses_api.protocol import (
    ClientEvent,
    Close,
    CloseCode,
    Continuation,
    Incoming,
    ResponseCreate,
    RetryBudget,
    TurnState,
)
from durable_responses.responses_api.websocket_connection import (
    LOOP_CLOCK,
    Clock,
    Connection,
    Socket,
    SocketFactory,
    back_off,
    dial,
    open_socket,
)

_log = logging.getLogger(__name__)

CLIENT_CLOSED = Close(CloseCode.NORMAL_CLOSURE, "Client closed")


class ConnectionState(StrEnum):
    """The state of a `ResponsesWebSocket`."""

    IDLE = "idle"
    CONNECTING = "connecting"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


Arguments = ParamSpec("Arguments")


class Subscribers(Generic[Arguments]):
    """Callbacks for one kind of news, called in the order in which they subscribed."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._callbacks: dict[object, Callable[Arguments, object]] = {}

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, callback: Callable[Arguments, object]) -> Callable[[], None]:
        """Subscribe a plain function; the answer unsubscribes it. Raises TypeError for a coroutine function."""
        if inspect.iscoroutinefunction(callback):
            raise TypeError(f"The {self._kind} subscriber is a coroutine function, which nobody would await.")
        key = object()
        self._callbacks[key] = callback

        def unsubscribe() -> None:
            self._callbacks.pop(key, None)

        return unsubscribe

    def notify(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        """Call every subscriber. One that raises is logged, and stops nobody else."""
        for key, callback in list(self._callbacks.items()):
            if key not in self._callbacks:
                continue
            try:
                callback(*args, **kwargs)
            except Exception:
                _log.exception("A subscriber of %s failed.", self._kind)


class ResponsesWebSocket:
    """The connection manager.

    `url` is used as it is. `socket_factory` opens each socket, `capture` sees every frame, and `clock` and `random` (0
    to 1) time the retries: the defaults are the real ones. Subscribers are called on the event loop.
    """

    def __init__(
        self,
        api_key: SecretStr | str | None = None,
        *,
        url: str = DEFAULT_URL,
        options: ConnectOptions | None = None,
        socket_factory: SocketFactory = open_socket,
        capture: CaptureHook | None = None,
        clock: Clock = LOOP_CLOCK,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._url = url
        self._options = options or ConnectOptions()
        self._factory = socket_factory
        self._clock = clock
        self._random = random
        self._tap = Tap(capture)
        self._audience = _Audience()
        self._session: _Session | None = None
        self._closed = False

    # What it is doing

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        if self._session is not None:
            return self._session.state
        return ConnectionState.CLOSED if self._closed else ConnectionState.IDLE

    @property
    def is_connected(self) -> bool:
        """Whether an event can be sent now."""
        return self._session is not None and self._session.is_open

    @property
    def last_close(self) -> Close | None:
        """How the last connection ended, since `connect()` was called."""
        return self._session.last_close if self._session else None

    @property
    def previous_response_id(self) -> str | None:
        """The id of the last completed response, while it can be continued from."""
        return self._audience.continuation.response_id

    # Who wants to know

    def on_message(self, callback: Callable[[Event], object]) -> Callable[[], None]:
        """Call back with every event. The answer unsubscribes."""
        return self._audience.messages.add(callback)

    def on_open(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back whenever a connection is open, also after a reconnect. The answer unsubscribes."""
        return self._audience.opens.add(callback)

    def on_close(self, callback: Callable[[int, str], object]) -> Callable[[], None]:
        """Call back with code and reason whenever an open connection has ended. The answer unsubscribes."""
        return self._audience.closes.add(callback)

    def on_error(self, callback: Callable[[ResponsesError], object]) -> Callable[[], None]:
        """Call back with unreadable messages (InvalidFrame), turns lost with the connection (TurnLost) and the end of
        reconnecting (RetriesExhausted, or what made it pointless). The answer unsubscribes.
        """
        return self._audience.errors.add(callback)

    # What it can be told

    async def connect(self) -> None:
        """Open the connection and return when it is open; return at once if it is.

        While it is being opened, wait with the others; while it is reconnecting, start afresh. Raises Misconfigured
        before there is any socket; RetriesExhausted after the last attempt; what no retry can help at once;
        ClosedByClient if `close()` comes first. When the last one who waits is cancelled, the attempt ends too.
        """
        session = self._session
        if session is None or session.state not in (ConnectionState.CONNECTING, ConnectionState.OPEN):
            handshake = prepare(self._url, self._api_key, self._options)
            if session is not None:
                session.supersede()
            session = self._session = self._new_session(handshake)
        session.last_close = None
        await session.until_open()

    async def send(self, event: ClientEvent) -> None:
        """Send one event, as one text frame.

        Raises NotConnected ("Cannot send …") unless the connection is open, ValueError for what JSON cannot hold, and
        NotSent (a create) or NotConnected if the connection closes before its last byte is sent.
        """
        if self._session is None or not self._session.is_open:
            raise NotConnected(f"Cannot send {event.type}: the connection is {self.state}.")
        await self._session.send(event)

    async def warm_up(
        self,
        model: str,
        *,
        tools: list[RequestTool] | None = None,
        instructions: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Send tools and instructions ahead, with `generate: false`. Its id, which comes with `response.completed` as
        any other, can be continued from. Raises as `send` does.
        """
        await self.send(
            ResponseCreate(
                model=model, input=[], generate=False, tools=tools, instructions=instructions, metadata=metadata
            )
        )

    async def close(self) -> None:
        """Close for good, with 1000 `Client closed`, and wait until nothing is left. May be called at any time."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _new_session(self, handshake: Handshake) -> "_Session":
        options = self._options
        budget = RetryBudget(options.max_retries, options.retry_delays, options.max_retry_after, self._random)
        return _Session(handshake, self._factory, budget, self._clock, self._tap, self._audience)


class _Audience:
    """What outlives a session: the subscribers, and the response to continue from."""

    def __init__(self) -> None:
        self.messages = Subscribers[[Event]]("messages")
        self.opens = Subscribers[[]]("open")
        self.closes = Subscribers[[int, str]]("close")
        self.errors = Subscribers[[ResponsesError]]("errors")
        self.continuation = Continuation()

    def fail(self, error: ResponsesError) -> None:
        """Tell of an error; with nobody to listen, log it."""
        if self.errors:
            self.errors.notify(error)
        else:
            _log.error("%s", error)


class _Session:
    """One `connect()` and what follows from it, until the connection is closed for good. Never started again.

    A manager shows the state of its newest session only, so that a superseded one cannot touch it.
    """

    def __init__(
        self,
        handshake: Handshake,
        factory: SocketFactory,
        budget: RetryBudget,
        clock: Clock,
        tap: Tap,
        audience: _Audience,
    ) -> None:
        self.state = ConnectionState.CONNECTING
        self.last_close: Close | None = None
        self._handshake = handshake
        self._factory = factory
        self._budget = budget
        self._clock = clock
        self._tap = tap
        self._audience = audience
        self._superseded = False
        self._connection: Connection | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = 0
        self._task = asyncio.create_task(self._run(), name="responses-websocket")

    @property
    def is_open(self) -> bool:
        """Whether an event can be sent now."""
        return self.state is ConnectionState.OPEN and self._connection is not None and self._connection.is_open

    async def until_open(self) -> None:
        """Wait for the first connection. Cancelled, end the session, unless someone else waits too."""
        self._waiting += 1
        try:
            await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            if self._waiting == 1 and self.state is ConnectionState.CONNECTING:
                self._stop()
            raise
        finally:
            self._waiting -= 1

    async def send(self, event: ClientEvent) -> None:
        """Send one event over the open connection."""
        assert self._connection is not None
        await self._connection.write(self._connection.dispatch(event))

    async def close(self) -> None:
        """Close for good and wait until nothing is left."""
        self._end(ClosedByClient("The WebSocket was closed by `close()` before it was open."))
        if self._connection is not None and self._connection.is_open:
            await self._connection.close(CLIENT_CLOSED.code, CLIENT_CLOSED.reason)
        self._task.cancel()
        await asyncio.wait({self._task})
        if self._connection is not None:
            await self._connection.wait_closed()

    def supersede(self) -> None:
        """End at once, and pass on nothing that still arrives."""
        self._superseded = True
        self._stop()

    def _stop(self) -> None:
        self._end(ClosedByClient("The attempt to open the WebSocket was given up."))
        self._task.cancel()

    def _end(self, reason: ResponsesError) -> None:
        self.state = ConnectionState.CLOSED
        if not self._opened.done():
            self._opened.set_exception(reason)
            # Looked at, so that asyncio does not complain if nobody waits for it.
            self._opened.exception()

    # The story of a session

    async def _run(self) -> None:
        try:
            socket = await self._dial()
            while (close := await self._hold(socket)).retryable and self.state is not ConnectionState.CLOSED:
                lost = Unreachable(f"the connection was lost, close code {close.code} {close.reason}".rstrip())
                await back_off(self._budget, self._clock, lost)
                socket = await self._dial()
        except ResponsesError as error:
            self._fail(error)
        finally:
            self._end(ClosedByClient("The attempt to open the WebSocket was given up."))

    async def _dial(self) -> Socket:
        return await dial(self._handshake, self._factory, self._budget, self._clock, self._tap)

    async def _hold(self, socket: Socket) -> Close:
        self._budget.restore()
        self._connection = connection = Connection(socket, self, self._tap)
        self.state = ConnectionState.OPEN
        if not self._opened.done():
            self._opened.set_result(None)
        self._audience.opens.notify()
        try:
            await connection.wait_closed()
        finally:
            connection.abort()
        return connection.closed_with

    def _fail(self, error: ResponsesError) -> None:
        self._tap.failed(error)
        if self._opened.done():
            self.state = ConnectionState.CLOSED
            self._audience.fail(error)
        self._end(error)

    # What the connection tells (see `Listener`)

    def on_incoming(self, incoming: Incoming) -> None:
        """Pass an event on."""
        if not self._superseded:
            self._audience.continuation.receive(incoming)
            self._audience.messages.notify(incoming.event)

    def on_invalid(self, error: InvalidFrame) -> None:
        """Pass an unreadable message on."""
        self._audience.fail(error)

    def on_closed(self, close: Close, lost: list[TurnState]) -> None:
        """The connection is gone: say so, and which turns went with it."""
        self.last_close = close
        if self.state is not ConnectionState.CLOSED:
            self.state = ConnectionState.RECONNECTING if close.retryable else ConnectionState.CLOSED
        self._audience.continuation.connection_lost()
        self._audience.closes.notify(close.code, close.reason)
        for failure in filter(None, (turn.failure() for turn in lost)):
            self._audience.fail(failure)
