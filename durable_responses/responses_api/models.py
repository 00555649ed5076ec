"""The objects of the Responses API: requests, the response, its output items, its usage.

Fields, item kinds and statuses that this module does not know are kept as they came, never refused: the API grows
faster than its clients. And what is received is judged by what is used of it: a field that cannot be read takes its
default, a text survives whatever stands beside it. Names are those of
https://platform.openai.com/docs/api-reference/responses.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticUseDefault, from_json, to_json

from durable_responses.json_text import mended_json
from durable_responses.responses_api.budget import BUDGET
from durable_responses.responses_api.foreign_forms import (
    is_a_response,
    is_no_error,
    items_in,
    output_of_another_api,
    reason_of_a_cut,
    snake_case,
    status_in,
    unwrapped,
)
from durable_responses.responses_api.request_fields import with_extra


class ApiModel(BaseModel):
    """Any object of the API. Unknown fields are kept and sent back as they came."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class Received(ApiModel):
    """An object that a provider sends. A field with a default takes it where what was sent cannot be read."""

    @model_validator(mode="wrap")
    @classmethod
    def _unreadable_fields_take_their_defaults(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(value)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            unreadable = {problem["loc"][0] for problem in problems if problem["loc"]}
            if not isinstance(value, dict) or not unreadable or unreadable.isdisjoint(value):
                raise
        return validate({name: item for name, item in value.items() if name not in unreadable})


# --- JSON --------------------------------------------------------------------------------------------------------


def read_json(data: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is not valid JSON.

    A whole answer is worth more than a part that nobody uses: bytes that are not UTF-8 and lone surrogates (half an
    emoji at the end of a delta) become question marks or U+FFFD, control characters inside strings are taken as they
    are, what is nested deeper than the budget allows becomes null, and what follows an object is left out.
    """
    try:
        return from_json(data)
    except (ValueError, TypeError):  # TypeError: text with half a character in it
        pass
    text = data if isinstance(data, str) else data.decode(json.detect_encoding(data), errors="replace")
    shallow = _shallow(text.removeprefix("\ufeff")).lstrip(_JSON_BLANKS)
    value, end = json.JSONDecoder(parse_int=_whole_number, strict=False).raw_decode(shallow)
    if not isinstance(value, dict) and shallow[end:].strip(_JSON_BLANKS):
        raise ValueError(f"Extra data at character {end}")
    return from_json(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def read_beginning(data: bytes) -> Any:
    """The value of a JSON text whose end is missing, as far as it goes. Raises ValueError if it is not one."""
    text = data.decode(errors="replace")
    try:
        return from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return from_json(mended_json(text), allow_partial="trailing-strings")


_JSON_BLANKS = " \t\r\n"
# A string without an end goes to the end of the text: were it looked for from each of its quotation marks, a cut answer
# would take hours.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)


def _shallow(text: str) -> str:
    """The same JSON, with null for what is nested too deep."""
    kept: list[str] = []
    depth = begin = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        match found.group()[0]:
            case "[" | "{":
                depth += 1
                if depth == BUDGET.depth + 1:
                    kept += [text[begin : found.start()], "null"]
            case "]" | "}":
                if depth == BUDGET.depth + 1:
                    begin = found.end()
                depth -= 1
    return "".join([*kept, text[begin:]]) if depth <= BUDGET.depth else text[:1]


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


# --- values that servers send in several ways --------------------------------------------------------------------


def _default_for_null(value: Any) -> Any:
    if value is None:
        raise PydanticUseDefault
    return value


def _text(value: Any) -> Any:
    """A text, given as such, as a number, as an object that holds it (`{"value": …}`), or in pieces."""
    match value:
        case str():
            return value
        case bool() | None:
            raise PydanticUseDefault
        case int() | float():
            return str(value)
        case {"value": str() as text} | {"text": str() as text} | {"content": str() as text}:
            return text
        case list() if all(isinstance(piece, str) for piece in value):
            return "".join(value)
        case _:
            raise PydanticUseDefault


_LARGEST_COUNT = 2**53  # what JSON numbers hold exactly everywhere


def _count(value: Any) -> int:
    """A number of tokens, given as a number or as text."""
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        raise PydanticUseDefault from None
    if isinstance(number, bool) or not isinstance(number, int | float) or number != number:
        raise PydanticUseDefault
    if not 0 <= number <= _LARGEST_COUNT:
        raise PydanticUseDefault
    return int(number)


def _timestamp(value: Any) -> Any:
    """Seconds since the epoch, given as a number or in ISO 8601."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                value = datetime.fromisoformat(value).timestamp()
            except (ValueError, OverflowError):
                raise PydanticUseDefault from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LARGEST_COUNT:
        raise PydanticUseDefault
    return float(value)


T = TypeVar("T")
# Some servers send null where the API sends an empty value.
NullAsDefault = Annotated[T, BeforeValidator(_default_for_null)]
Text = Annotated[str, BeforeValidator(_text)]
Count = Annotated[int, BeforeValidator(_count)]
Timestamp = Annotated[float, BeforeValidator(_timestamp)]


# --- closed sets -------------------------------------------------------------------------------------------------


class ResponseStatus(StrEnum):
    """The statuses of a response that the API documents."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"


UNFINISHED = frozenset({ResponseStatus.QUEUED, ResponseStatus.IN_PROGRESS})
ANSWERED = frozenset({ResponseStatus.COMPLETED, ResponseStatus.INCOMPLETE})
"""Of a response whose model has answered, if only in part."""


class Truncation(StrEnum):
    """What a provider does with a conversation that is too long for the model: drop its oldest items, or refuse it."""

    AUTO = "auto"
    DISABLED = "disabled"


class ReasoningEffort(StrEnum):
    """How hard the model thinks; passed through to the provider."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class Verbosity(StrEnum):
    """How long the model's answer should be."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


# --- content -----------------------------------------------------------------------------------------------------


class UrlCitation(Received):
    """A source that the model cites in its text."""

    type: Literal["url_citation"] = "url_citation"
    url: str
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class OtherAnnotation(Received):
    """An annotation of any other kind or form, kept as it came."""

    type: str = "unknown"


def _annotations(value: Any) -> list[Any]:
    given = value if isinstance(value, list) else [value]
    return [_flat(note) for note in given[: BUDGET.citations] if isinstance(note, dict | BaseModel)]


def _flat(note: Any) -> Any:
    """Some servers nest a citation as chat completions do: `{"type": "url_citation", "url_citation": {"url": …}}`."""
    match note:
        case {"url_citation": {"url": str()} as nested}:
            return {**nested, "type": "url_citation"}
        case _:
            return note


def _annotation_kind(note: Any) -> str:
    if isinstance(note, BaseModel):
        return "url_citation" if isinstance(note, UrlCitation) else "other"
    match note:
        case {"type": "url_citation" | None, "url": str()}:
            return "url_citation"
        case {"url": str()} if "type" not in note:
            return "url_citation"
        case _:
            return "other"


Annotation = Annotated[
    Annotated[UrlCitation, Tag("url_citation")] | Annotated[OtherAnnotation, Tag("other")],
    Discriminator(_annotation_kind),
]


class OutputText(Received):
    """A piece of the model's text. Some servers have another `type` for it, or none."""

    type: str = "output_text"
    text: Text = ""
    annotations: Annotated[list[Annotation], BeforeValidator(_annotations)] = Field(default_factory=list)


class Refusal(Received):
    """The model's refusal, in place of text."""

    type: Literal["refusal"] = "refusal"
    refusal: Text = ""


class OtherContent(Received):
    """A content part of any other kind, kept as it came."""

    type: str = "unknown"


def _type_of(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else getattr(value, "type", None)


def _tagged(*known: str) -> Discriminator:
    return Discriminator(lambda value: kind if (kind := _type_of(value)) in known else "other")


_THOUGHTS = re.compile("reasoning|thinking|thought|summary")


def _part_kind(value: Any) -> str:
    """Whatever has text is text, unless its type says that it was only thought."""
    kind = _type_of(value)
    if kind in ("output_text", "refusal"):
        return str(kind)
    if isinstance(value, OutputText):  # of another type
        return "output_text"
    if not isinstance(value, dict):
        return "other"
    if isinstance(value.get("refusal"), str):
        return "refusal"
    thought = isinstance(kind, str) and _THOUGHTS.search(kind)
    return "output_text" if "text" in value and not thought else "other"


ContentPart = Annotated[
    Annotated[OutputText, Tag("output_text")]
    | Annotated[Refusal, Tag("refusal")]
    | Annotated[OtherContent, Tag("other")],
    Discriminator(_part_kind),
]


def _parts(value: Any) -> Any:
    match value:
        case str():
            return value
        case None:
            raise PydanticUseDefault
        case list():
            return [_part(part) for part in _few(value) if isinstance(part, str | dict | BaseModel)]
        case dict():
            return [_part(part) for part in _few(_listed(value)) if isinstance(part, str | dict)]
        case _:
            return _text(value)


def _few(parts: list[Any]) -> list[Any]:
    """No more parts than the budget allows; the text of the rest is one."""
    if len(parts) <= BUDGET.items:
        return parts
    kept, rest = parts[: BUDGET.items - 1], parts[BUDGET.items - 1 :]
    return [*kept, "".join(map(_text_within, rest))]


def _part(part: Any) -> Any:
    return {"type": "output_text", "text": part} if isinstance(part, str) else part


# --- output items ------------------------------------------------------------------------------------------------


class Message(Received):
    """A message of the model (an output item), or of the user (an input item)."""

    type: str = "message"
    id: str | None = None
    role: str = "assistant"
    status: str | None = None
    content: Annotated[list[ContentPart] | str, BeforeValidator(_parts)] = Field(default_factory=list)
    phase: str | None = None

    @property
    def is_of_the_model(self) -> bool:
        """Whether the model says it: some servers repeat in the output what was said to it."""
        return snake_case(self.role) not in _NOT_THE_MODEL

    @property
    def is_commentary(self) -> bool:
        """Whether it is about the work, not the answer. Some servers tell it by the channel of their model."""
        channel = (self.model_extra or {}).get("channel")
        told = self.phase or (channel if isinstance(channel, str) else "")
        return snake_case(told) in _BESIDE_THE_ANSWER

    @property
    def text(self) -> str:
        """The text of all parts, refusals included."""
        if isinstance(self.content, str):
            return self.content
        return "".join(
            part.text if isinstance(part, OutputText) else part.refusal
            for part in self.content
            if isinstance(part, OutputText | Refusal)
        )

    def with_text(self, text: str) -> Self:
        """The same message with another text in one part, with all that was noted about it."""
        return self.model_copy(update={"content": [OutputText(text=text, annotations=self.annotations)]})

    @property
    def annotations(self) -> list[Annotation]:
        """What is noted about the text, of every kind."""
        parts = [] if isinstance(self.content, str) else self.content
        return [note for part in parts if isinstance(part, OutputText) for note in part.annotations]

    @property
    def citations(self) -> list[UrlCitation]:
        """Every source cited in the text."""
        return [note for note in self.annotations if isinstance(note, UrlCitation)]


def _as_json(value: Any) -> Any:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


# JSON in a text, which some servers send as the value that it means.
JsonText = Annotated[str, BeforeValidator(_as_json)]


class FunctionCall(Received):
    """The model asks the client to call a function; `arguments` is JSON text, if the model kept to the rules.

    Some servers send the arguments as an object, or no `call_id`: its response gives it one.
    """

    type: Literal["function_call"] = "function_call"
    id: str | None = None
    call_id: JsonText = ""
    name: JsonText = ""
    arguments: JsonText = ""
    status: str | None = None


class SummaryText(Received):
    """One paragraph of a reasoning summary."""

    type: str = "summary_text"
    text: Text = ""


def _paragraphs(value: Any) -> list[Any]:
    given = _few(value) if isinstance(value, list) else [value]
    return [
        {"text": part} if isinstance(part, str) else part for part in given if isinstance(part, str | dict | BaseModel)
    ]


class Reasoning(Received):
    """What the model thought; the client sees summaries at most."""

    type: Literal["reasoning"] = "reasoning"
    id: str | None = None
    summary: Annotated[list[SummaryText], BeforeValidator(_paragraphs)] = Field(default_factory=list)
    status: str | None = None


class OtherItem(Received):
    """An output item of any other kind, or of a known kind with unexpected fields, kept as it came.

    But for the arguments of a call that is to be approved, which some servers send as an object: they become JSON text.
    """

    type: str = "unknown"
    id: str | None = None
    status: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _arguments_are_text(cls, value: Any) -> Any:
        if (
            isinstance(value, dict)
            and value.get("type") == MCP_APPROVAL_REQUEST
            and isinstance(value.get("arguments"), dict)
        ):
            return {**value, "arguments": _as_json(value["arguments"])}
        return value


def _keep_malformed(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return OtherItem.model_validate(value)


def _item_kind(value: Any) -> str:
    kind = _type_of(value)
    if kind in ("message", "function_call", "reasoning"):
        return str(kind)
    if isinstance(value, Message):
        return "message"
    # Of another type or of none, but it is what the assistant says.
    says = isinstance(value, dict) and value.get("content") and (kind is None or value.get("role") == "assistant")
    return "message" if says else "other"


OutputItem = Annotated[
    Annotated[Message, Tag("message")]
    | Annotated[FunctionCall, Tag("function_call")]
    | Annotated[Reasoning, Tag("reasoning")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(_item_kind),
    WrapValidator(_keep_malformed),
]


def _items(value: Any) -> list[Any]:
    listed = [_item(item) for item in _listed(value) if item and isinstance(item, str | dict | BaseModel)]
    return [part for item in listed for part in (items_in(item) if isinstance(item, dict) else [item])]


def _listed(value: Any) -> list[Any]:
    """Items that are not in a list, in a list within a list or an object, or under their numbers."""
    match value:
        case list():
            return [part for item in value for part in (item if isinstance(item, list) else [item])]
        case dict() if value and value.keys() <= _NUMBERS:
            return list(value.values())
        case {"items": list() as inner} | {"data": list() as inner}:
            return inner
        case _:
            return [value]


_NUMBERS = frozenset(map(str, range(BUDGET.items)))


def _item(item: Any) -> Any:
    """An item. Some servers put text, or the parts of a message, where its message belongs."""
    if isinstance(item, str):
        return {"type": "message", "content": item}
    if _type_of(item) in ("output_text", "text") and isinstance(item, dict):
        return {"type": "message", "content": [item]}
    return item


# --- input items -------------------------------------------------------------------------------------------------


class InputText(ApiModel):
    """Text given to the model."""

    type: Literal["input_text"] = "input_text"
    text: str


class InputImage(ApiModel):
    """An image given to the model, as a data URL or an address."""

    type: Literal["input_image"] = "input_image"
    image_url: str
    detail: str = "auto"


class OtherPart(ApiModel):
    """A part of any other kind, passed on as it is."""


class FunctionCallOutput(ApiModel):
    """The client's answer to a function call: text, or parts where the model is given images, too."""

    type: Literal["function_call_output"] = "function_call_output"
    call_id: str
    output: str | list[InputText | InputImage | OtherPart]

    @property
    def text(self) -> str:
        """Its text."""
        if isinstance(self.output, str):
            return self.output
        return "\n\n".join(part.text for part in self.output if isinstance(part, InputText))

    def with_text(self, text: str) -> Self:
        """The same answer with another text before its images."""
        if isinstance(self.output, str):
            return self.model_copy(update={"output": text})
        others = [part for part in self.output if not isinstance(part, InputText)]
        return self.model_copy(update={"output": [InputText(text=text), *others]})

    @property
    def has_images(self) -> bool:
        """Whether the model is given an image with it."""
        return not isinstance(self.output, str) and any(isinstance(part, InputImage) for part in self.output)

    def without_images(self, instead: str) -> Self:
        """The same answer with this text in place of each image."""
        if isinstance(self.output, str):
            return self
        parts = [InputText(text=instead) if isinstance(part, InputImage) else part for part in self.output]
        return self.model_copy(update={"output": parts})


class McpApprovalResponse(ApiModel):
    """The client's answer to an `mcp_approval_request`: whether the provider may make that call."""

    type: Literal["mcp_approval_response"] = "mcp_approval_response"
    approval_request_id: str
    approve: bool
    reason: str | None = None


CallAnswer = FunctionCallOutput | McpApprovalResponse
"""What the client answers to an item that asks it for something."""


class UserMessage(ApiModel):
    """A message of the user with parts of several kinds."""

    type: Literal["message"] = "message"
    role: Literal["user"] = "user"
    content: list[InputText | InputImage]


class OtherInputItem(ApiModel):
    """An input item of any other kind, passed on as it is."""


InputItem = CallAnswer | UserMessage | OtherInputItem


def _objects(value: Any) -> Any:
    return [item for item in value if isinstance(item, dict | BaseModel)] if isinstance(value, list) else value


def _objects_with_ids(value: Any) -> Any:
    objects = _objects(value)
    if not isinstance(objects, list):
        return objects
    return [it for it in objects if isinstance(it, BaseModel) or (isinstance(it.get("id"), str) and it["id"])]


class InputItemList(Received):
    """One page of a response's input items; `last_id` is what the next page comes after."""

    data: Annotated[list[InputItem], BeforeValidator(_objects)]
    has_more: bool = False
    last_id: str | None = None


class InputTokens(Received):
    """How many tokens a request gives to the model."""

    input_tokens: Count


# --- containers --------------------------------------------------------------------------------------------------


class ContainerFile(Received):
    """A file in a container of the code interpreter. `source`: `user`, or the `assistant` whose code has made it."""

    id: str = Field(min_length=1)
    path: Text = ""
    bytes: Annotated[int | None, BeforeValidator(_count)] = None
    created_at: Timestamp = 0
    source: Text = ""


class ContainerFileList(Received):
    """One page of the files of a container; `last_id` is what the next page comes after."""

    data: Annotated[list[ContainerFile], BeforeValidator(_objects_with_ids)]
    has_more: bool = False
    last_id: str | None = None


# --- usage and errors --------------------------------------------------------------------------------------------


class InputTokensDetails(Received):
    """What part of the input was read from the cache. What else a provider tells of it is kept as it came.

    Every field that is declared here costs its bytes in the history of every turn.
    """

    cached_tokens: Count = 0

    @property
    def cache_write_tokens(self) -> int:
        """The tokens that were written to the cache; at some models they have a price of their own."""
        return _counted((self.model_extra or {}).get("cache_write_tokens")) or 0

    @property
    def cache_write_12h_tokens(self) -> int:
        """Those of them that are kept for 12 hours, at a higher price."""
        details = (self.model_extra or {}).get("cache_write_tokens_details")
        return (_counted(details.get("ttl_12h_tokens")) or 0) if isinstance(details, dict) else 0


class OutputTokensDetails(Received):
    """What part of the output was reasoning."""

    reasoning_tokens: Count = 0


class Usage(Received):
    """Tokens of one response. Reads the older `prompt_tokens` / `completion_tokens` where the new names are missing.

    A number that cannot be read counts as 0, a total that cannot be read as the sum. `doubts`: why the numbers are not
    what is billed, as sentences; that is for whoever has received them, and is not sent on.
    """

    input_tokens: Count = 0
    input_tokens_details: InputTokensDetails = Field(default_factory=InputTokensDetails)
    output_tokens: Count = 0
    output_tokens_details: OutputTokensDetails = Field(default_factory=OutputTokensDetails)
    total_tokens: Count = 0
    doubts: list[str] = Field([], exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        read = {snake_case(str(key)): item for key, item in value.items() if item is not None}
        for new, old in (
            ("input_tokens", "prompt_tokens"),
            ("output_tokens", "completion_tokens"),
            ("input_tokens_details", "prompt_tokens_details"),
            ("output_tokens_details", "completion_tokens_details"),
        ):
            if new not in read and old in read:
                read[new] = read[old]
        if _counted(read.get("total_tokens")) is None:
            read["total_tokens"] = sum(_counted(read.get(name)) or 0 for name in ("input_tokens", "output_tokens"))
        read["doubts"] = list(_doubts(read))
        return read


_SIDES = (("input", ("cached_tokens", "cache_write_tokens")), ("output", ("reasoning_tokens",)))
_PRICED_AS_ALL = frozenset({"text_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"})
"""Parts of a side that cost what all of it does."""
_COUNTED_ELSEWHERE = frozenset(
    {
        *("input_tokens", "output_tokens", "total_tokens", "prompt_tokens", "completion_tokens"),
        "tool_output_tokens",  # vLLM: what tools have said, which is input of the model's next step
    }
)


def _doubts(read: Mapping[str, Any]) -> Iterator[str]:
    """Why the numbers of a usage are not what is billed.

    A provider that counts otherwise than the API may leave out of one number what stands in another.
    """
    sides = {}
    for side, parts in _SIDES:
        sides[side] = whole = _whole(read.get(f"{side}_tokens"))
        if whole is None:
            yield f"the provider has not said how many tokens of {side} it used"
        details = read.get(f"{side}_tokens_details")
        if isinstance(details, BaseModel):
            details = details.model_dump()
        if not isinstance(details, Mapping):
            if details is not None:
                yield f"what the provider says of its tokens of {side} cannot be read"
            continue
        told = {part: _whole(details[part]) for part in parts if details.get(part) is not None}
        if None in told.values():
            yield f"what the provider says of its tokens of {side} cannot be read"
        elif whole is not None and sum(filter(None, told.values())) > whole:
            yield f"the provider counts more {' and '.join(told)} than tokens of {side}"
        yield from _of_other_kinds(details, {*parts, *_PRICED_AS_ALL})
    yield from _of_other_kinds(read, _COUNTED_ELSEWHERE)
    total = _counted(read.get("total_tokens")) or 0
    if None not in sides.values() and total > sum(filter(None, sides.values())):
        yield "the provider counts more tokens in all than of input and output"


def _of_other_kinds(counts: Mapping[str, Any], known: Collection[str]) -> Iterator[str]:
    for name, count in counts.items():
        is_a_kind = isinstance(name, str) and name.endswith("_tokens") and name not in _COUNTED_ELSEWHERE
        if is_a_kind and name not in known and _counted(count):
            yield f"the price of {name[:_LONGEST_KIND]} is not known"


_LONGEST_KIND = 60  # characters


def _whole(value: Any) -> int | None:
    counted = _counted(value)
    return counted if counted is not None and float(value) == counted else None


def _counted(value: Any) -> int | None:
    try:
        return _count(value)
    except PydanticUseDefault:
        return None


class ErrorDetail(Received):
    """Why a response failed, or the `error` of an HTTP error answer. Some servers send numbers as `code`."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    code: str | None = None
    message: Text = ""
    type: str | None = None
    param: str | None = None


def error_fields(value: Any) -> Any:
    """What servers send as `error`, as the object that the API has; None where there is no error."""
    match value:
        case {"error": dict() as inner} if "message" not in value and "code" not in value:
            return error_fields(inner)
        case dict():
            return None if is_no_error(value) else value
        case BaseModel():
            return value
        case str() if snake_case(value) not in ("", "null", "none"):
            return {"message": value}
        case list() if value:
            return error_fields(value[0])
        case _:
            return None


def _error_elsewhere(response: dict[str, Any]) -> Any:
    """Why a response has failed, where its `error` does not say so: as runs of other APIs do."""
    details = response.get("status_details")
    said = (response.get("last_error"), details.get("error") if isinstance(details, dict) else None)
    return next((found for each in said if (found := error_fields(each)) is not None), None)


class IncompleteDetails(Received):
    """Why a response is incomplete: `max_output_tokens`, `content_filter`, `steered`, or a newer reason."""

    reason: str | None = None


def _incomplete_details(value: Any) -> Any:
    match value:
        case [dict() | str() as only]:
            return _incomplete_details(only)
        case str():
            return _incomplete_details({"reason": value})
        case {"reason": str() as said} | {"type": str() as said} | {"code": str() as said}:
            reason = reason_of_a_cut(said)
            return None if reason is None else value | {"reason": reason}
        case dict() | BaseModel():
            return value
        case _:
            return None


# --- the response ------------------------------------------------------------------------------------------------

IMAGE_GENERATION_CALL = "image_generation_call"
"""The type of an output item that holds an image: megabytes in base64."""
CONTAINER_FILE_CITATION = "container_file_citation"
"""The type of an annotation that cites a file in a container."""
MCP_APPROVAL_REQUEST = "mcp_approval_request"
"""The type of an output item that asks whether the provider may call a remote MCP server."""
ANSWER_TOO_LARGE = "answer_too_large"
"""Why a response is incomplete of which we have not kept everything: ours, no server says so."""


class WebSearchUsage(Received):
    """The web searches of a response; None where their number cannot be read."""

    num_requests: Annotated[int | None, BeforeValidator(_count)] = None


class ToolUsage(Received):
    """What a provider counts of its own tools; not all of them."""

    web_search: WebSearchUsage | None = None

    @property
    def others(self) -> list[str]:
        """The tools, of those that have no field here, that it has used something of."""
        return [name for name, told in (self.model_extra or {}).items() if _counts_something(told)]


def _counts_something(told: Any) -> bool:
    if isinstance(told, Mapping):
        return any(map(_counts_something, told.values()))
    return bool(_counted(told))


_LONGEST_ID = 4096  # characters; servers put state into ids, but longer ones fit into no URL
NAMES_OF_FOLDERS = (".", "..")
"""No ids: in a URL they lead to another path, however they are written."""


class Response(Received):
    """One response. `status` is a `ResponseStatus`, or a newer status as plain text.

    Without a status that can be read, it is what its error or its `incomplete_details` say, else completed.
    """

    id: str = Field(min_length=1, max_length=_LONGEST_ID)
    object: str = "response"
    created_at: Timestamp = 0
    completed_at: Annotated[float | None, BeforeValidator(_timestamp)] = None
    status: Annotated[ResponseStatus | str, Field(union_mode="left_to_right")] = ResponseStatus.COMPLETED
    model: str = ""
    output: Annotated[list[OutputItem], BeforeValidator(_items)] = Field(default_factory=list)
    usage: Usage | None = None
    error: Annotated[ErrorDetail | None, BeforeValidator(error_fields)] = None
    incomplete_details: Annotated[IncompleteDetails | None, BeforeValidator(_incomplete_details)] = None
    previous_response_id: str | None = None
    background: bool | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    tool_usage: ToolUsage | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_shape(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        read = dict(value)
        if read.get("output") is None:
            read.pop("output", None)
        if isinstance(read.get("id"), int) and not isinstance(read["id"], bool):
            read["id"] = str(read["id"])
        if not read.get("output") and isinstance(read.get("output_text"), str) and read["output_text"]:
            read["output"] = [_item(read["output_text"])]
        elif not read.get("output") and (found := output_of_another_api(read))[0]:
            read["output"], ended = found
            read["status"] = read.get("status") or ended
        status = _status_in(read)
        if status is not None:
            _say_why_it_was_cut(read, status)
            read["status"] = status
        else:
            read.pop("status", None)
        if status == ResponseStatus.FAILED and error_fields(read.get("error")) is None:
            read["error"] = _error_elsewhere(read)
        return _within_budget(read)

    @model_validator(mode="after")
    def _every_call_has_an_id(self) -> Self:
        for position, call in enumerate(self.function_calls):
            call.call_id = call.call_id or call.id or f"call_{position}_of_{self.id}"
        return self

    @property
    def is_finished(self) -> bool:
        """Whether the status is terminal. Only `queued` and `in_progress` are not; an unknown status is."""
        return self.status not in UNFINISHED

    @property
    def is_steered(self) -> bool:
        """Whether it ended early because of a `response.steer`: its successor continues from it."""
        reason = self.incomplete_details.reason if self.incomplete_details else None
        return self.status == ResponseStatus.INCOMPLETE and reason == "steered"

    @property
    def output_text(self) -> str:
        """The text of the answer: of all messages except comments on the work, one after the other."""
        return "".join(message.text for message in self._answer)

    @property
    def all_text(self) -> str:
        """The text of all messages, what the model said about its work included."""
        return "".join(item.text for item in self.output if isinstance(item, Message) and item.is_of_the_model)

    @property
    def _answer(self) -> list[Message]:
        return [
            item
            for item in self.output
            if isinstance(item, Message) and item.is_of_the_model and not item.is_commentary
        ]

    @property
    def reasoning_summary(self) -> str:
        """The paragraphs of all reasoning summaries."""
        return "\n\n".join(part.text for item in self.output if isinstance(item, Reasoning) for part in item.summary)

    @property
    def function_calls(self) -> list[FunctionCall]:
        """Every function call, wherever it stands in the output."""
        return [item for item in self.output if isinstance(item, FunctionCall)]

    @property
    def citations(self) -> list[UrlCitation]:
        """Every source cited in the text."""
        return [note for message in self._answer for note in message.citations]


WITHOUT_ID = "resp_without_id_"


def as_response(fields: Any, response_id: str | None = None) -> Any:
    """What a server sends as a response, out of the envelope of a gateway, and with an id.

    `response_id`: the one that was asked for. Without it, a finished answer gets an id of ours: nothing can be
    read by it, but the answer is there.
    """
    fields = unwrapped(fields, read_json) or fields
    if isinstance(fields, list) and len(fields) == 1:
        fields = fields[0]
    if not isinstance(fields, dict):
        return fields
    match fields.get("id") or fields.get("response_id"):
        case str() as known if 0 < len(known) <= _LONGEST_ID and known not in NAMES_OF_FOLDERS:
            return fields | {"id": known}
        case int() | float() as number if not isinstance(number, bool):
            return fields | {"id": str(number)}
    rest = {name: value for name, value in fields.items() if name != "id"}
    if response_id is not None and _is_response(fields):
        return rest | {"id": response_id}
    if _status_in(fields) not in UNFINISHED and (fields.get("output") or fields.get("choices") or _text_in(fields)):
        return rest | {"id": WITHOUT_ID + hashlib.sha256(to_json(rest)).hexdigest()[:24]}
    return rest


def read_response(fields: Any, response_id: str | None = None) -> Response:
    """The response in what a server sends. `response_id` as in `as_response()`. Raises `ValueError`.

    One that tells nothing but its id has begun; as what was asked for by its id it is no answer.
    """
    fields = as_response(fields, response_id)
    response = with_text_found(Response.model_validate(fields), fields)
    if "status" in response.model_fields_set or response.output or response.usage or "output" in fields:
        return response
    if response_id is not None:
        raise ValueError("it has neither a status nor an output")
    return response.model_copy(update={"status": ResponseStatus.IN_PROGRESS})


COMPACTED = "response.compaction"
"""The `object` of the answer to `POST /responses/compact`."""


def read_compaction(fields: Any) -> Response:
    """The answer of `POST /responses/compact`: the output of a response, without a status. Raises `ValueError`."""
    fields = unwrapped(fields, read_json) or fields
    if not isinstance(fields, dict) or not isinstance(fields.get("output"), list | dict):
        raise ValueError("a compaction has an output")
    return Response.model_validate(
        {**fields, "id": fields.get("id") or "compaction", "status": ResponseStatus.COMPLETED}
    )


def with_text_found(response: Response, fields: Any) -> Response:
    """A completed response that seems to say nothing, with the text that its server put where nobody looks for it.

    One that has nothing but an error has failed, whatever its status says.
    """
    if response.status != ResponseStatus.COMPLETED or response.all_text or not isinstance(fields, dict):
        return response
    if any(_is_call(item) for item in response.output):
        return response
    text = _text_in(fields)
    if text.strip():
        return response.model_copy(update={"output": [*response.output, _message(text)]})
    says_why = response.error is not None and (response.error.message or response.error.code)
    return response.model_copy(update={"status": ResponseStatus.FAILED}) if says_why else response


_NAMES_OF_TEXT = ("text", "refusal", "output_text", "content", "value", "transcript", "message", "parts", "markdown")
_NAMES_OF_JSON = ("parsed", "json", "text")  # an answer that was to be JSON, and was read on its way
_WHERE_TEXT_MAY_BE: dict[str, type] = {
    **dict.fromkeys(("output", "output_text", "content", "outputs"), object),
    "message": dict,  # as a text it is a remark about the request
    **dict.fromkeys(("text", "response", "result", "answer", "completion", "generated_text"), str),
}
_DEEPEST_TEXT = 8


def _text_in(fields: dict[str, Any]) -> str:
    """The text of an answer, wherever in it; JSON where it is a value."""
    places = [fields[it] for it, kind in _WHERE_TEXT_MAY_BE.items() if it in fields and isinstance(fields[it], kind)]
    choices = fields.get("choices")
    text = "".join(map(_text_within, [*places, *(choices[:1] if isinstance(choices, list) else [])]))
    return text if text.strip() else _json_in(fields.get("output"))


def _json_in(output: Any) -> str:
    items = [item for item in _listed(output) if isinstance(item, dict) and not _is_beside_the_answer(item)]
    parts = [part for item in items for part in [item, *_listed(item.get("content"))] if isinstance(part, dict)]
    values = (part.get(name) for part in parts if not _is_beside_the_answer(part) for name in _NAMES_OF_JSON)
    return next((json.dumps(value, ensure_ascii=False) for value in values if value and not isinstance(value, str)), "")


def _text_within(value: Any, depth: int = 0) -> str:
    """The text in a part of an answer, whatever its form; what was only thought, asked or looked up is none."""
    match value:
        case str():
            return value
        case list() if depth < _DEEPEST_TEXT:
            return "".join(_text_within(part, depth + 1) for part in value)
        case dict() if depth < _DEEPEST_TEXT and not _is_beside_the_answer(value):
            found = (_text_within(value.get(name), depth + 1) for name in _NAMES_OF_TEXT)
            return next((text for text in found if text), "")
        case _:
            return ""


def _is_beside_the_answer(fields: dict[str, Any]) -> bool:
    said = (fields.get(name) for name in ("type", "role", "phase", "channel"))
    kind, role, phase, channel = (snake_case(it) if isinstance(it, str) else "" for it in said)
    return bool(
        _THOUGHTS.search(kind)
        or re.search("call|_output$|tool", kind)
        or role in _NOT_THE_MODEL
        or (phase or channel) in _BESIDE_THE_ANSWER
    )


_NOT_THE_MODEL = frozenset({"user", "human", "system", "developer", "tool", "function"})
_BESIDE_THE_ANSWER = frozenset({"commentary", "analysis"})


def _is_call(item: OutputItem) -> bool:
    return isinstance(item, FunctionCall) or item.type.endswith(("_call", "_request"))


def _message(text: str) -> Message:
    return Message(content=[OutputText(text=text)])


def _is_response(fields: dict[str, Any]) -> bool:
    return "output" in fields or is_a_response(fields)


def _status_in(response: dict[str, Any]) -> str | None:
    """The status as the API spells it; None where it is not said."""
    said = status_in(response.get("status")) or status_in(response.get("state"))
    if said is not None:
        return ResponseStatus.INCOMPLETE if said == ResponseStatus.COMPLETED and _cut_because(response) else said
    if error_fields(response.get("error")) is not None:
        return ResponseStatus.FAILED
    return ResponseStatus.INCOMPLETE if _cut_because(response) else None


def _cut_because(response: dict[str, Any]) -> str | None:
    match _incomplete_details(response.get("incomplete_details")):
        case {"reason": str() as reason}:
            return reason
        case _:
            return None


def has_ended(fields: Any) -> bool:
    """Whether an object is a response that says, by its status, that it has ended."""
    if not isinstance(fields, dict) or not isinstance(fields.get("status"), str):
        return False
    return _status_in(fields) in set(ResponseStatus) - UNFINISHED


def _say_why_it_was_cut(response: dict[str, Any], status: str) -> None:
    """Put into its place what a server says by the status alone: `length`."""
    said = response.get("status")
    if status == ResponseStatus.INCOMPLETE and isinstance(said, str) and _cut_because(response) is None:
        reason = reason_of_a_cut(said)
        if reason in _REASONS_OF_A_CUT:
            response["incomplete_details"] = {"reason": reason}


_REASONS_OF_A_CUT = frozenset({"max_output_tokens", "content_filter"})


def _within_budget(response: dict[str, Any]) -> dict[str, Any]:
    """The response with no more items than the budget allows: messages and calls first.

    Where even these are too many, the text of the rest becomes one message and the response is incomplete.
    """
    if not response.get("output"):
        return response
    output = _items(response["output"])
    if len(output) <= BUDGET.items:
        return response | {"output": output}
    used = [item for item in output if _item_kind(item) in ("message", "function_call")]
    if len(used) <= BUDGET.items:
        return response | {"output": used}
    kept, rest = used[: BUDGET.items - 1], used[BUDGET.items - 1 :]
    text = "".join(Message.model_validate(item).text for item in rest if _item_kind(item) == "message")
    response = response | {"output": [*kept, _item(text)]}
    if response.get("status") not in (None, ResponseStatus.COMPLETED):
        return response
    return response | {"status": ResponseStatus.INCOMPLETE, "incomplete_details": {"reason": ANSWER_TOO_LARGE}}


# --- requests ----------------------------------------------------------------------------------------------------


class FunctionTool(ApiModel):
    """A function that the model may call."""

    type: Literal["function"] = "function"
    name: str
    description: str = ""
    parameters: dict[str, Any]
    strict: bool = True


class HostedTool(ApiModel):
    """A tool that runs at the provider: `web_search`, `code_interpreter`, or a newer one."""

    type: str


RequestTool = Annotated[
    Annotated[FunctionTool, Tag("function")] | Annotated[HostedTool, Tag("other")], _tagged("function")
]


class ReasoningOptions(ApiModel):
    """The request's `reasoning` object."""

    effort: str | None = None
    summary: str | None = None


class TextOptions(ApiModel):
    """The request's `text` object: verbosity and output format."""

    verbosity: str | None = None
    format: dict[str, Any] | None = None


class CreateRequest(ApiModel):
    """The body of `POST /responses`. Fields that are None are not sent."""

    model: str
    input: str | list[Any]
    instructions: str | None = None
    tools: list[RequestTool] | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    max_output_tokens: int | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    store: bool | None = None
    stream: bool | None = None
    metadata: dict[str, str] | None = None
    include: list[str] | None = None
    context_management: list[dict[str, Any]] | None = None
    max_tool_calls: int | None = None
    service_tier: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    truncation: Truncation | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: str | dict[str, Any] | None = None
    extra_body: dict[str, Any] | None = Field(None, exclude=True, repr=False)

    def body(self) -> dict[str, Any]:
        """The JSON object to send."""
        body = self.model_dump(mode="json", exclude_none=True)
        return with_extra(body, self.extra_body) if self.extra_body else body
