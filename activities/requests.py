"""The body of a create, from what the run asks for (row A26). Plain Python, no I/O."""

from typing import Any

from durable_responses.activities.messages import ModelOptions
from durable_responses.responses_api.models import (
    CreateRequest,
    FunctionTool,
    HostedTool,
    ReasoningEffort,
    ReasoningOptions,
    RequestTool,
    TextOptions,
)

DEFAULT_INSTRUCTIONS = (
    "You work autonomously: nobody will answer questions. Use the tools you are given, as often as needed, and go on "
    "until the task is done. Then give the full answer."
)


def instructions_for(options: ModelOptions) -> str:
    """The default instructions, followed by the caller's."""
    if not options.instructions:
        return DEFAULT_INSTRUCTIONS
    return f"{DEFAULT_INSTRUCTIONS}\n\nAdditional instructions: {options.instructions}"


def tools_for(options: ModelOptions, functions: list[FunctionTool]) -> list[RequestTool]:
    """The hosted tools that are switched on, then the function tools."""
    tools: list[RequestTool] = []
    if options.enable_web_search:
        tools.append(HostedTool(type="web_search"))
    if options.enable_code_interpreter:
        tools.append(HostedTool.model_validate({"type": "code_interpreter", "container": {"type": "auto"}}))
    return [*tools, *functions]


def reasoning_for(options: ModelOptions) -> ReasoningOptions | None:
    """No `reasoning` at all for effort none; a summary only when asked for."""
    if options.reasoning_effort is ReasoningEffort.NONE:
        return None
    return ReasoningOptions(
        effort=options.reasoning_effort.value, summary="auto" if options.reasoning_summary else None
    )


def text_for(options: ModelOptions) -> TextOptions | None:
    """Verbosity and output format, where one of them was given."""
    if options.verbosity is None and options.text_format is None:
        return None
    return TextOptions(
        verbosity=options.verbosity.value if options.verbosity else None,
        format=_json_schema(options.text_format) if options.text_format else None,
    )


def _json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A bare schema is wrapped; a ready `format` object passes."""
    if schema.get("type") in ("json_schema", "json_object", "text"):
        return schema
    return {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}


def create_request(
    options: ModelOptions,
    *,
    default_model: str,
    functions: list[FunctionTool],
    input: str | list[Any],  # noqa: A002 - the API's name
    previous_response_id: str | None,
    metadata: dict[str, str],
    background: bool,
    stream: bool,
) -> CreateRequest:
    """The request of one iteration. `store` is always explicit: what is stored is found again after a crash (A2)."""
    tools = tools_for(options, functions)
    return CreateRequest(
        model=options.model or default_model,
        input=input,
        instructions=instructions_for(options),
        tools=tools or None,
        reasoning=reasoning_for(options),
        text=text_for(options),
        max_output_tokens=options.max_output_tokens,
        previous_response_id=previous_response_id,
        background=background,
        store=True,
        stream=stream,
        metadata={**options.metadata, **metadata},
    )
