"""What OpenAI refuses in the body of a create, and what its response says of it."""

import json
from typing import Any

import pytest

from durable_responses.emulator.objects.answer_bodies import response_object
from durable_responses.emulator.objects.api_errors import ApiError
from durable_responses.emulator.objects.request_bodies import CreateBody, parse
from durable_responses.emulator.objects.request_checks import check, check_model
from durable_responses.responses_api.models import ResponseStatus

WINDOW = "background_options.completion_window"


def checked(**fields: Any) -> CreateBody:
    request = parse(CreateBody, json.dumps({"model": "gpt-5.4", "input": "Hi.", **fields}).encode())
    check(request)
    check_model(request)
    return request


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 0.5, "model": "gpt-5"}, "temperature"),
        ({"temperature": 0.5, "model": "gpt-5.4", "reasoning": {"effort": "low"}}, "temperature"),
        ({"top_p": 0.5, "reasoning": {"effort": "low"}}, "top_p"),
        ({"max_tool_calls": 0}, "max_tool_calls"),
        ({"safety_identifier": "x" * 129}, "safety_identifier"),
        ({"service_tier": "cheapest"}, "service_tier"),
        ({"service_tier": "flex", "model": "gpt-6.2-sol"}, "service_tier"),
        ({"include": ["everything"]}, "include[0]"),
        ({"include": [1]}, "include[0]"),
        ({"reasoning": {"effort": 5}}, "reasoning.effort"),
        ({"model": " "}, "model"),
        ({"input": [{"type": "item_reference", "id": 5}]}, "input[0].id"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": [5]}]}, "input[0].output[0]"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "custom", "name": 5}}, "tool_choice.name"),
        ({"tool_choice": {"type": "function", "name": "missing"}}, "tool_choice"),
        ({"background_options": {"completion_window": "2h"}}, "background_options"),
        ({"background": True, "background_options": {"completion_window": "4h"}}, WINDOW),
        ({"background": True, "stream": True, "background_options": {"completion_window": "2h"}}, WINDOW),
        ({"background": True, "service_tier": "flex", "background_options": {"completion_window": "8h"}}, WINDOW),
    ],
)
def test_a_field_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        checked(**fields)
    assert (refused.value.status, refused.value.error.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"include": [1]}, "Invalid type for 'include[0]': expected one of "),
        ({"reasoning": {"effort": 5}}, "but got an integer instead."),
        (
            {"input": [{"type": "item_reference", "id": 5}]},
            "Invalid type for 'input[0].id': expected a string, but got an integer instead.",
        ),
        (
            {"input": [{"type": "mcp_approval_response", "approval_request_id": "a", "approve": "yes"}]},
            "Invalid type for 'input[0].approve': expected a boolean, but got a string instead.",
        ),
    ],
)
def test_a_value_of_another_type_is_refused_with_both_types(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiError) as refused:
        checked(**fields)
    assert said in refused.value.error.message
    assert refused.value.error.code == "invalid_type"


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.5, "reasoning": {"effort": "none"}},
        {"temperature": 0.5, "model": "plain-model"},
        {"temperature": 0.5, "model": "gpt-5.4"},
        {"background": True, "background_options": {"completion_window": "8h"}, "service_tier": "default"},
        {"background": True, "stream": True, "background_options": {"completion_window": "soonest"}},
        {"safety_identifier": "x" * 128, "max_tool_calls": 1, "include": ["code_interpreter_call.outputs"]},
    ],
)
def test_a_field_is_taken_where_the_api_takes_it(fields: dict[str, Any]) -> None:
    checked(**fields)


@pytest.mark.parametrize(
    ("asked", "billed"), [(None, "default"), ("auto", "default"), ("fast", "priority"), ("flex", "flex")]
)
def test_a_response_names_the_tier_that_is_billed(asked: str | None, billed: str) -> None:
    state: dict[str, Any] = {"id": "resp_1", "created_at": 1, "status": ResponseStatus.QUEUED}
    assert response_object(checked(service_tier=asked), **state).service_tier == billed
