"""What a body is, told by its beginning: servers name their media types wrongly, or not at all."""

import re

from durable_responses.responses_api.budget import BUDGET

_BLANK = b" \t\r\n\xef\xbb\xbf"  # a byte-order mark counts as blank
_JSON_EVENT = re.compile(rb'\[?\s*\{[^{}]*"type"\s*:\s*"(?:response\.|error")')
_EVENTS = re.compile(rb"(?:data|event|id|retry)\s*:|:")


def is_json(body: bytes | bytearray) -> bool:
    """Whether a body, or its beginning, is a JSON object or list, or a text, which may hold one."""
    return _opening(body)[:1] in (b"{", b"[", b'"')


def is_markup(body: bytes | bytearray) -> bool:
    """Whether a body, or its beginning, is a page."""
    return _opening(body)[:1] == b"<"


def is_blank(body: bytes | bytearray) -> bool:
    """Whether a piece of a body says nothing yet."""
    return not bytes(body).strip(_BLANK)


def is_event_stream(body: bytes | bytearray) -> bool:
    """Whether a body, or its beginning, is a stream of server-sent events."""
    return _EVENTS.match(_opening(body)) is not None


def is_list_of_events(body: bytes | bytearray) -> bool:
    """Whether a body is JSON and begins with an event: such a stream has an event in each line, or all in a list."""
    return _JSON_EVENT.match(_opening(body)) is not None


def has_too_many_values(body: bytes | bytearray | str) -> bool:
    """Whether a JSON text may hold more values than the budget allows. Signs in its texts count as well."""
    if len(body) <= BUDGET.values:
        return False
    begun, more = (_count(body, sign) for sign in ("{[", ","))
    return begun > BUDGET.values or more > _PLAIN_VALUES * BUDGET.values


_PLAIN_VALUES = 20  # numbers and short texts take as much memory as one object


def _count(body: bytes | bytearray | str, signs: str) -> int:
    if isinstance(body, str):
        return sum(body.count(sign) for sign in signs)
    return sum(body.count(sign.encode()) for sign in signs)


def _opening(body: bytes | bytearray) -> bytes:
    return bytes(body[:256]).lstrip(_BLANK)
