"""Servers over HTTP, byte by byte: whatever answers a call ends it in words, and ends no other."""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durable_responses.mcp_tools.configuration import McpServer
from durable_responses.mcp_tools.sessions import CallInterrupted, ServerError, Sessions
from durable_responses.tools.registry import ToolError

GOT = {"content": [{"type": "text", "text": "got it"}]}
JSON, EVENTS = "application/json", "text/event-stream"


def answer(result: Any, id: int = 0) -> bytes:  # noqa: A002 - as the protocol has it
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode()


def http(status: str, kind: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def serving(to_a_call: bytes, to_anything: bytes | None = None) -> AsyncIterator[Sessions]:
    """A session with a server that answers each call with these bytes, in which `"id": 0` is the call's id."""
    tool = {"name": "get", "inputSchema": {"type": "object"}}
    told = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "x", "version": "1"}}
    results = {"initialize": told, "tools/list": {"tools": [tool]}, "ping": {}}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                asked = json.loads(await reader.readexactly(int(size[1])) if size and int(size[1]) else b"{}")
                method = asked.get("method")
                if "id" not in asked:
                    said = http("202 Accepted" if method else "405 Not Allowed", JSON, b"")
                elif to_anything is not None:
                    said = to_anything
                elif method == "tools/call":
                    said = to_a_call
                elif method in results:
                    said = http("200 OK", JSON, answer(results[method], asked["id"]))
                else:
                    error = {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "unknown"}}
                    said = http("200 OK", JSON, json.dumps(error).encode())
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        async with Sessions({"it": McpServer(url=url, start_timeout=10)}) as sessions:
            yield sessions


async def quiet(progress: float, total: float | None, message: str | None) -> None:
    """Nobody wants to know."""


HALF = b'{"jsonrpc":"2.0","id":0,"result":{"content":[{"type":"text","text":"half \\ud83d"}]}}'


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (http("200 OK", "", answer(GOT)), "got it"),
        (http("200 OK", "text/plain", answer(GOT)), "got it"),
        (http("200 OK", "application/vnd.api+json", answer(GOT)), "got it"),
        (http("200 OK", JSON, answer(GOT, 99)), "got it"),
        (http("200 OK", JSON, b"[" + answer(GOT) + b"]"), "got it"),
        (http("200 OK", JSON, gzip.compress(answer(GOT)), "Content-Encoding: gzip"), "got it"),
        (http("200 OK", JSON, HALF), "half \ufffd"),
        (http("200 OK", EVENTS, b"data: " + HALF + b"\n\n"), "half \ufffd"),
        (http("200 OK", EVENTS, b"event: message\r\nid: 1\r\ndata: " + HALF + b"\r\n\r\n"), "half \ufffd"),
        (http("200 OK", EVENTS, b": hello\n\ndata: " + answer(GOT) + b"\n\n"), "got it"),
        (http("200 OK", EVENTS, b"data: " + answer(GOT)), "got it"),
        (http("200 OK", EVENTS, b"id: 1\ndata: \n\ndata: " + answer(GOT) + b"\n\n"), "got it"),
        (http("200 OK", EVENTS, b"retry: 10\n\ndata:" + answer(GOT) + b"\n\n"), "got it"),
        (http("200 OK", EVENTS, b'data: {"jsonrpc":"2.0","id":0,\ndata: "result":"text"}\n\n'), "text"),
    ],
)
async def test_an_answer_is_read_however_it_is_sent(said: bytes, text: str) -> None:
    async with serving(said) as sessions:
        assert (await sessions.call("it", "get", {}, quiet)).text == text


NOT_MADE, UNKNOWN, FAILED = ServerError, CallInterrupted, ToolError


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (http("400 Bad Request", JSON, b'{"message":"no x"}'), NOT_MADE, 'HTTP 400 Bad Request: {"message":"no x"}.'),
        (http("401 Unauthorized", "text/html", b"<p>"), NOT_MADE, "HTTP 401 Unauthorized; where it asks for a login: "),
        (http("403 Forbidden", "text/plain", b"not you"), NOT_MADE, "HTTP 403 Forbidden: not you; where it asks"),
        (http("429 Too Many Requests", "text/plain", b""), NOT_MADE, "get was not called: its server 'it' answered"),
        (http("408 Request Timeout", "text/plain", b""), UNKNOWN, "answered with an HTTP error, HTTP 408 Request"),
        (http("500 Oh No", "text/plain", b"boom"), UNKNOWN, "answered with an HTTP error, HTTP 500 Oh No: boom"),
        (
            http("200 OK", "text/html", b"<p>Sign in"),
            UNKNOWN,
            "answered, and what it answers is not valid JSON: '<p>Sig",
        ),
        (http("200 OK", JSON, b""), UNKNOWN, "what it answers is not valid JSON: ''"),
        (http("200 OK", JSON, b"{}"), UNKNOWN, "what it answers is not a message of the protocol: '{}'"),
        (
            http("200 OK", JSON, b"not packed", "Content-Encoding: gzip"),
            UNKNOWN,
            "packed in a way that cannot be unpacked",
        ),
        (http("200 OK", EVENTS, b"data: {oops\n\n"), UNKNOWN, "what it answers is not valid JSON: '{oops'"),
        (http("200 OK", EVENTS, b": nothing\n\n"), UNKNOWN, "ended in the middle of it"),
        (
            http("200 OK", JSON, gzip.compress(answer("x" * 20_000_000)), "Content-Encoding: gzip"),
            FAILED,
            "get failed: the answer has more than 16,777,216 bytes",
        ),
        (
            http("400 Bad Request", JSON, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no x"}}'),
            FAILED,
            "get failed: no x",
        ),
        (
            http("200 OK", JSON, b'{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"no","data":{"a":1}}}'),
            FAILED,
            'get failed: no\n\n{"a":1}',
        ),
        (
            http("400 X", JSON, b'{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"No valid session ID"}}'),
            UNKNOWN,
            "its server 'it' has begun anew",
        ),
    ],
)
async def test_an_answer_that_is_none_says_what_came_and_whether_the_call_was_made(
    said: bytes, kind: type[Exception], words: str
) -> None:
    async with serving(said) as sessions:
        with pytest.raises(kind, match=re.escape(words)) as failed:
            await sessions.call("it", "get", {}, quiet)
        assert type(failed.value) is kind or kind is CallInterrupted
        assert "pydantic" not in str(failed.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (http("405 Not Allowed", "", b""), "'it' cannot be used: HTTP 405 Not Allowed."),
        (http("502 Bad Gateway", "text/html", b"<p>"), "'it' cannot be used: HTTP 502 Bad Gateway."),
        (http("200 OK", JSON, b'{"status":"ok"}'), "what it answers is not a message of the protocol"),
        (
            http("200 OK", JSON, b'{"jsonrpc":"2.0","id":0,"result":{"capabilities":{}}}'),
            "what it answers is not a valid InitializeResult: protocolVersion: field required.",
        ),
        (
            http("200 OK", JSON, b'{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"Plan expired"}}'),
            "'it' cannot be used: Plan expired.",
        ),
    ],
)
async def test_a_server_that_answers_in_no_way_that_it_should_is_told_in_a_sentence(said: bytes, words: str) -> None:
    async with serving(b"", said) as sessions:
        with pytest.raises(ServerError, match=re.escape(words)):
            await sessions.listing("it")
