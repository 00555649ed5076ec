import json
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from openai.types.responses.responses_server_event import ResponsesServerEvent
from pydantic import BaseModel

from durable_responses.responses_api.events import (
    ArgumentsDelta,
    ErrorEvent,
    EventType,
    OtherEvent,
    RateLimitsUpdated,
    ResponseEvent,
    TextDelta,
    parse_event,
)

RESPONSE = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}

# --- the catalogue ------------------------------------------------------------------------------------------------


def example_of(annotation: Any) -> Any:
    """A value that fits the annotation of a field of the `openai` package."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return example_of(args[0])
    if origin is Literal:
        return args[0]
    if origin is Union:
        return example_of(args[0])
    if origin is list:
        return [example_of(args[0])]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return example_event(annotation)
    return {str: "text", int: 1, float: 1.5, bool: True, object: "any"}[annotation]


def example_event(model: type[BaseModel]) -> dict[str, Any]:
    return {
        name: RESPONSE if name == "response" else example_of(field.annotation)
        for name, field in model.model_fields.items()
        if field.is_required() or name == "stream_id"
    }


CATALOGUE = {
    event["type"]: event
    for event in (
        example_event(get_args(kind)[0] if get_origin(kind) is Annotated else kind)
        for kind in get_args(get_args(ResponsesServerEvent)[0])
    )
}
OF_THE_WEBSOCKET_ONLY = {"rate_limits.updated"}
OF_GATEWAYS = {"response.done", "response.cancelled"}


def test_the_event_types_are_those_of_the_openai_package_and_the_few_it_lacks() -> None:
    ours = {str(kind) for kind in EventType}
    assert (CATALOGUE.keys() - ours, ours - CATALOGUE.keys()) == (set(), OF_THE_WEBSOCKET_ONLY | OF_GATEWAYS)


def test_every_event_of_todays_api_is_read_as_its_kind() -> None:
    assert {kind for kind, event in CATALOGUE.items() if isinstance(parse_event(event), OtherEvent)} == set()


def test_every_event_is_kept_as_it_came() -> None:
    kept = {
        kind: parse_event(json.dumps(event)).model_dump(mode="json", exclude_unset=True)
        for kind, event in CATALOGUE.items()
    }
    assert kept == CATALOGUE


def test_only_the_end_of_a_response_is_terminal() -> None:
    """A27, W13: completed, failed, incomplete and error end a response."""
    terminal = {kind for kind, event in CATALOGUE.items() if parse_event(event).is_terminal}
    assert terminal == {"response.completed", "response.failed", "response.incomplete", "error"}


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [json.dumps, lambda event: json.dumps(event).encode(), lambda event: event])
def test_an_event_is_read_from_text_bytes_and_objects(form: Any) -> None:
    event = parse_event(form({"type": "response.output_text.delta", "delta": "Hi", "sequence_number": 4}))
    assert isinstance(event, TextDelta)
    assert (event.delta, event.sequence_number) == ("Hi", 4)


def test_a_response_in_an_event_is_typed() -> None:
    event = parse_event({"type": "response.created", "response": RESPONSE})
    assert isinstance(event, ResponseEvent)
    assert event.response.id == "resp_1"


def test_an_unknown_kind_is_kept_with_all_its_fields() -> None:
    fields = {"type": "response.dream.delta", "sequence_number": 3, "dream": {"of": ["sheep"]}}
    event = parse_event(fields)
    assert isinstance(event, OtherEvent)
    assert event.model_dump(exclude_unset=True) == fields


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "response.output_text.delta", "delta": None, "sequence_number": "x"},
        {"type": "response.completed", "response": {"status": "completed"}, "stream_id": 7},
    ],
)
def test_a_known_kind_with_unexpected_fields_is_kept_but_is_no_end(fields: dict[str, Any]) -> None:
    """A27: a `response.completed` without a readable response completes nothing."""
    event = parse_event(fields)
    assert isinstance(event, OtherEvent)
    assert not event.is_terminal
    assert event.model_dump(exclude_unset=True) == fields


def test_half_an_emoji_does_not_cost_the_event() -> None:
    event = parse_event(r'{"type": "response.output_text.delta", "delta": "a\ud83d"}')
    assert isinstance(event, TextDelta)
    assert event.delta == "a?"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{oops", "not valid JSON"),
        ("", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "not a JSON object but a list"),
        ("null", "not a JSON object but a NoneType"),
        ({}, "no string `type`"),
        ({"type": 7}, "no string `type`"),
    ],
)
def test_what_is_no_event_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_event(data)


def test_rate_limits_are_typed() -> None:
    limit = {"name": "requests", "limit": 100, "remaining": 99, "reset_seconds": 0.6}
    event = parse_event({"type": "rate_limits.updated", "rate_limits": [limit]})
    assert isinstance(event, RateLimitsUpdated)
    assert event.rate_limits[0].model_dump() == limit


@pytest.mark.parametrize("call_id", ["call_1", None])
def test_arguments_may_name_their_call(call_id: str | None) -> None:
    fields = {"type": "response.function_call_arguments.delta", "delta": "{", "item_id": "fc_1", "call_id": call_id}
    event = parse_event(fields)
    assert isinstance(event, ArgumentsDelta)
    assert event.call_id == call_id


# --- odd events ---------------------------------------------------------------------------------------------------


ODD = [
    {"item_id": None, "output_index": None, "content_index": "x"},
    {"item_id": 7, "sequence_number": "first", "stream_id": 3, "output_index": []},
    {"logprobs": "none", "obfuscation": None},
]


@pytest.mark.parametrize("fields", ODD)
def test_a_delta_needs_nothing_but_its_text(fields: dict[str, Any]) -> None:
    event = parse_event({"type": "response.output_text.delta", "delta": "Hi", **fields})
    assert isinstance(event, TextDelta)
    assert (event.delta, event.output_index, event.content_index) == ("Hi", 0, 0)


def test_the_type_may_stand_in_the_event_line_only() -> None:
    event = parse_event('{"delta": "Hi"}', "response.output_text.delta")
    assert isinstance(event, TextDelta)


@pytest.mark.parametrize("error", [{"message": "full", "code": 500}, "full"])
def test_an_error_without_a_type_is_an_error(error: Any) -> None:
    event = parse_event({"error": error})
    assert isinstance(event, ErrorEvent)
    assert event.error.message == "full"


def test_a_whole_response_as_an_event_is_its_end() -> None:
    event = parse_event({"id": "resp_1", "object": "response", "status": "completed", "output": []})
    assert isinstance(event, ResponseEvent)
    assert event.is_terminal


@pytest.mark.parametrize("kind", ["response.done", "response.cancelled"])
@pytest.mark.parametrize(("status", "is_terminal"), [("completed", True), ("failed", True), ("in_progress", False)])
def test_the_ends_that_gateways_send_are_terminal_by_the_status(kind: str, status: str, is_terminal: bool) -> None:
    assert parse_event({"type": kind, "response": {"id": "resp_1", "status": status}}).is_terminal is is_terminal


# --- errors -------------------------------------------------------------------------------------------------------

ERRORS: list[tuple[dict[str, Any], tuple[int | None, str | None, str | None, str, str | None]]] = [
    (
        {"status": 400, "error": {"type": "t", "code": "c", "message": "m", "param": "p"}},
        (400, "t", "c", "m", "p"),
    ),
    ({"code": "c", "message": "m", "param": "p"}, (None, None, "c", "m", "p")),
    (
        {"code": "flat", "message": "flat", "error": {"code": "nested", "message": "nested"}},
        (None, None, "nested", "nested", None),
    ),
    (
        {"code": "flat", "param": "flat", "error": {"message": "nested", "code": None}},
        (None, None, "flat", "nested", "flat"),
    ),
    ({"message": "m", "status": "429"}, (None, None, None, "m", None)),
    ({"message": "m", "status": True}, (None, None, None, "m", None)),
    ({"message": "m", "status": None}, (None, None, None, "m", None)),
    ({"message": "m", "status": 429.0}, (429, None, None, "m", None)),
    ({"message": "m", "status": 500, "error": {"status": 429}}, (429, None, None, "m", None)),
    ({"message": "m", "status": 500, "error": {"status": "x"}}, (500, None, None, "m", None)),
    ({"error": "just text"}, (None, None, None, "just text", None)),
    ({"error": {"code": 404, "message": None}}, (None, None, "404", "", None)),
    ({"error": None}, (None, None, None, "", None)),
    ({}, (None, None, None, "", None)),
]


def shape_of(fields: dict[str, Any]) -> tuple[int | None, str | None, str | None, str, str | None]:
    event = parse_event({"type": "error", **fields})
    assert isinstance(event, ErrorEvent)
    return (event.status, event.error.type, event.error.code, event.error.message, event.error.param)


def test_errors_are_read_into_one_shape() -> None:
    """W14: nested and flat; nested wins; a status that is no number becomes None."""
    assert [(fields, shape_of(fields)) for fields, _ in ERRORS] == ERRORS


def test_an_error_that_was_read_is_written_in_the_nested_form() -> None:
    """W14: the one shape."""
    event = parse_event({"type": "error", "code": "c", "message": "m", "sequence_number": 3})
    written = event.model_dump(mode="json", exclude_none=True)
    assert written == {"type": "error", "sequence_number": 3, "error": {"code": "c", "message": "m"}}
    assert parse_event(written) == event
