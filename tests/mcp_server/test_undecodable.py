"""Which requests that cannot be decoded are answered, and by which error."""

import pytest

from durable_responses.mcp_server.undecodable import no_message, refusals

DEEP = '{"a":' * 300 + "1" + "}" * 300
CALL = '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":'


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc":"2.0","id":7,"method":"tools/list"}',
        '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}',
        '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":null}}',
        '{"jsonrpc":"2.0","id":"7","result":{}}',
        '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"id":7.0}}',
        '{"jsonrpc":"2.0","id":null,"method":"x"}',
    ],
)
def test_a_message_that_can_be_decoded_is_for_the_server(line: str) -> None:
    assert refusals(line) is None


@pytest.mark.parametrize(
    ("line", "number", "code"),
    [
        ('{"jsonrpc":"2.0","id":7,"method":"tools/list"', 7, -32700),
        ('{"jsonrpc":"2.0","id":0,"method":"tools/list",}', 0, -32700),
        ('{"id":5,"method":"a" "b"}', 5, -32700),
        ('{"jsonrpc":"2.0","id":"a\\"b","method":"tools/call","params":{"id":3,', 'a"b', -32700),
        ('{"jsonrpc":"2.0","method":"tools/call","params":{"id":3,"x":[{"id":4}]},"id":"late",', "late", -32700),
        (CALL + '{"arguments":{"task":"a\tb"}}}', 9, -32700),
        (CALL + '{"a":' + "1" * 5000 + "}}", 9, -32700),
        (CALL + DEEP + "}", 9, -32600),
        (CALL + "[" * 100_000, 9, -32700),
        (CALL + "[1]}", 9, -32600),
        ('{"jsonrpc":"1.0","id":0,"method":"x"}', 0, -32600),
        ('{"id":1,"method":"x"}', 1, -32600),
        ('{"jsonrpc":"2.0","id":1,"method":5}', 1, -32600),
        ('{"jsonrpc":"2.0","id":1}', 1, -32600),
        ('{"jsonrpc":"2.0","id":7.0,"method":"x"}', 7, -32600),
        ('{"jsonrpc":"2.0","id":1,"method":"tools/call"}', 1, -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}', 1, -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":[1]}}', 1, -32602),
        ('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":"{}"}}', 1, -32602),
    ],
)
def test_a_request_that_cannot_be_decoded_is_refused_under_its_id(line: str, number: int | str, code: int) -> None:
    assert [(error.id, error.error.code) for error in refusals(line) or []] == [(number, code)]


@pytest.mark.parametrize("number", ["true", "1.5", "{}", "[1]", "1e400", "NaN"])
def test_a_request_under_what_is_no_id_is_refused_under_none(number: str) -> None:
    """Taken for a notification, it would have no answer, and its sender wait for ever."""
    [error] = refusals(f'{{"jsonrpc":"2.0","id":{number},"method":"ping"}}') or []
    assert (error.id, error.error.code) == (None, -32600)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "5",
        'garbage "id": 5',
        "{'jsonrpc':'2.0','id':3}",
        '{"jsonrpc":"2.0","method":"notifications/x",}',
        '{"jsonrpc":"2.0","id":1,"result":5}',
        '{"jsonrpc":"2.0","id":1,"result":{',
        '{"jsonrpc":"2.0","id":1,"error":',
        '{"jsonrpc":"2.0","params":{"id":5}',
    ],
)
def test_nothing_is_said_to_what_asks_nothing_or_has_no_id(line: str) -> None:
    """An error to a broken answer could begin an exchange without end."""
    assert refusals(line) == []


def test_each_request_of_a_batch_is_refused() -> None:
    ping, told_only = '{"jsonrpc":"2.0","id":%s,"method":"ping"}', '{"jsonrpc":"2.0","method":"n"}'
    told = refusals("[" + ",".join([ping % 1, told_only, ping % '"b"']) + "]")
    assert [(error.id, error.error.message) for error in told or []] == [
        (1, "Batches are not supported."),
        ("b", "Batches are not supported."),
    ]


@pytest.mark.parametrize(("body", "code"), [("", -32700), ("{", -32700), ("null", -32600), ("[]", -32600)])
def test_a_body_without_a_request_is_answered_in_one_sentence(body: str, code: int) -> None:
    assert refusals(body) == []
    error = no_message(body)
    assert (error.id, error.error.code, "\n" in error.error.message) == (None, code, False)
