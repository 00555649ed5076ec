"""Answers that are there, in forms that the API does not have; and those that would be too much for a worker."""

import asyncio
import gzip
import json
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durable_responses.responses_api.budget import BUDGET
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import (
    AnswerTooLarge,
    AuthenticationFailed,
    BadRequest,
    Busy,
    ConnectionLost,
    EndedByError,
    MalformedAnswer,
    NotFound,
    NotSent,
    QuotaExhausted,
    ResponsesError,
)
from durable_responses.responses_api.events import ResponseEvent
from durable_responses.responses_api.models import CreateRequest, Response
from tests.responses_api.conftest import KEY
from tests.support.provider import Answer, Provider, Then, answer, event_stream

REQUEST = CreateRequest(model="m", input="hello", store=True)
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
DONE = {"id": "resp_1", "object": "response", "status": "completed", "output": [MESSAGE]}
CREATED = {"type": "response.created", "response": DONE | {"status": "in_progress", "output": []}}
COMPLETED = {"type": "response.completed", "response": DONE}


async def streamed(api: ResponsesClient) -> Response:
    """The response at the end of its stream."""
    async with api.stream(REQUEST) as events:
        *_, last = [event async for event in events]
    assert isinstance(last, ResponseEvent)
    return last.response


# --- JSON and streams ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/plain"])
async def test_a_server_that_ignores_stream_has_answered(provider: Provider, api: ResponsesClient, kind: str) -> None:
    provider.will(answer(DONE, content_type=kind))
    assert (await streamed(api)).output_text == "Hello."


async def test_of_a_response_under_way_that_is_not_streamed_the_id_is_known(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(answer(DONE | {"status": "in_progress"}))
    with pytest.raises(ConnectionLost) as caught:
        await streamed(api)
    assert caught.value.response_id == "resp_1"


@pytest.mark.parametrize("kind", ["Text/Event-Stream; Charset=UTF-8", "application/json", "application/octet-stream"])
async def test_a_stream_is_one_whatever_its_content_type(provider: Provider, api: ResponsesClient, kind: str) -> None:
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in (CREATED, COMPLETED)).encode()
    provider.will(answer(b"\n" + body, content_type=kind))
    assert (await streamed(api)).output_text == "Hello."


@pytest.mark.parametrize("between", ["\n", "\nevent: response.completed\n", "\ndata: \n", "\n: hi\n"])
async def test_events_between_which_the_blank_line_was_lost_are_events(
    provider: Provider, api: ResponsesClient, between: str
) -> None:
    lines = [f"data: {json.dumps(event)}" for event in (CREATED, COMPLETED)]
    provider.will(event_stream(between.join(lines) + "\ndata: [DONE]\n\n"))
    assert (await streamed(api)).output_text == "Hello."


async def test_an_event_of_several_lines_is_one(provider: Provider, api: ResponsesClient) -> None:
    data = json.dumps(COMPLETED, indent=1).replace("\n", "\ndata: ")
    provider.will(event_stream(f"data: {data}\n\n"))
    assert (await streamed(api)).output_text == "Hello."


@pytest.mark.parametrize("kind", ["response.complete", "response.finished", "final"])
async def test_an_event_with_a_response_that_has_ended_is_the_end(
    provider: Provider, api: ResponsesClient, kind: str
) -> None:
    provider.will(event_stream(CREATED, COMPLETED | {"type": kind}))
    assert (await streamed(api)).output_text == "Hello."


async def test_an_error_as_plain_text_is_shown(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(CREATED, "event: error\ndata: The upstream broke down.\n\n"))
    with pytest.raises(EndedByError, match="The upstream broke down"):
        await streamed(api)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.tool_error", "item_id": "fc_1", "message": "no"},
        {"type": "response.web_search.error", "message": "no"},
        {"type": "ping", "message": "ok"},
        {"code": 0, "message": "ok"},
        {"status": "ok", "message": "alive"},
    ],
)
async def test_what_is_no_error_of_the_response_does_not_end_it(
    provider: Provider, api: ResponsesClient, event: dict[str, Any]
) -> None:
    provider.will(event_stream(CREATED, f"data: {json.dumps(event)}\n\n", COMPLETED))
    assert (await streamed(api)).output_text == "Hello."


@pytest.mark.parametrize("line", ["\n", "\r", "\r\n"])
async def test_lines_end_in_any_of_three_ways(provider: Provider, api: ResponsesClient, line: str) -> None:
    text = f": hi\nid: 1\nevent: response.completed\ndata: {json.dumps(COMPLETED)}\n\n"
    provider.will(event_stream(text.replace("\n", line)))
    assert (await streamed(api)).output_text == "Hello."


async def test_a_last_event_that_lacks_its_blank_line_counts(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(f"data: {json.dumps(COMPLETED)}"))
    assert (await streamed(api)).output_text == "Hello."


async def test_bytes_that_are_not_utf_8_do_not_end_a_stream(provider: Provider, api: ResponsesClient) -> None:
    data = json.dumps(COMPLETED).encode().replace(b"Hello.", b"caf\xe9")
    provider.will(answer(b"data: " + data + b"\n\n", content_type="text/event-stream"))
    assert (await streamed(api)).output_text == "caf\ufffd"


@pytest.mark.parametrize("name", ["create", "retrieve"])
async def test_a_server_that_streams_unasked_is_read_to_the_end(
    provider: Provider, api: ResponsesClient, name: str
) -> None:
    provider.will(event_stream(CREATED, ": ping\n\n", COMPLETED))
    response = await (api.create(REQUEST) if name == "create" else read(api))
    assert (response.id, response.status, response.output_text) == ("resp_1", "completed", "Hello.")


async def read(api: ResponsesClient) -> Response:
    return (await api.retrieve("resp_1")).response


async def test_a_stream_that_nobody_asked_for_and_that_breaks_still_tells_the_id(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(event_stream(CREATED, then=Then.RESET))
    response = await api.create(REQUEST)
    assert (response.id, response.status) == ("resp_1", "in_progress")


# --- text and ids where nobody else has them -----------------------------------------------------------------------

PART = {"type": "output_text", "text": "Hello."}
ODD_OUTPUTS: dict[str, dict[str, Any]] = {
    "an envelope": {"data": DONE, "success": True},
    "another envelope": {"response": DONE},
    "a list of one": [DONE],  # type: ignore[dict-item]
    "items under their numbers": DONE | {"output": {"0": MESSAGE}},
    "a list within the list": DONE | {"output": [[MESSAGE]]},
    "an item of an unknown type": DONE | {"output": [{"type": "hologram", "text": "Hello."}]},
    "a message of another type": DONE | {"output": [MESSAGE | {"type": "output_message", "role": None}]},
    "another name for the text": DONE
    | {"output": [MESSAGE | {"content": [{"type": "output_text", "content": "Hello."}]}]},
    "parts within the parts": DONE | {"output": [MESSAGE | {"content": [[PART]]}]},
    "a refusal under the name of text": DONE
    | {"output": [MESSAGE | {"content": [{"type": "refusal", "text": "Hello."}]}]},
    "a refusal beside the parts": DONE | {"output": [MESSAGE | {"content": None, "refusal": "Hello."}]},
    "a transcript": DONE | {"output": [MESSAGE | {"content": [{"type": "output_audio", "transcript": "Hello."}]}]},
    "the text in pieces": DONE | {"output": [], "output_text": ["Hel", "lo."]},
    "content without output": DONE | {"output": None, "content": [{"type": "text", "text": "Hello."}]},
    "a chat completion": {"id": "chat_1", "choices": [{"message": {"role": "assistant", "content": "Hello."}}]},
    "the user's words before it": DONE | {"output": [MESSAGE | {"role": "user", "content": "Hi!"}, MESSAGE]},
}


@pytest.mark.parametrize("said", ODD_OUTPUTS.values(), ids=ODD_OUTPUTS)
async def test_text_that_is_there_is_the_answer(provider: Provider, api: ResponsesClient, said: Any) -> None:
    provider.will(answer(said), answer(said), event_stream({"type": "response.completed", "response": said}))
    response = await api.create(REQUEST)
    assert (response.output_text, response.status) == ("Hello.", "completed")
    assert (await read(api)).output_text == "Hello."
    if "id" in said and "output" in said:
        assert (await streamed(api)).output_text == "Hello."


NO_ANSWERS: list[dict[str, Any]] = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "content": [{"text": "Hm."}]},
    {"type": "web_search_call", "action": {"query": "Hm."}, "text": "Hm."},
    {"type": "mcp_list_tools", "text": "Hm."},
    {"type": "file_search_output", "content": "Hm."},
    MESSAGE | {"phase": "commentary"},
    MESSAGE | {"role": "user"},
    {"type": "thinking", "text": "Hm."},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "text": "Hm."},
]


@pytest.mark.parametrize("item", NO_ANSWERS, ids=lambda item: str(item["type"]))
async def test_what_was_thought_asked_or_looked_up_is_no_answer(
    provider: Provider, api: ResponsesClient, item: dict[str, Any]
) -> None:
    provider.will(answer(DONE | {"output": [item]}))
    assert (await api.create(REQUEST)).output_text == ""


async def test_a_response_with_nothing_but_an_error_has_failed(provider: Provider, api: ResponsesClient) -> None:
    error = {"code": "server_error", "message": "Something broke."}
    for said in (DONE | {"output": [], "error": error}, DONE | {"output": [], "error": {"error": error}}):
        provider.will(answer(said), event_stream({"type": "response.completed", "response": said}))
        for response in (await api.create(REQUEST), await streamed(api)):
            assert response.error is not None
            assert (response.status, response.error.message) == ("failed", "Something broke.")


async def test_an_answer_beside_an_error_is_an_answer(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(DONE | {"error": {"code": "server_error", "message": "Something broke."}}))
    response = await api.create(REQUEST)
    assert (response.status, response.output_text) == ("completed", "Hello.")


@pytest.mark.parametrize("given", [None, "", 1.5, [], "x" * 100_000, True])
async def test_an_answer_without_a_usable_id_is_taken(provider: Provider, api: ResponsesClient, given: Any) -> None:
    """A second create would be paid for as well, and have no better id."""
    said = DONE | {"id": given, "usage": {"input_tokens": 3}}
    provider.will(answer(said), answer(said), event_stream({"type": "response.completed", "response": said}))
    response = await api.create(REQUEST)
    assert (response.output_text, response.id != "", len(response.id) < 50) == ("Hello.", True, True)
    assert (await read(api)).id == ("1.5" if given == 1.5 else "resp_1")
    assert (await streamed(api)).output_text == "Hello."


@pytest.mark.parametrize(
    "said", [{}, {"message": "Internal error"}, {"status": "ok"}, {"status": "queued", "output": []}]
)
async def test_what_is_no_response_gets_no_id(provider: Provider, api: ResponsesClient, said: Any) -> None:
    provider.will(answer(said))
    with pytest.raises(MalformedAnswer):
        await api.create(REQUEST)


@pytest.mark.parametrize("rest", ["\x00\x00", "\n<!-- proxy -->", "{}"])
async def test_what_a_gateway_adds_behind_the_answer_is_left_out(
    provider: Provider, api: ResponsesClient, rest: str
) -> None:
    provider.will(answer((json.dumps(DONE) + rest).encode()))
    assert (await api.create(REQUEST)).output_text == "Hello."


STATUSES = {
    "completed": ["Succeeded", "done", "finished", "COMPLETE", "success"],
    "in_progress": ["running", "Processing", "inProgress", "cancelling"],
    "queued": ["pending", "created"],
    "failed": ["error", "expired"],
    "cancelled": ["canceled"],
}


@pytest.mark.parametrize(("status", "said"), [(status, said) for status, words in STATUSES.items() for said in words])
async def test_a_status_may_have_other_words(provider: Provider, api: ResponsesClient, status: str, said: str) -> None:
    provider.will(answer(DONE | {"status": said}))
    assert (await api.create(REQUEST)).status == status


# --- an error in place of a response ------------------------------------------------------------------------------

REFUSALS: list[tuple[Any, type[ResponsesError]]] = [
    ({"error": {"message": "no such parameter"}}, BadRequest),
    ({"error": "no such parameter"}, BadRequest),
    ({"error": {"message": "no credit", "code": "insufficient_quota"}}, QuotaExhausted),
    ({"error": {"message": "bad key", "code": 401}}, AuthenticationFailed),
    ({"error": {"message": "slow down", "type": "rate_limit_error"}}, Busy),
    ({"error": {"message": "Provider returned error", "code": 502}}, Busy),
    ({"error": {"message": "model is overloaded", "type": "server_error"}}, Busy),
    ({"id": None, "status": "failed", "error": {"message": "no model", "code": "404"}}, NotFound),
    ({"object": "error", "message": "no such parameter", "code": 40303}, BadRequest),
    ({"object": "error", "message": "no model", "type": "NotFoundError", "code": 404}, NotFound),
    ({"success": False, "message": "no such parameter"}, BadRequest),
    ({"code": "InvalidParameter", "message": "no such parameter", "request_id": "1"}, BadRequest),
    ({"error_code": 17, "error_msg": "no such parameter"}, BadRequest),
    ({"statusCode": 401, "message": "bad key"}, AuthenticationFailed),
    ({"errors": [{"code": 502, "message": "It broke."}]}, Busy),
    ({"error": {"code": 401, "msg": "bad key"}}, AuthenticationFailed),
]


@pytest.mark.parametrize(("body", "kind"), REFUSALS)
@pytest.mark.parametrize("form", ["create", "stream", "event"])
async def test_a_success_with_an_error_and_no_id_is_a_refusal(
    provider: Provider, api: ResponsesClient, form: str, body: Any, kind: type[ResponsesError]
) -> None:
    """Nothing was created, so nothing is ambiguous."""
    said = f"event: error\ndata: {json.dumps(body)}\n\n"
    provider.will(event_stream(said) if form == "event" else answer(body))
    with pytest.raises(kind):
        await (api.create(REQUEST) if form == "create" else streamed(api))


async def test_an_error_beside_an_id_is_that_of_a_response(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer({"id": "resp_1", "status": "failed", "error": {"message": "no"}}))
    assert (await api.create(REQUEST)).status == "failed"


# --- packed answers -----------------------------------------------------------------------------------------------

PLAIN = json.dumps(DONE).encode()
RAW = zlib.compressobj(wbits=-15)

PACKED: dict[str, tuple[bytes, str]] = {
    "gzip": (gzip.compress(PLAIN), "gzip"),
    "gzip in capitals": (gzip.compress(PLAIN), " GZIP "),
    "gzip that is not named": (gzip.compress(PLAIN), "identity"),
    "gzip in two members": (gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:]), "gzip"),
    "gzip with something behind": (gzip.compress(PLAIN) + b"junk", "gzip"),
    "gzip that was unpacked on the way": (PLAIN, "gzip"),
    "zlib": (zlib.compress(PLAIN), "deflate"),
    "raw deflate": (RAW.compress(PLAIN) + RAW.flush(), "deflate"),
}


@pytest.mark.parametrize(("body", "encoding"), PACKED.values(), ids=PACKED)
async def test_a_packed_answer_is_read(provider: Provider, api: ResponsesClient, body: bytes, encoding: str) -> None:
    provider.will(answer(body, content_encoding=encoding))
    assert (await read(api)).output_text == "Hello."


@pytest.mark.parametrize(("body", "encoding"), [(b"\x1f\x8bnot gzip", "gzip"), (b"\x0b\x02\x80x\x03", "br")])
async def test_an_answer_that_cannot_be_unpacked_is_malformed(
    provider: Provider, api: ResponsesClient, body: bytes, encoding: str
) -> None:
    provider.will(answer(body, content_encoding=encoding))
    with pytest.raises(MalformedAnswer, match="cannot be unpacked"):
        await read(api)


def bomb(size: int) -> bytes:
    """So many bytes of JSON, packed a thousand times smaller."""
    packing = zlib.compressobj(wbits=31)
    spaces = b" " * 2**20
    pieces = [packing.compress(b'{"id": "resp_1"'), *(packing.compress(spaces) for _ in range(size >> 20))]
    return b"".join([*pieces, packing.compress(b"}"), packing.flush()])


@pytest.mark.parametrize("form", ["create", "retrieve", "stream"])
async def test_a_packed_answer_of_any_size_ends_at_the_budget(
    provider: Provider, api: ResponsesClient, form: str
) -> None:
    provider.will(answer(bomb(2 * BUDGET.unpacked), content_encoding="gzip"))
    calls = {"create": api.create(REQUEST), "retrieve": read(api), "stream": streamed(api)}
    call = calls.pop(form)
    for other in calls.values():
        other.close()
    with pytest.raises(AnswerTooLarge, match="too large"):
        await call


MANY: dict[str, dict[str, Any]] = {
    "items": DONE | {"output": [{}] * (BUDGET.values + 1)},
    "parts": DONE | {"output": [MESSAGE | {"content": [{}] * (BUDGET.values + 1)}]},
    "lists that nobody reads": DONE | {"x": [[]] * (BUDGET.values + 1)},
    "numbers that nobody reads": DONE | {"x": [0] * (20 * BUDGET.values + 1)},
}


@pytest.mark.parametrize("said", MANY.values(), ids=MANY)
@pytest.mark.parametrize("form", ["create", "retrieve", "stream", "event"])
async def test_an_answer_of_very_many_values_is_too_large(
    provider: Provider, api: ResponsesClient, form: str, said: dict[str, Any]
) -> None:
    """Each takes a hundred times the memory of its few bytes, which packed are none at all."""
    body = json.dumps(said, separators=(",", ":")).encode()
    whole = b'data: {"type":"response.completed","response":%s}\n\n' % body if form == "event" else body
    provider.will(answer(gzip.compress(whole, 1), content_encoding="gzip"))
    with pytest.raises(AnswerTooLarge, match="too large"):
        await {"create": lambda: api.create(REQUEST), "retrieve": lambda: read(api)}.get(form, lambda: streamed(api))()


async def test_of_an_error_only_the_beginning_is_read(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(b"<html>" + b"x" * 2**20, 400))
    with pytest.raises(BadRequest):
        await api.create(REQUEST)


HEADS: dict[str, bytes] = {
    "a header that is not ASCII": "x-model: Éole".encode(),
    "a header in Latin-1": b"server: caf\xe9",
    "a media type that is none": b"content-type: \xff\xfe; charset=\xff",
    "many headers": b"\r\n".join(b"x-%d: y" % number for number in range(500)),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
async def test_headers_may_be_odd(provider: Provider, api: ResponsesClient, head: bytes) -> None:
    said = Answer(b"HTTP/1.1 200 Tr\xe8s bien\r\n%s\r\ncontent-length: %d\r\n\r\n%s" % (head, len(PLAIN), PLAIN))
    provider.will(said, said, said)
    assert (await api.create(REQUEST)).output_text == "Hello."
    assert (await read(api)).output_text == "Hello."
    assert (await streamed(api)).output_text == "Hello."


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET, Then.HOLD])
@pytest.mark.parametrize(
    "head", [b"content-length: 9999\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(PLAIN)]
)
async def test_an_answer_that_is_whole_needs_no_end(provider: Provider, head: bytes, then: Then) -> None:
    """Gateways that change an answer forget its length."""
    provider.will(Answer(b"HTTP/1.1 200 OK\r\n" + head + PLAIN + b"\r\n", then))
    async with ResponsesClient(provider.url, KEY, create_timeout=0.5) as api:
        assert (await api.create(REQUEST)).output_text == "Hello."


@pytest.mark.parametrize("id_", [".", ".."])
async def test_an_id_that_leads_to_another_address_is_none(provider: Provider, api: ResponsesClient, id_: str) -> None:
    provider.will(answer(DONE | {"id": id_}), answer(DONE | {"id": id_, "status": "queued"}))
    assert (await api.create(REQUEST)).id.startswith("resp_without_id_")
    with pytest.raises(MalformedAnswer):
        await api.create(REQUEST)


async def test_headers_may_be_long(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(DONE, content_security_policy="x" * 30_000))
    assert (await read(api)).output_text == "Hello."


async def test_an_answer_with_very_many_items_does_not_hold_the_event_loop(
    provider: Provider, api: ResponsesClient
) -> None:
    searches = [{"type": "web_search_call", "id": f"ws_{n}", "status": "completed"} for n in range(50_000)]
    provider.will(answer(DONE | {"output": [*searches, MESSAGE]}))
    reading = asyncio.create_task(read(api))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await reading).output_text == "Hello."
    assert turns > 20


# --- requests that are not sent to their end ----------------------------------------------------------------------

LARGE = CreateRequest(model="m", input="x" * 20_000_000)


@asynccontextmanager
async def reader_of(size: int, *, holds: bool) -> AsyncIterator[str]:
    """A server that reads so many bytes of a request, and then holds the connection, or resets it."""
    over = asyncio.Event()
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(size)
        if holds:
            await over.wait()
        writer.transport.abort()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", limit=2**16) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        over.set()
        await ended.wait()


@pytest.mark.parametrize("holds", [False, True])
async def test_a_request_whose_last_byte_was_not_sent_was_not_taken(holds: bool) -> None:
    async with reader_of(2**16, holds=holds) as url, ResponsesClient(url, KEY, create_timeout=1) as api:
        with pytest.raises(NotSent):
            await api.create(LARGE)


async def test_the_time_of_a_create_counts_from_its_last_byte() -> None:
    """However long the upload takes, as long as it proceeds."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while left:
            left -= len(await reader.read(min(left, 2**19)))
            await asyncio.sleep(0.05)
        body = json.dumps(DONE).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        writer.close()
        await writer.wait_closed()

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    server = await asyncio.start_server(serve, sock=listening, limit=2**16)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    async with server, ResponsesClient(url, KEY, create_timeout=1) as api:
        began = asyncio.get_running_loop().time()
        assert (await api.create(LARGE)).output_text == "Hello."
        assert asyncio.get_running_loop().time() - began > 1


async def test_a_request_that_was_sent_to_its_end_may_have_been_taken(provider: Provider) -> None:
    provider.will(Answer(then=Then.HOLD))
    async with ResponsesClient(provider.url, KEY, create_timeout=0.3) as api:
        with pytest.raises(ConnectionLost):
            await api.create(REQUEST)
