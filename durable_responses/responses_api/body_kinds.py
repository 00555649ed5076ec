"""What a body is, told by its beginning: servers name their media types wrongly, or not at all."""

import re

_BLANK = b" \t\r\n\xef\xbb\xbf"  # a byte-order mark counts as blank
_EVENTS = re.compile(rb"(?:data|event|id|retry)\s*:|:")


def is_json(body: bytes | bytearray) -> bool:
    """Whether a body, or its beginning, is a JSON object or list."""
    return _opening(body)[:1] in (b"{", b"[")


def is_markup(body: bytes | bytearray) -> bool:
    """Whether a body, or its beginning, is a page."""
    return _opening(body)[:1] == b"<"


def is_blank(body: bytes | bytearray) -> bool:
    """Whether a piece of a body says nothing yet."""
    return not bytes(body).strip(_BLANK)


def is_event_stream(body: bytes | bytearray) -> bool:
    """Whether a body, or its beginning, is a stream of server-sent events."""
    return _EVENTS.match(_opening(body)) is not None


def _opening(body: bytes | bytearray) -> bytes:
    return bytes(body[:256]).lstrip(_BLANK)
