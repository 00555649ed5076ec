"""Answers in forms that the Responses API does not have, put into its own before they are read.

Gateways put an answer into envelopes, translate it from chat completions, spell its status as their own job queue does,
or report an error with status 200 in a field of their own. All functions are total: JSON in, JSON out, and what they do
not know stays as it came.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

# --- words ---------------------------------------------------------------------------------------------------------

_STATUSES = {
    word: status
    for status, words in {
        "completed": "complete completed succeeded success successful done finished ended ok stop end_turn"
        " stop_sequence eos requires_action requires_tool_outputs tool_calls tool_use function_call",
        "queued": "queued pending waiting created queueing enqueued in_queue scheduled submitted accepted validating"
        " not_started",
        "in_progress": "in_progress running processing started generating working inprogress cancelling canceling"
        " starting streaming executing thinking searching active initializing",
        "failed": "failed error errored failure expired timeout timed_out crashed rejected",
        "incomplete": "incomplete partial truncated length max_tokens max_output_tokens content_filter",
        "cancelled": "cancelled canceled aborted",
    }.items()
    for word in words.split()
}
_NOTHING_SAID = frozenset({"", "null", "none", "nil", "undefined", "n/a"})
_REASONS = {
    **dict.fromkeys(("length", "max_tokens", "max_completion_tokens", "max_length"), "max_output_tokens"),
    **dict.fromkeys(("safety", "content_filtered", "moderation"), "content_filter"),
}
_NOT_CUT = frozenset({*_NOTHING_SAID, *(word for word, status in _STATUSES.items() if status == "completed")})
_NO_ERROR = frozenset({*_NOTHING_SAID, "0", "200", "ok", "success", "succeeded", "no_error"})
_PREFIX = re.compile(r"^(?:.*\.)?(?:(?:[a-z]+_)?(?:status|state)_|(?:response|run|task|job)_)?")
_LONGEST_WORD = 100  # characters


def snake_case(word: str) -> str:
    """A name as the API spells its own: `inProgress`, `In-Progress` and `IN PROGRESS` are `in_progress`."""
    return re.sub("[ -]+", "_", re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", word.strip()[:_LONGEST_WORD])).lower()


def status_in(said: Any) -> str | None:
    """A status that is spelled, called or packed otherwise than in the API; None where none is said. Others stay."""
    match said:
        case str():
            word = snake_case(said)
            if word in _NOTHING_SAID:
                return None
            return _STATUSES.get(word) or _STATUSES.get(_PREFIX.sub("", word)) or said
        case {"state": str() as word} | {"status": str() as word} | {"value": str() as word} | [str() as word]:
            return status_in(word)
        case _:
            return None


def reason_of_a_cut(said: str) -> str | None:
    """Why an answer was cut, in the API's words; None where it was not."""
    word = snake_case(said)
    return None if word in _NOT_CUT else _REASONS.get(word, said)


def is_no_error(fields: Mapping[str, Any]) -> bool:
    """Whether an error object says that there is none, as languages write it in which an object is never missing."""
    told = {name: value for name, value in fields.items() if value not in (None, "", 0, [], {})}
    return told.keys() <= _OF_AN_ERROR and all(snake_case(str(value)) in _NO_ERROR for value in told.values())


_OF_AN_ERROR = frozenset({"code", "type", "status", "message", "msg"})


# --- envelopes -----------------------------------------------------------------------------------------------------

_DEEPEST_ENVELOPE = 4
_NO_ENVELOPES = frozenset(
    {"error", "errors", "request", "input", "metadata", "choices", "content", "message", "messages", "candidates"}
)
_PACKED = frozenset({"body", "payload", "data", "response"})  # what may be JSON in a text
_MOST_OF_A_LIST = 20


def unwrapped(value: Any, read: Callable[[str], Any]) -> dict[str, Any] | None:
    """The response in the envelopes of a gateway; in a list the last one. None where there is none.

    What a model has written is never taken for one. `read`: reads a JSON text, raising ValueError.
    """
    if isinstance(value, dict) and is_a_response(value):
        inner = value.get("output")
        return inner if isinstance(inner, dict) and is_a_response(inner) else value
    return _within(_read(value, read) if isinstance(value, str) else value, read, 1)


def _within(value: Any, read: Callable[[str], Any], depth: int) -> dict[str, Any] | None:
    if depth > _DEEPEST_ENVELOPE:
        return None
    if isinstance(value, list):
        parts = [part for part in value[: -_MOST_OF_A_LIST - 1 : -1] if isinstance(part, dict)]
    elif isinstance(value, dict) and is_a_response(value):
        return value
    elif isinstance(value, dict):
        parts = [
            _read(part, read) if isinstance(part, str) and name in _PACKED else part
            for name, part in value.items()
            if name not in _NO_ENVELOPES
        ]
    else:
        return None
    found = (_within(part, read, depth + 1) for part in parts)
    return next((response for response in found if response is not None), None)


def _read(text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text) if text.lstrip()[:1] in ("{", "[") else None
    except ValueError:
        return None


def is_a_response(fields: Mapping[str, Any]) -> bool:
    """Whether an object is a response, by what no other one has."""
    return (
        fields.get("object") == "response"
        or isinstance(fields.get("output"), list)
        or (isinstance(fields.get("id"), str | int) and isinstance(fields.get("status"), str))
    )


# --- calls ---------------------------------------------------------------------------------------------------------

_CALLS = frozenset({"function_call", "functioncall", "function", "tool_call", "toolcall", "tool_use"})
_NAMES = ("name", "tool_name", "function_name", "function")
_ARGUMENTS = ("arguments", "input", "parameters", "args")
_IDS = ("call_id", "callId", "tool_call_id", "tool_use_id", "id")


def items_in(item: dict[str, Any]) -> list[dict[str, Any]]:
    """An output item, and the calls that some servers put into it: beside its content, or as parts of that."""
    if (call := call_in(item)) is not None:
        return [call]
    parts = item.get("content")
    kept, calls = parts, [call for call in map(call_in, _dicts(item.get("tool_calls"))) if call is not None]
    if isinstance(parts, list) and any(_is_call_part(part) for part in parts):
        kept = [part for part in parts if not _is_call_part(part)]
        calls += [call for part in parts if _is_call_part(part) and (call := call_in(part)) is not None]
    if not calls:
        return [item]
    rest = {name: value for name, value in item.items() if name != "tool_calls"}
    return [*([rest | {"content": kept}] if kept else []), *calls]


def call_in(item: Any) -> dict[str, Any] | None:
    """The function call that an object is, in the API's form; None if it is none."""
    if not isinstance(item, dict) or not _may_be_a_call(item):
        return None
    is_named_so = item.get("type") == "function_call"
    if is_named_so and isinstance(item.get("name"), str) and item.get("arguments") is not None:
        return item
    nested = item.get("function")
    nested = nested if isinstance(nested, dict) else {}
    name = _first(item, _NAMES, str) or _first(nested, _NAMES, str)
    arguments = _first(nested, _ARGUMENTS)
    arguments = _first(item, _ARGUMENTS) if arguments is None else arguments
    call_id = _first(item, _IDS)
    if not is_named_so:
        known = {"type": "function_call", "id": item.get("id"), "call_id": call_id, "name": name}
        return {**known, "arguments": arguments} if name else None
    found = {"name": name, "arguments": arguments, "call_id": call_id}
    return item | {told: value for told, value in found.items() if value is not None and item.get(told) is None}


def _may_be_a_call(item: dict[str, Any]) -> bool:
    kind = item.get("type")
    if isinstance(kind, str):
        return snake_case(kind) in _CALLS
    has_arguments = isinstance(item.get("name"), str) and "arguments" in item
    return kind is None and (has_arguments or isinstance(item.get("function"), dict))


def _is_call_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("type"), str) and snake_case(part["type"]) in _CALLS


def _first(fields: Mapping[str, Any], names: tuple[str, ...], kind: type = object) -> Any:
    return next((fields[it] for it in names if fields.get(it) is not None and isinstance(fields[it], kind)), None)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


# --- answers of other APIs -----------------------------------------------------------------------------------------


def output_of_another_api(response: Mapping[str, Any]) -> tuple[list[Any], str | None]:
    """The output of a response that has none of its own but that of another API, and the word for how it ended.

    https://platform.openai.com/docs/api-reference/chat/object, and those that were made after it.
    """
    for choice in _dicts(response.get("choices"))[:1]:
        ended = choice.get("finish_reason")
        message = choice.get("message")
        said = message if isinstance(message, dict) else {"content": choice.get("text")}
        return [_assistant(said)], ended if isinstance(ended, str) else None
    ended = response.get("stop_reason")
    if isinstance(message := response.get("message"), dict):
        return [_assistant(message)], None
    if isinstance(response.get("content"), list) and response.get("role") in (None, "assistant"):
        return [_assistant(response)], ended if isinstance(ended, str) else None
    return [], None


def _assistant(message: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("content", "role", "tool_calls", "annotations", "refusal")
    told = {name: message[name] for name in kept if message.get(name) is not None}
    return {"type": "message", "role": "assistant", **told}


def events_of_a_chunk(chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events that a chunk of a streamed chat completion stands for; none for anything else.

    https://platform.openai.com/docs/api-reference/chat-streaming
    """
    choices = _dicts(chunk.get("choices"))[:1]
    if (
        "type" in chunk
        or not isinstance(chunk.get("id"), str)
        or not all(isinstance(it.get("delta"), dict) for it in choices)
    ):
        return []
    response = {"id": chunk["id"], "model": chunk.get("model"), "usage": chunk.get("usage"), "output": []}
    events: list[dict[str, Any]] = []
    for choice in choices:
        delta, ended = choice["delta"], choice.get("finish_reason")
        events.append({"type": "response.in_progress", "response": response | {"status": "in_progress"}})
        for name, kind in (("content", "output_text"), ("refusal", "refusal")):
            if isinstance(delta.get(name), str) and delta[name]:
                events.append({"type": f"response.{kind}.delta", "delta": delta[name], "output_index": 0})
        for call in _dicts(delta.get("tool_calls")):
            events += _events_of_a_call(call)
        if isinstance(ended, str):
            events.append({"type": "response.done", "response": response | {"status": ended}})
    return events


def _events_of_a_call(call: dict[str, Any]) -> list[dict[str, Any]]:
    place = {"output_index": 1 + call["index"] if isinstance(call.get("index"), int) else 1}
    function = call.get("function")
    told = function if isinstance(function, dict) else {}
    item = {"type": "function_call", "call_id": call.get("id"), "name": told.get("name"), "arguments": ""}
    begun = [{"type": "response.output_item.added", "item": item, **place}] if told.get("name") else []
    if not told.get("arguments"):
        return begun
    more = {"type": "response.function_call_arguments.delta", "delta": told["arguments"], **place}
    return [*begun, more]


# --- events --------------------------------------------------------------------------------------------------------


def objects_in(text: str, most: int) -> list[str]:
    """The JSON objects in the data of one event, as far as they go: behind each other, in a list, or in a text."""
    found: list[str] = []
    place = _behind(text, 0)
    while place < len(text) and len(found) < most:
        try:
            value, end = _READER.raw_decode(text, place)
        except (ValueError, RecursionError):
            break
        match value:
            case dict():
                found.append(text[place:end])
            case list():
                found += [json.dumps(part) for part in value if isinstance(part, dict)]
            case str() if value.lstrip().startswith("{"):
                found.append(value)
        place = _behind(text, end)
    return found[:most]


def _behind(text: str, place: int) -> int:
    between = _BETWEEN.match(text, place)
    return between.end() if between else place


_READER = json.JSONDecoder(strict=False)
_BETWEEN = re.compile(r"(?:[\s,\x1e\ufeff]|(?:data|event|id):(?=\s{0,8}(?:data:\s{0,8}){0,3}[{\[]))*")
