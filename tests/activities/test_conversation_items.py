"""The items of a conversation, and the point that it has come to."""

import json
from typing import Any

import pytest

from durable_responses.activities.conversation_items import (
    START,
    after,
    encoded,
    input_items,
    is_no_response,
    output_items,
    own_items,
    sendable,
    without_open_calls,
)
from durable_responses.activities.conversations import Items, RememberedConversations, names_the_chain, pages_of
from durable_responses.activities.messages import ConversationPoint, CreateResponse, ModelOptions
from durable_responses.responses_api.errors import BadRequest
from durable_responses.responses_api.models import FunctionCallOutput, Response, read_compaction

TASK, CALL = {"role": "user", "content": "Add."}, {"type": "function_call", "call_id": "call_1", "arguments": "{}"}


def test_a_point_can_be_told_without_the_items_before_it() -> None:
    one, two = encoded(TASK), encoded(CALL)
    assert after(after(START, [one]), [two]) == after(START, [one, two])


@pytest.mark.parametrize("other", [[CALL, TASK], [TASK], [TASK, CALL, CALL], [TASK, {**CALL, "arguments": "[]"}]])
def test_other_items_or_another_order_lead_to_another_point(other: list[Any]) -> None:
    assert after(START, map(encoded, other)) != after(START, map(encoded, [TASK, CALL]))


def test_an_item_is_encoded_alike_whatever_it_has_travelled_through() -> None:
    item = {"b": 1.5, "a": "ä\u2028", "n": None}
    assert encoded(json.loads(json.dumps(dict(reversed(item.items()))))) == encoded(item)


def test_what_a_create_adds_is_its_answers_and_then_its_texts() -> None:
    answer = FunctionCallOutput(call_id="call_1", output="3")
    create = CreateResponse(options=ModelOptions(), iteration=2, new_items=[answer], texts=["Be brief."])
    assert own_items(create) == [
        {"type": "function_call_output", "call_id": "call_1", "output": "3"},
        {"role": "user", "content": "Be brief."},
    ]


def test_a_task_in_words_is_a_message_of_the_user() -> None:
    assert input_items("Add.") == [TASK]


@pytest.mark.parametrize(("stored", "kinds"), [(True, ["a", "b", "c"]), (False, ["b", "c"])])
def test_reasoning_without_contents_is_only_sent_where_the_provider_has_it(stored: bool, kinds: list[str]) -> None:
    thoughts = [
        {"type": "reasoning", "id": "a", "summary": []},
        {"type": "reasoning", "id": "b", "encrypted_content": "E"},
        {"type": "reasoning", "id": "c", "content": [{"type": "reasoning_text", "text": "Hm."}]},
    ]
    assert [item["id"] for item in sendable(thoughts, stored=stored)] == kinds


# --- what a worker remembers -------------------------------------------------------------------------------------


def conversation(*contents: str) -> Items:
    return Items().plus([encoded({"role": "user", "content": content}) for content in contents])


def test_a_conversation_is_remembered_to_each_of_its_points() -> None:
    remembered, whole = RememberedConversations(), conversation("a", "b", "c")
    remembered.put("run", whole)
    assert remembered.get("run", conversation("a", "b").point) == conversation("a", "b")
    assert remembered.get("run", conversation("a", "x").point) is None
    assert remembered.get("run", conversation("a", "b", "c", "d").point) is None
    assert remembered.get("another", whole.point) is None


def test_the_conversations_that_nobody_asked_for_longest_give_way() -> None:
    each = conversation("x" * 100)
    remembered = RememberedConversations(most_bytes=2 * each.point.size)
    for run in ("one", "two"):
        remembered.put(run, each)
    remembered.get("one", each.point)
    remembered.put("three", each)
    assert [remembered.get(run, each.point) is not None for run in ("one", "two", "three")] == [True, False, True]


def test_a_conversation_that_is_larger_than_the_memory_is_not_remembered() -> None:
    remembered = RememberedConversations(most_bytes=10)
    remembered.put("run", conversation("x" * 100))
    assert remembered.get("run", conversation("x" * 100).point) is None


def test_pages_hold_all_items_in_order_and_no_more_than_fits() -> None:
    items = [b"x" * size for size in (40, 50, 30, 200, 10)]
    pages = pages_of(items, largest=100)
    assert [[len(item) for item in page] for page in pages] == [[40, 50], [30], [200], [10]]
    assert pages_of([]) == []


def test_a_point_travels_as_a_few_bytes() -> None:
    """Each turn has two of them in history."""
    point = ConversationPoint.model_validate_json(conversation("a").point.model_dump_json())
    assert point == conversation("a").point
    assert len(point.model_dump_json()) < 100


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "named", [None, "", "  ", "null", "None", "0", "-", "undefined", "chatcmpl-1", "gen-1758", "msg_01", "cmpl-7"]
)
def test_what_names_no_response_names_none(named: str | None) -> None:
    """Servers that forget spell nothing in many ways; taken for an id, the model would never have seen the task."""
    assert is_no_response(named)


@pytest.mark.parametrize("named", ["resp_1", "resp-0", "bGl0ZWxsbQ==", "01JD", "msgr", "nullable", "generated-7"])
def test_an_id_of_any_form_names_a_response(named: str) -> None:
    assert not is_no_response(named)


@pytest.mark.parametrize(
    ("text", "param", "about"),
    [
        ("llama.cpp does not support 'previous_response_id'.", None, True),
        ("Response with id 'resp_1' not found.", "response_id", True),
        ("Nothing is known of resp_1.", None, True),
        ("No.", "previous_response_id", True),
        ("Previous response could not be loaded.", None, True),
        ("The model 'gpt-9' does not exist.", "model", False),
    ],
)
def test_a_refusal_is_about_the_chain_if_it_names_it(text: str, param: str | None, about: bool) -> None:
    assert names_the_chain(BadRequest(text, status=400, param=param), "resp_1") is about


def test_a_users_message_that_a_compaction_gives_back_is_sent_as_it_came() -> None:
    """OpenAI refuses `annotations` in a part of an input."""
    part = {"type": "input_text", "text": "Go."}
    user = {"type": "message", "id": "msg_1", "role": "user", "status": "completed", "content": [part]}
    response = read_compaction({"output": [user, {"type": "compaction", "encrypted_content": "x"}]})
    again = Response.model_validate_json(response.model_dump_json())
    assert output_items(response)[0] == output_items(again)[0] == user


def test_a_call_that_nothing_answers_is_not_sent_after_a_compaction() -> None:
    call, answer = {"type": "function_call", "call_id": "c1"}, {"type": "function_call_output", "call_id": "c1"}
    late = {"type": "function_call", "call_id": "c2"}
    compaction = {"type": "compaction", "encrypted_content": "x"}
    assert without_open_calls([late, compaction, call, answer, late]) == [compaction, call, answer]
    assert without_open_calls([compaction, answer, call]) == [compaction, answer]
