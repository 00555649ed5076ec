"""The door answers where the server would surely answer the same, and nowhere else."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from durable_responses.mcp_server.door import SNAPSHOT
from durable_responses.mcp_server.first_answers import FirstAnswers, known_results, line_of, read
from durable_responses.mcp_server.snapshot import converse, requests, server_with
from durable_responses.settings import Settings

KNOWN = known_results(Path(SNAPSHOT).read_text(encoding="utf-8"), {})
HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
ENVELOPE = "io.modelcontextprotocol"

CLIENT = {
    "name": "claude-code",
    "version": "2.1.0",
    "title": "Claude Code",
    "description": "ünïcödé \u0000",
    "websiteUrl": "https://example.com",
    "icons": [{"src": "data:image/png;base64,", "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"}],
    "more": [{}],
}
CAPABILITIES = {
    "elicitation": {"form": {}, "url": {}},
    "experimental": {"a": {"b": [1.5, None, True]}},
    "extensions": {"io.modelcontextprotocol/tasks": {}},
    "roots": {"listChanged": True},
    "sampling": {"context": {}, "tools": {}},
    "tasks": {
        "cancel": {},
        "list": {},
        "requests": {"elicitation": {"create": {}}, "sampling": {"createMessage": {}}},
    },
    "tools": True,
}
JUNK: list[Any] = [None, True, 0, -1, 2**70, 1.0, 1e300, "", "x", "true", MODERN, HANDSHAKE, [], [{}], {}, {"x": 1}]


def begin(revision: str) -> list[dict[str, Any]]:
    """The first two requests of a client that says all it can say."""
    first, then = copy.deepcopy(requests(revision)[0]), copy.deepcopy(requests(revision)[1])
    for request in (first, then):
        params, meta = request["params"], request["params"].setdefault("_meta", {})
        meta |= {"progressToken": 7, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        if request is first and revision == MODERN:
            meta |= {f"{ENVELOPE}/clientInfo": CLIENT, f"{ENVELOPE}/clientCapabilities": CAPABILITIES}
        elif request is first:
            params |= {"clientInfo": CLIENT, "capabilities": CAPABILITIES}
    then["params"]["cursor"] = None
    return [first, then]


def paths(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where something is, anywhere in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inner:
        yield (*at, name)
        yield from paths(part, (*at, name))


def changed(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A request with one value replaced, left out or added, in every way."""
    for *way, last in paths(request):
        for junk in JUNK:
            other = copy.deepcopy(request)
            place = reach(other, way)
            place[last] = junk
            yield other
        other = copy.deepcopy(request)
        place = reach(other, way)
        del place[last]
        yield other
        if isinstance(place, dict):
            place |= {str(last): reach(request, [*way, last]), "unknown": 1}
            yield other


def reach(value: Any, way: list[str | int]) -> Any:
    for name in way:
        value = value[name]
    return value


async def server_answers(server: Any, lines: list[bytes]) -> list[dict[str, Any]] | None:
    """None where the server would not read one of the lines, or not as a request."""
    try:
        messages = [json.loads(line) for line in lines]
        if not all(type(message.get("id")) in (int, str) and "method" in message for message in messages):
            return None
        return await converse(server, lines)
    except (ValueError, ValidationError):
        return None


@pytest.mark.parametrize("revision", [HANDSHAKE, MODERN])
@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
async def test_what_is_answered_is_what_the_server_answers(revision: str, which: int) -> None:
    """Every value of the requests is replaced by anything: the door answers alike, or leaves it to the server."""
    server = server_with(Settings())
    answered = 0
    for request in changed(begin(revision)[which]):
        lines = [line_of(each) for each in [*begin(revision)[:which], request]]
        answers = FirstAnswers(KNOWN)
        given = [answers.answer(read(line)) for line in lines][-1]
        if given is not None:
            answered += 1
            real = await server_answers(server, lines)
            assert real is not None, request
            assert json.loads(given) == real[-1], request
    assert answered > 10


@pytest.mark.parametrize("revision", [HANDSHAKE, MODERN])
def test_a_client_that_says_all_it_can_is_answered(revision: str) -> None:
    answers = FirstAnswers(KNOWN)
    assert all(answers.answer(read(line_of(request))) for request in begin(revision))


@pytest.mark.parametrize("number", [0, -1, 2**70, "", "a", "ünï\u2028"])
def test_the_id_comes_back_as_it_was(number: int | str) -> None:
    request = requests(MODERN)[0] | {"id": number}
    answer = FirstAnswers(KNOWN).answer(read(line_of(request)))
    assert answer is not None
    assert json.loads(answer)["id"] == number
    assert type(json.loads(answer)["id"]) is type(number)
    assert answer.count(b"\n") == 1


INITIALIZE, LIST = (line_of(request) for request in requests(HANDSHAKE))
DISCOVER, LIST_MODERN = (line_of(request) for request in requests(MODERN))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null\n",
        b"[]\n",
        b"[" + INITIALIZE.strip() + b"]\n",
        b"[" * 100_000 + b"\n",
        b"\xef\xbb\xbf" + INITIALIZE,
        b"\xff\n",
        INITIALIZE.strip() + INITIALIZE,
        INITIALIZE.replace(b'"id":1', b'"id":1,"id":2'),
        INITIALIZE.replace(b'"id":1', b'"id":NaN'),
        INITIALIZE.replace(b"snapshot", b"\\ud800"),
        INITIALIZE.replace(b"snapshot", b"\\uDC00"),
        INITIALIZE.replace(b"snapshot", b"\xed\xa0\x80"),
        INITIALIZE.replace(b"snapshot", b"x" * 70_000),
        INITIALIZE.replace(
            b'"capabilities":{}', b'"capabilities":{"experimental":' + b'{"a":' * 300 + b"{}" + b"}" * 301
        ),
        b"garbage\r" + INITIALIZE,
        INITIALIZE.strip() + b"\r" + INITIALIZE,
        INITIALIZE.replace(b'"id":1', b'"id":' + b"1" * 5000),
    ],
    ids=lambda line: repr(line[:12]),
)
def test_a_line_that_the_server_may_read_otherwise_is_left_to_it_and_so_is_all_that_follows(line: bytes) -> None:
    answers = FirstAnswers(KNOWN)
    assert read(line) is None
    assert answers.answer(read(line)) is None
    assert answers.answer(read(INITIALIZE)) is None


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ([], LIST),
        ([], LIST.replace(b"tools/list", b"server/discover")),
        ([LIST], INITIALIZE),
        ([b'{"jsonrpc":"2.0","id":9,"method":"ping"}\n'], INITIALIZE),
        ([b'{"jsonrpc":"2.0","id":9,"method":"ping"}\n'], DISCOVER),
        ([INITIALIZE], INITIALIZE),
        ([INITIALIZE, INITIALIZE], LIST),
        ([INITIALIZE], DISCOVER),
        ([INITIALIZE], LIST_MODERN),
        ([DISCOVER], INITIALIZE),
        ([DISCOVER], LIST),
        ([], INITIALIZE.replace(HANDSHAKE.encode(), b"2099-01-01")),
        ([], INITIALIZE.replace(HANDSHAKE.encode(), MODERN.encode())),
        ([], DISCOVER.replace(MODERN.encode(), HANDSHAKE.encode())),
        ([INITIALIZE], LIST.replace(b'"params":{}', b'"params":{"cursor":"2"}')),
        ([DISCOVER], LIST_MODERN.replace(b'"params":{', b'"params":{"cursor":"2",')),
        ([], INITIALIZE.replace(b'"2.0"', b'"1.0"')),
        ([], INITIALIZE.replace(b'"id":1', b'"id":null')),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_server(before: list[bytes], line: bytes) -> None:
    answers = FirstAnswers(KNOWN)
    for earlier in before:
        answers.answer(read(earlier))
    assert answers.answer(read(line)) is None


@pytest.mark.parametrize(
    "between",
    [
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n',
        b'{"jsonrpc":"2.0","id":9,"method":"resources/list"}\n',
        b'{"jsonrpc":"2.0","id":9,"result":{}}\n',
        LIST,
    ],
)
def test_tools_are_listed_whatever_else_is_asked(between: bytes) -> None:
    """Clients ask for tools, resources and prompts in any order."""
    answers = FirstAnswers(KNOWN)
    answers.answer(read(INITIALIZE))
    answers.answer(read(between))
    assert answers.answer(read(LIST.replace(b"\n", b"\r\n"))) is not None


@pytest.mark.parametrize("params", [b"", b',"params":null', b',"params":{}', b',"params":{"_meta":null}'])
async def test_tools_are_listed_for_a_request_without_parameters(params: bytes) -> None:
    line = b'{"jsonrpc":"2.0","id":2,"method":"tools/list"' + params + b"}\n"
    answers = FirstAnswers(KNOWN)
    answers.answer(read(INITIALIZE))
    given = answers.answer(read(line))
    assert given is not None
    assert json.loads(given) == (await converse(server_with(Settings()), [INITIALIZE, line]))[-1]
