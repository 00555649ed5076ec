import asyncio
import gzip
import inspect
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    Busy,
    ConnectionLost,
    MalformedAnswer,
    Misconfigured,
    NoSuchEndpoint,
    NotFound,
    ResponsesError,
    ServerFailed,
    Unreachable,
)
from durable_responses.responses_api.events import EventType, OtherEvent, ResponseEvent, TextDelta
from durable_responses.responses_api.models import (
    CreateRequest,
    FunctionCallOutput,
    InputText,
    ResponseStatus,
    UserMessage,
)
from tests.responses_api.conftest import KEY
from tests.support.provider import Answer, Provider, Then, answer, event_stream, running

REQUEST = CreateRequest(model="m", input="hello", background=True, store=True, stream=False)
QUEUED = {"id": "resp_1", "object": "response", "status": "queued", "output": []}
CREATED = {"type": "response.created", "sequence_number": 0, "response": QUEUED}
DELTA = {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "msg_1", "delta": "Hi"}
COMPLETED = {"type": "response.completed", "sequence_number": 2, "response": QUEUED | {"status": "completed"}}

Call = Callable[[ResponsesClient], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "create": lambda api: api.create(REQUEST),
    "retrieve": lambda api: api.retrieve("resp_1"),
    "cancel": lambda api: api.cancel("resp_1"),
    "delete": lambda api: api.delete("resp_1"),
    "input_items": lambda api: api.input_items("resp_1"),
    "container_files": lambda api: api.container_files("cntr_1"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


async def kinds_of(events: AsyncIterator[Any]) -> list[str]:
    return [event.type async for event in events]


# --- one request each ---------------------------------------------------------------------------------------------


async def test_a_create_sends_the_request_as_it_is(provider: Provider, api: ResponsesClient) -> None:
    """A2: background, store and stream arrive as the caller set them, and nothing is added."""
    provider.will(answer(QUEUED))
    await api.create(REQUEST)
    assert [(asked.method, asked.target, asked.json) for asked in provider.asked] == [
        ("POST", "/v1/responses", {"model": "m", "input": "hello", "background": True, "store": True, "stream": False})
    ]


async def test_a_create_returns_the_response(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED))
    response = await api.create(REQUEST)
    assert (response.id, response.status) == ("resp_1", ResponseStatus.QUEUED)


async def test_the_key_is_sent_as_a_bearer_token(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED))
    await api.create(REQUEST)
    assert provider.asked[0].headers["authorization"] == f"Bearer {KEY.get_secret_value()}"


async def test_without_a_key_nothing_is_sent_in_its_place(provider: Provider) -> None:
    provider.will(answer(QUEUED))
    async with ResponsesClient(provider.url, None) as api:
        await api.create(REQUEST)
    assert "authorization" not in provider.asked[0].headers


async def test_a_body_of_megabytes_arrives_whole(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED))
    text = "ä" * 3_000_000
    await api.create(CreateRequest(model="m", input=text))
    assert provider.asked[0].json["input"] == text


async def test_text_that_utf8_cannot_hold_is_sent_with_question_marks(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED))
    await api.create(CreateRequest(model="m", input="a\ud800b"))
    assert provider.asked[0].json["input"] == "a?b"


async def test_a_streaming_request_is_not_created_without_following_it(api: ResponsesClient) -> None:
    with pytest.raises(ValueError, match=r"use|follow"):
        await api.create(CreateRequest(model="m", input="hello", stream=True))


async def test_cancel_posts_to_the_response(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED | {"status": "cancelled"}))
    response = await api.cancel("resp_1")
    assert (provider.asked[0].method, provider.asked[0].target) == ("POST", "/v1/responses/resp_1/cancel")
    assert response.status is ResponseStatus.CANCELLED


async def test_delete_deletes_the_response(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer({"id": "resp_1", "object": "response", "deleted": True}))
    await api.delete("resp_1")
    assert (provider.asked[0].method, provider.asked[0].target) == ("DELETE", "/v1/responses/resp_1")


async def test_an_id_cannot_lead_to_another_address(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED))
    await api.retrieve("../files?x#y")
    assert provider.asked[0].target == "/v1/responses/..%2Ffiles%3Fx%23y"


@pytest.mark.parametrize("id_", [".", ".."])
async def test_a_folder_is_no_id(provider: Provider, api: ResponsesClient, id_: str) -> None:
    for call in (api.retrieve(id_), api.cancel(id_), api.input_items(id_)):
        with pytest.raises(NotFound, match="no response with the id"):
            await call
    assert provider.asked == []


async def test_a_response_with_another_id_than_asked_for_is_accepted(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED | {"id": "resp_other"}))
    assert (await api.retrieve("resp_1")).response.id == "resp_other"


@pytest.mark.parametrize(("header", "seconds"), [("1500", 1.5), ("0", 0.0), ("soon", None), ("-5", 0.0)])
async def test_retrieve_passes_on_when_the_server_wants_the_next_get(
    provider: Provider, api: ResponsesClient, header: str, seconds: float | None
) -> None:
    """A4: `openai-poll-after-ms`, in seconds."""
    provider.will(answer(QUEUED, openai_poll_after_ms=header))
    assert (await api.retrieve("resp_1")).poll_after == seconds


async def test_input_items_reads_all_pages(provider: Provider, api: ResponsesClient) -> None:
    text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}], "id": "msg_1"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "42", "id": "fco_1"}
    provider.will(
        answer({"data": [text], "has_more": True, "last_id": "msg_1"}),
        answer({"data": [output, {"type": "new_kind", "id": "x_1"}], "has_more": False, "last_id": "x_1"}),
    )
    message, call_output, other = await api.input_items("resp_1")
    assert isinstance(message, UserMessage)
    assert isinstance(message.content[0], InputText)
    assert isinstance(call_output, FunctionCallOutput)
    assert other.model_dump() == {"type": "new_kind", "id": "x_1"}
    assert [asked.target for asked in provider.asked] == [
        "/v1/responses/resp_1/input_items?order=asc&limit=100",
        "/v1/responses/resp_1/input_items?order=asc&limit=100&after=msg_1",
    ]


@pytest.mark.parametrize("ids", [["a", "b", "a"], [f"item_{number}" for number in range(1000)]])
async def test_pages_without_an_end_have_one(provider: Provider, api: ResponsesClient, ids: list[str]) -> None:
    """In a circle, or on and on."""
    provider.will(*(answer({"data": [], "has_more": True, "last_id": id_}) for id_ in ids))
    with pytest.raises(MalformedAnswer, match=r"after which one|more than 1000 pages"):
        await api.input_items("resp_1")
    assert len(provider.asked) == len(ids)


async def test_pages_that_lead_nowhere_are_an_error(provider: Provider, api: ResponsesClient) -> None:
    page = answer({"data": [], "has_more": True, "last_id": "msg_1"})
    provider.will(page, page)
    with pytest.raises(MalformedAnswer, match="does not say after which"):
        await api.input_items("resp_1")


async def test_the_files_of_a_container_are_listed_page_by_page_as_far_as_they_are_wanted(
    provider: Provider, api: ResponsesClient
) -> None:
    odd = [{"path": "/mnt/data/without_an_id"}, 7, {"id": "f2", "path": None, "bytes": "12", "created_at": "?"}]
    first = {
        "data": [{"id": "f1", "path": "/mnt/data/a", "bytes": 3, "source": "user"}],
        "has_more": True,
        "last_id": "f1",
    }
    provider.will(answer(first), answer({"data": odd, "has_more": True}), answer(first))
    files = await api.container_files("cntr/1", most=2)
    assert [(file.id, file.path, file.bytes, file.source) for file in files] == [
        ("f1", "/mnt/data/a", 3, "user"),
        ("f2", "", 12, ""),
    ]
    assert [asked.target for asked in provider.asked] == [
        "/v1/containers/cntr%2F1/files?order=asc&limit=100",
        "/v1/containers/cntr%2F1/files?order=asc&limit=100&after=f1",
    ]


async def test_a_list_of_files_that_begins_again_is_an_error(provider: Provider, api: ResponsesClient) -> None:
    page = answer({"data": [{"id": "f1"}], "has_more": True, "last_id": "f1"})
    provider.will(page, page)
    with pytest.raises(MalformedAnswer, match="the same page again"):
        await api.container_files("cntr_1")


async def content_of(api: ResponsesClient) -> bytes:
    async with api.container_file("cntr_1", "cfile_1", silence=0.2) as pieces:
        return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize(("how", "packed"), [("gzip", True), ("identity", False)])
async def test_a_file_is_unpacked_only_if_it_was_packed_for_its_way(
    provider: Provider, api: ResponsesClient, how: str, packed: bool
) -> None:
    content = gzip.compress(b"a file")
    provider.will(answer(content, content_encoding=how))
    assert await content_of(api) == (b"a file" if packed else content)
    [asked] = provider.asked
    assert (asked.target, asked.headers["accept-encoding"]) == (
        "/v1/containers/cntr_1/files/cfile_1/content",
        "identity",
    )


@pytest.mark.parametrize("then", [Then.HOLD, Then.RESET, Then.CLOSE])
async def test_a_file_that_breaks_off_is_a_lost_connection(
    provider: Provider, api: ResponsesClient, then: Then
) -> None:
    provider.will(Answer(answer(b"x" * 1000).data[:-10], then))
    with pytest.raises(ConnectionLost):
        await content_of(api)


async def test_hundreds_of_gets_are_under_way_at_once(provider: Provider) -> None:
    provider.answers.extend([Answer(then=Then.HOLD)] * 300)
    async with ResponsesClient(provider.url, KEY) as api, asyncio.timeout(10):
        gets = [asyncio.create_task(api.retrieve(f"resp_{number}")) for number in range(300)]
        while len(provider.asked) < 300:
            await asyncio.wait(gets, timeout=0.01)
        for get in gets:
            get.cancel()
        await asyncio.wait(gets)


# --- connections --------------------------------------------------------------------------------------------------


async def test_gets_share_a_connection(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED), answer(QUEUED))
    await api.retrieve("resp_1")
    await api.retrieve("resp_1")
    assert provider.connections == 1


async def test_every_create_has_a_connection_of_its_own(provider: Provider, api: ResponsesClient) -> None:
    """A kept connection may be dead already, and a create lost on it would be ambiguous for nothing."""
    provider.will(answer(QUEUED), answer(QUEUED), answer(QUEUED))
    await api.retrieve("resp_1")
    await api.create(REQUEST)
    await api.create(REQUEST)
    assert [asked.connection for asked in provider.asked] == [1, 2, 3]


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET])
async def test_a_create_is_never_sent_twice(provider: Provider, api: ResponsesClient, then: Then) -> None:
    provider.will(Answer(then=then), answer(QUEUED))
    with pytest.raises(ConnectionLost):
        await api.create(REQUEST)
    assert (len(provider.asked), provider.connections) == (1, 1)


async def test_a_get_on_a_connection_that_has_died_is_sent_again(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(QUEUED), Answer(then=Then.RESET), answer(QUEUED))
    await api.retrieve("resp_1")
    await api.retrieve("resp_1")
    assert [asked.connection for asked in provider.asked] == [1, 1, 2]


HALF_ANSWERS = {
    "nothing": b"",
    "half a header": b"HTTP/1.1 200 OK\r\ncontent-le",
    "half a body": b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"id": "resp',
    "half a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\n{",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
}


@every_call
@pytest.mark.parametrize("data", HALF_ANSWERS.values(), ids=HALF_ANSWERS)
async def test_a_broken_answer_leaves_the_outcome_unknown(
    provider: Provider, api: ResponsesClient, call: Call, data: bytes
) -> None:
    provider.answers.extend([Answer(data, Then.CLOSE)] * 2)
    with pytest.raises(ConnectionLost):
        await call(api)


@pytest.mark.parametrize("then", [Then.HOLD, Then.DRIP])
@pytest.mark.parametrize("name", ["create", "retrieve", "cancel"])
async def test_the_whole_request_is_bounded(provider: Provider, name: str, then: Then) -> None:
    """A2, A3: the timeout is a total: a server that sends a byte now and then does not extend it."""
    provider.will(Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", then))
    async with ResponsesClient(provider.url, KEY, create_timeout=0.5, read_timeout=0.5) as api:
        with pytest.raises(ConnectionLost, match=r"within 0\.5 seconds"):
            await CALLS[name](api)
    async with asyncio.timeout(5):
        await provider.client_left.wait()


@pytest.mark.parametrize(("timeout", "seconds"), [("create_timeout", 30), ("read_timeout", 20)])
def test_the_timeouts_are_those_of_the_requirements(timeout: str, seconds: float) -> None:
    """A2, A3: 30 seconds for a create, 20 for retrieve and cancel."""
    assert inspect.signature(ResponsesClient).parameters[timeout].default == seconds


@every_call
async def test_a_refused_connection_proves_that_nothing_was_sent(call: Call) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with ResponsesClient(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", KEY) as api:
            with pytest.raises(Unreachable):
                await call(api)


async def test_a_host_that_takes_no_connection_has_not_lost_a_create() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(full.getsockname())
        async with ResponsesClient(f"http://127.0.0.1:{full.getsockname()[1]}/v1", KEY, create_timeout=0.5) as api:
            with pytest.raises(Unreachable):
                await api.create(REQUEST)


async def test_a_failed_tls_handshake_proves_that_nothing_was_sent(provider: Provider) -> None:
    provider.will(answer(QUEUED))
    async with ResponsesClient(provider.url.replace("http:", "https:"), KEY, create_timeout=0.5) as api:
        with pytest.raises(Unreachable):
            await api.create(REQUEST)


async def test_an_unknown_host_proves_that_nothing_was_sent() -> None:
    async with ResponsesClient("http://provider.invalid/v1", KEY) as api:
        with pytest.raises(Unreachable, match=r"provider\.invalid"):
            await api.create(REQUEST)


# --- refusals and malformed answers -------------------------------------------------------------------------------


async def test_a_refusal_says_what_when_and_for_which_request(provider: Provider, api: ResponsesClient) -> None:
    error = {"error": {"message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded", "param": None}}
    provider.will(answer(error, 429, retry_after_ms="250", x_request_id="req_7"))
    with pytest.raises(Busy) as caught:
        await api.create(REQUEST)
    assert caught.value.retry_after == 0.25
    assert str(caught.value) == (
        "The provider refused POST /v1/responses: Slow down. (status 429, code rate_limit_exceeded, request id req_7)"
    )


@pytest.mark.parametrize("key", [KEY.get_secret_value(), "a-key-of-another-shape"])
async def test_a_key_in_a_refusal_is_not_shown(provider: Provider, key: str) -> None:
    """A25: a provider that repeats the key does not make us print it."""
    provider.will(answer({"error": {"message": f"Incorrect API key provided: {key}."}}, 401))
    async with ResponsesClient(provider.url, SecretStr(key)) as api:
        with pytest.raises(AuthenticationFailed, match="Incorrect API key") as caught:
            await api.create(REQUEST)
    assert key not in repr(caught.value)


ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY.get_secret_value())


@pytest.mark.parametrize("spelled", [KEY.get_secret_value(), ESCAPED], ids=["plain", "escaped"])
async def test_a_key_that_an_answer_repeats_reaches_nobody(
    provider: Provider, api: ResponsesClient, spelled: str
) -> None:
    """A25: not as the error of a response, not in its text, and not in an event."""
    body = (
        f'{{"id": "resp_1", "status": "failed", "error": {{"code": "server_error", "message": "upstream {spelled}"}},'
        f' "output": [{{"type": "message", "content": [{{"type": "output_text", "text": "{spelled}"}}]}}]}}'
    )
    event = f'{{"type": "response.failed", "response": {body}}}'
    provider.will(
        answer(body.encode()),
        answer(body.encode(), content_type="application/json"),
        answer(f"event: response.failed\ndata: {event}\n\n".encode(), content_type="text/event-stream"),
        answer(f"<p>{spelled}</p>".encode(), 502, x_request_id=KEY.get_secret_value()),
    )
    created, retrieved = await api.create(REQUEST), (await api.retrieve("resp_1")).response
    async with api.stream(REQUEST) as events:
        streamed = [event async for event in events]
    with pytest.raises(ServerFailed) as caught:
        await api.retrieve("resp_1")
    assert created.error is not None
    assert created.error.message == "upstream ***"
    assert created.output_text == "***"
    assert "***" in str(caught.value)
    for shown in (created, retrieved, streamed, caught.value):
        assert KEY.get_secret_value() not in repr(shown)


async def test_a_key_that_is_spread_over_the_parts_of_a_text_reaches_nobody(
    provider: Provider, api: ResponsesClient
) -> None:
    """Who reads the text reads them as one."""
    halves = KEY.get_secret_value()[:9], KEY.get_secret_value()[9:]
    parts = [{"type": "output_text", "text": half} for half in halves]
    noted = parts[0] | {"annotations": [{"type": "url_citation", "url": "https://example.org"}]}
    for content in ([noted, parts[1]], [parts[0] | {"text": list(halves)}], list(halves)):
        said = {"id": "resp_1", "status": "completed", "output": [{"type": "message", "content": content}]}
        provider.will(answer(said), answer(said))
        for read in (await api.create(REQUEST), (await api.retrieve("resp_1")).response):
            assert read.output_text == "***"
            assert len(read.citations) == (content[0] is noted)


async def test_a_redirect_is_not_followed(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(b"", 307, location=provider.url + "/elsewhere"))
    with pytest.raises(NoSuchEndpoint, match="redirects to"):
        await api.create(REQUEST)
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    "body", [b"<html>ok</html>", b"", b"[]", b"null", {"status": "completed"}, {"id": ""}, {"id": []}, {"error": None}]
)
@pytest.mark.parametrize("name", ["create", "retrieve", "cancel"])
async def test_a_success_that_is_no_response_is_malformed(
    provider: Provider, api: ResponsesClient, name: str, body: Any
) -> None:
    provider.will(answer(body, x_request_id="req_7"))
    with pytest.raises(MalformedAnswer, match=r"is not a Response: .* \(status 200, request id req_7\)"):
        await CALLS[name](api)


@pytest.mark.parametrize(
    "url", ["", "api.openai.com/v1", "ftp://host/v1", "http://", "http://host:port", "https://me:pw@host"]
)
def test_a_base_url_that_cannot_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(Misconfigured, match="base URL") as caught:
        ResponsesClient(url, KEY)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-one two-0123456789", "sk-a\nb-0123456789", "sk-–0123456789"])
def test_a_key_that_cannot_be_a_header_is_refused_without_being_shown(key: str) -> None:
    """A25: the key is in no text, not even when it is the problem."""
    with pytest.raises(Misconfigured, match="API key") as caught:
        ResponsesClient("http://127.0.0.1/v1", SecretStr(key))
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    "refused",
    [
        Answer(b"HTTP/1.1 301 X\r\nlocation: https://host/v1?key=a%2Dsecret-value-1\r\ncontent-length: 0\r\n\r\n"),
        answer({"error": {"message": "No route for /v1/responses?key=a-secret-value-1"}}, 400),
    ],
)
async def test_a_key_in_the_query_of_the_base_url_is_not_repeated(provider: Provider, refused: Answer) -> None:
    """A redirect to `https` names the whole address."""
    provider.will(refused)
    async with ResponsesClient(f"{provider.url}?key=a-secret-value-1", KEY) as api:
        with pytest.raises(ResponsesError) as caught:
            await api.create(REQUEST)
    assert "secret-value" not in str(caught.value)
    assert "***" in str(caught.value)


@pytest.mark.parametrize("base", ["?api-version=2025-04-01&x=%20", "/?api-version=2025-04-01&x=%20#part"])
async def test_a_query_of_the_base_url_stays_behind_the_path(provider: Provider, base: str) -> None:
    """Azure asks for its `api-version` so."""
    provider.will(answer(QUEUED), answer({"data": [], "has_more": False}), answer(QUEUED))
    async with ResponsesClient(provider.url + base, KEY) as api:
        await api.retrieve("resp_1")
        await api.input_items("resp_1")
        await api.create(REQUEST)
    query = "api-version=2025-04-01&x=+"
    assert [asked.target for asked in provider.asked] == [
        f"/v1/responses/resp_1?{query}",
        f"/v1/responses/resp_1/input_items?{query}&order=asc&limit=100",
        f"/v1/responses?{query}",
    ]


async def test_headers_that_are_given_are_sent_with_every_request(provider: Provider) -> None:
    provider.will(answer(QUEUED), answer(QUEUED))
    async with ResponsesClient(provider.url, KEY, headers={"OpenAI-Project": "proj_1"}) as api:
        await api.retrieve("resp_1")
        await api.create(REQUEST)
    assert [asked.headers["openai-project"] for asked in provider.asked] == ["proj_1", "proj_1"]


async def test_a_line_break_at_the_end_of_a_key_is_left_out(provider: Provider) -> None:
    provider.will(answer(QUEUED))
    async with ResponsesClient(provider.url + "/", SecretStr(KEY.get_secret_value() + "\n")) as api:
        await api.create(REQUEST)
    assert provider.asked[0].headers["authorization"] == f"Bearer {KEY.get_secret_value()}"


# --- streams ------------------------------------------------------------------------------------------------------


async def test_a_stream_gives_typed_events_until_the_response_ends(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(CREATED, DELTA, COMPLETED))
    async with api.stream(REQUEST) as events:
        created, delta, completed = [event async for event in events]
    assert isinstance(created, ResponseEvent)
    assert isinstance(delta, TextDelta)
    assert isinstance(completed, ResponseEvent)
    assert [created.type, delta.delta, completed.response.status] == [EventType.CREATED, "Hi", ResponseStatus.COMPLETED]


async def test_a_stream_asks_for_events(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(COMPLETED))
    async with api.stream(REQUEST) as events:
        await kinds_of(events)
    assert provider.asked[0].json == REQUEST.body() | {"stream": True}
    assert provider.asked[0].headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("kind", ["response.completed", "response.failed", "response.incomplete"])
async def test_a_stream_is_over_with_its_terminal_event(provider: Provider, api: ResponsesClient, kind: str) -> None:
    provider.will(event_stream(CREATED, COMPLETED | {"type": kind}, then=Then.HOLD))
    async with asyncio.timeout(5), api.stream(REQUEST) as events:
        assert await kinds_of(events) == ["response.created", kind]


async def test_event_kinds_of_the_future_are_passed_on(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream({"type": "response.dream.delta", "dream": {"of": "sheep"}}, COMPLETED))
    async with api.stream(REQUEST) as events:
        first, _ = [event async for event in events]
    assert isinstance(first, OtherEvent)
    assert first.model_dump(exclude_unset=True) == {"type": "response.dream.delta", "dream": {"of": "sheep"}}


async def test_resume_asks_for_the_events_after_a_number(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(COMPLETED))
    async with api.resume("resp_1", 7) as events:
        assert await kinds_of(events) == ["response.completed"]
    assert provider.asked[0].target == "/v1/responses/resp_1?stream=true&starting_after=7"


async def test_resume_without_a_number_asks_for_all_events(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(COMPLETED))
    async with api.resume("resp_1") as events:
        await kinds_of(events)
    assert provider.asked[0].target == "/v1/responses/resp_1?stream=true"


@pytest.mark.parametrize("then", [Then.CLOSE, Then.RESET])
async def test_a_stream_that_is_cut_is_not_a_finished_one(provider: Provider, api: ResponsesClient, then: Then) -> None:
    """A27: the error carries the id, by which the response can be read."""
    provider.will(event_stream(CREATED, DELTA, then=then))
    async with api.stream(REQUEST) as events:
        with pytest.raises(ConnectionLost) as caught:
            await kinds_of(events)
    assert caught.value.response_id == "resp_1"


@pytest.mark.parametrize("data", ["", ": hello\n\n", "data: [DONE]\n\n", "data: {"])
async def test_a_stream_that_is_cut_before_the_id_is_known_says_so(
    provider: Provider, api: ResponsesClient, data: str
) -> None:
    """A27: without an id the create is ambiguous."""
    provider.will(event_stream(data))
    async with api.stream(REQUEST) as events:
        with pytest.raises(ConnectionLost, match="ended before the response did") as caught:
            await kinds_of(events)
    assert caught.value.response_id is None


async def test_a_stream_that_is_cut_in_mid_chunk_is_a_lost_connection(provider: Provider, api: ResponsesClient) -> None:
    """A27: a connection that breaks inside a chunk."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nff\r\ndata: "
    provider.will(Answer(head, Then.CLOSE))
    async with api.stream(REQUEST) as events:
        with pytest.raises(ConnectionLost):
            await kinds_of(events)


async def test_a_silent_stream_is_given_up(provider: Provider, api: ResponsesClient) -> None:
    """A27: no event for `silence` seconds; 300 unless told otherwise."""
    provider.will(event_stream(CREATED, then=Then.HOLD))
    async with api.stream(REQUEST, silence=0.5) as events:
        with pytest.raises(ConnectionLost, match=r"silent for 0\.5 seconds") as caught:
            await kinds_of(events)
    assert caught.value.response_id == "resp_1"


async def test_any_byte_is_life(provider: Provider, api: ResponsesClient) -> None:
    """A27: a proxy's keep-alive comments say that the connection works, however long the model thinks."""
    provider.will(event_stream(CREATED, ":", then=Then.DRIP))
    async with api.stream(REQUEST, silence=0.3) as events:
        await anext(events)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 1.2)


async def test_silence_before_the_first_byte_is_given_up_too(provider: Provider, api: ResponsesClient) -> None:
    """A27: silence from the start."""
    provider.will(Answer(then=Then.HOLD))
    with pytest.raises(ConnectionLost):
        async with api.stream(REQUEST, silence=0.5):
            pytest.fail("there is no stream")


@pytest.mark.parametrize("resumed", [False, True])
async def test_leaving_a_stream_closes_its_connection(provider: Provider, api: ResponsesClient, resumed: bool) -> None:
    provider.will(event_stream(CREATED, then=Then.HOLD))
    async with api.resume("resp_1") if resumed else api.stream(REQUEST) as events:
        await anext(events)
    async with asyncio.timeout(5):
        await provider.client_left.wait()


async def test_cancelling_the_reader_of_a_stream_closes_its_connection(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(event_stream(CREATED, then=Then.HOLD))
    created = asyncio.Event()

    async def follow() -> None:
        async with api.stream(REQUEST) as events:
            async for _ in events:
                created.set()

    reader = asyncio.create_task(follow())
    await created.wait()
    reader.cancel()
    async with asyncio.timeout(5):
        await provider.client_left.wait()
    assert reader.cancelled() or not await asyncio.wait([reader], timeout=1)


async def test_an_error_event_before_the_id_is_classed_by_its_code(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream({"type": "error", "code": "rate_limit_exceeded", "message": "Slow down."}))
    async with api.stream(REQUEST) as events:
        with pytest.raises(Busy, match="Slow down"):
            await kinds_of(events)


async def test_an_error_event_after_the_id_leaves_the_outcome_to_be_read(
    provider: Provider, api: ResponsesClient
) -> None:
    """A27: whatever the error's code, the response exists and may be billed."""
    provider.will(event_stream(CREATED, {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down."}))
    async with api.stream(REQUEST) as events:
        with pytest.raises(ServerFailed) as caught:
            await kinds_of(events)
    assert (caught.value.response_id, caught.value.code) == ("resp_1", "rate_limit_exceeded")


async def test_an_event_that_is_no_json_is_left_out(provider: Provider, api: ResponsesClient) -> None:
    provider.will(event_stream(CREATED, "data: {oops\n\ndata: ping\n\ndata: [1]\n\ndata: {}\n\n", COMPLETED))
    async with api.stream(REQUEST) as events:
        assert await kinds_of(events) == ["response.created", "response.completed"]


async def test_a_stream_without_a_last_event_that_can_be_read_is_malformed(
    provider: Provider, api: ResponsesClient
) -> None:
    provider.will(event_stream(CREATED, "data: {oops\n\n"))
    async with api.stream(REQUEST) as events:
        with pytest.raises(MalformedAnswer) as caught:
            await kinds_of(events)
    assert caught.value.response_id == "resp_1"


async def test_a_page_instead_of_a_stream_is_malformed(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer(b"<html>Welcome</html>", content_type="text/event-stream"))
    async with api.stream(REQUEST) as events:
        with pytest.raises(MalformedAnswer, match="not an event stream"):
            await kinds_of(events)


async def test_a_refused_stream_raises_as_a_refused_create_does(provider: Provider, api: ResponsesClient) -> None:
    provider.will(answer({"error": {"message": "Overloaded.", "code": "server_is_overloaded"}}, 503, retry_after="3"))
    with pytest.raises(Busy) as caught:
        async with api.stream(REQUEST):
            pytest.fail("there is no stream")
    assert caught.value.retry_after == 3


async def test_closing_the_client_ends_its_streams() -> None:
    async with running(Provider()) as provider:
        provider.will(event_stream(CREATED, then=Then.HOLD))
        api = ResponsesClient(provider.url, KEY)
        async with api.stream(REQUEST) as events:
            await anext(events)
            await api.aclose()
            with pytest.raises(ConnectionLost):
                await anext(events)
