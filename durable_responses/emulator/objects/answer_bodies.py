"""Bodies of answers: the response object with every field that the API sends, nulls included, and the smaller ones."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from durable_responses.emulator.objects.request_bodies import CreateBody, Item, TextFormat
from durable_responses.responses_api.models import (
    ApiModel,
    ErrorDetail,
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    ResponseStatus,
    Usage,
)

# What a response was billed as, where that is not what was asked for.
BILLED_TIERS: dict[str | None, str] = {None: "default", "auto": "default", "fast": "priority"}


class ResponseObject(ApiModel):
    """The response with every field that the API sends. Items hold the fields that they have, and no nulls."""

    id: str
    object: str = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus
    background: bool
    error: ErrorDetail | None = None
    frequency_penalty: float = 0.0
    incomplete_details: IncompleteDetails | None = None
    model: str
    output: list[Item] = Field(default_factory=list)
    usage: Usage | None = None
    presence_penalty: float = 0.0
    previous_response_id: str | None = None
    store: bool
    metadata: dict[str, str]
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    parallel_tool_calls: bool = True
    prompt: Any = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Any = None
    prompt_cache_retention: str | None = None
    prompt_cache_diagnostics: Any = None
    reasoning: dict[str, Any]
    safety_identifier: str | None = None
    service_tier: str = "default"
    temperature: float | None = 1.0
    text: dict[str, Any]
    tool_choice: Any = "auto"
    tools: list[dict[str, Any]]
    top_logprobs: int = 0
    top_p: float | None = 1.0
    truncation: str = "disabled"
    user: str | None = None
    conversation: Any = None
    moderation: Any = None
    image: Any = None
    input_transformations: Any = None
    access_programs: Any = None
    tool_usage: Any = None


class ItemList(ApiModel):
    """A page of input items. `first_id` and `last_id` are empty where the page is."""

    object: str = "list"
    data: list[Item]
    first_id: str
    last_id: str
    has_more: bool


class InputTokens(ApiModel):
    """How many tokens a request would give to the model."""

    object: str = "response.input_tokens"
    input_tokens: int


class ModelObject(ApiModel):
    """A model that may be asked for."""

    id: str
    object: str = "model"
    created: int = 1767225600
    owned_by: str = "emulator"


class ModelList(ApiModel):
    """The models that there are."""

    object: str = "list"
    data: list[ModelObject]


class Deletion(ApiModel):
    """The answer to a deletion."""

    id: str
    object: str = "response"
    deleted: bool = True


class CompactedResponse(ApiModel):
    """A conversation cut down to the user's messages and one opaque item that stands for the rest."""

    id: str
    object: str = "response.compaction"
    created_at: int
    output: list[Item]
    usage: Usage


def item_list(items: Sequence[Item], *, after: str | None, limit: int, newest_first: bool) -> ItemList:
    """A page of items that have ids: at most `limit` of those behind the item `after`."""
    ordered = list(reversed(items)) if newest_first else list(items)
    ids = [item["id"] for item in ordered]
    start = ids.index(after) + 1 if after in ids else 0
    page = ordered[start : start + limit]
    return ItemList(
        data=page,
        first_id=page[0]["id"] if page else "",
        last_id=page[-1]["id"] if page else "",
        has_more=len(ordered) > start + limit,
    )


def response_object(request: CreateBody, **state: Any) -> ResponseObject:
    """The response to a request; `state` is what changes: id, times, status, output, usage, error."""
    reasoning = request.reasoning
    return ResponseObject(
        model=request.model,
        background=bool(request.background),
        store=request.is_stored,
        metadata=request.metadata or {},
        frequency_penalty=request.frequency_penalty or 0.0,
        presence_penalty=request.presence_penalty or 0.0,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        parallel_tool_calls=request.parallel_tool_calls is not False,
        previous_response_id=request.previous_response_id,
        prompt_cache_key=request.prompt_cache_key,
        prompt_cache_options=request.prompt_cache_options,
        prompt_cache_retention=request.prompt_cache_retention,
        reasoning={"effort": request.effort, "summary": reasoning.summary if reasoning else None},
        safety_identifier=request.safety_identifier,
        service_tier=BILLED_TIERS.get(request.service_tier, request.service_tier) or "default",
        temperature=1.0 if request.temperature is None else request.temperature,
        text=_text(request),
        tool_choice=request.tool_choice or "auto",
        tools=[_tool(tool) for tool in request.tools or []],
        top_logprobs=request.top_logprobs or 0,
        top_p=1.0 if request.top_p is None else request.top_p,
        truncation=request.truncation or "disabled",
        user=request.user,
        **state,
    )


def usage(*, input_tokens: int, cached_tokens: int, output_tokens: int, reasoning_tokens: int) -> Usage:
    """The `usage` object."""
    details = {"cached_tokens": cached_tokens, "cache_write_tokens": 0}
    return Usage(
        input_tokens=input_tokens,
        input_tokens_details=InputTokensDetails.model_validate(details),
        output_tokens=output_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=reasoning_tokens),
        total_tokens=input_tokens + output_tokens,
    )


def _text(request: CreateBody) -> dict[str, Any]:
    text = request.text
    form = (text and text.format) or TextFormat()
    return {
        "format": form.model_dump(mode="json", by_alias=True, exclude_none=True),
        "verbosity": (text and text.verbosity) or "medium",
    }


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") == "function":
        return {"description": None, "parameters": None, "strict": True, **tool}
    return tool
