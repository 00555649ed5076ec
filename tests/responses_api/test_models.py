import json
from typing import Any

import pytest
from pydantic import ValidationError

from durable_responses.responses_api.budget import BUDGET
from durable_responses.responses_api.models import (
    ANSWER_TOO_LARGE,
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
    read_beginning,
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


def test_a_call_may_come_without_an_id_and_with_arguments_of_another_type() -> None:
    calls: list[dict[str, Any]] = [
        {"name": "f", "arguments": {"a": 1}},
        {"call_id": None, "id": "fc_1", "name": "f"},
        {"call_id": "", "name": "f", "arguments": [1]},
        {"call_id": 7, "name": None, "arguments": None},
    ]
    read = response(output=[{"type": "function_call"} | call for call in calls])
    said = [(call.call_id, call.name, call.arguments) for call in read.function_calls]
    assert said == [
        (f"call_0_of_{read.id}", "f", '{"a": 1}'),
        ("fc_1", "f", ""),
        (f"call_2_of_{read.id}", "f", "[1]"),
        ("7", "", ""),
    ]


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


# --- only what is used decides -------------------------------------------------------------------------------------

TEXT = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}

UNUSED: list[dict[str, Any]] = [
    {"metadata": {"team": None}},
    {"metadata": "none"},
    {"metadata": {"team": {"nested": [1]}}},
    {"created_at": "2026-11-28T19:00:00Z"},
    {"created_at": "yesterday"},
    {"created_at": float("nan")},
    {"created_at": -1},
    {"created_at": True},
    {"completed_at": {"seconds": 3}},
    {"error": ""},
    {"error": {}},
    {"error": []},
    {"error": False},
    {"object": None},
    {"object": 7},
    {"model": None},
    {"model": ["gpt-5.4"]},
    {"previous_response_id": 7},
    {"background": "perhaps"},
    {"store": {}},
    {"incomplete_details": ""},
    {"incomplete_details": []},
    {"incomplete_details": {"reason": 7}},
    {"usage": "much"},
    {"usage": []},
    {"usage": {"input_tokens": [], "input_tokens_details": "none", "output_tokens_details": [1]}},
    {"status": None},
    {"status": ""},
    {"status": 7},
    {"status": "Completed"},
    {"tools": "odd", "text": 7, "reasoning": []},
]


def test_what_nobody_uses_may_be_of_any_type() -> None:
    read = [(fields, response(output=[TEXT], **fields)) for fields in UNUSED]
    odd = [(fields, r) for fields, r in read if (r.status, r.output_text, r.error) != ("completed", "Hello.", None)]
    assert odd == []


def test_a_number_as_id_is_taken_as_text() -> None:
    assert response(id=17).id == "17"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"error": "It broke."}, "failed"),
        ({"error": {"message": "It broke."}}, "failed"),
        ({"incomplete_details": {"reason": "max_output_tokens"}}, "incomplete"),
        ({"incomplete_details": "max_output_tokens"}, "incomplete"),
        ({}, "completed"),
    ],
)
def test_without_a_status_error_and_incomplete_details_say_it(fields: dict[str, Any], status: str) -> None:
    assert response(status=None, **fields).status == status


@pytest.mark.parametrize(
    ("spelled", "status"),
    [("COMPLETED", "completed"), ("In-Progress", "in_progress"), ("canceled", "cancelled"), (" failed ", "failed")],
)
def test_a_status_may_be_spelled_in_other_ways(spelled: str, status: str) -> None:
    assert response(status=spelled).status == status


def test_an_error_and_a_reason_may_be_plain_text() -> None:
    read = response(error="It broke.", incomplete_details="content_filter")
    assert read.error is not None
    assert read.incomplete_details is not None
    assert (read.error.message, read.incomplete_details.reason) == ("It broke.", "content_filter")


def test_times_may_be_iso_8601() -> None:
    read = response(created_at="1970-01-01T00:01:00Z", completed_at="61")
    assert (read.created_at, read.completed_at) == (60, 61)


COUNTS: list[tuple[Any, int]] = [
    (12, 12),
    ("12", 12),
    (1.5, 1),
    ("many", 0),
    (float("nan"), 0),
    (float("inf"), 0),
    (-3, 0),
    (10**400, 0),
    (None, 0),
    (True, 0),
    ([12], 0),
    ({}, 0),
]


def test_a_number_of_tokens_is_read_where_it_can_be() -> None:
    read = [
        (value, counts_of({"input_tokens": value, "output_tokens": 5, "total_tokens": value})) for value, _ in COUNTS
    ]
    expected = [(value, (count, 0, 5, 0, count or 5)) for value, count in COUNTS]
    assert repr(read) == repr(expected)


# --- text survives its decorations -----------------------------------------------------------------------------------

ANNOTATIONS: list[Any] = [
    [{"type": "url_citation", "url_citation": {"title": "E"}}],
    [{"type": "url_citation"}],
    [{"url": None}],
    [{"type": None}],
    [{}],
    [None, "https://example.org", 7],
    "https://example.org",
    {"type": "file_citation"},
    [{"type": ["url_citation"], "url": {}}],
]


def test_text_stays_whatever_its_annotations_are() -> None:
    texts = [
        response(output=[{"type": "message", "content": [{"type": "output_text", "text": "Hi", "annotations": odd}]}])
        for odd in ANNOTATIONS
    ]
    assert [read.output_text for read in texts] == ["Hi"] * len(ANNOTATIONS)


def test_an_annotation_of_unknown_form_is_kept_beside_the_text() -> None:
    note = {"type": "url_citation", "link": "https://example.org"}
    fields = {"id": "resp_1", "output": [{"type": "message", "content": [{"text": "Hi", "annotations": [note]}]}]}
    assert Response.model_validate(fields).model_dump(mode="json", exclude_unset=True) == fields


def test_a_citation_may_be_nested_and_may_lack_its_type() -> None:
    nested = {"type": "url_citation", "url_citation": {"url": "https://example.org/1", "title": "E"}}
    plain = {"url": "https://example.org/2", "start_index": "odd", "title": 7}
    read = response(output=[{"type": "message", "content": [{"text": "Hi", "annotations": [nested, plain]}]}])
    assert [(note.url, note.title) for note in read.citations] == [
        ("https://example.org/1", "E"),
        ("https://example.org/2", None),
    ]


OUTPUTS: list[Any] = [
    "Hello.",
    ["Hello."],
    TEXT,
    [TEXT | {"role": None}],
    [TEXT | {"role": 7, "id": 8, "status": [], "phase": {}}],
    [TEXT | {"type": None}],
    [TEXT | {"type": "massage"}],
    [TEXT | {"content": "Hello."}],
    [TEXT | {"content": ["Hel", "lo."]}],
    [TEXT | {"content": {"type": "output_text", "text": "Hello."}}],
    [TEXT | {"content": [{"type": "text", "text": "Hello."}]}],
    [TEXT | {"content": [{"text": "Hello."}]}],
    [TEXT | {"content": [{"type": None, "text": "Hello."}]}],
    [TEXT | {"content": [{"type": "output_markdown", "text": "Hello."}]}],
    [TEXT | {"content": [{"type": "text", "text": {"value": "Hello.", "annotations": []}}]}],
    [TEXT | {"content": [{"type": "output_text", "text": ["Hel", "lo."]}]}],
    [TEXT | {"content": [None, 7, {"type": "hologram"}, {"type": "output_text", "text": "Hello."}, {}]}],
    [TEXT | {"content": [{"type": "thinking", "text": "Hm."}, {"type": "output_text", "text": "Hello."}]}],
    [None, 7, TEXT, {}],
    [{"type": "output_text", "text": "Hello."}],
]


def test_text_is_found_in_every_form_that_servers_give_it() -> None:
    read = [(output, response(output=output).output_text) for output in OUTPUTS]
    assert read == [(output, "Hello.") for output in OUTPUTS]


def test_text_that_stands_beside_an_empty_output_is_the_output() -> None:
    assert response(output=[], output_text="Hello.").output_text == "Hello."


def test_a_summary_may_be_text() -> None:
    assert response(output=[{"type": "reasoning", "summary": "Hm."}]).reasoning_summary == "Hm."
    assert (
        response(output=[{"type": "reasoning", "summary": ["Hm.", None, {"text": 7}]}]).reasoning_summary == "Hm.\n\n7"
    )


# --- the budget ---------------------------------------------------------------------------------------------------


def test_of_too_many_items_those_are_kept_that_are_used() -> None:
    searches = [{"type": "web_search_call", "id": f"ws_{n}"} for n in range(BUDGET.items)]
    read = response(output=[*searches, TEXT])
    assert (len(read.output), read.output_text, read.status) == (1, "Hello.", "completed")


def test_too_many_messages_end_the_response_with_their_text() -> None:
    read = response(output=[TEXT] * (2 * BUDGET.items))
    assert (len(read.output), read.output_text) == (BUDGET.items, "Hello." * 2 * BUDGET.items)
    assert read.incomplete_details is not None
    assert (read.status, read.incomplete_details.reason) == ("incomplete", ANSWER_TOO_LARGE)


def test_of_very_many_parts_the_text_of_the_last_ones_is_one() -> None:
    part = {"type": "output_text", "text": "Hello."}
    read = response(output=[{"type": "message", "content": [part] * (2 * BUDGET.items)}])
    assert isinstance(read.output[0], Message)
    assert (len(read.output[0].content), read.output_text) == (BUDGET.items, "Hello." * 2 * BUDGET.items)
    thought = response(output=[{"type": "reasoning", "summary": [part] * (2 * BUDGET.items)}, TEXT])
    assert isinstance(thought.output[0], Reasoning)
    assert (len(thought.output[0].summary), thought.output_text) == (BUDGET.items, "Hello.")


def test_very_many_calls_in_a_message_are_too_many_items() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    read = response(output=[TEXT | {"tool_calls": [call] * (2 * BUDGET.items)}])
    assert (len(read.output), read.status, read.output_text) == (BUDGET.items, "incomplete", "Hello.")


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


def test_text_that_holds_half_a_character_is_read_too() -> None:
    assert read_json('"a\ud83d"') == "a?"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": "caf\xe9"}', {"a": "caf\ufffd"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": 1}'.encode("utf-16"), {"a": 1}),
        (b'{"a": "one\ntwo"}', {"a": "one\ntwo"}),
        ('{"a": ' + "9" * 5000 + "}", {"a": float("inf")}),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + ', "b": 1}', None),
    ],
)
def test_what_nobody_uses_cannot_make_json_unreadable(text: str | bytes, value: Any) -> None:
    read = read_json(text)
    assert read == value or (value is None and read["b"] == 1)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, r'"\ud8"', b"\xff"])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="line 1 column"):
        read_json(text)


@pytest.mark.parametrize("text", ['{"a": "' + '\\"' * 500_000, '{"a": "\x01' + "\\" * 999_999, "{" + '"a' * 500_001])
def test_of_a_cut_text_each_quotation_mark_is_looked_at_once(text: str) -> None:
    """From each to the end it would take hours, and hold up the worker: an answer of code that is cut has many."""
    with pytest.raises(ValueError, match="line 1 column"):
        read_json(text)


CUT_TEXT = r'{"id": "resp_1", "text": "one \u00e9\ud83d\ude42 é🙂\n two", "list": [{"a": 1}, null, true], "b": 1.5e3}'


@pytest.mark.parametrize("end", range(1, len(CUT_TEXT.encode()) + 1))
def test_of_json_without_its_end_the_beginning_is_read(end: int) -> None:
    read = read_beginning(CUT_TEXT.encode()[:end])
    whole = json.loads(CUT_TEXT)
    assert list(read) == list(whole)[: len(read)]
    assert whole["text"].startswith(read.get("text", "").rstrip("\ufffd"))


def test_half_a_character_does_not_end_what_is_read_of_a_beginning() -> None:
    assert read_beginning(rb'{"text": "one \ud83d two') == {"text": "one \ufffd two"}
