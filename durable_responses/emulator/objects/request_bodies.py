"""Bodies and queries of requests. Strict where the real API is strict, so that a wrong client fails here too."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, ValidationError

from durable_responses.emulator.objects.api_errors import from_validation
from durable_responses.responses_api.models import ReasoningEffort, Verbosity

MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Item = dict[str, Any]
Body = TypeVar("Body", bound=BaseModel)
Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]

CALL_OUTPUTS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}


class Options(BaseModel):
    """An object of a request: unknown parameters are refused, as the API refuses them."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ReasoningRequest(Options):
    """The request's `reasoning`."""

    effort: ReasoningEffort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: str | None = None


class TextFormat(Options):
    """The request's `text.format`. `schema` is the JSON schema that the answer must follow."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = Field(None, min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: StrictBool | None = None


class TextRequest(Options):
    """The request's `text`."""

    format: TextFormat | None = None
    verbosity: Verbosity | None = None


class StreamOptions(Options):
    """The request's `stream_options`."""

    include_obfuscation: bool | None = None


class ContextManagement(Options):
    """A member of the request's `context_management`: compact once so many tokens are before the model."""

    type: Literal["compaction"]
    compact_threshold: int | None = Field(None, ge=1000)


class BackgroundOptions(Options):
    """The request's `background_options`: within which time the answer may come."""

    completion_window: Literal["soonest", "2h", "8h"] | None = None


class ModelInput(Options):
    """What the model is given: common to create, input_tokens and compact."""

    model: str | None = None
    input: str | list[Item] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[Item] | None = None
    tool_choice: str | Item | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningRequest | None = None
    text: TextRequest | None = None
    truncation: Literal["auto", "disabled"] | None = None
    conversation: str | Item | None = None
    personality: str | None = None


class CompactBody(Options):
    """The body of `POST /responses/compact`."""

    model: str
    input: str | list[Item] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Item | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    service_tier: str | None = None
    image: Item | None = None


class CreateBody(ModelInput):
    """The body of `POST /responses`."""

    model: str
    input: str | list[Item]
    background: bool | None = None
    background_options: BackgroundOptions | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: dict[MetadataKey, MetadataValue] | None = Field(None, max_length=16)
    max_output_tokens: int | None = Field(None, ge=16)
    max_tool_calls: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    include: list[Include] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None = None
    prompt: Item | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Item | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    safety_identifier: str | None = Field(None, max_length=128)
    moderation: Item | None = None
    context_management: list[ContextManagement] | None = None
    access_programs: Item | None = None
    image: Item | None = None
    user: str | None = None
    # In no reference, but real: Codex sends the first one, and every response has the other two.
    client_metadata: Item | None = None
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)

    @property
    def compact_threshold(self) -> int | None:
        """The tokens from which on the conversation is compacted. Only a threshold that is given ever is."""
        return next((it.compact_threshold for it in self.context_management or []), None)

    @property
    def asks_for_compaction(self) -> bool:
        """Whether this asks for nothing but a compaction."""
        return isinstance(self.input, list) and bool(self.input) and is_trigger(self.input[-1])

    @property
    def is_stored(self) -> bool:
        """`store` is true unless the client says otherwise."""
        return self.store is not False

    @property
    def effort(self) -> ReasoningEffort:
        """How hard the model thinks; medium when not said."""
        return (self.reasoning and self.reasoning.effort) or ReasoningEffort.MEDIUM

    @property
    def wants_encrypted_reasoning(self) -> bool:
        """Whether reasoning items shall carry what a stateless client must send back."""
        return "reasoning.encrypted_content" in (self.include or [])

    @property
    def wants_summary(self) -> bool:
        """Whether the reasoning summary is asked for."""
        return self.reasoning is not None and bool(self.reasoning.summary or self.reasoning.generate_summary)


class StreamQuery(Options):
    """The query of a resumed stream."""

    starting_after: int = -1


class InputItemsQuery(Options):
    """The query of a list of input items."""

    after: str | None = None
    limit: int = Field(20, ge=1, le=100)
    order: Literal["asc", "desc"] = "desc"


def parse(kind: type[Body], body: bytes) -> Body:
    """A request of any kind. Raises: ApiError 400 that names the parameter."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise from_validation(error) from error


def parse_query(kind: type[Body], query: Mapping[str, str]) -> Body:
    """The query parameters of a request; those that `kind` does not know are ignored. Raises: ApiError 400."""
    try:
        return kind.model_validate({name: query[name] for name in kind.model_fields if name in query})
    except ValidationError as error:
        raise from_validation(error) from error


def input_items(given: str | list[Item] | None) -> list[Item]:
    """The input as items; text is one message of the user."""
    if given is None:
        return []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    return [{"type": "message", **item} if "role" in item else item for item in given]


def is_reference(item: Item) -> bool:
    """Whether an item only names another."""
    return bool(item.get("type", "item_reference") == "item_reference")


def item_type(item: Item) -> str:
    """The type of an input item; one that has none is a reference."""
    return str(item.get("type", "item_reference"))


def is_trigger(item: Item) -> bool:
    """Whether an item is the wish to compact: it is never kept, nor shown to the model."""
    return item.get("type") == "compaction_trigger"


_ID_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fc",
    "reasoning": "rs",
    "compaction": "cmp",
}


def listed_item(item: Item, key: str) -> Item:
    """An input item as it is listed: with an id (made from `key` where it has none) and the fields it leaves out."""
    kind = item.get("type", "item_reference")
    listed = {"id": f"{_ID_PREFIXES.get(kind, 'item')}_{key}", "status": "completed", **item}
    if kind == "compaction":
        del listed["status"]
    if kind == "message" and isinstance(item["content"], str):
        listed["content"] = [_text_part(item["role"], item["content"])]
    return listed


def _text_part(role: str, text: str) -> Item:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}
