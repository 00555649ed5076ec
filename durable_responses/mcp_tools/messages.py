"""What a server sends, as messages that the protocol's library takes. No I/O.

The library drops what it cannot read, so that whoever waits for that waits on; and it refuses the whole of an answer
for a part of it. So what is wrong in a stranger's message is put right where it is plain what was meant: half a
character, an answer that is not an object, one tool of many that is not described as it should be. No text is lost
for it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import mcp_types as types
from mcp_types.methods import parse_server_notification, parse_server_result
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from durable_responses.json_text import mended_json

NOT_SENT, SAID, REFUSED, FAILED, UNREADABLE = 1, 2, 3, 4, 5
"""Codes of errors that are ours, unlike negative ones.

`NOT_SENT`: a request over HTTP has not left this machine. `SAID`: the server has answered with one of these, or with
that of the library's for a connection that has ended. `REFUSED`, `FAILED`: it has answered with a status of HTTP.
`UNREADABLE`: nobody knows what it has answered.
"""
NOT_OFFERED = "durable-responses/not-offered"
"""Where a tool that cannot be read says why, in its `_meta`."""
_OURS = {types.CONNECTION_CLOSED, NOT_SENT, SAID, REFUSED, FAILED, UNREADABLE}
_FIRST_VERSION = "2025-11-25"  # until it is known which one is spoken
_VERSION = "io.modelcontextprotocol/protocolVersion"
_MOST_ASKED = 10_000
_SHOWN = 100  # characters
_UNCACHED = {"cacheScope": "private", "ttlMs": 0}
_ADORNMENTS = {"resultType", "isError", "_meta", *_UNCACHED}
_LONGEST_VALUE = 1000  # characters of a part that nobody can read
_ID_AT_THE_BEGINNING = re.compile(rb'^\s*\{(?:\s*"jsonrpc"\s*:\s*"2\.0"\s*,)?\s*"id"\s*:\s*(\d+)\s*,')
_ID_AT_THE_END = re.compile(rb',\s*"id"\s*:\s*(\d+)\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
_ANSWERS = ("result", "error")

Message = types.JSONRPCMessage
Json = dict[str, Any]


class Received(NamedTuple):
    """Messages, and whether they differ from what was sent."""

    messages: list[Message]
    is_mended: bool = True


class Exchange:
    """What is said in one session: an answer is judged by what it answers, and in which revision."""

    def __init__(self) -> None:
        self._asked: dict[types.RequestId, str] = {}
        self._version = _FIRST_VERSION

    def sent(self, message: Message) -> None:
        """Take note of a message to the server."""
        if isinstance(message, types.JSONRPCNotification):
            if message.method == "notifications/cancelled":
                self._asked.pop((message.params or {}).get("requestId", ""), None)
        elif isinstance(message, types.JSONRPCRequest):
            self._asked[message.id] = message.method
            if len(self._asked) > _MOST_ASKED:  # nobody waits for the oldest any more: they were cancelled
                del self._asked[next(iter(self._asked))]
            self._version = (message.params or {}).get("_meta", {}).get(_VERSION, self._version)

    def received(self, data: bytes, answers: types.RequestId | None = None) -> Received:
        """The messages that these bytes are, without what nobody could use. Raises `ValueError` for what is none.

        `answers`: the request that an answer in there can only be to.
        """
        try:
            message = types.jsonrpc_message_adapter.validate_json(data, by_name=False)
        except ValidationError:
            return Received([*self._mended(data, answers)])
        if isinstance(message, types.JSONRPCNotification) and not self._is_notification(message):
            return Received([])
        known, is_mended = self._known(message, answers)
        return Received([known], is_mended)

    def _is_notification(self, message: types.JSONRPCNotification) -> bool:
        try:
            parse_server_notification(message.method, self._version, message.params)
        except ValidationError:
            return False
        except (KeyError, ValueError):  # one that the library does not know
            return True
        return True

    def _mended(self, data: bytes, answers: types.RequestId | None) -> Iterator[Message]:
        try:
            value = from_json(mended_json(data))
        except ValueError:
            found = id_in(data)
            if found is None and answers is None:
                raise ValueError(f"a line that is not a message: {excerpt(data)!r}") from None
            why = f"what it answers is not valid JSON: {excerpt(data)!r}"
            yield failure(found if answers is None else answers, UNREADABLE, why)
            return
        parts = value if isinstance(value, list) else [value]
        messages = [message for part in parts if (message := _as_message(part)) is not None]
        if not messages:
            raise ValueError(f"a line that is not a message: {excerpt(data)!r}")
        for message in messages:
            yield self._known(message, answers)[0]

    def _known(self, message: Message, answers: types.RequestId | None) -> tuple[Message, bool]:
        """A message as it can be taken, and whether it was not so before."""
        if not _is_answer(message):
            return message, False
        assert isinstance(message, types.JSONRPCResponse | types.JSONRPCError)
        id = self._answered(message) if answers is None else answers  # noqa: A001 - its name in the protocol
        method = self._asked.pop(id, None) if id is not None else None
        if isinstance(message, types.JSONRPCError):
            code = SAID if message.error.code in _OURS else message.error.code
            if (message.id, message.error.code) == (id, code):
                return message, False
            error = message.error.model_copy(update={"code": code})
            return types.JSONRPCError(jsonrpc="2.0", id=id, error=error), True
        if method == "initialize" and isinstance(version := message.result.get("protocolVersion"), str):
            self._version = version
        result = _mended_result(method, self._version, message.result)
        if result is message.result and message.id == id:
            return message, False
        return types.JSONRPCResponse(jsonrpc="2.0", id=message.id if id is None else id, result=result), True

    def _answered(self, message: types.JSONRPCResponse | types.JSONRPCError) -> types.RequestId | None:
        if isinstance(message.id, str) and message.id.isdecimal():
            return int(message.id)  # the library's ids are numbers
        if message.id is None and len(self._asked) == 1:
            return next(iter(self._asked))
        return message.id


def id_in(data: bytes) -> int | None:
    """The id of a message that cannot be read, where it stands at one of its ends."""
    found = _ID_AT_THE_BEGINNING.search(data[:256]) or _ID_AT_THE_END.search(data[-256:])
    return int(found[1]) if found else None


def failure(id: types.RequestId | None, code: int, why: str) -> types.JSONRPCError:  # noqa: A002 - as the protocol has it
    """An error that answers a request."""
    return types.JSONRPCError(jsonrpc="2.0", id=id, error=types.ErrorData(code=code, message=why))


def as_bytes(message: Message) -> bytes:
    """A message as it travels."""
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def excerpt(data: bytes) -> str:
    """The beginning of what somebody has sent, on one line."""
    return " ".join(data[: 4 * _SHOWN].decode(errors="replace").split())[:_SHOWN]


def problem_of(error: ValidationError) -> str:
    """What is wrong with an answer, as the end of a sentence: where, and what is wanted."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"] if not isinstance(part, str) or not part[:1].isupper())
    said = first["msg"][:1].lower() + first["msg"][1:]
    return f"{place}: {said}" if place else said


def _is_answer(message: Message) -> bool:
    return isinstance(message, types.JSONRPCResponse | types.JSONRPCError)


def _as_message(part: Any) -> Message | None:
    """A JSON value as a message; None where it is none."""
    if not isinstance(part, dict):
        return None
    given = {**part, "jsonrpc": "2.0"}
    if "method" not in given and given.keys() & {"id", *_ANSWERS}:
        given = {"jsonrpc": "2.0", "id": part.get("id"), **_outcome(part)}
    try:
        return types.jsonrpc_message_adapter.validate_python(given, by_name=False)
    except ValidationError:
        return None


def _outcome(part: Json) -> Json:
    if (error := part.get("error")) is not None:
        return {"error": _error(error)}
    if "result" not in part:
        return {"error": {"code": types.INTERNAL_ERROR, "message": "its answer has neither a result nor an error"}}
    result = part["result"]
    return {"result": result if isinstance(result, dict) else {"content": result}}


def _error(error: Any) -> Json:
    if not isinstance(error, dict):
        return {"code": types.INTERNAL_ERROR, "message": _text(error)}
    code, message, data = error.get("code"), error.get("message"), error.get("data")
    is_code = not isinstance(code, bool) and (isinstance(code, int) or (isinstance(code, float) and code.is_integer()))
    said = {
        "code": int(code) if is_code and code is not None else types.INTERNAL_ERROR,
        "message": _text(error if message is None else message),
    }
    return said if data is None else {**said, "data": data}


# --- results -----------------------------------------------------------------------------------------------------


def _mended_result(method: str | None, version: str, result: Json) -> Json:
    """The same result, where the library takes it, or nobody knows what was meant."""
    if method == "tools/call" and result.get("resultType", "complete") != "input_required":
        return result if _fits(method, version, result) else _call_result(version, result)
    if method == "tools/list" and "tools" in result and result["tools"] is None:  # as programs in Go write no tools
        result = {**result, "tools": []}
    if method == "tools/list" and isinstance(result.get("tools"), list):
        return result if _fits(method, version, result) else _list_result(version, result)
    return result


def _fits(method: str, version: str, result: Mapping[str, Any]) -> bool:
    return _misfit(method, version, result) is None


def _misfit(method: str, version: str, result: Mapping[str, Any]) -> str | None:
    """What is wrong with a result, if anything is."""
    try:
        parse_server_result(method, version, result)
    except ValidationError as error:
        return problem_of(error)
    except (KeyError, ValueError):  # of a revision that is not known here
        return None
    return None


def _call_result(version: str, result: Json) -> Json:
    if not result.keys() & {"content", "structuredContent", "toolResult"} and result.keys() - _ADORNMENTS:
        return result
    mended = _fitting("tools/call", version, {"content": []}, result, ("structuredContent", "toolResult", "isError"))
    content = [*_blocks(result.get("content")), *([result["toolResult"]] if "toolResult" in result else [])]
    structured = result.get("structuredContent")
    if structured is not None and _fits(
        "tools/call", version, {**mended, "content": [], "structuredContent": structured}
    ):
        mended["structuredContent"] = structured
    elif structured is not None:
        content.append(structured)
    mended["content"] = [
        block if _fits("tools/call", version, {**mended, "content": [block]}) else _block(block) for block in content
    ]
    return mended | ({"isError": True} if str(result.get("isError")).lower() in ("true", "1") else {})


def _fitting(method: str, version: str, least: Json, result: Json, apart: Sequence[str] = ()) -> Json:
    """`least`, with what of a result can be taken beside it."""
    if version in MODERN_PROTOCOL_VERSIONS:
        least = {**least, "resultType": "complete"} | (_UNCACHED if method == "tools/list" else {})
    return least | {
        name: part
        for name, part in result.items()
        if name not in (*least.keys() - _ADORNMENTS, *apart) and _fits(method, version, {**least, name: part})
    }


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    return [] if content is None else [content]


def _block(block: Any) -> Json:
    """A part of an answer that is not as it should be: as an image, if it is one, else as text."""
    if isinstance(block, dict):
        if isinstance(text := block.get("text"), str):
            return {"type": "text", "text": text}
        if block.get("type") in ("image", "audio") and isinstance(data := block.get("data"), str):
            kind = block.get("mimeType")
            return {"type": block["type"], "data": data, "mimeType": kind if isinstance(kind, str) else block["type"]}
        block = {name: _shortened(part) for name, part in block.items()}
    return {"type": "text", "text": _text(block)}


def _shortened(part: Any) -> Any:
    is_long = isinstance(part, str) and len(part) > _LONGEST_VALUE
    return f"{part[:_SHOWN]}… ({len(part):,} characters)" if is_long else part


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


def _list_result(version: str, result: Json) -> Json:
    plain = _fitting("tools/list", version, {"tools": []}, result)
    tools = [_tool(version, plain, tool, number) for number, tool in enumerate(result["tools"], 1)]
    return {**plain, "tools": tools}


def _tool(version: str, result: Json, tool: Any, number: int) -> Json:
    """A tool without what is wrong with it; one that says why it cannot be offered, where too little is right."""

    def problem(tool: Any) -> str | None:
        return _misfit("tools/list", version, {**result, "tools": [tool]})

    if isinstance(tool, dict) and problem(tool) is None:
        return tool
    given = tool if isinstance(tool, dict) else {}
    name, schema = given.get("name"), given.get("inputSchema")
    stand_in = {"name": name if isinstance(name, str) else f"tool {number}", "inputSchema": {"type": "object"}}
    if isinstance(schema, dict) and schema.get("type") in (None, "object", ["object"], ["object", "null"]):
        schema = {**schema, "type": "object"}
    bare = {"name": name, "inputSchema": schema}
    why = "it has no schema" if schema is None else problem(bare)
    if why is not None:
        what = re.sub(r"^tools\.0\.inputSchema(\.|: )", "its schema is not valid: ", why).replace("tools.0.", "its ")
        return {**stand_in, "_meta": {NOT_OFFERED: what}}
    return bare | {
        each: part for each, part in given.items() if each not in bare and problem({**bare, each: part}) is None
    }
