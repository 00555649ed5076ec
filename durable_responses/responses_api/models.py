"""The objects of the Responses API: requests, the response, its output items, its usage.

Fields, item kinds and statuses that this module does not know are kept as they came, never refused: the API grows
faster than its clients. Names are those of https://platform.openai.com/docs/api-reference/responses.
"""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticUseDefault, from_json


class ApiModel(BaseModel):
    """Any object of the API. Unknown fields are kept and sent back as they came."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


def read_json(data: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is not valid JSON.

    JSON can spell lone surrogates (half an emoji at the end of a delta) that no UTF-8 text can hold. They become
    question marks, because a whole answer is worth more than half a character.
    """
    try:
        return from_json(data)
    except ValueError as error:
        if "hex escape" not in str(error):
            raise
        tolerated = json.dumps(json.loads(data), ensure_ascii=False)
        return from_json(tolerated.encode(errors="replace"))


def _default_for_null(value: Any) -> Any:
    if value is None:
        raise PydanticUseDefault
    return value


T = TypeVar("T")
# Some servers send null where the API sends an empty value.
NullAsDefault = Annotated[T, BeforeValidator(_default_for_null)]


class ResponseStatus(StrEnum):
    """The statuses of a response that the API documents."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"


UNFINISHED = frozenset({ResponseStatus.QUEUED, ResponseStatus.IN_PROGRESS})


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


class UrlCitation(ApiModel):
    """A source that the model cites in its text."""

    type: Literal["url_citation"] = "url_citation"
    url: str
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class OtherAnnotation(ApiModel):
    """An annotation of any other kind, kept as it came."""

    type: str


class OutputText(ApiModel):
    """A piece of the model's text."""

    type: Literal["output_text"] = "output_text"
    text: NullAsDefault[str] = ""
    annotations: NullAsDefault[
        list[
            Annotated[
                Annotated[UrlCitation, Tag("url_citation")] | Annotated[OtherAnnotation, Tag("other")],
                Discriminator(lambda value: "url_citation" if _type_of(value) == "url_citation" else "other"),
            ]
        ]
    ] = Field(default_factory=list)


class Refusal(ApiModel):
    """The model's refusal, in place of text."""

    type: Literal["refusal"] = "refusal"
    refusal: NullAsDefault[str] = ""


class OtherContent(ApiModel):
    """A content part of any other kind, kept as it came."""

    type: str


def _type_of(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else getattr(value, "type", None)


def _tagged(*known: str) -> Discriminator:
    return Discriminator(lambda value: kind if (kind := _type_of(value)) in known else "other")


ContentPart = Annotated[
    Annotated[OutputText, Tag("output_text")]
    | Annotated[Refusal, Tag("refusal")]
    | Annotated[OtherContent, Tag("other")],
    _tagged("output_text", "refusal"),
]


# --- output items ------------------------------------------------------------------------------------------------


class Message(ApiModel):
    """A message of the model (an output item), or of the user (an input item)."""

    type: Literal["message"] = "message"
    id: str | None = None
    role: str = "assistant"
    status: str | None = None
    content: NullAsDefault[list[ContentPart] | str] = Field(default_factory=list)
    phase: str | None = None

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

    @property
    def citations(self) -> list[UrlCitation]:
        """Every source cited in the text."""
        parts = [] if isinstance(self.content, str) else self.content
        return [
            note
            for part in parts
            if isinstance(part, OutputText)
            for note in part.annotations
            if isinstance(note, UrlCitation)
        ]


class FunctionCall(ApiModel):
    """The model asks the client to call a function; `arguments` is JSON text, if the model kept to the rules."""

    type: Literal["function_call"] = "function_call"
    id: str | None = None
    call_id: str
    name: str
    arguments: NullAsDefault[str] = ""
    status: str | None = None


class SummaryText(ApiModel):
    """One paragraph of a reasoning summary."""

    type: str = "summary_text"
    text: NullAsDefault[str] = ""


class Reasoning(ApiModel):
    """What the model thought; the client sees summaries at most."""

    type: Literal["reasoning"] = "reasoning"
    id: str | None = None
    summary: NullAsDefault[list[SummaryText]] = Field(default_factory=list)
    status: str | None = None


class OtherItem(ApiModel):
    """An output item of any other kind, or of a known kind with unexpected fields, kept as it came."""

    type: str
    id: str | None = None
    status: str | None = None


def _keep_malformed(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return OtherItem.model_validate(value)


OutputItem = Annotated[
    Annotated[Message, Tag("message")]
    | Annotated[FunctionCall, Tag("function_call")]
    | Annotated[Reasoning, Tag("reasoning")]
    | Annotated[OtherItem, Tag("other")],
    _tagged("message", "function_call", "reasoning"),
    WrapValidator(_keep_malformed),
]


# --- input items -------------------------------------------------------------------------------------------------


class FunctionCallOutput(ApiModel):
    """The client's answer to a function call."""

    type: Literal["function_call_output"] = "function_call_output"
    call_id: str
    output: str


class InputText(ApiModel):
    """Text given to the model."""

    type: Literal["input_text"] = "input_text"
    text: str


class InputImage(ApiModel):
    """An image given to the model, as a data URL or an address."""

    type: Literal["input_image"] = "input_image"
    image_url: str
    detail: str = "auto"


class UserMessage(ApiModel):
    """A message of the user with parts of several kinds."""

    type: Literal["message"] = "message"
    role: Literal["user"] = "user"
    content: list[InputText | InputImage]


class OtherInputItem(ApiModel):
    """An input item of any other kind, passed on as it is."""


InputItem = FunctionCallOutput | UserMessage | OtherInputItem


class InputItemList(ApiModel):
    """One page of a response's input items; `last_id` is what the next page comes after."""

    data: list[InputItem]
    has_more: bool = False
    last_id: str | None = None


# --- usage and errors --------------------------------------------------------------------------------------------


class InputTokensDetails(ApiModel):
    """What part of the input was read from the cache."""

    cached_tokens: NullAsDefault[int] = 0


class OutputTokensDetails(ApiModel):
    """What part of the output was reasoning."""

    reasoning_tokens: NullAsDefault[int] = 0


class Usage(ApiModel):
    """Tokens of one response. Reads the older `prompt_tokens` / `completion_tokens` where the new names are missing."""

    input_tokens: int = 0
    input_tokens_details: InputTokensDetails = Field(default_factory=InputTokensDetails)
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails = Field(default_factory=OutputTokensDetails)
    total_tokens: int = 0

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        read = {key: item for key, item in value.items() if item is not None}
        for new, old in (
            ("input_tokens", "prompt_tokens"),
            ("output_tokens", "completion_tokens"),
            ("input_tokens_details", "prompt_tokens_details"),
            ("output_tokens_details", "completion_tokens_details"),
        ):
            if new not in read and old in read:
                read[new] = read[old]
        read.setdefault("total_tokens", read.get("input_tokens", 0) + read.get("output_tokens", 0))
        return read


class ErrorDetail(ApiModel):
    """Why a response failed, or the `error` of an HTTP error answer. Some servers send numbers as `code`."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    code: str | None = None
    message: NullAsDefault[str] = ""
    type: str | None = None
    param: str | None = None


class IncompleteDetails(ApiModel):
    """Why a response is incomplete: `max_output_tokens`, `content_filter`, `steered`, or a newer reason."""

    reason: str | None = None


# --- the response ------------------------------------------------------------------------------------------------


class Response(ApiModel):
    """One response. `status` is a `ResponseStatus`, or a newer status as plain text."""

    id: str = Field(min_length=1)
    object: str = "response"
    created_at: NullAsDefault[float] = 0
    completed_at: float | None = None
    status: NullAsDefault[Annotated[ResponseStatus | str, Field(union_mode="left_to_right")]] = ResponseStatus.COMPLETED
    model: NullAsDefault[str] = ""
    output: NullAsDefault[list[OutputItem]] = Field(default_factory=list)
    usage: Usage | None = None
    error: ErrorDetail | None = None
    incomplete_details: IncompleteDetails | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None

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
        """The text of all messages, one after the other."""
        return "".join(item.text for item in self.output if isinstance(item, Message))

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
        return [note for item in self.output if isinstance(item, Message) for note in item.citations]


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

    def body(self) -> dict[str, Any]:
        """The JSON object to send."""
        return self.model_dump(mode="json", exclude_none=True)
