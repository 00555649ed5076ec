"""What servers send in place of messages, and what is made of it."""

import contextlib
import json
from typing import Any

import mcp_types as types
import pytest
from hypothesis import given, settings
from mcp_types.methods import parse_server_result
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

from durable_responses.mcp_tools.messages import NOT_OFFERED, SAID, UNREADABLE, Exchange, as_bytes
from durable_responses.mcp_tools.results import read
from tests.support.outside_data import mutated

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
TOOL = {"name": "get", "inputSchema": {"type": "object"}}


def asked(method: str, id: int = 7, version: str = "2025-11-25") -> Exchange:  # noqa: A002 - as the protocol has it
    """An exchange in which something has been asked."""
    exchange = Exchange()
    exchange.sent(types.JSONRPCRequest(jsonrpc="2.0", id=1, method="initialize", params={}))
    exchange.received(json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": version}}).encode())
    exchange.sent(types.JSONRPCRequest(jsonrpc="2.0", id=id, method=method, params={}))
    return exchange


def answered(method: str, result: Any, version: str = "2025-11-25") -> dict[str, Any]:
    """What the library is given of a result, which it must take."""
    said = json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode()
    [message] = asked(method, version=version).received(said).messages
    assert isinstance(message, types.JSONRPCResponse)
    parse_server_result(method, version, message.result)
    return message.result


# --- what is no message, and answers all the same ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        (b'{"jsonrpc":"2.0","id":7,"error":"plain words"}', types.INTERNAL_ERROR, "plain words"),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":-5}}', -5, '{"code":-5}'),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":1.5,"message":"half"}}', types.INTERNAL_ERROR, "half"),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":"E1","message":"a name"}}', types.INTERNAL_ERROR, "a name"),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"no more today"}}', SAID, "no more today"),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"one of ours"}}', SAID, "one of ours"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"of nothing"}}', -32700, "of nothing"),
        (b'{"jsonrpc":"2.0","id":7}', types.INTERNAL_ERROR, "its answer has neither a result nor an error"),
        (b'{"jsonrpc":"2.0","id":7,"result":{"a"', UNREADABLE, "what it answers is not valid JSON: "),
        (b'{"jsonrpc":"2.0","id":7,"result":' + b"[" * 999 + b"]" * 999 + b"}", UNREADABLE, "is not valid JSON: "),
    ],
)
def test_an_error_in_any_form_answers_its_request(said: bytes, code: int, message: str) -> None:
    """Whoever waits would wait for ever."""
    [error] = asked("tools/call").received(said).messages
    assert isinstance(error, types.JSONRPCError)
    assert (error.id, error.error.code) == (7, code)
    assert message in error.error.message


@pytest.mark.parametrize(
    "said",
    [
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":7,"result":{}}',
        b'{"id":7,"result":{}}',
        b'{"jsonrpc":"2.0","id":"7","result":{}}',
        b'[{"jsonrpc":"2.0","id":7,"result":{}}]',
        b'{"jsonrpc":"1.0","id":7,"result":{},"error":null}',
    ],
)
def test_a_result_in_any_form_answers_its_request(said: bytes) -> None:
    [answer] = asked("ping").received(said).messages
    assert isinstance(answer, types.JSONRPCResponse)
    assert (answer.id, answer.result) == (7, {})


@pytest.mark.parametrize("text", [rb"half \ud83d", b"half \xff"])
def test_half_a_character_costs_no_answer(text: bytes) -> None:
    said = b'{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"%s"}]}}' % text
    [answer] = asked("tools/call").received(said).messages
    assert isinstance(answer, types.JSONRPCResponse)
    assert answer.result["content"][0]["text"] == "half \ufffd"


def test_what_answers_a_request_over_http_answers_that_one() -> None:
    [answer] = asked("ping").received(b'{"jsonrpc":"2.0","id":99,"result":{}}', 7).messages
    assert isinstance(answer, types.JSONRPCResponse)
    assert answer.id == 7


def test_a_message_as_it_should_be_is_left_alone() -> None:
    for said in (b'{"jsonrpc":"2.0","id":7,"result":{"content":[]}}', b'{"jsonrpc":"2.0","method":"x"}'):
        assert not asked("tools/call").received(said).is_mended


@pytest.mark.parametrize("said", [b"Welcome!", b"42", b"[]", b'{"level":"info"}', b'{"jsonrpc":"2.0","method":5}'])
def test_what_is_no_message_is_called_so(said: bytes) -> None:
    with pytest.raises(ValueError, match="not a message"):
        asked("tools/call").received(said)


def test_a_notification_that_nobody_could_use_is_dropped() -> None:
    said = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "x", "progress": "half"}}
    assert asked("tools/call").received(json.dumps(said).encode()).messages == []


# --- answers to calls ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [v for v in KNOWN_PROTOCOL_VERSIONS if v < "2026"])
@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("done", "done"),
        (None, "(The tool has answered nothing.)"),
        (["a", "b"], "a\n\nb"),
        ({"content": None}, "(The tool has answered nothing.)"),
        ({"content": "hello"}, "hello"),
        ({"content": {"type": "text", "text": "one"}}, "one"),
        ({"structuredContent": {"a": 1}}, '{"a":1}'),
        ({"content": [], "structuredContent": [1, 2]}, "[1,2]"),
        ({"toolResult": {"a": 1}}, '{"a":1}'),
        ({"content": [{"type": "video", "data": "x" * 5000}, {"type": "text", "text": "kept"}]}, "kept"),
        ({"content": [{"text": "kept"}]}, "kept"),
        ({"content": ["kept", 5]}, "kept\n\n5"),
        ({"content": [{"type": "text", "text": "kept", "annotations": {"priority": 7}}]}, "kept"),
        ({"content": [{"type": "text", "text": "kept"}], "isError": None}, "kept"),
        ({"content": [{"type": "text", "text": "kept"}], "_meta": "x"}, "kept"),
        ({"content": [{"type": "text", "text": "kept"}], "resultType": None}, "kept"),
        ({"content": [{"type": "text", "text": "kept"}], "resultType": {"value": "complete"}}, "kept"),
        ({"isError": False}, "(The tool has answered nothing.)"),
        ({}, "(The tool has answered nothing.)"),
        ({"content": [{"type": "image", "data": PICTURE}]}, "[image 1: image/png, 69 bytes]"),
    ],
)
def test_the_text_of_an_answer_is_not_lost_for_its_form(result: Any, text: str, version: str) -> None:
    given = types.CallToolResult.model_validate(answered("tools/call", result, version), by_name=False)
    said, _ = read(given)
    assert said.endswith(text)
    assert len(said) < 1000
    assert not given.is_error


@pytest.mark.parametrize("is_error", [True, "true", 1])
def test_an_answer_that_calls_itself_an_error_is_one(is_error: Any) -> None:
    assert answered("tools/call", {"content": "no", "isError": is_error})["isError"] is True


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize(
    "odd", [{"nextCursor": 5}, {"resultType": []}, {"_meta": "x"}, {"ttlMs": "soon", "cacheScope": 1}]
)
def test_a_list_is_not_lost_for_what_stands_beside_it(odd: dict[str, Any], version: str) -> None:
    assert answered("tools/list", {"tools": [TOOL], **odd}, version)["tools"] == [TOOL]


def test_no_tools_may_be_written_as_null() -> None:
    assert answered("tools/list", {"tools": None})["tools"] == []


def test_a_code_that_is_no_number_is_none() -> None:
    [error] = asked("ping").received(b'{"jsonrpc":"2.0","id":7,"error":{"code":1e999,"message":"m"}}').messages
    assert isinstance(error, types.JSONRPCError)
    assert error.error.code == types.INTERNAL_ERROR


def test_an_answer_of_the_newest_revision_needs_no_adornment() -> None:
    assert answered("tools/call", {"content": [{"type": "text", "text": "x"}]}, "2026-07-28")["content"]


ANSWER = {
    "jsonrpc": "2.0",
    "id": 7,
    "result": {
        "content": [
            {"type": "text", "text": "a", "annotations": {"audience": ["user"], "priority": 0.5}},
            {"type": "resource", "resource": {"uri": "x:y", "blob": "AAAA", "mimeType": "text/plain"}},
        ],
        "structuredContent": {"a": 1},
        "tools": [{**TOOL, "annotations": {"readOnlyHint": True}, "execution": {"taskSupport": "optional"}}],
    },
    "error": {"code": -32602, "message": "m", "data": {"a": 1}},
}


@settings(max_examples=150, deadline=None)
@given(mutated({name: part for name, part in ANSWER.items() if name != "error"}) | mutated(ANSWER))
def test_whatever_comes_is_a_message_or_is_called_none(said: Any) -> None:
    """Any other exception would end the session, and every call in it."""
    for method in ("tools/call", "tools/list"):
        for version in ("2025-11-25", "2026-07-28"):
            with contextlib.suppress(ValueError):
                received = asked(method, version=version).received(json.dumps(said).encode())
                assert all(types.jsonrpc_message_adapter.validate_json(as_bytes(each)) for each in received.messages)


# --- lists of tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ({"name": "x"}, "it has no schema"),
        ({"name": "x", "inputSchema": None}, "it has no schema"),
        ({"name": "x", "inputSchema": True}, "its schema is not valid: "),
        ({"name": "x", "inputSchema": {"type": "array"}}, "its schema is not valid: type: input should be 'object'"),
        ({"name": "x", "inputSchema": {"type": "object", "properties": {"a": "string"}}}, "its schema is not valid: "),
        ({"name": "x", "inputSchema": {"type": "object", "required": "a"}}, "its schema is not valid: required: "),
        ({"name": 5, "inputSchema": {"type": "object"}}, "its name: "),
        ("a text", "it has no schema"),
    ],
)
def test_a_tool_that_cannot_be_read_says_why_and_leaves_the_others_alone(tool: Any, why: str) -> None:
    odd, other = answered("tools/list", {"tools": [tool, TOOL]})["tools"]
    assert odd["_meta"][NOT_OFFERED].startswith(why)
    assert other == TOOL


@pytest.mark.parametrize(
    "adornment",
    [
        {"annotations": "pure"},
        {"description": {"en": "x"}},
        {"outputSchema": {"type": "string"}},
        {"execution": {"taskSupport": "sometimes"}},
        {"title": 5},
        {"icons": "x.png"},
        {"_meta": []},
    ],
)
def test_a_tool_is_offered_without_what_is_wrong_with_it(adornment: dict[str, Any]) -> None:
    assert answered("tools/list", {"tools": [{**TOOL, **adornment}]})["tools"] == [TOOL]


@pytest.mark.parametrize("kind", [None, ["object"], ["object", "null"]])
def test_arguments_that_can_only_be_an_object_are_one(kind: Any) -> None:
    schema = {"properties": {"a": {"type": "string"}}, **({"type": kind} if kind else {})}
    [tool] = answered("tools/list", {"tools": [{"name": "x", "inputSchema": schema}]})["tools"]
    assert tool["inputSchema"] == {"properties": {"a": {"type": "string"}}, "type": "object"}
