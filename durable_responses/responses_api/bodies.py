"""The bytes of requests and answers: a request's body as it is sent; an answer's body unpacked, and the events in it.

Nothing here takes in more than the budget allows, however small it was packed. `Content-Type` and `Content-Encoding`
are not asked: they are spelled in many ways and often wrong, while the first bytes tell what follows.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeAlias

import httpx
from httpx_sse import ServerSentEvent

from durable_responses.responses_api.budget import BUDGET, AnswerBudget

PIECE = 64 * 1024  # bytes
LARGE = 128 * 1024  # bytes: more is parsed in a thread, so that the event loop stays free


class TooLarge(Exception):
    """The answer exceeds its budget."""


class CannotUnpack(Exception):
    """The answer is packed in a way that was not asked for, or is broken."""


# --- sending -----------------------------------------------------------------------------------------------------


BeforeEnd: TypeAlias = Callable[[], Awaitable[None]]


class Upload(httpx.AsyncByteStream):
    """The body of a request, in pieces. `is_sent`: whether the last of them was handed to the connection.

    As long as it is not, the request was not taken, whatever happens: a body without its end is no request.
    `on_progress` is called whenever the connection has taken a piece. `before_end` is awaited before the last one; what
    it raises breaks the connection, so that the request has no end.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.is_sent = False
        self.on_progress: Callable[[], None] = lambda: None
        self.before_end: BeforeEnd | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), PIECE):
            self.on_progress()
            if self.before_end is not None and start + PIECE >= len(self._data):
                await self.before_end()
                self.on_progress()
            self.is_sent = start + PIECE >= len(self._data)
            yield self._data[start : start + PIECE]
        self.on_progress()


# --- unpacking ---------------------------------------------------------------------------------------------------

_GZIP = b"\x1f\x8b"
_GZIP_OR_ZLIB = 47  # window bits
_RAW_DEFLATE = -15


async def unpacked(
    answer: httpx.Response, silence: float | None = None, *, is_file: bool = False
) -> AsyncGenerator[bytes]:
    """The body, piece by piece, none larger than `PIECE` by much. A file, which may be packed itself, is unpacked only
    where its headers say that it was packed for its way.

    Raises `CannotUnpack`, TimeoutError where no byte comes for `silence` seconds, and what httpx raises.
    """
    encoding = answer.headers.get("content-encoding", "")
    unpack: Callable[[bytes], Iterator[bytes]] | None = None
    if is_file and encoding.strip().lower() in ("", "identity"):
        unpack = _as_it_is
    chunks = answer.aiter_raw()
    head = b""
    while True:
        try:
            async with asyncio.timeout(silence):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            break
        if unpack is None:
            head += chunk
            if len(head) < len(_GZIP):
                continue
            unpack, chunk = _unpacker(head, encoding), head
        for piece in unpack(chunk):
            yield piece
    if unpack is None and head:
        yield head


def _unpacker(head: bytes, encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    named = encoding.strip().lower()
    if head.startswith(_GZIP):
        return _Inflation(_GZIP_OR_ZLIB).pieces
    if named == "deflate":
        is_zlib = head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
        return _Inflation(_GZIP_OR_ZLIB if is_zlib else _RAW_DEFLATE).pieces
    if named in ("br", "zstd", "compress"):
        raise CannotUnpack(f"it is packed as {named}, which was not asked for")
    return _as_it_is


def _as_it_is(chunk: bytes) -> Iterator[bytes]:
    return iter((chunk,))


class _Inflation:
    """Inflates a little at a time: a few packed bytes may hold gigabytes."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._stream = zlib.decompressobj(window_bits)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = self._stream.decompress(data, PIECE)
            except zlib.error as error:
                raise CannotUnpack(f"it is packed, but broken ({error})") from None
            if piece:
                yield piece
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data = self._stream.unused_data
                if not data.startswith(_GZIP):
                    return
                self._stream = zlib.decompressobj(self._window_bits)
            elif not data and len(piece) < PIECE:
                return


# --- events ------------------------------------------------------------------------------------------------------


class EventReader:
    """The events in the bytes of a stream, as they come. Bytes that are not UTF-8 become U+FFFD.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    def __init__(self, budget: AnswerBudget = BUDGET) -> None:
        self._budget = budget
        self._data: list[str] = []
        self._name = ""
        self._line: list[bytes] = []
        self._bytes = 0
        self._skip_line_feed = False
        self._is_first_line = True

    def feed(self, data: bytes) -> Iterator[ServerSentEvent]:
        """The events that end with these bytes. Raises `TooLarge`."""
        if self._skip_line_feed:
            data = data.removeprefix(b"\n")
        self._skip_line_feed = data.endswith(b"\r")
        *lines, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            yield from self._end_line(line)
        self._take(rest)

    def end(self) -> Iterator[ServerSentEvent]:
        """An event that lacks only the blank line at its end."""
        return self.feed(b"\n\n")

    def _end_line(self, end: bytes) -> list[ServerSentEvent]:
        self._take(end)
        line = b"".join(self._line)
        self._line.clear()
        if self._is_first_line:
            line, self._is_first_line = line.removeprefix(b"\xef\xbb\xbf"), False
        if not line:
            return self._dispatch()
        name, _, value = line.decode(errors="replace").partition(":")
        match name:
            case "":  # a comment is nothing but a sign of life
                self._bytes -= len(line)
            case "data":
                self._data.append(value.removeprefix(" "))
            case "event":
                self._name = value.removeprefix(" ")
        return []

    def _dispatch(self) -> list[ServerSentEvent]:
        data, name = [line for line in self._data if line.strip()], self._name
        self._data, self._name, self._bytes = [], "", 0
        if len(data) > 1 and all(map(_is_whole, data)):  # the blank lines between them were lost on the way
            return [ServerSentEvent(event="", data=line) for line in data]
        return [ServerSentEvent(event=name, data="\n".join(data))] if data else []

    def _take(self, data: bytes) -> None:
        if not data:
            return
        self._bytes += len(data)
        if self._bytes > self._budget.unpacked:
            raise TooLarge(f"one event has more than {self._budget.unpacked} bytes")
        self._line.append(data)


def _is_whole(line: str) -> bool:
    """Whether a line of data looks like an event of its own."""
    text = line.strip()
    return text == _DONE or (len(text) > 2 and text[0] == "{" and text[-1] == "}")


_DONE = "[DONE]"
