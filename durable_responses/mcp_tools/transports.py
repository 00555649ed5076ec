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
NOT_SENT = 1
"""The code of an error that answers a request over HTTP which has not left this machine; ours, unlike negative ones."""
_ID_AT_THE_BEGINNING = re.compile(rb'^\s*\{(?:\s*"jsonrpc"\s*:\s*"2\.0"\s*,)?\s*"id"\s*:\s*(\d+)\s*,')
_ID_AT_THE_END = re.compile(rb',\s*"id"\s*:\s*(\d+)\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')

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
        found = _ID_AT_THE_BEGINNING.search(head or line[:256]) or _ID_AT_THE_END.search(line[-256:])
        if found is None:
            raise ValueError(f"a message of {size:,} bytes, more than {self._longest:,}")
        why = f"the answer has {size:,} bytes, more than {self._longest:,}"
        error = types.JSONRPCError(
            jsonrpc="2.0", id=int(found[1]), error=types.ErrorData(code=types.INTERNAL_ERROR, message=why)
        )
        return error.model_dump_json(by_alias=True, exclude_unset=True).encode()


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
    async with anyio.create_task_group() as pumps:
        pumps.start_soon(_read, process, to_us, words)
        pumps.start_soon(_write, process, from_us, to_us, words)
        pumps.start_soon(_listen, process, words)
        try:
            yield from_server, to_server
        finally:
            with anyio.CancelScope(shield=True):
                from_server.close()
                to_server.close()
                await _end(process, words)
            pumps.cancel_scope.cancel()


async def _read(process: Process, to_us: MemoryObjectSendStream[SessionMessage | Exception], words: LastWords) -> None:
    lines = Lines()
    async with to_us:  # closed, it tells the session that the server has ended
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, ValueError):
            async for data in _chunks(process.stdout):
                for line in lines.take(data):
                    if line.strip():
                        message = _message(line)
                        if isinstance(message, Exception):
                            words.not_a_message = line[:_SHOWN_OF_A_LINE].decode(errors="replace").strip()
                        await to_us.send(message)
        words.is_gone = True
    async for _ in _chunks(process.stdout):  # a program that cannot write does not read the end of its input
        pass


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:  # many a program prints what is no message
        return ValueError(f"a line that is not a message: {error.errors()[0]['msg']}")


async def _write(
    process: Process,
    from_us: MemoryObjectReceiveStream[SessionMessage],
    to_us: MemoryObjectSendStream[SessionMessage | Exception],
    words: LastWords,
) -> None:
    assert process.stdin
    try:
        async with from_us:
            async for each in from_us:
                line = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(line.encode() + _END_OF_LINE)
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
    keep their connections. A connection that breaks ends nothing but the request that was sent over it.
    """

    def __init__(self, url: str) -> None:
        super().__init__(limits=httpx2.Limits(max_keepalive_connections=20))
        self._url = httpx2.URL(url)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        timeout = {**request.extensions.get("timeout", {}), "read": self._patience(request)}
        request.extensions = {**request.extensions, "timeout": timeout}
        try:
            response = await super().handle_async_request(request)
        except httpx2.TransportError as error:
            if request.method != "POST" or request.url != self._url:
                raise
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
                return _failed(NOT_SENT, no_connection(request.url, error))
            return _failed(types.CONNECTION_CLOSED, f"the connection has ended: {str(error) or type(error).__name__}")
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _BoundedStream(response.stream)
        return response

    def _patience(self, request: httpx2.Request) -> float:
        if request.url != self._url:
            return _READ_TIMEOUT
        return {"POST": _CALL_READ_TIMEOUT, "DELETE": _END_READ_TIMEOUT}.get(request.method, _READ_TIMEOUT)


def no_connection(url: httpx2.URL, error: Exception) -> str:
    """What is said of a server that cannot be reached."""
    return f"there is no connection to {url.scheme}://{url.netloc.decode()}: {str(error) or type(error).__name__}"


def _failed(code: int, why: str) -> httpx2.Response:
    error = types.JSONRPCError(jsonrpc="2.0", id=None, error=types.ErrorData(code=code, message=why))
    return httpx2.Response(503, json=error.model_dump(mode="json", by_alias=True, exclude_unset=True))


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for data in self._stream:
            size += len(data)
            if size > LARGEST_MESSAGE:
                raise httpx2.StreamError(f"the answer has more than {LARGEST_MESSAGE:,} bytes")
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()
