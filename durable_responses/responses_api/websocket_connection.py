"""One WebSocket to the Responses API: opened once, read until it closes, never reopened.

`open_socket` is the only place that knows the `websockets` library; its exceptions end there, in one table. To
stay connected, use `websocket.py`; for one response after the other, use `websocket_pool.py`.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    ProxyError,
)
from websockets.frames import Frame, Opcode
from websockets.protocol import Event as LibraryEvent
from websockets.protocol import State

from durable_responses.responses_api.capture import Direction, Tap
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    Busy,
    ConnectionLost,
    HttpOnly,
    InvalidFrame,
    NoSuchEndpoint,
    NotConnected,
    NotProcessed,
    OutcomeUnknown,
    ResponsesError,
    RetriesExhausted,
    Unreachable,
    error_for_answer,
    read_error,
)
from durable_responses.responses_api.handshake import Handshake, check_host
from durable_responses.responses_api.protocol import (
    ClientEvent,
    Close,
    CloseCode,
    Conversation,
    Incoming,
    Outgoing,
    RetryBudget,
    TurnState,
    frames_in,
)
from durable_responses.responses_api.redaction import NO_SECRETS, Secrets
from durable_responses.responses_api.transport import UPLOAD_BUFFER

# At level DEBUG the library writes every header of the handshake, the key among them, and every frame.
_library_log = logging.getLogger(f"{__name__}.websockets")
_library_log.setLevel(logging.INFO)

T = TypeVar("T")

# --- time --------------------------------------------------------------------------------------------------------


class Timer(Protocol):
    """A call that will be made later."""

    def cancel(self) -> None:
        """Do not make it."""


class Clock(Protocol):
    """Time and timers. `LOOP_CLOCK` is the real one; tests have another."""

    def time(self) -> float:
        """Seconds, from an arbitrary point."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        """Call back after `delay` seconds."""


class _LoopClock:
    """The clock of whichever event loop is running."""

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)


LOOP_CLOCK: Clock = _LoopClock()


async def pause(clock: Clock, seconds: float) -> None:
    """Wait."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_later(seconds, partial(_wake, done))
    try:
        await done
    finally:
        timer.cancel()


async def within(clock: Clock, seconds: float, work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`. Raises TimeoutError, and cancels it, when it takes longer."""
    async with asyncio.timeout(None) as limit:
        timer = clock.call_later(max(0.0, seconds), partial(limit.reschedule, 0.0))
        try:
            return await work()
        finally:
            timer.cancel()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


# --- the socket --------------------------------------------------------------------------------------------------


class SocketClosed(Exception):
    """The socket is closed; nothing more comes and nothing can be sent.

    `unsent`: the last byte of the message was not sent, so that nobody can have taken it.
    """

    def __init__(self, close: Close, *, unsent: bool = False) -> None:
        super().__init__(close)
        self.close = close
        self.unsent = unsent


class Socket(Protocol):
    """An open WebSocket, as far as this package needs one."""

    @property
    def is_open(self) -> bool:
        """Whether a message may be sent."""

    async def send(self, text: str) -> None:
        """Send one text message. Raises SocketClosed: it may or may not have arrived, unless that says `unsent`."""

    async def receive(self) -> str | bytes:
        """The next message, text or binary. Raises SocketClosed."""

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye, wait for the answer within limits, hang up."""

    def abort(self) -> None:
        """Hang up at once."""


SocketFactory = Callable[[Handshake], Awaitable[Socket]]
"""Opens one socket. Raises NotProcessed where another attempt may help, and another ResponsesError where it will not.
Cancelled, it leaves nothing open."""


class LibrarySocket:
    """A connection of the `websockets` library."""

    def __init__(self, connection: ClientConnection, secrets: Secrets = NO_SECRETS) -> None:
        self._connection = connection
        self._secrets = secrets

    @property
    def is_open(self) -> bool:
        """Whether a message may be sent."""
        return self._connection.state is State.OPEN

    async def send(self, text: str) -> None:
        """Send one text message. Returns once the system has taken its last byte: nothing waits in a buffer of ours.

        So what the library raises is about a message that was not sent to its end.
        """
        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise SocketClosed(self._close_of(closed), unsent=True) from closed

    async def receive(self) -> str | bytes:
        """The next message, without our secrets. Fragments have been put together."""
        try:
            message = await self._connection.recv()
        except ConnectionClosed as closed:
            raise SocketClosed(self._close_of(closed)) from closed
        return self._secrets.mask(message)

    def _close_of(self, closed: ConnectionClosed) -> Close:
        close = _close_of(closed)
        return Close(close.code, self._secrets.mask_refusal(close.reason))

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye, wait for the answer at most `close_timeout`, hang up."""
        await self._connection.close(code, reason)

    def abort(self) -> None:
        """Hang up at once."""
        self._connection.transport.abort()


def _close_of(closed: ConnectionClosed) -> Close:
    # The side that closed first knows why: the other side's close frame only echoes it.
    first = closed.sent if closed.rcvd is None or closed.rcvd_then_sent is False else closed.rcvd
    if first is None:
        return Close(CloseCode.ABNORMAL_CLOSURE, str(closed.__cause__ or ""))
    return Close(first.code, first.reason)


class _Connection(ClientConnection):
    """Hangs up on a server that has said goodbye and then does not hang up, which the library would wait for."""

    def __init__(self, protocol: ClientProtocol, **options: object) -> None:
        super().__init__(protocol, **options)  # type: ignore[arg-type]  # passed on as the library gave them
        self._hang_up: asyncio.TimerHandle | None = None

    def process_event(self, event: LibraryEvent) -> None:
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode is Opcode.CLOSE and self.close_timeout is not None:
            self._hang_up = self.loop.call_later(self.close_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
        super().connection_lost(exc)


class _Connect(connect):
    """Follows no redirect, which would carry the key elsewhere, and looks at the address before it sends the key."""

    def __init__(self, handshake: Handshake, **options: object) -> None:
        super().__init__(handshake.url, **options)  # type: ignore[arg-type]  # the options of `open_socket`
        self._handshake = handshake

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc

    async def open_tcp_connection(self) -> ClientConnection:
        connection = await super().open_tcp_connection()
        peer = connection.remote_address
        # Behind a proxy the peer is the proxy; without a peer the connection is gone already.
        if self._handshake.proxy is None and peer is not None:
            try:
                check_host(peer[0], secure=self.ws_uri.secure, overrides=self._handshake.options.overrides)
            except ResponsesError:
                connection.transport.abort()
                raise
        return connection


async def open_socket(handshake: Handshake) -> LibrarySocket:
    """Open one WebSocket: TCP, proxy, TLS, upgrade. One attempt, within `handshake_timeout`.

    Raises NotProcessed (Unreachable, Busy) where another attempt may help; AuthenticationFailed, BadRequest,
    NoSuchEndpoint, HttpOnly or Misconfigured where it will not.
    """
    options = handshake.options
    # `ssl` must not be there at all for `ws:`, nor `proxy_ssl` without an `https:` proxy.
    tls = {"ssl": handshake.tls, "proxy_ssl": handshake.proxy_tls}
    names = {"server_hostname": handshake.server_name, "proxy_server_hostname": handshake.proxy_server_name}
    try:
        connection = await _Connect(
            handshake,
            additional_headers=handshake.headers,
            user_agent_header=None,
            proxy=handshake.proxy,
            compression="deflate" if options.compression else None,
            open_timeout=options.handshake_timeout,
            close_timeout=options.close_timeout,
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            max_size=options.max_message_bytes,
            write_limit=0,
            logger=_library_log,
            create_connection=_Connection,
            **{name: value for name, value in (tls | names).items() if value is not None},
        )
    except (OSError, InvalidHandshake) as failure:
        raise error_for_handshake(failure, handshake) from failure
    # As for uploads over HTTP: the system takes little in advance, lest a message look sent long before it is.
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UPLOAD_BUFFER)
    return LibrarySocket(connection, handshake.secrets)


def error_for_handshake(failure: OSError | InvalidHandshake, handshake: Handshake) -> ResponsesError:
    """The error for a failed attempt to open a WebSocket. Nothing was sent over it, whatever happened."""
    match failure:
        case InvalidStatus(response=answer):
            mask = handshake.secrets.mask_refusal
            headers = {name.lower(): mask(value) for name, value in answer.headers.raw_items()}
            return _refused(answer.status_code, headers, mask(bytes(answer.body or b"")))
        case InvalidProxyStatus(response=answer) if answer.status_code == 407:
            return AuthenticationFailed("The proxy requires a user name and password for the WebSocket.", status=407)
        case OSError() | ProxyError() | InvalidMessage():
            words = handshake.secrets.mask_refusal(str(failure))
            return Unreachable(f"The WebSocket could not be opened: {words or type(failure).__name__}")
        case _:
            words = handshake.secrets.mask_refusal(str(failure))
            return NoSuchEndpoint(f"The server does not speak WebSocket at this URL: {words}")


def _refused(status: int, headers: dict[str, str], body: bytes) -> ResponsesError:
    if status < 300:
        return NoSuchEndpoint("The server answered the WebSocket upgrade as plain HTTP: check the URL", status=status)
    error = error_for_answer("the WebSocket", status, headers, body)
    if _may_be_about_websockets(status, body):
        # If it is the key, the answer over HTTP will say so.
        return HttpOnly("The server does not take WebSockets here, and does not say why", status=status)
    if status == 426:
        return HttpOnly("The server requires HTTP here, not a WebSocket", status=status, code=error.code)
    if status >= 500 or isinstance(error, OutcomeUnknown):
        busy = Busy(
            "The server turned the WebSocket away for now",
            status=status,
            code=error.code,
            request_id=error.request_id,
            retry_after=error.retry_after,
        )
        busy.__cause__ = error
        return busy
    return error


def _may_be_about_websockets(status: int, body: bytes) -> bool:
    """Whether a 401 or 403 need not be about the key: ASGI servers answer so where there is no such route."""
    error = read_error(body)
    if status not in (401, 403) or error is None:
        return status in (401, 403)
    return _OF_WEBSOCKETS.search(error.message) is not None


# Or it is nothing but the name of the status.
_OF_WEBSOCKETS = re.compile(r"web ?socket|\bupgrade\b|^\W*(?:403\W*)?forbidden\W*$", re.IGNORECASE)


async def dial(handshake: Handshake, factory: SocketFactory, budget: RetryBudget, clock: Clock, tap: Tap) -> Socket:
    """Open a socket, with as many attempts as the budget allows.

    Raises RetriesExhausted, from the last failure, or at once what no further attempt can help; nothing but
    ResponsesError, whatever the factory raises.
    """
    while True:
        try:
            return await factory(handshake)
        except NotProcessed as failure:
            tap.failed(failure)
            await back_off(budget, clock, failure)
        except ResponsesError:
            raise
        except Exception as error:
            raise Unreachable(f"The socket factory failed: {error!r}") from error


async def back_off(budget: RetryBudget, clock: Clock, failure: ResponsesError) -> None:
    """Wait until the next attempt is due. Raises RetriesExhausted, from `failure`, if there must be none."""
    delay = budget.spend(failure.retry_after)
    if delay is None:
        raise RetriesExhausted(
            f"The WebSocket is not open after {budget.spent} retries; the last failure: {failure}",
            retry_after=failure.retry_after,
        ) from failure
    await pause(clock, delay)


# --- the connection ----------------------------------------------------------------------------------------------


class Listener(Protocol):
    """A listener to what a connection receives. Called in order, on the event loop; must not raise."""

    def on_incoming(self, incoming: Incoming) -> None:
        """An event has arrived."""

    def on_invalid(self, error: InvalidFrame) -> None:
        """A message has arrived that is not an event."""

    def on_closed(self, close: Close, lost: list[TurnState]) -> None:
        """The connection is gone, and with it the turns that were under way."""


class Connection:
    """One open socket, its conversation and the task that reads it.

    The task reads always, whether anyone waits or not: with unread messages the library stops reading the socket, pongs
    included, and then takes the server for dead. The task ends with the socket, so that a connection leaves nothing
    behind once it is closed or aborted. `closed_with` tells how, once it has.
    """

    def __init__(self, socket: Socket, listener: Listener, tap: Tap) -> None:
        self.conversation = Conversation()
        self.closed_with = Close(CloseCode.ABNORMAL_CLOSURE)
        self._socket = socket
        self._listener = listener
        self._tap = tap
        self._aborted = False
        self._closing = False
        self._reader = asyncio.create_task(self._read(), name="responses-websocket-reader")
        tap.opened()

    @property
    def is_open(self) -> bool:
        """Whether an event may be sent."""
        return not self._aborted and self._socket.is_open

    def dispatch(self, event: ClientEvent) -> Outgoing:
        """Register an event that is to be written next, without waiting in between.

        Raises NotConnected, or ValueError if it cannot be written as JSON; nothing was sent then.
        """
        if not self.is_open:
            raise NotConnected(f"Cannot send {event.type}: the connection is closed.")
        return self.conversation.dispatch(event)

    async def write(self, outgoing: Outgoing) -> None:
        """Write a dispatched event as one text frame.

        Raises ConnectionLost: it may or may not have arrived; NotSent or NotConnected: it has not.
        """
        try:
            await self._socket.send(outgoing.text)
        except SocketClosed as closed:
            await self.wait_closed()
            if closed.unsent and outgoing.turn is None:
                raise NotConnected("The connection closed before the event was sent to its end.") from closed
            if closed.unsent and outgoing.turn is not None:
                outgoing.turn.unsent = True
            lost = outgoing.turn and outgoing.turn.failure()
            raise lost or ConnectionLost("The connection closed while an event was being sent.") from closed
        self._tap.frame(Direction.OUTBOUND, outgoing.text)

    async def close(self, code: int, reason: str) -> None:
        """Close, with the code and reason given, and wait until it is done. Cancelled, hang up."""
        self._closing = True
        try:
            await self._socket.close(code, reason)
            await self.wait_closed()
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Hang up at once. The reader ends as soon as the event loop turns."""
        self._aborted = True
        self._socket.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone and everyone has been told."""
        await asyncio.wait({self._reader})

    async def _read(self) -> None:
        direction = Direction.LOCAL
        try:
            while True:
                self._receive(await self._socket.receive())
        except SocketClosed as closed:
            self.closed_with = closed.close
            direction = Direction.LOCAL if self._closing or self._aborted else Direction.INBOUND
        finally:
            # Cancelled, as at the end of the program: nobody reads any more, so nobody may be kept waiting.
            self.abort()
            lost = self.conversation.connection_lost(self.closed_with)
            self._tap.closed(self.closed_with, direction)
            self._listener.on_closed(self.closed_with, lost)

    def _receive(self, data: str | bytes) -> None:
        for frame in frames_in(data):
            try:
                incoming = self.conversation.receive(frame)
            except InvalidFrame as error:
                self._listener.on_invalid(error)
                self._tap.failed(error)
            else:
                self._listener.on_incoming(incoming)
        self._tap.frame(Direction.INBOUND, data)
