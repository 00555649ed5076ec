"""The events of a streamed response, over SSE and over WebSocket.

One class per family of events that carry the same fields; `type` tells the kinds of a family apart. Kinds that this
module does not know arrive as `OtherEvent`, with every field as it came. The catalogue is that of
https://platform.openai.com/docs/api-reference/responses-streaming and of the `openai` package's `ResponsesServerEvent`.
"""

import re
from enum import StrEnum
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import from_json

from durable_responses.responses_api.budget import BUDGET
from durable_responses.responses_api.foreign_errors import LONGEST_SENTENCE, error_in, error_instead
from durable_responses.responses_api.foreign_forms import events_of_a_chunk, objects_in, unwrapped
from durable_responses.responses_api.models import (
    ContentPart,
    ErrorDetail,
    JsonText,
    OutputItem,
    Received,
    Response,
    SummaryText,
    Text,
    error_fields,
    has_ended,
    read_json,
    with_text_found,
)


class EventType(StrEnum):
    """Every kind of event that the API documents."""

    CREATED = "response.created"
    QUEUED = "response.queued"
    IN_PROGRESS = "response.in_progress"
    COMPLETED = "response.completed"
    FAILED = "response.failed"
    INCOMPLETE = "response.incomplete"
    ERROR = "error"
    # Not of the API: gateways end streams with them. What they mean is the status of their response.
    DONE = "response.done"
    CANCELLED = "response.cancelled"
    RATE_LIMITS_UPDATED = "rate_limits.updated"

    OUTPUT_ITEM_ADDED = "response.output_item.added"
    OUTPUT_ITEM_DONE = "response.output_item.done"
    CONTENT_PART_ADDED = "response.content_part.added"
    CONTENT_PART_DONE = "response.content_part.done"
    OUTPUT_TEXT_DELTA = "response.output_text.delta"
    OUTPUT_TEXT_DONE = "response.output_text.done"
    OUTPUT_TEXT_ANNOTATION_ADDED = "response.output_text.annotation.added"
    REFUSAL_DELTA = "response.refusal.delta"
    REFUSAL_DONE = "response.refusal.done"
    REASONING_TEXT_DELTA = "response.reasoning_text.delta"
    REASONING_TEXT_DONE = "response.reasoning_text.done"
    REASONING_SUMMARY_PART_ADDED = "response.reasoning_summary_part.added"
    REASONING_SUMMARY_PART_DONE = "response.reasoning_summary_part.done"
    REASONING_SUMMARY_TEXT_DELTA = "response.reasoning_summary_text.delta"
    REASONING_SUMMARY_TEXT_DONE = "response.reasoning_summary_text.done"

    FUNCTION_CALL_ARGUMENTS_DELTA = "response.function_call_arguments.delta"
    FUNCTION_CALL_ARGUMENTS_DONE = "response.function_call_arguments.done"
    MCP_CALL_ARGUMENTS_DELTA = "response.mcp_call_arguments.delta"
    MCP_CALL_ARGUMENTS_DONE = "response.mcp_call_arguments.done"
    CUSTOM_TOOL_CALL_INPUT_DELTA = "response.custom_tool_call_input.delta"
    CUSTOM_TOOL_CALL_INPUT_DONE = "response.custom_tool_call_input.done"
    CODE_INTERPRETER_CALL_CODE_DELTA = "response.code_interpreter_call_code.delta"
    CODE_INTERPRETER_CALL_CODE_DONE = "response.code_interpreter_call_code.done"
    SHELL_CALL_COMMAND_ADDED = "response.shell_call_command.added"
    SHELL_CALL_COMMAND_DELTA = "response.shell_call_command.delta"
    SHELL_CALL_COMMAND_DONE = "response.shell_call_command.done"
    SHELL_CALL_OUTPUT_CONTENT_DELTA = "response.shell_call_output_content.delta"
    SHELL_CALL_OUTPUT_CONTENT_DONE = "response.shell_call_output_content.done"

    WEB_SEARCH_CALL_IN_PROGRESS = "response.web_search_call.in_progress"
    WEB_SEARCH_CALL_SEARCHING = "response.web_search_call.searching"
    WEB_SEARCH_CALL_COMPLETED = "response.web_search_call.completed"
    FILE_SEARCH_CALL_IN_PROGRESS = "response.file_search_call.in_progress"
    FILE_SEARCH_CALL_SEARCHING = "response.file_search_call.searching"
    FILE_SEARCH_CALL_COMPLETED = "response.file_search_call.completed"
    CODE_INTERPRETER_CALL_IN_PROGRESS = "response.code_interpreter_call.in_progress"
    CODE_INTERPRETER_CALL_INTERPRETING = "response.code_interpreter_call.interpreting"
    CODE_INTERPRETER_CALL_COMPLETED = "response.code_interpreter_call.completed"
    IMAGE_GENERATION_CALL_IN_PROGRESS = "response.image_generation_call.in_progress"
    IMAGE_GENERATION_CALL_GENERATING = "response.image_generation_call.generating"
    IMAGE_GENERATION_CALL_PARTIAL_IMAGE = "response.image_generation_call.partial_image"
    IMAGE_GENERATION_CALL_COMPLETED = "response.image_generation_call.completed"
    MCP_CALL_IN_PROGRESS = "response.mcp_call.in_progress"
    MCP_CALL_COMPLETED = "response.mcp_call.completed"
    MCP_CALL_FAILED = "response.mcp_call.failed"
    MCP_LIST_TOOLS_IN_PROGRESS = "response.mcp_list_tools.in_progress"
    MCP_LIST_TOOLS_COMPLETED = "response.mcp_list_tools.completed"
    MCP_LIST_TOOLS_FAILED = "response.mcp_list_tools.failed"
    COMPACTION_COMPACTING = "response.compaction.compacting"

    AUDIO_DELTA = "response.audio.delta"
    AUDIO_DONE = "response.audio.done"
    AUDIO_TRANSCRIPT_DELTA = "response.audio.transcript.delta"
    AUDIO_TRANSCRIPT_DONE = "response.audio.transcript.done"

    STEER_ACCEPTED = "response.steer.accepted"
    STEER_PENDING = "response.steer.pending"
    STEER_FAILED = "response.steer.failed"


# No event of a response comes after one of these.
TERMINAL_EVENTS = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.INCOMPLETE, EventType.ERROR})


_ENDS_OF_GATEWAYS = frozenset({EventType.DONE, EventType.CANCELLED})


class StreamEvent(Received):
    """What all events have. `stream_id` names the WebSocket lane; over SSE there is none."""

    sequence_number: int | None = None
    stream_id: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the response sends nothing more."""
        return False


class ItemEvent(StreamEvent):
    """An event about one output item."""

    item_id: str = ""
    output_index: int = 0


# --- the response as a whole -------------------------------------------------------------------------------------


class ResponseEvent(StreamEvent):
    """The response has reached another stage; `response` is all that is known of it."""

    type: Literal[
        EventType.CREATED,
        EventType.QUEUED,
        EventType.IN_PROGRESS,
        EventType.COMPLETED,
        EventType.FAILED,
        EventType.INCOMPLETE,
        EventType.DONE,
        EventType.CANCELLED,
    ]
    response: Response

    @property
    def is_terminal(self) -> bool:
        """Whether this is `response.completed`, `.failed` or `.incomplete`, or what gateways send instead."""
        return self.type in TERMINAL_EVENTS or (self.type in _ENDS_OF_GATEWAYS and self.response.is_finished)


class ErrorEvent(StreamEvent):
    """The provider reports an error. `status` is the HTTP status that it would have been, if it says so.

    Reads both forms that servers send, `{status, error: {type, code, message, param}}` and `{code, message, param}`,
    into the first. Where both are there the nested one wins.
    """

    type: Literal[EventType.ERROR] = EventType.ERROR
    error: ErrorDetail
    status: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_shape(cls, value: Any) -> Any:
        if not isinstance(value, dict) or isinstance(value.get("error"), ErrorDetail):
            return value
        event = dict(value)
        nested = event.pop("error", None)
        if nested is None and "errors" in event:
            nested = event.pop("errors")
        nested = error_fields(nested)
        flat = {name: event.pop(name) for name in ("code", "message", "param") if name in event}
        inner = nested if isinstance(nested, dict) else {}
        event["error"] = {**flat, **{name: item for name, item in inner.items() if item is not None}}
        if (told := error_in({**_named(event), **event["error"]})) is not None:
            if not isinstance(event["error"].get("message"), str):
                event["error"]["message"] = told.message
            if event["error"].get("code") is None and told.code is not None:
                event["error"]["code"] = told.code
        status = _first_number(inner.get("status"), event.pop("status", None))
        return event if status is None else event | {"status": status}

    @property
    def is_terminal(self) -> bool:
        """An error ends the response."""
        return True


def _named(event: dict[str, Any]) -> dict[str, Any]:
    return {
        name: said for name, said in event.items() if name not in ("type", "sequence_number", "stream_id", "status")
    }


def _first_number(*values: Any) -> int | None:
    return next((int(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)), None)


class RateLimit(Received):
    """What is left of one rate limit; `reset_seconds` until it is full again."""

    name: str
    limit: int | None = None
    remaining: int | None = None
    reset_seconds: float | None = None


class RateLimitsUpdated(StreamEvent):
    """The rate limits after this request. Sent by the API, missing in its published catalogue."""

    type: Literal[EventType.RATE_LIMITS_UPDATED] = EventType.RATE_LIMITS_UPDATED
    rate_limits: list[RateLimit] = Field(default_factory=list)


# --- items and their parts ---------------------------------------------------------------------------------------


class OutputItemEvent(StreamEvent):
    """An output item has begun, or is done."""

    type: Literal[EventType.OUTPUT_ITEM_ADDED, EventType.OUTPUT_ITEM_DONE]
    item: OutputItem
    output_index: int = 0


class ContentPartEvent(ItemEvent):
    """A part of an item's content has begun, or is done."""

    type: Literal[EventType.CONTENT_PART_ADDED, EventType.CONTENT_PART_DONE]
    content_index: int = 0
    part: ContentPart


class TextDelta(ItemEvent):
    """More text of the answer, of a refusal, or of open reasoning."""

    type: Literal[EventType.OUTPUT_TEXT_DELTA, EventType.REFUSAL_DELTA, EventType.REASONING_TEXT_DELTA]
    content_index: int = 0
    delta: Text


class TextDone(ItemEvent):
    """The whole text of a part of the answer, or of open reasoning."""

    type: Literal[EventType.OUTPUT_TEXT_DONE, EventType.REASONING_TEXT_DONE]
    content_index: int = 0
    text: Text


class RefusalDone(ItemEvent):
    """The whole refusal."""

    type: Literal[EventType.REFUSAL_DONE] = EventType.REFUSAL_DONE
    content_index: int = 0
    refusal: Text


class AnnotationAdded(ItemEvent):
    """The text has gained a citation."""

    type: Literal[EventType.OUTPUT_TEXT_ANNOTATION_ADDED] = EventType.OUTPUT_TEXT_ANNOTATION_ADDED
    content_index: int = 0
    annotation_index: int = 0
    annotation: Any = None


class SummaryPartEvent(ItemEvent):
    """A paragraph of the reasoning summary has begun, or is done."""

    type: Literal[EventType.REASONING_SUMMARY_PART_ADDED, EventType.REASONING_SUMMARY_PART_DONE]
    summary_index: int = 0
    part: SummaryText
    status: str | None = None


class SummaryTextDelta(ItemEvent):
    """More text of the reasoning summary."""

    type: Literal[EventType.REASONING_SUMMARY_TEXT_DELTA] = EventType.REASONING_SUMMARY_TEXT_DELTA
    summary_index: int = 0
    delta: str


class SummaryTextDone(ItemEvent):
    """The whole text of one paragraph of the reasoning summary."""

    type: Literal[EventType.REASONING_SUMMARY_TEXT_DONE] = EventType.REASONING_SUMMARY_TEXT_DONE
    summary_index: int = 0
    text: str


# --- calls -------------------------------------------------------------------------------------------------------


class ArgumentsDelta(ItemEvent):
    """More of a call's arguments. `call_id` is not in the API's catalogue, but some servers send it."""

    type: Literal[EventType.FUNCTION_CALL_ARGUMENTS_DELTA, EventType.MCP_CALL_ARGUMENTS_DELTA]
    call_id: str | None = None
    delta: JsonText


class ArgumentsDone(ItemEvent):
    """All of a call's arguments, as JSON text."""

    type: Literal[EventType.FUNCTION_CALL_ARGUMENTS_DONE, EventType.MCP_CALL_ARGUMENTS_DONE]
    call_id: str | None = None
    arguments: JsonText


class CustomToolInputDelta(ItemEvent):
    """More of a custom tool's input."""

    type: Literal[EventType.CUSTOM_TOOL_CALL_INPUT_DELTA] = EventType.CUSTOM_TOOL_CALL_INPUT_DELTA
    delta: str


class CustomToolInputDone(ItemEvent):
    """All of a custom tool's input."""

    type: Literal[EventType.CUSTOM_TOOL_CALL_INPUT_DONE] = EventType.CUSTOM_TOOL_CALL_INPUT_DONE
    input: str


class CodeDelta(ItemEvent):
    """More of the code that the code interpreter is about to run."""

    type: Literal[EventType.CODE_INTERPRETER_CALL_CODE_DELTA] = EventType.CODE_INTERPRETER_CALL_CODE_DELTA
    delta: str


class CodeDone(ItemEvent):
    """All of the code that the code interpreter is about to run."""

    type: Literal[EventType.CODE_INTERPRETER_CALL_CODE_DONE] = EventType.CODE_INTERPRETER_CALL_CODE_DONE
    code: str


class ShellCommandEvent(StreamEvent):
    """A shell command has been added to a call, or is complete."""

    type: Literal[EventType.SHELL_CALL_COMMAND_ADDED, EventType.SHELL_CALL_COMMAND_DONE]
    output_index: int = 0
    command_index: int = 0
    command: str


class ShellCommandDelta(StreamEvent):
    """More of a shell command."""

    type: Literal[EventType.SHELL_CALL_COMMAND_DELTA] = EventType.SHELL_CALL_COMMAND_DELTA
    output_index: int = 0
    command_index: int = 0
    delta: str


class ShellOutput(Received):
    """What a shell command has printed; `outcome` once it has ended."""

    stdout: str | None = None
    stderr: str | None = None
    outcome: Any = None


class ShellOutputDelta(ItemEvent):
    """More output of a shell command."""

    type: Literal[EventType.SHELL_CALL_OUTPUT_CONTENT_DELTA] = EventType.SHELL_CALL_OUTPUT_CONTENT_DELTA
    command_index: int = 0
    delta: ShellOutput


class ShellOutputDone(ItemEvent):
    """All output of a shell command."""

    type: Literal[EventType.SHELL_CALL_OUTPUT_CONTENT_DONE] = EventType.SHELL_CALL_OUTPUT_CONTENT_DONE
    command_index: int = 0
    output: list[ShellOutput]


# The stages of what runs at the provider.
HostedStage = Literal[
    EventType.WEB_SEARCH_CALL_IN_PROGRESS,
    EventType.WEB_SEARCH_CALL_SEARCHING,
    EventType.WEB_SEARCH_CALL_COMPLETED,
    EventType.FILE_SEARCH_CALL_IN_PROGRESS,
    EventType.FILE_SEARCH_CALL_SEARCHING,
    EventType.FILE_SEARCH_CALL_COMPLETED,
    EventType.CODE_INTERPRETER_CALL_IN_PROGRESS,
    EventType.CODE_INTERPRETER_CALL_INTERPRETING,
    EventType.CODE_INTERPRETER_CALL_COMPLETED,
    EventType.IMAGE_GENERATION_CALL_IN_PROGRESS,
    EventType.IMAGE_GENERATION_CALL_GENERATING,
    EventType.IMAGE_GENERATION_CALL_COMPLETED,
    EventType.MCP_CALL_IN_PROGRESS,
    EventType.MCP_CALL_COMPLETED,
    EventType.MCP_CALL_FAILED,
    EventType.MCP_LIST_TOOLS_IN_PROGRESS,
    EventType.MCP_LIST_TOOLS_COMPLETED,
    EventType.MCP_LIST_TOOLS_FAILED,
    EventType.COMPACTION_COMPACTING,
]


class HostedCallEvent(ItemEvent):
    """A tool that runs at the provider, or a compaction, has reached another stage."""

    type: HostedStage


class PartialImage(ItemEvent):
    """An image on its way, as base64."""

    type: Literal[EventType.IMAGE_GENERATION_CALL_PARTIAL_IMAGE] = EventType.IMAGE_GENERATION_CALL_PARTIAL_IMAGE
    partial_image_index: int = 0
    partial_image_b64: str


# --- audio -------------------------------------------------------------------------------------------------------


class AudioDelta(StreamEvent):
    """More audio (base64), or more of its transcript."""

    type: Literal[EventType.AUDIO_DELTA, EventType.AUDIO_TRANSCRIPT_DELTA]
    delta: str


class AudioDone(StreamEvent):
    """The audio, or its transcript, is complete."""

    type: Literal[EventType.AUDIO_DONE, EventType.AUDIO_TRANSCRIPT_DONE]


# --- steering (WebSocket only) -----------------------------------------------------------------------------------


class Steer(Received):
    """One steering submission. A rejected one may have no id, and comes with its input."""

    id: str | None = None
    previous_response_id: str
    input: Any = None


class SteerAccepted(StreamEvent):
    """The server owns the steering input now; the successor's `response.created` applies it."""

    type: Literal[EventType.STEER_ACCEPTED] = EventType.STEER_ACCEPTED
    steer: Steer


class RequiredInput(Received):
    """The stub of an input item that the client still owes."""

    type: str


class SteerPending(StreamEvent):
    """The steering input waits, for the answers in `required_input` as a rule. It must not be sent again."""

    type: Literal[EventType.STEER_PENDING] = EventType.STEER_PENDING
    steer: Steer
    reason: str
    required_input: list[RequiredInput] = Field(default_factory=list)


class SteerFailed(StreamEvent):
    """The steering input was not applied and is handed back."""

    type: Literal[EventType.STEER_FAILED] = EventType.STEER_FAILED
    steer: Steer
    error: ErrorDetail


# --- reading -----------------------------------------------------------------------------------------------------


class OtherEvent(StreamEvent):
    """An event of any other kind, or of a known kind with unexpected fields, as it came."""

    type: str
    sequence_number: Any = None
    stream_id: Any = None


Event = (
    ResponseEvent
    | ErrorEvent
    | RateLimitsUpdated
    | OutputItemEvent
    | ContentPartEvent
    | TextDelta
    | TextDone
    | RefusalDone
    | AnnotationAdded
    | SummaryPartEvent
    | SummaryTextDelta
    | SummaryTextDone
    | ArgumentsDelta
    | ArgumentsDone
    | CustomToolInputDelta
    | CustomToolInputDone
    | CodeDelta
    | CodeDone
    | ShellCommandEvent
    | ShellCommandDelta
    | ShellOutputDelta
    | ShellOutputDone
    | HostedCallEvent
    | PartialImage
    | AudioDelta
    | AudioDone
    | SteerAccepted
    | SteerPending
    | SteerFailed
    | OtherEvent
)

_CLASSES: dict[str, type[Event]] = {
    kind: family
    for family in get_args(Event)
    if family is not OtherEvent
    for kind in get_args(family.model_fields["type"].annotation)
}


def parse_event(data: str | bytes | dict[str, Any], name: str | None = None) -> Event:
    """Read one event: the JSON text of an SSE `data` field or of a WebSocket frame, or the object it holds.

    `name`: that of the SSE `event` field, for servers that give the type only there. What holds nothing but an error is
    an error, by whatever name or none; what holds a response that has ended is the end of it. Raises ValueError if it
    is not JSON, not an object, or has no type. Nothing else is refused.
    """
    fields = data if isinstance(data, dict) else _read_fields(data, name)
    if not isinstance(fields.get("type"), str):
        fields = _with_type(fields, name)
    elif fields["type"] not in _CLASSES:
        fields = _by_its_name(fields)
    kind = fields["type"]
    if kind in _RESPONSE_EVENTS:
        fields = _with_its_response(fields)
    elif kind in _CLASSES and kind.endswith(".delta") and "delta" not in fields:
        fields = _with_its_delta(fields)
    if kind == EventType.FAILED:
        fields = _with_its_reason(fields)
    try:
        event = _CLASSES.get(fields["type"], OtherEvent).model_validate(fields)
    except ValidationError:
        return OtherEvent.model_validate(fields)
    if isinstance(event, ResponseEvent):
        event.response = with_text_found(event.response, fields["response"])
    return event


_RESPONSE_EVENTS = frozenset(kind for kind, family in _CLASSES.items() if family is ResponseEvent)
_NOT_LETTERS = re.compile("[^a-z]")
_BY_LETTERS = {_NOT_LETTERS.sub("", kind): kind for kind in _CLASSES} | {
    "responsetextdelta": EventType.OUTPUT_TEXT_DELTA,  # as the Realtime API has it
    "responsetextdone": EventType.OUTPUT_TEXT_DONE,
    **dict.fromkeys(("responsecanceled", "responseaborted"), EventType.CANCELLED),
    **dict.fromkeys(("responseexpired", "responsetimeout", "responseerrored"), EventType.FAILED),
}
_ENDS = frozenset(
    prefix + word
    for prefix in ("", "response", "message", "stream")
    for word in ("done", "end", "ended", "complete", "completed", "finish", "finished", "stop", "stopped")
)


def is_mark_of_the_end(data: str) -> bool:
    """Whether the data of an event only says that there are no more: `[DONE]`."""
    return data.strip(" \t\r\n\"'").upper() == "[DONE]"


def says_it_is_the_end(event: "Event") -> bool:
    """Whether an event without a response says that there are no more: `{"type": "done"}`."""
    is_unknown = isinstance(event, OtherEvent) and event.type not in _CLASSES
    return is_unknown and _NOT_LETTERS.sub("", event.type.lower()) in _ENDS


_LONGEST_KIND = 100  # characters


def _with_its_response(fields: dict[str, Any]) -> dict[str, Any]:
    """An event about a response that has it under another name, or is it."""
    if isinstance(fields.get("response"), dict):
        return fields
    rest = {name: value for name, value in fields.items() if name not in ("type", "sequence_number")}
    found = unwrapped(rest, read_json)
    return fields if found is None else fields | {"response": found}


def _with_its_delta(fields: dict[str, Any]) -> dict[str, Any]:
    inner = fields.get("data")
    told = fields | inner if isinstance(inner, dict) else fields
    delta = next((told[it] for it in ("delta", "text", "content", "arguments", "data") if told.get(it) is not None), "")
    return told | {"delta": delta, "type": fields["type"]}


_OF_AN_ERROR = re.compile(r"(?:response\.)?\w*(?:error|exception)", re.IGNORECASE)
_ABOUT_AN_ITEM = {"item_id", "output_index", "call_id"}


def _by_its_name(fields: dict[str, Any]) -> dict[str, Any]:
    """An event of a kind that nobody knows, as what it is by another name (`response.error`, `BadRequestError`)."""
    letters = _NOT_LETTERS.sub("", fields["type"].lower()) if len(fields["type"]) <= _LONGEST_KIND else ""
    if (known := _BY_LETTERS.get(letters)) is not None:
        return fields | {"type": known}
    if "response" in fields:
        is_the_end = has_ended(fields["response"]) or (letters in _ENDS and isinstance(fields["response"], dict))
        return fields | {"type": EventType.DONE} if is_the_end else fields
    if isinstance(fields.get("error"), dict) and error_fields(fields["error"]) is not None:
        return fields | {"type": EventType.ERROR}
    if not _OF_AN_ERROR.fullmatch(fields["type"]) or fields.keys() & _ABOUT_AN_ITEM:
        return fields
    told = error_in({name: said for name, said in fields.items() if name != "type"})
    return fields if told is None else _error_event(fields, told.model_copy(update={"type": fields["type"]}))


def _with_type(fields: dict[str, Any], name: str | None) -> dict[str, Any]:
    if isinstance(fields.get("event"), str):  # some put into the data what SSE has beside it
        inner = fields.get("data")
        return (inner if isinstance(inner, dict) else fields) | {"type": fields["event"]}
    if name and name != "message":
        return fields | {"type": name}
    if error_fields(fields.get("error")) is not None and "output" not in fields:
        return fields | {"type": EventType.ERROR}
    if isinstance(fields.get("detail"), str) and "output" not in fields:
        return {"message": fields.get("detail"), **fields, "type": EventType.ERROR}
    if (told := error_instead(fields)) is not None:
        return _error_event(fields, told)
    if isinstance(fields.get("id"), str) and isinstance(fields.get("output"), list):
        return {"type": EventType.DONE, "response": fields}
    raise ValueError("The event has no string `type`.")


def _with_its_reason(fields: dict[str, Any]) -> dict[str, Any]:
    """A failed response with the error that stands beside it."""
    response = fields["response"] if isinstance(fields.get("response"), dict) else {}
    beside = error_fields(fields.get("error"))
    if beside is None and isinstance(fields.get("message"), str):
        beside = {name: fields[name] for name in ("code", "message", "param") if name in fields}
    if beside is None or error_fields(response.get("error")) is not None:
        return fields
    return fields | {"response": {**response, "error": beside}}


def _error_event(fields: dict[str, Any], error: ErrorDetail) -> dict[str, Any]:
    return {
        **{name: fields[name] for name in ("sequence_number", "stream_id", "status") if name in fields},
        "type": EventType.ERROR,
        "error": error.model_dump(exclude_none=True),
    }


def _read_fields(data: str | bytes, name: str | None) -> dict[str, Any]:
    try:
        return _read_object(data)
    except ValueError:
        if name != EventType.ERROR:
            raise
    text = data if isinstance(data, str) else data.decode(errors="replace")
    return {"type": EventType.ERROR, "message": text[:LONGEST_SENTENCE]}


def events_in(data: str, name: str | None = None) -> list[Event]:
    """The events in the data of an SSE event: one, as a rule; some servers leave out what should stand between them.

    Raises ValueError as `parse_event()`, where there is none.
    """
    try:
        value = from_json(data)
    except (ValueError, TypeError):
        value = None
    if isinstance(value, dict):
        return [parse_event(each, name) for each in (events_of_a_chunk(value) if "choices" in value else []) or [value]]
    several = objects_in(data, BUDGET.items)
    if not several or (len(several) == 1 and data.lstrip().startswith("{")):
        return [parse_event(data, name)]
    return [parse_event(each, name) for each in several]


def _read_object(data: str | bytes) -> dict[str, Any]:
    try:
        fields = read_json(data)
    except ValueError as error:
        raise ValueError(f"The event is not valid JSON: {error}.") from error
    if not isinstance(fields, dict):
        raise ValueError(f"The event is not a JSON object but a {type(fields).__name__}.")
    return fields
