"""The GenAI semantic conventions for what a run does: names and attributes of its spans. Plain functions.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ and gen-ai-agent-spans/. What they have no word for is
named `agent.…`. Content (what was asked, answered, called) is given only on request; the conventions say why.
"""

import json
from collections.abc import Mapping
from enum import StrEnum

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv._incubating.attributes import openai_attributes as openai
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.util.types import AttributeValue

from durable_responses.activities.messages import CallTool, CreateResponse, ResponseRecord, ToolOutcome, ToolResult
from durable_responses.responses_api.models import FunctionCall, Message
from durable_responses.telemetry.export import Content
from durable_responses.workflows.contract import WORKFLOW_TYPE, AgentInput, AgentResult

Attributes = dict[str, AttributeValue]
PROVIDER = "openai"


class Operation(StrEnum):
    """What a span is about (`gen_ai.operation.name`)."""

    RUN = "invoke_agent"
    RESPONSE = "chat"
    TOOL = "execute_tool"


def of_run(workflow_id: str, request: AgentInput | None) -> Attributes:
    """A run at its start; the request is None when it cannot be read."""
    attributes: Attributes = {
        gen_ai.GEN_AI_OPERATION_NAME: Operation.RUN,
        gen_ai.GEN_AI_PROVIDER_NAME: PROVIDER,
        gen_ai.GEN_AI_AGENT_NAME: WORKFLOW_TYPE,
        gen_ai.GEN_AI_CONVERSATION_ID: workflow_id,
    }
    if request is not None:
        attributes["agent.transport"] = request.transport
        attributes["gen_ai.request.reasoning.level"] = request.reasoning_effort
        if request.model:
            attributes[gen_ai.GEN_AI_REQUEST_MODEL] = request.model
    return attributes


def of_result(result: AgentResult) -> Attributes:
    """A run at its end."""
    usage = result.usage
    attributes: Attributes = {
        "agent.status": result.status,
        "agent.iterations": result.iterations,
        "agent.ambiguous_creates": result.ambiguous_creates,
        gen_ai.GEN_AI_USAGE_INPUT_TOKENS: usage.input_tokens,
        gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cached_tokens,
        gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
        gen_ai.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning_tokens,
    }
    if result.response_id:
        attributes[gen_ai.GEN_AI_RESPONSE_ID] = result.response_id
    if result.model:
        attributes[gen_ai.GEN_AI_RESPONSE_MODEL] = result.model
    if result.incomplete_reason:
        attributes["agent.incomplete_reason"] = result.incomplete_reason
    if result.error:
        attributes[ERROR_TYPE] = result.error.code or result.error.type
    return attributes


def name_of_response(model: str | None) -> str:
    """The name of a response's span."""
    return f"{Operation.RESPONSE} {model}" if model else Operation.RESPONSE


def of_create(create: CreateResponse, transport: str, content: Content) -> Attributes:
    """A response at its start."""
    options = create.options
    attributes: Attributes = {
        gen_ai.GEN_AI_OPERATION_NAME: Operation.RESPONSE,
        gen_ai.GEN_AI_PROVIDER_NAME: PROVIDER,
        openai.OPENAI_API_TYPE: "responses",
        "agent.transport": transport,
        "agent.iteration": create.iteration,
        "agent.create.attempt": create.attempt,
        "gen_ai.request.reasoning.level": options.reasoning_effort,
        gen_ai.GEN_AI_OUTPUT_TYPE: "json" if options.text_format else "text",
    }
    if options.model:
        attributes[gen_ai.GEN_AI_REQUEST_MODEL] = options.model
    if options.max_output_tokens:
        attributes[gen_ai.GEN_AI_REQUEST_MAX_TOKENS] = options.max_output_tokens
    if content is Content.SPANS:
        attributes[gen_ai.GEN_AI_INPUT_MESSAGES] = _as_json(_input_messages(create))
        if options.instructions:
            attributes[gen_ai.GEN_AI_SYSTEM_INSTRUCTIONS] = _as_json([_text(options.instructions)])
    return attributes


def of_response(response: ResponseRecord, content: Content) -> Attributes:
    """A response at its end, as far as it has come."""
    attributes: Attributes = {
        gen_ai.GEN_AI_RESPONSE_ID: response.id,
        gen_ai.GEN_AI_RESPONSE_FINISH_REASONS: [finish_reason(response)],
        "agent.response.status": response.status,
    }
    if response.model:
        attributes[gen_ai.GEN_AI_RESPONSE_MODEL] = response.model
    if usage := response.usage:
        attributes[gen_ai.GEN_AI_USAGE_INPUT_TOKENS] = usage.input_tokens
        attributes[gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS] = usage.input_tokens_details.cached_tokens
        attributes[gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS] = usage.output_tokens
        attributes[gen_ai.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS] = usage.output_tokens_details.reasoning_tokens
    if response.error:
        attributes[ERROR_TYPE] = response.error.code or "response_failed"
    if content is Content.SPANS:
        attributes[gen_ai.GEN_AI_OUTPUT_MESSAGES] = _as_json([_output_message(response)])
    return attributes


def finish_reason(response: ResponseRecord) -> str:
    """Why the model stopped, in the words of the conventions where they have one."""
    if response.status == "completed":
        return "tool_call" if response.function_calls else "stop"
    reason = response.incomplete_details.reason if response.incomplete_details else None
    return {"max_output_tokens": "length", "content_filter": "content_filter"}.get(
        reason or "", "error" if response.status == "failed" else reason or response.status
    )


def of_call(call: CallTool, content: Content) -> Attributes:
    """A function call at its start."""
    attributes: Attributes = {
        gen_ai.GEN_AI_OPERATION_NAME: Operation.TOOL,
        gen_ai.GEN_AI_TOOL_NAME: call.name,
        gen_ai.GEN_AI_TOOL_CALL_ID: call.call_id,
        gen_ai.GEN_AI_TOOL_TYPE: "function",
    }
    if content is Content.SPANS:
        attributes[gen_ai.GEN_AI_TOOL_CALL_ARGUMENTS] = call.arguments
    return attributes


def of_answer(result: ToolResult, content: Content) -> Attributes:
    """A function call at its end."""
    attributes: Attributes = {"agent.tool.outcome": result.outcome}
    if result.outcome is not ToolOutcome.SUCCEEDED:
        attributes[ERROR_TYPE] = f"tool_{result.outcome}"
    if content is Content.SPANS:
        attributes[gen_ai.GEN_AI_TOOL_CALL_RESULT] = result.output
    return attributes


# --- content: https://opentelemetry.io/docs/specs/semconv/gen-ai/ has the schemas of these messages -----------------


def _input_messages(create: CreateResponse) -> list[Mapping[str, object]]:
    messages: list[Mapping[str, object]] = []
    if create.opening is not None:
        task = create.opening.task
        texts = [task if isinstance(task, str) else _as_json(task), create.opening.context]
        messages.append({"role": "user", "parts": [_text(text) for text in texts if text]})
    answers = [{"type": "tool_call_response", "id": item.call_id, "result": item.output} for item in create.new_items]
    if answers:
        messages.append({"role": "tool", "parts": answers})
    if create.texts:
        messages.append({"role": "user", "parts": [_text(text) for text in create.texts]})
    return messages


def _output_message(response: ResponseRecord) -> Mapping[str, object]:
    parts: list[Mapping[str, object]] = []
    for item in response.output:
        match item:
            case Message():
                parts.append(_text(item.text))
            case FunctionCall():
                parts.append({"type": "tool_call", "id": item.call_id, "name": item.name, "arguments": item.arguments})
    return {"role": "assistant", "parts": parts, "finish_reason": finish_reason(response)}


def _text(text: str) -> Mapping[str, object]:
    return {"type": "text", "content": text}


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
