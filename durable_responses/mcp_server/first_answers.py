"""What may be answered before the server is loaded, and with what. Pure, and of the standard library alone.

A client's first requests, `initialize` or `server/discover` and then `tools/list`, always have the same answers. They
are in `snapshot.json`, as the server itself gave them, for each revision of the protocol. A request is answered from
there only when the server would surely take it; whatever has another shape is for the server to judge.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

INITIALIZE, DISCOVER, LIST_TOOLS = "initialize", "server/discover", "tools/list"

MODEL, WAIT = "{AGENT_MODEL}", "{AGENT_MCP_WAIT}"
"""What stands in the snapshot where an answer depends on these settings."""

Message = dict[str, Any]
Results = Mapping[tuple[str, str | None, bool], Any]
"""The results that are known, by method, revision of the protocol, and whether the client follows tasks."""

TASKS = "io.modelcontextprotocol/tasks"
"""The extension for tasks; clients that declare it are told other things."""

_RESERVED = "io.modelcontextprotocol/"
_VERSION = f"{_RESERVED}protocolVersion"
_CLIENT = f"{_RESERVED}clientInfo"
_CAPABILITIES = f"{_RESERVED}clientCapabilities"
_LONGEST_LINE = 64 * 1024
# The server's parser takes 200 levels; nobody's first request has a hundred objects.
_MOST_BRACKETS = 100
_WAIT = re.compile("([1-9][0-9]{0,5})([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class FirstAnswers:
    """The answers to one conversation, whose beginning decides on the revision of the protocol."""

    def __init__(self, known: Results) -> None:
        self._known = known
        self._revision: str | None = None
        self._by_handshake = False
        self._may_answer = True

    def answer(self, message: Message | None) -> bytes | None:
        """The line that answers a message; None where it is for the server.

        `message` is None for a line that cannot be read. Messages are to be given in the order in which they came.
        """
        if message is None:  # it may be anything, an `initialize` too
            self._may_answer = False
            return None
        if not self._may_answer or not is_request(message):
            return None
        result = self._result(message) if is_exact(message) else None
        if result is None:
            # The server decides on a revision that is not known here, or on whether to change it.
            self._may_answer = self._revision is not None and message["method"] != INITIALIZE
            return None
        return line_of({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def _result(self, request: Message) -> Any:
        method: str = request["method"]
        params: Any = request.get("params")
        by_handshake, with_tasks = self._by_handshake, False
        if method == INITIALIZE and self._revision is None and _begins(params):
            revision, by_handshake = params["protocolVersion"], True
        elif method == LIST_TOOLS and self._by_handshake and _asks_for_all(params):
            revision = self._revision
        elif method in (DISCOVER, LIST_TOOLS) and not self._by_handshake and _has_envelope(method, params):
            revision = params["_meta"][_VERSION]
            with_tasks = TASKS in (params["_meta"][_CAPABILITIES].get("extensions") or {})
            if (DISCOVER, revision, with_tasks) not in self._known:  # one that begins by a handshake
                return None
        else:
            return None
        result = self._known.get((method, revision, with_tasks))
        if result is not None:
            self._revision, self._by_handshake = revision, by_handshake
        return result


def known_results(snapshot: str, environment: Mapping[str, str]) -> Results:
    """The results of a snapshot, with the settings of this environment in them.

    Where a setting has a form that is not understood here, there is no result that depends on it.
    """
    # As the settings are read: names in any case, and what is empty is not set.
    given = {name.lower(): value for name, value in environment.items() if value}
    defaults = json.loads(snapshot)["defaults"]
    model = given.get("agent_model", defaults["model"])
    wait = _seconds(given.get("agent_mcp_wait", defaults["wait"]))
    is_known = wait is not None and _is_text(model)
    said = snapshot.replace(MODEL, json.dumps(model)[1:-1]).replace(WAIT, str(wait))
    return {
        (answer["method"], revision, answer["with_tasks"]): answer["result"]
        for answer in json.loads(said)["answers"]
        if is_known or answer["method"] != LIST_TOOLS
        for revision in answer["revisions"]
    }


def read(line: bytes) -> Message | None:
    """The message of a line; None where the server might read it otherwise, or not at all."""
    body = line.rstrip(b"\r\n")
    if len(line) > _LONGEST_LINE or body.count(b"{") + body.count(b"[") > _MOST_BRACKETS:
        return None
    # To the server a carriage return ends a line. Half of a surrogate pair is an error to it, and valid JSON here.
    if b"\r" in body or b"\\ud" in body.lower():
        return None
    try:
        message = json.loads(body.decode(), object_pairs_hook=_without_doubles, parse_constant=_refuse)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def line_of(message: Message) -> bytes:
    """A message as it travels."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def is_request(message: Message) -> bool:
    """Whether a message wants an answer. With an id of another type it is a notification to the server."""
    return _is_id(message.get("id")) and type(message.get("method")) is str


def is_exact(request: Message) -> bool:
    """Whether the frame of a request is what the server takes."""
    return (
        request.keys() <= {"jsonrpc", "id", "method", "params"}
        and request.get("jsonrpc") == "2.0"
        and _is_id(request["id"])
    )


def _without_doubles(pairs: list[tuple[str, Any]]) -> Message:
    if len(fields := dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice")
    return fields


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON")


def _seconds(duration: str) -> int | None:
    match = _WAIT.fullmatch(duration.strip().lower())
    return int(match[1]) * _UNITS[match[2]] if match else None


def _is_text(value: str) -> bool:
    # Bytes of the environment that are not UTF-8 are surrogates here.
    return value.isprintable() or not any("\ud800" <= character <= "\udfff" for character in value)


# --- shapes ------------------------------------------------------------------------------------------------------

Check = Callable[[Any], bool]


def _is(kind: type) -> Check:
    return lambda value: type(value) is kind


def _each(check: Check) -> Check:
    return lambda value: type(value) is dict and all(map(check, value.values()))


def _record(required: Mapping[str, Check] = {}, **optional: Check) -> Check:
    """An object. What is optional may be null as well, and names that are not known may have any value."""

    def check(value: Any) -> bool:
        return (
            type(value) is dict
            and all(name in value and fits(value[name]) for name, fits in required.items())
            and all(value.get(name) is None or fits(value[name]) for name, fits in optional.items())
        )

    return check


def _is_id(value: Any) -> bool:
    return type(value) in (str, int)


_TEXT, _FLAG, _OBJECT = _is(str), _is(bool), _is(dict)

_is_capabilities = _record(
    elicitation=_record(form=_OBJECT, url=_OBJECT),
    experimental=_each(_OBJECT),
    extensions=_each(_OBJECT),
    roots=_record(listChanged=_FLAG),
    sampling=_record(context=_OBJECT, tools=_OBJECT),
    tasks=_record(
        cancel=_OBJECT,
        list=_OBJECT,
        requests=_record(elicitation=_record(create=_OBJECT), sampling=_record(createMessage=_OBJECT)),
    ),
)
_is_icon = _record(
    {"src": _TEXT},
    mimeType=_TEXT,
    sizes=lambda value: type(value) is list and all(map(_TEXT, value)),
    theme=lambda value: value in ("dark", "light"),
)
_is_client = _record(
    {"name": _TEXT, "version": _TEXT},
    title=_TEXT,
    description=_TEXT,
    websiteUrl=_TEXT,
    icons=lambda value: type(value) is list and all(map(_is_icon, value)),
)
_begin = _record({"protocolVersion": _TEXT, "capabilities": _is_capabilities, "clientInfo": _is_client})
_envelope = _record({_VERSION: _TEXT, _CAPABILITIES: _is_capabilities})


def _begins(params: Any) -> bool:
    return (
        _begin(params)
        and params.keys() <= {"protocolVersion", "capabilities", "clientInfo", "_meta"}
        and _is_plain(params.get("_meta"))
    )


def _asks_for_all(params: Any) -> bool:
    if params is None:
        return True
    known = type(params) is dict and params.keys() <= {"cursor", "_meta"}
    return known and params.get("cursor") is None and _is_plain(params.get("_meta"))


def _has_envelope(method: str, params: Any) -> bool:
    # A page of a list is asked for by its cursor.
    allowed = {"_meta", "cursor"} if method == LIST_TOOLS else {"_meta"}
    if type(params) is not dict or not params.keys() <= allowed or params.get("cursor") is not None:
        return False
    meta: Any = params.get("_meta")
    if not _envelope(meta) or (meta.get(_CLIENT) is not None and not _is_client(meta[_CLIENT])):
        return False
    return _is_plain({name: value for name, value in meta.items() if name not in (_VERSION, _CLIENT, _CAPABILITIES)})


def _is_plain(meta: Any) -> bool:
    """Whether `_meta` says nothing that matters: neither a revision nor anything else that the protocol reserves."""
    if meta is None:
        return True
    return (
        type(meta) is dict
        and _is_id(meta.get("progressToken", ""))
        and not any(name.startswith(_RESERVED) for name in meta)
    )
