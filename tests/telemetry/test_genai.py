"""Names and values of the GenAI semantic conventions."""

import json
from typing import Any

import pytest

from durable_responses.activities.messages import CreateResponse, ModelOptions, Opening, ResponseRecord
from durable_responses.responses_api.models import FunctionCallOutput
from durable_responses.telemetry import genai
from durable_responses.telemetry.export import Content

MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "The answer."}]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}


def response(**fields: Any) -> ResponseRecord:
    return ResponseRecord.model_validate({"id": "resp_1", "status": "completed", **fields})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"output": [MESSAGE]}, "stop"),
        ({"output": [MESSAGE, CALL]}, "tool_call"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "steered"),
        ({"status": "failed"}, "error"),
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "of_tomorrow"}, "of_tomorrow"),
    ],
)
def test_a_finish_reason_is_one_of_the_conventions_where_they_have_one(fields: dict[str, Any], reason: str) -> None:
    assert genai.finish_reason(response(**fields)) == reason


@pytest.mark.parametrize("content", Content)
def test_messages_are_shown_on_request_only(content: Content) -> None:
    shown = genai.of_response(response(output=[MESSAGE, CALL]), content).get("gen_ai.output.messages")
    assert (shown is not None) == (content is Content.SPANS)


def test_output_messages_follow_the_schema_of_the_conventions() -> None:
    shown = genai.of_response(response(output=[MESSAGE, CALL]), Content.SPANS)["gen_ai.output.messages"]
    assert isinstance(shown, str)
    assert json.loads(shown) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "The answer."},
                {"type": "tool_call", "id": "call_1", "name": "look", "arguments": "{}"},
            ],
            "finish_reason": "tool_call",
        }
    ]


def test_input_messages_hold_only_what_is_new() -> None:
    create = CreateResponse(
        options=ModelOptions(),
        iteration=2,
        new_items=[FunctionCallOutput(call_id="call_1", output="It is open.")],
        texts=["Hurry."],
    )
    shown = genai.of_create(create, "background", Content.SPANS)["gen_ai.input.messages"]
    assert isinstance(shown, str)
    assert json.loads(shown) == [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "result": "It is open."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Hurry."}]},
    ]


def test_a_task_of_items_is_shown_as_json() -> None:
    create = CreateResponse(options=ModelOptions(), iteration=1, opening=Opening(task=[{"role": "user"}]))
    shown = genai.of_create(create, "stream", Content.SPANS)["gen_ai.input.messages"]
    assert isinstance(shown, str)
    assert json.loads(shown)[0]["parts"] == [{"type": "text", "content": '[{"role": "user"}]'}]
