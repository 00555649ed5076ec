"""The GenAI semantic conventions for what a run does: names and attributes of its spans. Plain functions.

https://github.com/open-telemetry/semantic-conventions-genai/tree/v0.1.0/docs/gen-ai. What they have no word for is
named `agent.…`. Content (what was asked, answered, called) is given only on request; the conventions say why.
"""

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.util.types import AttributeValue

from durable_responses import genai_attributes as gen_ai
from durable_responses.activities.messages import (
    CallTool,
    CreateResponse,
    ResponseRecord,
    ToolOutcome,
    ToolResult,
    Transport,
)
from durable_responses.json_text import well_formed
from durable_responses.responses_api.models import CallAnswer, FunctionCall, FunctionCallOutput, Message
from durable_responses.telemetry.export import Content
from durable_responses.workflows.contract import WORKFLOW_TYPE, AgentInput, AgentResult, AgentStatus

Attributes = dict[str, AttributeValue]
PROVIDER = "openai"
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}  # those with another name there


class Operation(StrEnum):
    """What a span is about (`gen_ai.operation.name`)."""

    RUN = "invoke_agent"
    RESPONSE = "chat"
    TOOL = "execute_tool"


def of_run(workflow_id: str, request: AgentInput | None, content: Content) -> Attributes:
    """A run at its start; the request is None when it cannot be read."""
    attributes: Attributes = {
        gen_ai.OPERATION_NAME: Operation.RUN,
        gen_ai.PROVIDER_NAME: PROVIDER,
        gen_ai.AGENT_NAME: WORKFLOW_TYPE,
        gen_ai.CONVERSATION_ID: workflow_id,
    }
    if request is not None:
        attributes["agent.transport"] = request.transport
        attributes[gen_ai.REQUEST_REASONING_LEVEL] = request.reasoning_effort
        if request.model:
            attributes[gen_ai.REQUEST_MODEL] = request.model
        if content is Content.SPANS:
            attributes[gen_ai.INPUT_MESSAGES] = _as_json([_task_message(request.task, request.context)])
            attributes[gen_ai.INPUT_VALUE] = _task_text(request.task)
            attributes |= _instructions(request.instructions)
    return attributes


def labels_of_run(model: str | None) -> dict[str, str]:
    """The labels of a run's metrics."""
    labels: dict[str, str] = {gen_ai.OPERATION_NAME: Operation.RUN, gen_ai.AGENT_NAME: WORKFLOW_TYPE}
    return labels | ({gen_ai.REQUEST_MODEL: model} if model else {})


def of_result(result: AgentResult, content: Content) -> Attributes:
    """A run at its end."""
    usage = result.usage
    attributes: Attributes = {
        "agent.status": result.status,
        "agent.iterations": result.iterations,
        "agent.ambiguous_creates": result.ambiguous_creates,
        gen_ai.USAGE_INPUT_TOKENS: usage.input_tokens,
        gen_ai.USAGE_CACHE_READ_INPUT_TOKENS: usage.cached_tokens,
        gen_ai.USAGE_OUTPUT_TOKENS: usage.output_tokens,
        gen_ai.USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning_tokens,
    }
    if result.response_id:
        attributes[gen_ai.RESPONSE_ID] = result.response_id
    if result.model:
        attributes[gen_ai.RESPONSE_MODEL] = result.model
    if result.incomplete_reason:
        attributes["agent.incomplete_reason"] = result.incomplete_reason
    if result.error:
        attributes[ERROR_TYPE] = result.error.code or result.error.type
    if content is Content.SPANS:
        attributes[gen_ai.OUTPUT_MESSAGES] = _as_json([_assistant_message([_text(result.output_text)], _why(result))])
        attributes[gen_ai.OUTPUT_VALUE] = well_formed(result.output_text)
    return attributes


def _why(result: AgentResult) -> str:
    """Why the run's last words are its last."""
    if result.status is AgentStatus.INCOMPLETE:
        return _FINISH_REASONS.get(result.incomplete_reason or "", result.incomplete_reason or result.status)
    return {AgentStatus.COMPLETED: "stop", AgentStatus.FAILED: "error"}.get(result.status, str(result.status))


def labels_of_response(model: str) -> dict[str, str]:
    """The labels of a response's metrics."""
    return {
        gen_ai.OPERATION_NAME: Operation.RESPONSE,
        gen_ai.PROVIDER_NAME: PROVIDER,
        gen_ai.REQUEST_MODEL: model,
    }


def name_of_response(model: str | None) -> str:
    """The name of a response's span."""
    return f"{Operation.RESPONSE} {model}" if model else Operation.RESPONSE


def of_create(create: CreateResponse, workflow_id: str, transport: Transport, content: Content) -> Attributes:
    """A response at its start, in the run of that id."""
    options = create.options
    attributes: Attributes = {
        gen_ai.OPERATION_NAME: Operation.RESPONSE,
        gen_ai.PROVIDER_NAME: PROVIDER,
        gen_ai.OPENAI_API_TYPE: "responses",
        gen_ai.CONVERSATION_ID: workflow_id,
        "agent.transport": transport,
        "agent.iteration": create.iteration,
        "agent.create.attempt": create.attempt,
        gen_ai.REQUEST_REASONING_LEVEL: options.reasoning_effort,
        gen_ai.OUTPUT_TYPE: "json" if options.text_format else "text",
    }
    if transport is not Transport.BACKGROUND:
        attributes[gen_ai.REQUEST_STREAM] = True
    if create.previous_response_id:
        attributes[gen_ai.REQUEST_PREVIOUS_RESPONSE_ID] = create.previous_response_id
    if options.model:
        attributes[gen_ai.REQUEST_MODEL] = options.model
    if options.max_output_tokens:
        attributes[gen_ai.REQUEST_MAX_TOKENS] = options.max_output_tokens
    if content is Content.SPANS:
        attributes[gen_ai.INPUT_MESSAGES] = _as_json(_input_messages(create))
        attributes |= _instructions(options.instructions)
    return attributes


def of_response(response: ResponseRecord, content: Content) -> Attributes:
    """A response at its end, as far as it has come."""
    attributes: Attributes = {
        gen_ai.RESPONSE_ID: response.id,
        gen_ai.RESPONSE_FINISH_REASONS: [finish_reason(response)],
        "agent.response.status": response.status,
    }
    if response.model:
        attributes[gen_ai.RESPONSE_MODEL] = response.model
    if usage := response.usage:
        attributes[gen_ai.USAGE_INPUT_TOKENS] = usage.input_tokens
        attributes[gen_ai.USAGE_CACHE_READ_INPUT_TOKENS] = usage.input_tokens_details.cached_tokens
        attributes[gen_ai.USAGE_OUTPUT_TOKENS] = usage.output_tokens
        attributes[gen_ai.USAGE_REASONING_OUTPUT_TOKENS] = usage.output_tokens_details.reasoning_tokens
    if response.error:
        attributes[ERROR_TYPE] = response.error.code or "response_failed"
    if content is Content.SPANS:
        attributes[gen_ai.OUTPUT_MESSAGES] = _as_json([_output_message(response)])
    return attributes


def finish_reason(response: ResponseRecord) -> str:
    """Why the model stopped, in the words of the conventions where they have one."""
    if response.status == "completed":
        return "tool_call" if response.function_calls else "stop"
    reason = response.incomplete_details.reason if response.incomplete_details else None
    return _FINISH_REASONS.get(reason or "", "error" if response.status == "failed" else reason or response.status)


def of_call(call: CallTool, content: Content) -> Attributes:
    """A function call at its start."""
    attributes: Attributes = {
        gen_ai.OPERATION_NAME: Operation.TOOL,
        gen_ai.TOOL_NAME: call.name,
        gen_ai.TOOL_CALL_ID: call.call_id,
        gen_ai.TOOL_TYPE: "function",
    }
    if content is Content.SPANS:
        attributes[gen_ai.TOOL_CALL_ARGUMENTS] = well_formed(call.arguments)
    return attributes


def labels_of_call(call: CallTool, result: ToolResult) -> dict[str, str]:
    """The labels of a function call's metrics."""
    labels: dict[str, str] = {gen_ai.OPERATION_NAME: Operation.TOOL, gen_ai.TOOL_NAME: call.name}
    return labels | {gen_ai.TOOL_TYPE: "function", **_error_of(result)}


def _error_of(result: ToolResult) -> dict[str, str]:
    return {} if result.outcome is ToolOutcome.SUCCEEDED else {ERROR_TYPE: f"tool_{result.outcome}"}


def of_answer(result: ToolResult, content: Content) -> Attributes:
    """A function call at its end."""
    attributes: Attributes = {"agent.tool.outcome": result.outcome, **_error_of(result)}
    if content is Content.SPANS:
        attributes[gen_ai.TOOL_CALL_RESULT] = well_formed(result.output)
    return attributes


# --- content, by the schemas of the conventions: model/gen-ai/gen-ai-input-messages.json and its neighbours ---------


def _answer(item: CallAnswer) -> Mapping[str, object]:
    if isinstance(item, FunctionCallOutput):
        return {"type": "tool_call_response", "id": item.call_id, "response": item.text}
    return {"type": "tool_call_response", "id": item.approval_request_id, "response": item.approve}


def _input_messages(create: CreateResponse) -> list[Mapping[str, object]]:
    messages: list[Mapping[str, object]] = []
    if create.opening is not None:
        messages.append(_task_message(create.opening.task, create.opening.context))
    answers = [_answer(item) for item in create.new_items]
    if answers:
        messages.append({"role": "tool", "parts": answers})
    if create.texts:
        messages.append({"role": "user", "parts": [_text(text) for text in create.texts]})
    return messages


def _task_message(task: str | list[dict[str, Any]], context: str | None) -> Mapping[str, object]:
    texts = [_task_text(task), context]
    return {"role": "user", "parts": [_text(text) for text in texts if text]}


def _task_text(task: str | list[dict[str, Any]]) -> str:
    return well_formed(task) if isinstance(task, str) else _as_json(_without_data(task))


def _without_data(value: Any) -> Any:
    """The items of a task without what is in them as data: backends refuse spans with megabytes of an image."""
    match value:
        case str():
            return _DATA.sub(r"\1…", value) if len(value) > _LONGEST_DATA else value
        case list():
            return [_without_data(item) for item in value]
        case dict():
            named = {name: _without_data(item) for name, item in value.items()}
            file = named.get("file_data")
            return named if file is None else named | {"file_data": str(file)[:_LONGEST_DATA]}
        case _:
            return value


_DATA = re.compile(r"^(data:[^,]{0,200},).*", re.DOTALL)
_LONGEST_DATA = 200  # characters


def _instructions(text: str | None) -> Attributes:
    return {gen_ai.SYSTEM_INSTRUCTIONS: _as_json([_text(text)])} if text else {}


def _output_message(response: ResponseRecord) -> Mapping[str, object]:
    parts: list[Mapping[str, object]] = []
    for item in response.output:
        match item:
            case Message():
                parts.append(_text(item.text))
            case FunctionCall():
                parts.append({"type": "tool_call", "id": item.call_id, "name": item.name, "arguments": item.arguments})
    return _assistant_message(parts, finish_reason(response))


def _assistant_message(parts: Sequence[Mapping[str, object]], finish_reason: str) -> Mapping[str, object]:
    return {"role": "assistant", "parts": parts, "finish_reason": finish_reason}


def _text(text: str) -> Mapping[str, object]:
    return {"type": "text", "content": text}


def _as_json(value: object) -> str:
    return well_formed(json.dumps(value, ensure_ascii=False))
