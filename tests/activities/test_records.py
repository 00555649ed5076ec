"""What of a response is kept in history."""

from datetime import UTC, datetime
from typing import Any

import pytest

from durable_responses.activities.conversation_items import output_items
from durable_responses.activities.messages import Keep, ResponseRecord, ToolResult
from durable_responses.activities.records import (
    LARGEST_TEXT,
    billed_of,
    compaction_record,
    record_of,
    unfinished_record,
)
from durable_responses.responses_api.models import ANSWER_TOO_LARGE, Response, ResponseStatus, read_compaction
from durable_responses.workflows import rules
from durable_responses.workflows.compaction import is_compaction

PAYLOAD = 2 * 1024 * 1024  # bytes; Temporal takes no larger result
CITATION = {"type": "url_citation", "url": "https://example.com", "title": "Example", "start_index": 0, "end_index": 2}


def response(*output: dict[str, Any], **fields: Any) -> Response:
    return Response.model_validate({"id": "resp_1", "status": "completed", "output": list(output), **fields})


def message(text: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": [1, 2, 3]}],
    }


def call(arguments: str = "{}", call_id: str = "call_1") -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": "fc_1",
        "call_id": call_id,
        "name": "add",
        "arguments": arguments,
        "status": "completed",
    }


def kept(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return record_of(response(*output, **fields)).model_dump(mode="json", exclude_none=True)


def test_the_echo_of_the_request_is_left_out() -> None:
    echo = {"instructions": "x" * 10_000, "tools": [{"type": "function"}], "metadata": {"a": "b"}, "top_p": 1.0}
    assert kept(**echo) == kept()


def test_model_times_usage_and_ending_are_kept() -> None:
    """A10, A11: what the loop needs."""
    facts = {
        "model": "gpt-5.4",
        "created_at": 1.0,
        "completed_at": 2.0,
        "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
        "error": {"code": "server_error", "message": "It broke."},
        "incomplete_details": {"reason": "max_output_tokens"},
    }
    record = record_of(response(status="incomplete", **facts))
    whole = response(status="incomplete", **facts)
    assert (record.status, record.model, record.created_at, record.completed_at) == ("incomplete", "gpt-5.4", 1, 2)
    assert (record.usage, record.error) == (whole.usage, whole.error)
    assert record.incomplete_details == whole.incomplete_details


def test_of_a_message_text_and_citations_are_kept() -> None:
    other = {"type": "file_citation", "file_id": "file_1"}
    [item] = kept(message("Hi", CITATION, other))["output"]
    assert item["content"] == [{"type": "output_text", "text": "Hi", "annotations": [CITATION]}]
    assert "id" not in item


def test_a_refusal_is_kept_as_text() -> None:
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "I will not."}]}
    assert record_of(response(refusal)).output_text == "I will not."


def test_of_a_function_call_nothing_that_the_answer_needs_is_lost() -> None:
    """A12."""
    assert kept(call('{"a": 1}'))["output"] == [
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": '{"a": 1}'}
    ]


def test_of_reasoning_the_summary_is_kept() -> None:
    reasoning = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "I thought."}],
        "encrypted_content": "x" * 10_000,
    }
    assert kept(reasoning)["output"] == [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "I thought."}]}
    ]


def test_reasoning_without_a_summary_is_left_out() -> None:
    assert (
        kept({"type": "reasoning", "id": "rs_1", "summary": []}, message("Hi"))["output"]
        == kept(message("Hi"))["output"]
    )


def test_of_other_items_kind_and_ids_are_kept() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"sources": ["x" * 10_000]}}
    assert kept(search)["output"] == [{"type": "web_search_call", "id": "ws_1"}]


@pytest.mark.parametrize("kind", ["custom_tool_call", "computer_call", "mcp_approval_request"])
def test_a_call_that_we_cannot_answer_is_still_seen_as_one(kind: str) -> None:
    """The rules look at records, not at what the provider sent."""
    record = record_of(response({"type": kind, "id": "x_1", "call_id": "call_1", "name": "n", "input": "i"}))
    assert [item.type for item in rules.unanswerable_calls(record)] == [kind]


def test_a_call_that_was_answered_at_the_provider_is_still_seen_as_answered() -> None:
    shell = [{"type": "shell_call", "id": "sh_1", "call_id": "c"}, {"type": "shell_call_output", "call_id": "c"}]
    assert rules.unanswerable_calls(record_of(response(*shell))) == []


def test_an_unknown_status_is_kept() -> None:
    """A5."""
    assert record_of(response(status="archived")).status == "archived"


@pytest.mark.parametrize(
    "output",
    [
        [message("ä" * LARGEST_TEXT)],
        [message("x" * LARGEST_TEXT) for _ in range(5)],
        [call("x" * LARGEST_TEXT, f"call_{number}") for number in range(5)],
        [message("x\n" * LARGEST_TEXT), call('{"a": "' + "x" * LARGEST_TEXT + '"}')],
        [{"type": "reasoning", "summary": [{"text": "x" * LARGEST_TEXT}] * 3}, message("x" * LARGEST_TEXT)],
        [message('"' * LARGEST_TEXT + "x" * LARGEST_TEXT), call("\x00" * LARGEST_TEXT)],
    ],
    ids=["one text", "many texts", "many calls", "text and call", "summary", "escapes"],
)
def test_a_record_of_whatever_size_fits_a_payload(output: list[dict[str, Any]]) -> None:
    """Else the run would fail for an answer that is already paid for."""
    assert len(record_of(response(*output)).model_dump_json().encode()) < PAYLOAD


LONG = "\x00" * LARGEST_TEXT

HUGE: dict[str, dict[str, Any]] = {
    "citations": {"output": [message("Hi", *[CITATION | {"title": "x" * 10_000}] * 5000)]},
    "a title": {"output": [message("Hi", CITATION | {"title": LONG})]},
    "an address": {"output": [message("Hi", CITATION | {"url": LONG})]},
    "decorated citations": {"output": [message("Hi", *[CITATION | {"extra": LONG}] * 50)]},
    "items": {"output": [{"type": "web_search_call", "id": f"ws_{n}"} for n in range(100_000)]},
    "an item's type": {"output": [message("Hi"), {"type": LONG, "call_id": LONG, "id": LONG}]},
    "a model": {"model": LONG},
    "a status": {"status": LONG},
    "an error": {"status": "failed", "error": {"message": LONG, "code": LONG, "type": LONG, "blob": LONG}},
    "a reason": {"status": "incomplete", "incomplete_details": {"reason": LONG, "blob": LONG}},
    "usage": {"usage": {"input_tokens": 3, "blob": LONG}},
    "ids of calls": {"output": [message("Hi"), *(call(call_id=LONG + str(n)) for n in range(5))]},
    "messages": {"output": [message("x" * 1000)] * 5000},
}


@pytest.mark.parametrize("fields", HUGE.values(), ids=HUGE)
def test_no_string_and_no_list_makes_a_record_too_large(fields: dict[str, Any]) -> None:
    record = record_of(Response.model_validate({"id": "resp_1", "status": "completed"} | fields))
    assert len(record.model_dump_json().encode()) < PAYLOAD


@pytest.mark.parametrize(("calls", "longest"), [(5, LARGEST_TEXT), (1, LARGEST_TEXT), (4500, 30)])
def test_calls_that_do_not_fit_end_the_response_with_its_text(calls: int, longest: int) -> None:
    """They, or the answers to them: each is named by an id."""
    record = record_of(response(message("Hi"), *(call(call_id="x" * longest + str(n)) for n in range(calls))))
    assert (record.output_text, record.status, record.function_calls) == ("Hi", "incomplete", [])
    assert record.incomplete_details is not None
    assert record.incomplete_details.reason == ANSWER_TOO_LARGE


def test_as_many_calls_as_are_kept_can_be_answered() -> None:
    record = record_of(response(*(call(call_id="x" * 30 + str(n)) for n in range(3000))))
    calls = record.function_calls
    assert (len(calls), record.status) == (3000, "completed")
    too_many = "Error: too many calls: only the first 128 of a response are executed. Call add again."
    assert len(rules.fit_outputs([ToolResult(call_id=it.call_id, output=too_many) for it in calls])) == 3000


@pytest.mark.parametrize("name", ["model", "service_tier"])
def test_a_name_of_any_length_fits(name: str) -> None:
    record = record_of(response(message("Hi"), **{name: "m" * 3_000_000}))
    assert (record.output_text, len(record.model_dump_json()) < 10_000) == ("Hi", True)


def test_a_summary_takes_no_room_from_the_text() -> None:
    thought = {"type": "reasoning", "summary": [{"text": "x" * LARGEST_TEXT}]}
    record = record_of(response(thought, message("x" * LARGEST_TEXT)))
    assert (record.status, len(record.output_text)) == ("completed", LARGEST_TEXT)


def test_an_answer_whose_text_was_cut_is_not_complete() -> None:
    record = record_of(response(message("x" * (LARGEST_TEXT + 1))))
    assert record.incomplete_details is not None
    assert (record.status, record.incomplete_details.reason) == ("incomplete", ANSWER_TOO_LARGE)


def test_a_text_beside_calls_may_be_cut() -> None:
    """The loop continues: the text was not the answer yet."""
    assert record_of(response(message("x" * (LARGEST_TEXT + 1)), call())).status == "completed"


def test_what_is_cut_says_so() -> None:
    text = record_of(response(message("x" * (LARGEST_TEXT + 1)))).output_text
    assert text == "x" * LARGEST_TEXT + f"\n[cut: the first {LARGEST_TEXT} of {LARGEST_TEXT + 1} characters]"


def test_a_text_is_not_cut_within_a_character() -> None:
    text = record_of(response(message("x" + "ä" * LARGEST_TEXT))).output_text
    kept, _, note = text.partition("\n")
    assert set(kept) == {"x", "ä"}
    assert note.startswith("[cut")


def test_all_calls_are_kept_when_their_arguments_are_cut() -> None:
    """A12: each has to be answered."""
    record = record_of(response(*(call("x" * LARGEST_TEXT, f"call_{number}") for number in range(3))))
    assert [each.call_id for each in record.function_calls] == ["call_0", "call_1", "call_2"]


def test_of_a_response_that_is_not_finished_the_text_so_far_is_kept() -> None:
    """A6."""
    record = unfinished_record("resp_1", "Half a sen")
    assert (record.id, record.status, record.output_text) == ("resp_1", ResponseStatus.IN_PROGRESS, "Half a sen")


def test_without_text_so_far_there_is_no_empty_message() -> None:
    assert unfinished_record("resp_1", "").output == []


def test_a_record_survives_its_way_through_history() -> None:
    record = record_of(response(message("Hi", CITATION), call(), {"type": "web_search_call", "id": "ws_1"}))
    travelled = ResponseRecord.model_validate_json(record.model_dump_json())
    assert travelled == record.model_copy(update={"billed": None})  # which stays in its worker


# --- what is kept to be sent again -------------------------------------------------------------------------------

THOUGHT: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "E"}
SEARCH: dict[str, Any] = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "x"},
}
PART: dict[str, Any] = {"type": "output_text", "text": "Hm.", "annotations": []}
SAID: dict[str, Any] = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [PART]}
CALLED: dict[str, Any] = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": "{}"}


def answered(*output: dict[str, Any]) -> Response:
    return Response.model_validate({"id": "resp_1", "status": "completed", "output": list(output)})


@pytest.mark.parametrize("keep", [Keep.SOME, Keep.ALL])
def test_what_is_to_be_sent_again_is_kept_as_it_came(keep: Keep) -> None:
    record = record_of(answered(THOUGHT, SEARCH, SAID, CALLED), keep)
    assert record.replayable is True
    called = {name: value for name, value in CALLED.items() if name != "id"}
    assert [item.model_dump(mode="json", exclude_none=True) for item in record.output] == [
        THOUGHT,
        SEARCH,
        SAID,
        called,
    ]


def test_without_a_reason_nothing_of_it_is_kept() -> None:
    record = record_of(answered(THOUGHT, SAID))
    assert (record.replayable, [item.type for item in record.output]) == (None, ["message"])


@pytest.mark.parametrize(("size", "some", "all_of_it"), [(1_000, True, True), (500_000, False, True)])
def test_what_will_probably_not_be_needed_has_little_room(size: int, some: bool, all_of_it: bool) -> None:
    long = answered({**THOUGHT, "encrypted_content": "x" * size}, CALLED)
    assert (record_of(long, Keep.SOME).replayable, record_of(long, Keep.ALL).replayable) == (some, all_of_it)


def test_what_no_payload_holds_is_not_kept_and_the_rest_is_used() -> None:
    record = record_of(answered({**THOUGHT, "encrypted_content": "x" * 2_000_000}, CALLED), Keep.ALL)
    assert (record.replayable, [call.name for call in record.function_calls]) == (False, ["add"])


@pytest.mark.parametrize("keep", [None, Keep.SOME, Keep.ALL])
@pytest.mark.parametrize("size", [1_000, 3_000_000])
def test_no_image_enters_history_and_the_conversation_goes_on_without_it(keep: Keep | None, size: int) -> None:
    image = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "A" * size}
    response = Response.model_validate({"id": "resp_1", "status": "completed", "output": [image]})
    record = record_of(response, keep)
    assert len(record.model_dump_json()) < 1_000
    assert [item.type for item in record.output] == ["image_generation_call"]
    assert record.replayable is (True if keep else None)
    assert output_items(record) == []


def test_what_a_bill_is_made_of_is_read_from_the_whole_response() -> None:
    """Cache writes are told beside the cached tokens; searches where the provider counts them, else from the items."""
    search = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "x"}}
    opened = {**search, "id": "ws_2", "action": {"type": "open_page", "url": "https://example.com"}}
    code = [{"type": "code_interpreter_call", "id": f"ci_{n}", "container_id": "cntr_1", "code": ""} for n in (1, 2)]
    told: dict[str, Any] = {
        "id": "resp_1",
        "status": "completed",
        "model": "gpt-6-astra",
        "created_at": 1_790_000_000,
        "service_tier": "flex",
        "output": [search, opened, *code, {"type": "file_search_call", "id": "fs_1"}],
        "usage": {
            "input_tokens": 100,
            "input_tokens_details": {
                "cached_tokens": 40,
                "cache_write_tokens": 30,
                "cache_write_tokens_details": {"ttl_30m_tokens": 20, "ttl_12h_tokens": 10},
            },
            "output_tokens": 5,
        },
    }
    billed = billed_of(Response.model_validate(told))
    assert (billed.input_tokens, billed.cached_tokens, billed.output_tokens, billed.tier) == (100, 40, 5, "flex")
    assert (billed.cache_write_tokens, billed.cache_write_12h_tokens) == (30, 10)
    assert (billed.web_searches, billed.file_searches, billed.code_interpreters) == (1, 1, 1)
    counted = billed_of(Response.model_validate({**told, "tool_usage": {"web_search": {"num_requests": 3}}}))
    assert counted.web_searches == 3


def test_a_container_is_billed_for_the_shell_in_it_too() -> None:
    environment = {"type": "container_reference", "container_id": "cntr_1"}
    shell = {"type": "shell_call", "call_id": "c", "environment": environment}
    answer = {"type": "shell_call_output", "call_id": "c", "output": []}
    code = {"type": "code_interpreter_call", "container_id": "cntr_1", "code": ""}
    assert billed_of(told_of(COUNTED, output=[shell, answer])).code_interpreters == 1
    assert billed_of(told_of(COUNTED, output=[shell, shell, code])).code_interpreters == 1
    assert billed_of(told_of(COUNTED, output=[{**shell, "environment": {"type": "local"}}])).code_interpreters == 0


COUNTED = {"input_tokens": 100, "output_tokens": 20}


def told_of(usage: Any, **told: Any) -> Response:
    """A response with this usage."""
    return Response.model_validate({"id": "resp_1", "status": "completed", "model": "m", "usage": usage, **told})


@pytest.mark.parametrize(
    "usage",
    [
        COUNTED,
        {"input_tokens": "100", "output_tokens": 20.0},
        {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        {**COUNTED, "input_tokens_details": None, "output_tokens_details": {"reasoning_tokens": None}},
        {**COUNTED, "total_tokens": 120, "input_tokens_details": {"cached_tokens": 100}},
        {**COUNTED, "output_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 0, "text_tokens": 20}},
        {**COUNTED, "cost": 0.3, "cached_tokens": 0, "num_sources_used": 4},
        {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
    ],
)
def test_a_usage_that_counts_as_the_api_does_is_not_doubted(usage: dict[str, Any]) -> None:
    assert billed_of(told_of(usage)).doubts == ()


@pytest.mark.parametrize(
    ("usage", "doubts"),
    [
        (
            {},
            [
                "the provider has not said how many tokens of input it used",
                "the provider has not said how many tokens of output it used",
            ],
        ),
        (
            {**COUNTED, "input_tokens_details": {"cached_tokens": -3}},
            ["what the provider says of its tokens of input cannot be read"],
        ),
        (
            {**COUNTED, "input_tokens_details": {"cached_tokens": 101}},
            ["the provider counts more cached_tokens than tokens of input"],
        ),
        (
            {**COUNTED, "output_tokens_details": {"reasoning_tokens": 21}},
            ["the provider counts more reasoning_tokens than tokens of output"],
        ),
        ({**COUNTED, "total_tokens": 121}, ["the provider counts more tokens in all than of input and output"]),
        ({**COUNTED, "input_tokens_details": {"audio_tokens": 5}}, ["the price of audio_tokens is not known"]),
        ({**COUNTED, "reranked_tokens": 5}, ["the price of reranked_tokens is not known"]),
    ],
)
def test_numbers_that_cannot_be_what_is_billed_are_doubted(usage: dict[str, Any], doubts: list[str]) -> None:
    response = told_of(usage)
    assert list(billed_of(response).doubts) == doubts
    assert response.usage is not None
    assert "doubts" not in response.usage.model_dump()


@pytest.mark.parametrize("odd", [None, -5, "many", 10.5, True, [], 2**60])
def test_a_number_that_cannot_be_read_is_doubted_and_counts_as_nothing_or_the_whole_part(odd: Any) -> None:
    billed = billed_of(told_of({**COUNTED, "input_tokens": odd}))
    assert billed.doubts == ("the provider has not said how many tokens of input it used",)
    assert billed.input_tokens == (10 if odd == 10.5 else 0)


def test_what_the_provider_counts_of_other_tools_is_doubted() -> None:
    used = {"image_gen": {"input_tokens": 5}, "of_tomorrow": {"seconds": 2}, "idle": {"calls": 0}}
    billed = billed_of(told_of(COUNTED, tool_usage=used))
    assert billed.doubts == ("the price of image_gen is not known", "the price of of_tomorrow is not known")
    image = {"type": "image_generation_call", "id": "ig_1", "result": None}
    with_image = billed_of(told_of(COUNTED, tool_usage={"image_gen": {"input_tokens": 5}}, output=[image]))
    assert (with_image.images, with_image.doubts) == (1, ())


def test_searches_are_counted_from_the_items_where_their_number_cannot_be_read() -> None:
    search = {"type": "web_search_call", "id": "ws", "status": "completed"}
    told = told_of(COUNTED, output=[search], tool_usage={"web_search": {"num_requests": "some"}})
    assert billed_of(told).web_searches == 1


@pytest.mark.parametrize("created_at", [None, 0, -1, "soon", 1_790_000_000_000, 9e15])
def test_a_time_of_creation_that_cannot_be_read_is_now(created_at: Any) -> None:
    before = datetime.now(UTC)
    assert before <= billed_of(told_of(COUNTED, created_at=created_at)).created_at <= datetime.now(UTC)


USERS = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Add."}]}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"output": [USERS, {"type": "compaction", "encrypted_content": "x"}]}, True),
        ({"output": [USERS, {"type": "compaction_summary", "encrypted_content": "x"}], "id": None}, True),
        ({"output": [USERS, message("A summary.")], "object": "response.compaction"}, True),
        ({"output": [{"type": "summary", "text": "What was said."}], "object": "response.compaction", "id": ""}, True),
        ({"output": [message("A summary.")], "object": "response"}, False),
        ({"output": [USERS], "object": "response.compaction"}, False),
        ({"output": [], "object": "response.compaction"}, False),
    ],
)
def test_an_answer_of_the_endpoint_that_compacts_is_one_if_something_stands_for_the_rest(
    answer: dict[str, Any], expected: bool
) -> None:
    """The user's messages alone would be a conversation in which nothing has been said."""
    assert is_compaction(compaction_record(read_compaction({"id": "cmp_1", **answer}))) is expected


def test_an_image_that_code_has_left_in_its_outputs_does_not_go_to_history() -> None:
    """With `include: code_interpreter_call.outputs` they are in the response; the container lists its files."""
    logs, image = {"type": "logs", "logs": "3"}, {"type": "image", "url": f"data:image/png;base64,{'A' * 1_000_000}"}
    ran = {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1", "outputs": [logs, image]}
    record = record_of(response(ran, message("Here.")), Keep.ALL)
    assert record.replayable is True
    assert output_items(record)[0] == {**ran, "outputs": [logs]}
    assert len(record.model_dump_json()) < 10_000
