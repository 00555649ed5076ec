"""The last event of a stream, completed by what was streamed before it."""

from collections.abc import Callable
from typing import Any

import pytest

from durable_responses.responses_api.assembly import Assembly
from durable_responses.responses_api.bodies import TooLarge
from durable_responses.responses_api.budget import AnswerBudget
from durable_responses.responses_api.events import ResponseEvent, parse_event
from durable_responses.responses_api.models import Response

BEGUN = {"id": "resp_1", "status": "in_progress", "model": "m", "output": []}
CREATED = {"type": "response.created", "response": BEGUN}
EMPTY = {"type": "response.completed", "response": BEGUN | {"status": "completed", "usage": {"input_tokens": 3}}}
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'}


def item_done(item: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "item": item, **fields}


def added(item: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "item": item, **fields}


def delta(text: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": text, **fields}


def end_of(*events: dict[str, Any]) -> Response:
    assembly = Assembly()
    *_, last = [assembly.take(parse_event(event)) for event in events]
    assert isinstance(last, ResponseEvent)
    assert last.is_terminal
    return last.response


STREAMS: dict[str, list[dict[str, Any]]] = {
    "items": [item_done(MESSAGE, output_index=0)],
    "an item without an index": [item_done(MESSAGE)],
    "a skeleton and deltas": [added(MESSAGE | {"content": []}), delta("Hel"), delta("lo.")],
    "deltas alone": [delta("Hel"), delta("lo.")],
    "deltas without ids": [delta("Hel", item_id=None, output_index=None), delta("lo.", item_id=None)],
    "deltas and the whole": [delta("Hel"), {"type": "response.output_text.done", "text": "Hello."}],
    "the whole alone": [{"type": "response.output_text.done", "text": "Hello."}],
    "a part": [{"type": "response.content_part.done", "part": {"type": "output_text", "text": "Hello."}}],
    "a refusal": [{"type": "response.refusal.delta", "delta": "Hello."}],
    "an item that is empty again when it is done": [delta("Hello."), item_done(MESSAGE | {"content": []})],
    "deltas in objects": [delta({"text": "Hel"}), delta(None), delta({"value": "lo."})],
    "reasoning beside it": [
        {"type": "response.reasoning_text.delta", "delta": "Hm.", "output_index": 0},
        item_done({"type": "reasoning", "summary": []}, output_index=0),
        item_done(MESSAGE, output_index=1),
    ],
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_what_was_streamed_is_the_output_where_the_last_event_has_none(stream: list[dict[str, Any]]) -> None:
    response = end_of(CREATED, *stream, EMPTY)
    assert (response.output_text, response.status) == ("Hello.", "completed")
    assert response.usage is not None
    assert response.usage.input_tokens == 3


def test_items_without_indexes_are_kept_apart() -> None:
    response = end_of(CREATED, item_done(CALL), item_done(CALL | {"call_id": "call_2"}), EMPTY)
    assert [call.call_id for call in response.function_calls] == ["call_1", "call_2"]


def test_arguments_that_were_streamed_belong_to_their_call() -> None:
    pieces = [
        {"type": "response.function_call_arguments.delta", "delta": piece, "output_index": 2} for piece in ("{", "}")
    ]
    response = end_of(CREATED, added(CALL | {"arguments": ""}, output_index=2), *pieces, EMPTY)
    assert [call.arguments for call in response.function_calls] == ["{}"]


def test_what_the_last_event_says_itself_counts() -> None:
    other = {"type": "message", "content": "Goodbye."}
    last = {"type": "response.completed", "response": BEGUN | {"status": "completed", "output": [other]}}
    assert end_of(CREATED, delta("Hello."), last).output_text == "Goodbye."


@pytest.mark.parametrize(
    ("kind", "status"),
    [("response.completed", "completed"), ("response.failed", "failed"), ("response.incomplete", "incomplete")],
)
@pytest.mark.parametrize("said", [None, "in_progress", ""])
def test_the_last_event_is_the_end_whatever_status_its_response_has(kind: str, status: str, said: str | None) -> None:
    assert end_of(CREATED, {"type": kind, "response": BEGUN | {"status": said}}).status == status


def test_a_response_that_has_begun_and_tells_no_status_is_not_finished() -> None:
    assembly = Assembly()
    assembly.take(parse_event({"type": "response.created", "response": {"id": "resp_1"}}))
    assert assembly.response is not None
    assert not assembly.response.is_finished


@pytest.mark.parametrize("response", [None, {}, {"status": "completed"}, {"id": None, "output": []}, "resp_1"])
@pytest.mark.parametrize("kind", ["response.completed", "response.done"])
def test_a_last_event_without_a_readable_response_ends_the_one_that_began(kind: str, response: Any) -> None:
    ended = end_of(CREATED, item_done(MESSAGE), {"type": kind, "response": response})
    assert (ended.id, ended.model, ended.status, ended.output_text) == ("resp_1", "m", "completed", "Hello.")


def test_a_mark_of_the_end_ends_a_stream_whose_items_are_done() -> None:
    assembly = Assembly()
    for event in (CREATED, item_done(MESSAGE)):
        assembly.take(parse_event(event))
    end = assembly.end()
    assert end is not None
    assert (end.is_terminal, end.response.output_text) == (True, "Hello.")


@pytest.mark.parametrize(
    "stream", [[], [delta("Hel")], [added(MESSAGE)], [item_done(MESSAGE), added(CALL, output_index=1)]]
)
def test_it_does_not_end_a_stream_in_the_middle_of_an_item(stream: list[dict[str, Any]]) -> None:
    assembly = Assembly()
    for event in (CREATED, *stream):
        assembly.take(parse_event(event))
    assert assembly.end() is None


@pytest.mark.parametrize("stream", [[delta("x" * 9)] * 2, [added(MESSAGE, output_index=n) for n in range(3)]])
def test_a_stream_beyond_the_budget_is_too_large(stream: list[dict[str, Any]]) -> None:
    assembly = Assembly(budget=AnswerBudget(unpacked=10, items=2))
    *fit, last = map(parse_event, stream)
    for event in fit:
        assembly.take(event)
    with pytest.raises(TooLarge):
        assembly.take(last)


@pytest.mark.parametrize("kind", [added, item_done])
def test_items_count_as_long_as_their_events_and_their_deltas_once(kind: Callable[..., dict[str, Any]]) -> None:
    """Else very many items, each as large as an event may be, would fill the memory of the worker."""
    assembly = Assembly(budget=AnswerBudget(unpacked=130))
    for event, size in ((added(MESSAGE), 20), (delta("x" * 60), 90), (delta("y" * 10), 40), (item_done(MESSAGE), 90)):
        assembly.take(parse_event(event), size)
    with pytest.raises(TooLarge):
        assembly.take(parse_event(kind(MESSAGE, output_index=1)), 30)


def test_texts_that_are_given_whole_count_where_nothing_was_streamed_of_them() -> None:
    assembly = Assembly(budget=AnswerBudget(unpacked=100))
    done = {"type": "response.output_text.done", "text": "x" * 60, "output_index": 0}
    for event in (delta("x" * 60), done, done):
        assembly.take(parse_event(event))
    with pytest.raises(TooLarge):
        assembly.take(parse_event(done | {"content_index": 1}))


COMMENT = MESSAGE | {"content": [{"type": "output_text", "text": "I look. "}], "phase": "commentary"}
EMPTY_CALL = CALL | {"arguments": ""}


@pytest.mark.parametrize(
    "stream",
    [
        [item_done(COMMENT), added(MESSAGE | {"content": []}), delta("Hello.")],
        [
            item_done(COMMENT | {"id": "a"}),
            added(MESSAGE | {"id": "b", "content": []}),
            item_done(MESSAGE | {"id": "b"}),
        ],
        [item_done(COMMENT), delta("Hel"), delta("lo.")],
        [item_done(COMMENT), {"type": "response.output_text.done", "text": "Hello."}],
        [item_done(COMMENT, output_index=0), added(MESSAGE | {"content": []}, output_index=0), item_done(MESSAGE)],
    ],
)
def test_without_indexes_an_item_that_begins_leaves_those_that_are_done(stream: list[dict[str, Any]]) -> None:
    assert end_of(CREATED, *stream, EMPTY).all_text == "I look. Hello."


def test_an_item_that_is_sent_twice_counts_once() -> None:
    done = item_done(MESSAGE | {"id": "msg_1"}, output_index=0)
    assert end_of(CREATED, done, done, EMPTY).all_text == "Hello."


def test_ids_that_change_from_event_to_event_do_not_matter() -> None:
    begun = added(MESSAGE | {"id": "a", "content": []}, output_index=0)
    end = item_done(MESSAGE | {"id": "c"}, output_index=0)
    assert end_of(CREATED, begun, delta("Hel", item_id="b", output_index=0), end, EMPTY).all_text == "Hello."


def test_text_before_a_call_without_indexes_is_kept() -> None:
    response = end_of(CREATED, delta("Hello."), added(EMPTY_CALL), item_done(CALL), EMPTY)
    assert response.all_text == "Hello."
    assert [call.arguments for call in response.function_calls] == ['{"a": 1}']


def test_text_that_was_streamed_stands_beside_calls_of_the_last_event() -> None:
    ended = {"type": "response.completed", "response": BEGUN | {"status": "completed", "output": [CALL]}}
    response = end_of(CREATED, delta("Hello."), ended)
    assert (response.output_text, len(response.function_calls)) == ("Hello.", 1)


def test_a_comment_that_only_the_last_event_has_stays() -> None:
    ended = {"type": "response.completed", "response": BEGUN | {"status": "completed", "output": [COMMENT]}}
    response = end_of(CREATED, delta("Hello."), ended)
    assert (response.all_text, response.output_text) == ("I look. Hello.", "Hello.")


def test_a_stream_that_never_names_its_response_is_an_answer_all_the_same() -> None:
    nameless = [event | {"response": {"status": "completed"}} for event in (CREATED, EMPTY)]
    response = end_of(nameless[0], item_done(MESSAGE), nameless[1])
    assert (response.output_text, response.id.startswith("resp_without_id_")) == ("Hello.", True)


def test_the_end_of_a_stream_without_a_response_is_the_end_of_what_was_streamed() -> None:
    assembly = Assembly()
    assembly.take(parse_event(item_done(MESSAGE)))
    end = assembly.end()
    assert end is not None
    assert (end.response.output_text, end.response.status) == ("Hello.", "completed")


@pytest.mark.parametrize("before", [[], [CREATED]])
def test_text_without_an_item_around_it_may_end_with_the_mark_of_the_stream_s_end(before: list[Any]) -> None:
    """Small servers stream nothing else; it was created again and again, and lost each time."""
    done = {"type": "response.output_text.done", "text": "Hello."}
    assembly = Assembly()
    for event in (*before, delta("Hel"), delta("lo."), done):
        assembly.take(parse_event(event))
    assert assembly.answer is None  # without the mark it may go on
    end = assembly.end()
    assert end is not None
    assert (end.response.output_text, end.response.status) == ("Hello.", "completed")


def test_an_item_that_was_begun_and_not_ended_is_no_end() -> None:
    assembly = Assembly()
    begun = {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE | {"content": []}}
    for event in (CREATED, begun, delta("Hel")):
        assembly.take(parse_event(event))
    assert assembly.end() is None


def test_a_stream_that_says_nothing_is_no_answer() -> None:
    assembly = Assembly()
    last = assembly.take(parse_event({"type": "response.completed", "response": {}}))
    assert not isinstance(last, ResponseEvent)
    assert assembly.end() is None
