"""The streams to an MCP server: a program of ours on its standard input and output, or an address over HTTP.

The library speaks the protocol over them. A program's streams are our own, because a stranger's program is at the other
end: the lengths of its lines and of its errors are bounded, and nobody waits for a message that has no end.
"""

import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from subprocess import PIPE

import anyio
import httpx2
import mcp_types as types
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.mcp_tools.messages import (
    FAILED,
    NOT_SENT,
    REFUSED,
    UNREADABLE,
    Exchange,
    as_bytes,
    excerpt,
    failure,
    id_in,
)

LARGEST_MESSAGE = 16 * 1024 * 1024  # bytes
_CHUNK = 64 * 1024
_KEPT_ERRORS = 2048  # bytes
_SHOWN_OF_A_LINE = 100  # bytes
_END_OF_LINE = b"\n"
_ENDS_BY_ITSELF = 2.0  # seconds: Python servers take all of it
_ENDS_WHEN_TOLD = 2.0
_LOOKS = 0.02
_READ_TIMEOUT = 300.0  # seconds
_CALL_READ_TIMEOUT = 86_400.0  # a call has a timer of its own; one that waits for a person may be silent for hours
_END_READ_TIMEOUT = 2.0  # what ends a session may be left unanswered: nobody waits for that
UNAUTHORIZED = "durable-responses.unauthorized"
"""Where a request says, among its extensions, why it is not to be sent."""
_MAY_HAVE_RUN = {408, 409, 425, 499}  # of the statuses below 500
_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA, _EVENT = b"data:", b"event:"
_OF_THE_BODY = {"content-type", "content-length", "content-encoding", "transfer-encoding"}
_READABLE = ("text/plain", "application/json", "application/problem+json")

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class LastWords:
    """The end of what a program has written to its standard error, and what else tells why it cannot be used.

    `not_a_message`: the last line on its standard output that is none. `exit_code`: None unless it ended by itself.
    `is_gone`: it can say nothing more, or be told nothing more.
    """

    def __init__(self) -> None:
        self._kept = b""
        self.not_a_message: str | None = None
        self.exit_code: int | None = None
        self.is_gone = False

    def take(self, data: bytes) -> None:
        """Take what it has written."""
        self._kept = (self._kept + data)[-_KEPT_ERRORS:]

    def __str__(self) -> str:
        lines = self._kept.decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


class Lines:
    """Cuts bytes into lines. One that is too long becomes the answer to its request: that it is too long."""

    def __init__(self, longest: int = LARGEST_MESSAGE) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""

    def take(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in these bytes, without their ends. Raises `ValueError` for one that answers nothing."""
        *ended, rest = data.split(_END_OF_LINE)
        for part in ended:
            self._add(part)
            yield self._line()
        self._add(rest)

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        self._parts.append(part)
        if self._size > self._longest and len(self._parts) > 1:
            self._head = self._head or b"".join(self._parts)[:256]
            self._parts = [b"".join(self._parts)[-256:]]

    def _line(self) -> bytes:
        line, size, head = b"".join(self._parts), self._size, self._head
        self._parts, self._size, self._head = [], 0, b""
        if size <= self._longest:
            return line
        id = id_in(head + line[-256:] if head else line)  # noqa: A001 - its name in the protocol
        if id is None:
            raise ValueError(f"a message of {size:,} bytes, more than {self._longest:,}")
        return as_bytes(
            failure(id, types.INTERNAL_ERROR, f"the answer has {size:,} bytes, more than {self._longest:,}")
        )

    def rest(self) -> bytes:
        """What came after the last end of a line."""
        return b"".join(self._parts) if self._size <= self._longest else b""


@asynccontextmanager
async def program(server: McpServer, words: LastWords) -> AsyncIterator[Streams]:
    """Start a server's program, and end it with all that it has started. Raises `OSError` if it cannot be started."""
    # A cancel in here, or in an await from here to the `try`, would leave the program behind.
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(
            [server.command or "", *server.args],
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**get_default_environment(), **server.env},
            cwd=server.cwd,
            start_new_session=True,
        )
    to_us, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_us = anyio.create_memory_object_stream[SessionMessage](0)
    exchange = Exchange()
    async with anyio.create_task_group() as pumps:
        pumps.start_soon(_read, process, to_us, words, exchange)
        pumps.start_soon(_write, process, from_us, to_us, words, exchange)
        pumps.start_soon(_listen, process, words)
        try:
            yield from_server, to_server
        finally:
            with anyio.CancelScope(shield=True):
                from_server.close()
                to_server.close()
                await _end(process, words)
            pumps.cancel_scope.cancel()


async def _read(
    process: Process,
    to_us: MemoryObjectSendStream[SessionMessage | Exception],
    words: LastWords,
    exchange: Exchange,
) -> None:
    lines = Lines()

    async def pass_on(line: bytes) -> None:
        if not line.strip():
            return
        try:
            messages = exchange.received(line).messages
        except ValueError as error:  # many a program prints what is no message
            words.not_a_message = line[:_SHOWN_OF_A_LINE].decode(errors="replace").strip()
            await to_us.send(error)
            return
        for message in messages:
            await to_us.send(SessionMessage(message))

    async with to_us:  # closed, it tells the session that the server has ended
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, ValueError):
            async for data in _chunks(process.stdout):
                for line in lines.take(data):
                    await pass_on(line)
            await pass_on(lines.rest())
        words.is_gone = True
    async for _ in _chunks(process.stdout):  # a program that cannot write does not read the end of its input
        pass


async def _write(
    process: Process,
    from_us: MemoryObjectReceiveStream[SessionMessage],
    to_us: MemoryObjectSendStream[SessionMessage | Exception],
    words: LastWords,
    exchange: Exchange,
) -> None:
    assert process.stdin
    try:
        async with from_us:
            async for each in from_us:
                exchange.sent(each.message)
                await process.stdin.send(as_bytes(each.message) + _END_OF_LINE)
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        words.is_gone = True
        to_us.close()


async def _listen(process: Process, words: LastWords) -> None:
    async for data in _chunks(process.stderr):
        words.take(data)


async def _chunks(stream: ByteReceiveStream | None) -> AsyncIterator[bytes]:
    assert stream
    with contextlib.suppress(OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            yield await stream.receive(_CHUNK)


async def _end(process: Process, words: LastWords) -> None:
    """By the end of its input, by SIGTERM, by SIGKILL: as the protocol has it."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    for told, seconds in ((None, _ENDS_BY_ITSELF), (signal.SIGTERM, _ENDS_WHEN_TOLD), (signal.SIGKILL, 2.0)):
        if told is not None:
            _signal(process, told)
        with anyio.move_on_after(seconds):
            while process.returncode is None:  # noqa: ASYNC110 - `wait` waits for the ends of its streams as well
                await anyio.sleep(_LOOKS)
            words.exit_code = process.returncode if told is None else None
            break
    _signal(process, signal.SIGKILL)  # what it has started, and left
    for stream in (process.stdout, process.stderr):
        with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await stream.aclose()


def _signal(process: Process, told: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, told)


@asynccontextmanager
async def address(server: McpServer, auth: httpx2.Auth | None = None) -> AsyncIterator[Streams]:
    """Streamable HTTP, with answers no longer than messages may be."""
    async with (
        httpx2.AsyncClient(headers=server.headers, timeout=30, transport=_Bounded(server.url or ""), auth=auth) as http,
        streamable_http_client(server.url or "", http_client=http, max_sse_event_size=LARGEST_MESSAGE) as streams,
    ):
        yield streams  # type: ignore[misc]  # the library's streams are like these


class _Bounded(httpx2.AsyncHTTPTransport):
    """Takes no JSON body that is too long. Event streams have no length; their events are bounded by the library.

    And it waits for as long as each kind of request may take, for any number of them: calls that wait for a person
    keep their connections. A connection that breaks ends nothing but the request that was sent over it, and whatever
    answers a request is a message that the library takes.
    """

    def __init__(self, url: str) -> None:
        super().__init__(limits=httpx2.Limits(max_keepalive_connections=20))
        self._url = httpx2.URL(url)
        self._exchange = Exchange()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        timeout = {**request.extensions.get("timeout", {}), "read": self._patience(request)}
        request.extensions = {**request.extensions, "timeout": timeout}
        if (why := request.extensions.get(UNAUTHORIZED)) is not None:
            return _failed(NOT_SENT, why)
        asked = self._asked(request)
        try:
            response = await super().handle_async_request(request)
            if _is_a_stream(response):
                return self._mending(response, asked)
            if asked is None or response.is_redirect or response.status_code == httpx2.codes.ACCEPTED:
                return _bounded(response)
            return await self._answer(response, asked)
        except httpx2.StreamError as error:  # more bytes than it may have
            return _failed(types.INTERNAL_ERROR, str(error))
        except httpx2.DecodingError:
            return _failed(UNREADABLE, "what it answers is packed in a way that cannot be unpacked")
        except httpx2.TransportError as error:
            if request.method != "POST" or request.url != self._url:
                raise
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
                return _failed(NOT_SENT, no_connection(request.url, error))
            return _failed(types.CONNECTION_CLOSED, f"the connection has ended: {str(error) or type(error).__name__}")

    def _asked(self, request: httpx2.Request) -> types.JSONRPCRequest | None:
        """The request of the protocol that this one carries."""
        if request.method != "POST" or request.url.host != self._url.host:
            return None
        try:
            message = types.jsonrpc_message_adapter.validate_json(request.content, by_name=False)
        except (ValidationError, httpx2.RequestNotRead):  # one for a token
            return None
        self._exchange.sent(message)
        return message if isinstance(message, types.JSONRPCRequest) else None

    def _mending(self, response: httpx2.Response, asked: types.JSONRPCRequest | None) -> httpx2.Response:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if response.is_success and "content-encoding" not in response.headers:
            response.stream = _MendedEvents(response.stream, self._exchange, asked.id if asked is not None else None)
        return response

    async def _answer(self, response: httpx2.Response, asked: types.JSONRPCRequest) -> httpx2.Response:
        async with contextlib.aclosing(response):
            body = b"".join([part async for part in _within(response.aiter_bytes())])
        kept = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _OF_THE_BODY]
        if (answer := _told(response, body, self._exchange, asked.id)) is not None:
            kept, body = [*kept, ("content-type", "application/json")], as_bytes(answer)
        return httpx2.Response(response.status_code, headers=kept, content=body)

    def _patience(self, request: httpx2.Request) -> float:
        if request.url != self._url:
            return _READ_TIMEOUT
        return {"POST": _CALL_READ_TIMEOUT, "DELETE": _END_READ_TIMEOUT}.get(request.method, _READ_TIMEOUT)


def no_connection(url: httpx2.URL, error: Exception) -> str:
    """What is said of a server that cannot be reached."""
    return f"there is no connection to {url.scheme}://{url.netloc.decode()}: {str(error) or type(error).__name__}"


def _failed(code: int, why: str) -> httpx2.Response:
    return httpx2.Response(
        503, headers={"content-type": "application/json"}, content=as_bytes(failure(None, code, why))
    )


def _is_a_stream(response: httpx2.Response) -> bool:
    return bool(response.headers.get("content-type", "").lower().startswith("text/event-stream"))


def _told(
    response: httpx2.Response, body: bytes, exchange: Exchange, asked: types.RequestId
) -> types.JSONRPCMessage | None:
    """What a body says, as an answer of the protocol; None where the library knows what it means."""
    if not response.is_success and not _is_an_error(body):
        if (
            response.status_code == httpx2.codes.NOT_FOUND
        ):  # of a session that is over, or of a server that is not there
            return None
        status = f"HTTP {response.status_code} {response.reason_phrase}".rstrip()
        said = excerpt(body) if response.headers.get("content-type", "").lower().startswith(_READABLE) else ""
        may_have_run = response.status_code >= 500 or response.status_code in _MAY_HAVE_RUN
        return failure(asked, FAILED if may_have_run else REFUSED, f"{status}: {said}" if said else status)
    with contextlib.suppress(ValueError):
        answers = (types.JSONRPCResponse, types.JSONRPCError)
        if told := [each for each in exchange.received(body, asked).messages if isinstance(each, answers)]:
            return told[0]
    return failure(asked, UNREADABLE, f"what it answers is not a message of the protocol: {excerpt(body)!r}")


def _is_an_error(body: bytes) -> bool:
    try:
        return isinstance(types.jsonrpc_message_adapter.validate_json(body, by_name=False), types.JSONRPCError)
    except ValidationError:
        return False


async def _within(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for data in parts:
        size += len(data)
        if size > LARGEST_MESSAGE:
            raise httpx2.StreamError(f"the answer has more than {LARGEST_MESSAGE:,} bytes")
        yield data


def _bounded(response: httpx2.Response) -> httpx2.Response:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _BoundedStream(response.stream)
    return response


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in _within(aiter(self._stream)):
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()


class _MendedEvents(httpx2.AsyncByteStream):
    """Events as the library takes them, the last one also where its end is missing. `asked`: what they answer."""

    def __init__(self, stream: httpx2.AsyncByteStream, exchange: Exchange, asked: types.RequestId | None) -> None:
        self._stream = stream
        self._exchange = exchange
        self._asked = asked

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts: list[bytes] = []
        size = 0
        async for data in self._stream:
            parts.append(data)
            size += len(data)
            if _END_OF_EVENT.search(b"".join(part[-3:] for part in parts[-4:-1]) + data):
                *events, left = _END_OF_EVENT.split(b"".join(parts))
                for event in events:
                    yield self._mended(event)
                parts, size = [left], len(left)
            elif size > LARGEST_MESSAGE:  # the library says what is wrong with it
                yield b"".join(parts)
                parts, size = [], 0
        if (rest := b"".join(parts)).strip():
            yield self._mended(rest)

    def _mended(self, event: bytes) -> bytes:
        lines = event.splitlines()
        data = [line[len(_DATA) :].removeprefix(b" ") for line in lines if line.startswith(_DATA)]
        others = [line for line in lines if not line.startswith(_DATA)]
        # One without data only says where to go on after a break.
        is_message = any(data) and all(
            line.split(b":", 1)[1].strip() == b"message" for line in others if line[:6] == _EVENT
        )
        with contextlib.suppress(ValueError):
            if is_message and (received := self._exchange.received(b"\n".join(data), self._asked)).is_mended:
                return b"".join(_event(others, as_bytes(each)) for each in received.messages)
        return event + 2 * _END_OF_LINE

    async def aclose(self) -> None:
        await self._stream.aclose()


def _event(fields: list[bytes], data: bytes) -> bytes:
    return _END_OF_LINE.join([*fields, _DATA + b" " + data]) + 2 * _END_OF_LINE
