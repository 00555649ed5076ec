from typing import Any

import pytest
from pydantic import ValidationError

from durable_responses.responses_api.models import (
    UNFINISHED,
    CreateRequest,
    FunctionCall,
    FunctionTool,
    HostedTool,
    InputItemList,
    Message,
    OtherItem,
    Reasoning,
    Response,
    ResponseStatus,
    Usage,
    read_json,
)


def response(**fields: Any) -> Response:
    return Response.model_validate({"id": "resp_1"} | fields)


# --- the response -------------------------------------------------------------------------------------------------


def test_only_queued_and_in_progress_are_not_finished() -> None:
    """A5: any other status ends the wait, unknown ones included."""
    statuses = {*ResponseStatus, "paused", "expired"}
    assert {status for status in statuses if not response(status=status).is_finished} == {"queued", "in_progress"}


def test_a_known_status_is_one_of_the_enum() -> None:
    assert response(status="queued").status in UNFINISHED
    assert isinstance(response(status="queued").status, ResponseStatus)


def test_an_unknown_status_is_kept_as_text() -> None:
    assert response(status="paused").status == "paused"


def test_a_response_without_an_id_is_none() -> None:
    with pytest.raises(ValidationError):
        response(id="")


def test_fields_of_the_future_are_kept() -> None:
    fields = {"id": "resp_1", "status": "completed", "output": [{"type": "message", "mood": "calm"}], "dream": [1]}
    assert Response.model_validate(fields).model_dump(mode="json", exclude_unset=True) == fields


def test_nulls_stand_for_nothing() -> None:
    """Some servers send null where the API sends an empty list or text."""
    output = [
        {"type": "message", "content": None},
        {"type": "reasoning", "summary": None},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": None},
        {"type": "message", "content": [{"type": "output_text", "text": None, "annotations": None}]},
    ]
    read = response(output=output, model=None, created_at=None, status=None)
    assert (read.output_text, read.reasoning_summary, read.function_calls[0].arguments) == ("", "", "")
    assert response(output=None).output == []


def test_every_kind_of_item_is_recognised() -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}},
        {"type": "message", "content": [{"type": "output_text", "text": "Hi"}, {"type": "hologram", "data": "…"}]},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
    ]
    assert [type(item) for item in response(output=output).output] == [Reasoning, OtherItem, Message, FunctionCall]


@pytest.mark.parametrize("item", [{"type": "function_call", "name": "f"}, {"type": "message", "content": 7}])
def test_an_item_of_a_known_kind_that_is_malformed_is_kept_as_it_came(item: dict[str, Any]) -> None:
    (kept,) = response(output=[item]).output
    assert isinstance(kept, OtherItem)
    assert kept.model_dump(exclude_unset=True) == item


def test_text_calls_summary_and_citations_are_found_anywhere_in_the_output() -> None:
    """A12: function calls wherever they stand."""
    citation = {"type": "url_citation", "url": "https://example.org", "title": "E", "start_index": 0, "end_index": 1}
    read = response(
        output=[
            {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
            {"type": "reasoning", "summary": [{"text": "One."}, {"text": "Two."}]},
            {"type": "message", "content": [{"type": "output_text", "text": "A", "annotations": [citation]}]},
            {"type": "function_call", "call_id": "call_2", "name": "g", "arguments": "{}"},
            {"type": "message", "content": [{"type": "refusal", "refusal": "B"}]},
        ]
    )
    assert read.output_text == "AB"
    assert [call.call_id for call in read.function_calls] == ["call_1", "call_2"]
    assert read.reasoning_summary == "One.\n\nTwo."
    assert [source.url for source in read.citations] == ["https://example.org"]


# --- usage --------------------------------------------------------------------------------------------------------


USAGE: list[tuple[dict[str, Any], tuple[int, int, int, int, int]]] = [
    ({}, (0, 0, 0, 0, 0)),
    ({"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}, (5, 0, 7, 0, 12)),
    ({"input_tokens": 5, "output_tokens": 7}, (5, 0, 7, 0, 12)),
    ({"prompt_tokens": 5, "completion_tokens": 7}, (5, 0, 7, 0, 12)),
    ({"input_tokens": None, "prompt_tokens": 5, "completion_tokens": 7}, (5, 0, 7, 0, 12)),
    ({"input_tokens": 1, "prompt_tokens": 5, "output_tokens": 2, "completion_tokens": 7}, (1, 0, 2, 0, 3)),
    (
        {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 3},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 4},
        },
        (5, 3, 7, 4, 12),
    ),
    (
        {
            "prompt_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens": 7,
            "completion_tokens_details": {"reasoning_tokens": None},
        },
        (5, 3, 7, 0, 12),
    ),
]


def counts_of(fields: dict[str, Any]) -> tuple[int, int, int, int, int]:
    """Input, cached, output, reasoning and total tokens."""
    usage = Usage.model_validate(fields)
    return (
        usage.input_tokens,
        usage.input_tokens_details.cached_tokens,
        usage.output_tokens,
        usage.output_tokens_details.reasoning_tokens,
        usage.total_tokens,
    )


def test_usage_is_read_under_its_names_of_today_and_of_yesterday() -> None:
    """A11: `prompt_tokens` and `completion_tokens` where input and output are missing."""
    assert [(fields, counts_of(fields)) for fields, _ in USAGE] == USAGE


# --- requests and input -------------------------------------------------------------------------------------------


def test_a_request_sends_only_what_was_set() -> None:
    assert CreateRequest(model="m", input="hello").body() == {"model": "m", "input": "hello"}


def test_tools_are_sent_in_the_api_s_form() -> None:
    tools: list[FunctionTool | HostedTool] = [
        FunctionTool(name="f", parameters={"type": "object"}),
        HostedTool(type="web_search"),
    ]
    assert CreateRequest(model="m", input="hello", tools=tools).body()["tools"] == [
        {"type": "function", "name": "f", "description": "", "parameters": {"type": "object"}, "strict": True},
        {"type": "web_search"},
    ]


INPUT_ITEMS: list[dict[str, Any]] = [
    {"type": "message", "id": "msg_1", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
    {"type": "message", "id": "msg_2", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
    {"type": "message", "role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]},
    {"role": "user", "content": "hello"},
    {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "42", "status": "completed"},
    {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "42"}]},
    {"type": "item_of_the_future", "dream": {"of": "sheep"}},
]


def test_input_items_that_were_read_can_be_sent_again_unchanged() -> None:
    read = InputItemList.model_validate({"data": INPUT_ITEMS}).data
    assert CreateRequest(model="m", input=read).body()["input"] == INPUT_ITEMS


# --- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83d\ude42"', "🙂"),
        (r'"a\ud83d"', "a?"),
        (r'"\ude42b"', "?b"),
        (r'["\ud83dx", "\\ud83d", "🙂"]', ["?x", "\\ud83d", "🙂"]),
    ],
)
def test_half_a_character_becomes_a_question_mark(text: str, value: Any) -> None:
    assert read_json(text) == value
    assert read_json(text.encode()) == value


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, r'"\ud8"', b"\xff"])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="line 1 column"):
        read_json(text)
