"""Requests that cannot be decoded. Pure.

The SDK drops them, and whoever waits for the answer waits for ever. Where the id can be found, an error carries it back
(JSON-RPC 2.0, section 5.1: -32700 for what is not JSON, -32600 for what is not a request, -32602 for a call of
another form).
"""

import json
import re
from typing import Any

from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from durable_responses.json_text import tokens

_ID = re.compile(r'\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9]{1,100}(?![0-9.eE]))')


def refusals(text: str) -> list[JSONRPCError] | None:
    """None for a message that can be decoded; else the errors to answer with: one for each request in it.

    There is none for what is no request, or has no id that could be found. One under an id that is neither text nor a
    whole number is answered under none, as JSON-RPC wants it.
    """
    try:
        decoded: Any = jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        decoded = None
    else:
        # What is no id to the SDK, 7.0 or true, would make it take the request for a notification.
        if not isinstance(decoded, JSONRPCNotification) or '"id"' not in text:
            return _refused_call(decoded)
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):  # nested too deep, or not JSON
        names = _outermost(text)
        if names.get("id") is None or not _asks(names):
            return []
        return [_error(names["id"], PARSE_ERROR, "The request is not valid JSON.")]
    if isinstance(message, dict) and isinstance(decimal := message.get("id"), float) and decimal.is_integer():
        return [_error(int(decimal), INVALID_REQUEST, "The id is neither a string nor an integer.")]
    if _has_no_usable_id(message):
        return [_error(None, INVALID_REQUEST, "The id is neither a string nor an integer.")]
    # Batches went with the revision 2025-06-18.
    several = message if isinstance(message, list) else [message]
    what = "Batches are not supported." if isinstance(message, list) else "The request is not valid."
    refused = [_error(each["id"], INVALID_REQUEST, what) for each in several if _is_request(each)]
    return None if isinstance(decoded, JSONRPCNotification) else refused


def _is_request(message: Any) -> bool:
    return isinstance(message, dict) and type(message.get("id")) in (str, int) and _asks(message)


def _refused_call(message: Any) -> list[JSONRPCError] | None:
    """The errors for a call whose form is wrong: the SDK would not say what of it. None where nothing is."""
    if not isinstance(message, JSONRPCRequest) or message.method != "tools/call":
        return None
    params = message.params or {}
    if not isinstance(params.get("name"), str):
        return [_error(message.id, INVALID_PARAMS, "params.name is not the name of a tool.")]
    if not isinstance(params.get("arguments"), dict | None):
        return [_error(message.id, INVALID_PARAMS, "params.arguments is not a JSON object.")]
    return None


def _has_no_usable_id(message: Any) -> bool:
    """Whether it is a request under an id that none can be answered under."""
    number = message.get("id") if isinstance(message, dict) else None
    return number is not None and type(number) not in (str, int) and "method" in message


def _asks(message: dict[str, Any]) -> bool:
    return "method" in message or not message.keys() & {"result", "error"}


def _outermost(text: str) -> dict[str, Any]:
    """The names in the outermost object of a broken JSON text, and the id with its value if that can be used."""
    found: dict[str, Any] = {}
    for token, depth in tokens(text):
        if depth != 1 or not token[0].startswith('"'):
            continue
        if token[0] == '"id"' and (value := _ID.match(text, token.end())):
            found.setdefault("id", _value(value[1]))
        else:
            found.setdefault(token[0][1:-1], None)
    return found


def _value(text: str) -> RequestId | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, str | int) else None


def no_message(text: str) -> JSONRPCError:
    """What is said over HTTP, where each body has an answer, to one that holds no request."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return _error(None, PARSE_ERROR, "The body is not valid JSON.")
    return _error(None, INVALID_REQUEST, "The body is not one message of JSON-RPC.")


def _error(number: RequestId | None, code: int, message: str) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=number, error=ErrorData(code=code, message=message))
