import json
from typing import Any

import pytest
from pydantic import ValidationError

from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    BadRequest,
    Busy,
    ChainRejected,
    InvalidFrame,
    LossCause,
    NotProcessed,
    OutcomeUnknown,
    QuotaExhausted,
    ServerFailed,
    TurnLost,
)
from durable_responses.responses_api.models import CreateRequest, FunctionCallOutput
from durable_responses.responses_api.protocol import (
    ClientEvent,
    Close,
    Continuation,
    Conversation,
    Incoming,
    ResponseCreate,
    ResponseSteer,
    RetryBudget,
    TurnPhase,
    TurnState,
    frames_in,
)

CREATE = ResponseCreate(model="m", input="hello", store=True)


def lifecycle(kind: str, response_id: str, **fields: Any) -> dict[str, Any]:
    lane = {"stream_id": fields.pop("stream_id")} if "stream_id" in fields else {}
    return {"type": f"response.{kind}", "response": {"id": response_id, "status": kind, **fields}, **lane}


def created(response_id: str, **fields: Any) -> dict[str, Any]:
    return lifecycle("created", response_id, **fields)


def completed(response_id: str, **fields: Any) -> dict[str, Any]:
    return lifecycle("completed", response_id, **fields)


def delta(text: str = "x", **fields: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "item_id": "msg", "delta": text, **fields}


def error(code: str | None = None, status: int | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "error", "status": status, "error": {"code": code, "message": "no", "type": None}, **fields}


def steering(kind: str, response_id: str = "r1", steer_id: str | None = "s1") -> dict[str, Any]:
    event: dict[str, Any] = {
        "type": f"response.steer.{kind}",
        "steer": {"id": steer_id, "previous_response_id": response_id},
    }
    if kind == "failed":
        event["error"] = {"code": "response_not_active", "message": "too late", "type": "invalid_request_error"}
    if kind == "pending":
        event |= {"reason": "waiting_for_required_input", "required_input": []}
    return event


class Talk:
    """A conversation and short words for both sides of it."""

    def __init__(self) -> None:
        self.conversation = Conversation()

    def create(self, request: ResponseCreate = CREATE) -> TurnState:
        turn = self.conversation.dispatch(request).turn
        assert turn is not None
        return turn

    def hear(self, *events: dict[str, Any]) -> list[Incoming]:
        return [self.conversation.receive(json.dumps(event)) for event in events]

    def steer(self, response_id: str = "r1") -> None:
        self.conversation.dispatch(ResponseSteer(previous_response_id=response_id, input="faster"))


@pytest.fixture
def talk() -> Talk:
    return Talk()


def is_ours(turn: TurnState, incoming: list[Incoming]) -> list[bool]:
    return [each.turn is turn for each in incoming]


# --- what the client sends ----------------------------------------------------------------------------------------


def test_a_create_is_the_request_with_its_type_and_without_empty_fields() -> None:
    assert json.loads(CREATE.frame()) == {"type": "response.create", "model": "m", "input": "hello", "store": True}


def test_a_create_made_of_an_http_request_loses_what_only_http_has() -> None:
    request = CreateRequest(model="m", input=[], stream=True, background=False, previous_response_id="r0")
    assert json.loads(ResponseCreate.of(request).frame()) == {
        "type": "response.create",
        "model": "m",
        "input": [],
        "previous_response_id": "r0",
    }


def test_fields_that_the_api_has_gained_are_sent_on() -> None:
    request = CreateRequest.model_validate({"model": "m", "input": "", "service_tier": "flex"})
    assert json.loads(ResponseCreate.of(request).frame())["service_tier"] == "flex"


def test_a_background_request_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="`background`"):
        ResponseCreate.of(CreateRequest(model="m", input="", background=True))


def test_a_create_cannot_be_given_a_background() -> None:
    with pytest.raises(ValidationError, match="background"):
        ResponseCreate.model_validate({"model": "m", "input": "", "background": True})


def test_half_an_emoji_in_a_tool_output_can_be_sent() -> None:
    item = FunctionCallOutput(call_id="c", output="\ud83d")
    assert r"\ud83d" in ResponseCreate(model="m", input=[item]).frame()


def test_what_json_cannot_hold_is_refused_before_a_turn_exists(talk: Talk) -> None:
    with pytest.raises(ValueError, match="serialize"):
        talk.create(ResponseCreate(model="m", input=[object()]))
    assert talk.conversation.is_idle


def test_client_events_of_unknown_kinds_are_sent_as_they_are(talk: Talk) -> None:
    outgoing = talk.conversation.dispatch(ClientEvent.model_validate({"type": "response.cancel", "a": [None]}))
    assert (json.loads(outgoing.text), outgoing.turn) == ({"type": "response.cancel", "a": [None]}, None)


def test_a_steer_names_its_response_and_no_lane() -> None:
    event = ResponseSteer(previous_response_id="r1", input="faster")
    assert json.loads(event.frame()) == {"type": "response.steer", "previous_response_id": "r1", "input": "faster"}


# --- frames -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", ['{"type"', "[]", '"text"', '{"type": 5}', "{}", b"\xff\xfe"])
def test_a_frame_that_is_no_event_is_an_error_and_the_conversation_goes_on(talk: Talk, frame: str | bytes) -> None:
    """W10: invalid JSON and events without a string `type` are errors; the connection lives on."""
    turn = talk.create()
    with pytest.raises(InvalidFrame):
        talk.conversation.receive(frame)
    talk.hear(created("r1"), completed("r1"))
    assert turn.phase is TurnPhase.FINISHED


ITEM = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
DONE = {"type": "response.output_item.done", "item": ITEM, "output_index": 0}
BEGUN, ENDED = (
    {"type": f"response.{kind}", "response": {"id": "r1", "status": status, "output": output}}
    for kind, status, output in (("created", "in_progress", []), ("completed", "completed", [ITEM]))
)

MESSAGES: dict[str, list[str]] = {
    "behind each other": [json.dumps(BEGUN) + json.dumps(DONE), json.dumps(ENDED)],
    "an event in each line": ["\n".join(map(json.dumps, (BEGUN, DONE, ENDED)))],
    "a list": [json.dumps([BEGUN, DONE, ENDED])],
    "events of SSE": [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in (BEGUN, DONE, ENDED)],
    "several of them": ["".join(f"data: {json.dumps(event)}\n\n" for event in (BEGUN, DONE)) + "data: [DONE]\n\n"],
    "a mark of the end": [json.dumps(BEGUN), json.dumps(DONE), "[DONE]"],
    "a text that is JSON": [json.dumps(json.dumps(event)) for event in (BEGUN, DONE, ENDED)],
}


@pytest.mark.parametrize("messages", MESSAGES.values(), ids=MESSAGES)
def test_a_message_may_hold_several_events_or_those_of_a_stream(talk: Talk, messages: list[str]) -> None:
    """So do gateways that pass on a stream of HTTP."""
    turn = talk.create()
    for message in messages:
        for frame in frames_in(message):
            talk.conversation.receive(frame)
    assert turn.phase is TurnPhase.FINISHED
    assert turn.response is not None
    assert turn.response.output_text == "Hi"


@pytest.mark.parametrize("message", ['{"a": "} {\\"b"}', b'{"a": 1}', "", "ping", "[]", "null", b"\xff"])
def test_any_other_message_is_one_frame(message: str | bytes) -> None:
    assert frames_in(message) == [message]


@pytest.mark.parametrize("stream_id", ["lane-1", "", None])
def test_where_the_client_names_no_lane_the_server_may_call_it_anything(talk: Talk, stream_id: Any) -> None:
    turn = talk.create()
    talk.hear(created("r1", stream_id=stream_id), completed("r1", stream_id=stream_id))
    assert turn.phase is TurnPhase.FINISHED


@pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "binary"])
def test_the_error_of_an_invalid_frame_shows_its_first_200_characters(talk: Talk, encode: Any) -> None:
    """W10: the error holds the first 200 characters, and no more."""
    begin = "é" * 200
    with pytest.raises(InvalidFrame) as caught:
        talk.conversation.receive(encode(begin + "Z" * 50))
    assert begin in str(caught.value)
    assert "Z" not in str(caught.value)


def test_binary_frames_are_read_like_text(talk: Talk) -> None:
    """W10: the JSON of a binary frame is an event."""
    assert talk.conversation.receive(json.dumps(delta()).encode()).event.type == "response.output_text.delta"


def test_an_unknown_event_is_passed_on(talk: Talk) -> None:
    assert talk.hear({"type": "codex.rate_limits", "plan": "x"})[0].event.type == "codex.rate_limits"


@pytest.mark.parametrize("stream_id", [5, ["a"], {}])
def test_a_lane_of_the_wrong_type_does_no_harm(talk: Talk, stream_id: Any) -> None:
    turn = talk.create()
    talk.hear(created("r1"), error(stream_id=stream_id))
    assert turn.phase is TurnPhase.LOST


# --- a turn -------------------------------------------------------------------------------------------------------


def test_a_turn_goes_from_dispatched_over_started_to_finished(talk: Talk) -> None:
    """W18: created, deltas, completed; the id is known from `response.created` on."""
    turn = talk.create()
    phases = [turn.phase]
    for event in (created("r1"), delta(), completed("r1")):
        talk.hear(event)
        phases.append(turn.phase)
    assert phases == [TurnPhase.DISPATCHED, TurnPhase.STARTED, TurnPhase.STARTED, TurnPhase.FINISHED]
    assert turn.response_id == "r1"


@pytest.mark.parametrize("kind", ["completed", "failed", "incomplete"])
def test_each_last_event_ends_the_turn_with_its_response(talk: Talk, kind: str) -> None:
    """W13: `response.completed`, `response.failed` and `response.incomplete` end a turn."""
    turn = talk.create()
    talk.hear(created("r1"), lifecycle(kind, "r1"))
    assert turn.phase is TurnPhase.FINISHED
    assert turn.response is not None
    assert turn.response.status == kind
    assert turn.failure() is None
    assert talk.conversation.is_reusable


def test_an_error_ends_a_turn_that_has_started(talk: Talk) -> None:
    """W13: `error` ends a turn; once it has an id its outcome is to be read by that id."""
    turn = talk.create()
    talk.hear(created("r1"), error("rate_limit_exceeded", 429))
    assert (turn.phase, turn.loss) == (TurnPhase.LOST, LossCause.ERROR)
    failure = turn.failure()
    assert isinstance(failure, ServerFailed)
    assert failure.response_id == "r1"


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 4000])
@pytest.mark.parametrize("heard", [[], [created("r1")], [created("r1"), delta()]], ids=["silent", "created", "text"])
def test_a_close_with_any_code_in_mid_response_loses_the_turn(
    talk: Talk, code: int, heard: list[dict[str, Any]]
) -> None:
    """W13: a close with any code in mid-response is a failure of that turn."""
    turn = talk.create()
    talk.hear(*heard)
    assert talk.conversation.connection_lost(Close(code, "bye")) == [turn]
    failure = turn.failure()
    assert isinstance(failure, TurnLost)
    assert (failure.loss, failure.response_id) == (LossCause.CLOSED, "r1" if heard else None)
    assert f"close code {code}, bye" in str(failure)


def test_a_close_after_the_last_event_loses_nothing(talk: Talk) -> None:
    talk.create()
    talk.hear(created("r1"), completed("r1"))
    assert talk.conversation.connection_lost(Close(1006)) == []


def test_a_last_event_that_cannot_be_read_leaves_the_outcome_unknown(talk: Talk) -> None:
    turn = talk.create()
    talk.hear({"type": "response.created", "response_id": "r1"}, {"type": "response.completed", "response": None})
    failure = turn.failure()
    assert isinstance(failure, TurnLost)
    assert (failure.loss, failure.response_id) == (LossCause.UNREADABLE, "r1")


def test_a_last_event_without_output_has_what_was_streamed(talk: Talk) -> None:
    turn = talk.create()
    item = {"type": "message", "content": [{"type": "output_text", "text": "Hello."}]}
    talk.hear(
        created("r1"),
        {"type": "response.output_item.done", "item": item, "output_index": 0},
        {"type": "response.completed", "response": {"id": "r1", "status": "completed", "output": []}},
    )
    assert turn.phase is TurnPhase.FINISHED
    assert turn.response is not None
    assert turn.response.output_text == "Hello."


def test_a_gateway_s_last_event_ends_a_turn_and_is_left_out_after_another_one(talk: Talk) -> None:
    done = {"type": "response.done", "response": {"id": "r1", "status": "completed", "output": []}}
    first = talk.create()
    talk.hear(created("r1"), done)
    second = talk.create()
    talk.hear(done, created("r2"), done)
    assert (first.phase, second.phase) == (TurnPhase.FINISHED, TurnPhase.STARTED)


def test_a_first_event_of_an_unknown_shape_still_gives_the_id(talk: Talk) -> None:
    turn = talk.create()
    talk.hear({"type": "response.created", "response": {"id": "r1", "output": 5}})
    assert turn.response_id == "r1"


@pytest.mark.parametrize("kind", ["queued", "in_progress"])
def test_a_response_may_begin_with_its_second_event(talk: Talk, kind: str) -> None:
    turn = talk.create()
    talk.hear(lifecycle(kind, "r1"), completed("r1"))
    assert turn.phase is TurnPhase.FINISHED


def test_a_turn_given_up_is_lost_and_spoils_the_connection(talk: Talk) -> None:
    """W19: what was abandoned in mid-response is never used again."""
    turn = talk.create()
    talk.hear(created("r1"))
    talk.conversation.give_up(turn, LossCause.ABANDONED)
    assert turn.loss is LossCause.ABANDONED
    assert talk.conversation.is_idle
    assert not talk.conversation.is_reusable


def test_a_finished_turn_cannot_be_given_up(talk: Talk) -> None:
    turn = talk.create()
    talk.hear(created("r1"), completed("r1"))
    talk.conversation.give_up(turn, LossCause.STALLED)
    assert turn.phase is TurnPhase.FINISHED
    assert talk.conversation.is_reusable


def test_a_connection_is_not_reusable_during_a_turn(talk: Talk) -> None:
    talk.create()
    assert not talk.conversation.is_reusable


def test_a_closed_connection_is_not_reusable(talk: Talk) -> None:
    talk.conversation.connection_lost(Close(1000))
    assert not talk.conversation.is_reusable


# --- whose event it is --------------------------------------------------------------------------------------------


def test_events_of_another_response_are_not_the_turns(talk: Talk) -> None:
    """W20: events of another response id are ignored."""
    turn = talk.create()
    heard = talk.hear(created("r1"), created("other"), completed("other"), delta(), completed("r1"))
    assert is_ours(turn, heard) == [True, False, False, True, True]


def test_the_end_of_an_earlier_response_does_not_end_the_next(talk: Talk) -> None:
    """W20: a late event of an earlier response is not the next one's."""
    talk.create()
    talk.hear(created("r1"), completed("r1"))
    turn = talk.create()
    assert is_ours(turn, talk.hear(completed("r1"), created("r1"), lifecycle("in_progress", "r1"))) == [False] * 3
    talk.hear(created("r2"), completed("r2"))
    assert turn.response_id == "r2"


def test_an_unknown_response_that_ends_before_the_turn_began_is_not_its_own(talk: Talk) -> None:
    """W20: only a first event gives a turn its id."""
    turn = talk.create()
    assert is_ours(turn, talk.hear(completed("stray"))) == [False]
    assert turn.phase is TurnPhase.DISPATCHED


def test_text_before_the_first_event_is_not_the_turns(talk: Talk) -> None:
    turn = talk.create()
    assert is_ours(turn, talk.hear(delta(), {"type": "rate_limits.updated"})) == [False, True]


def test_an_event_that_names_another_response_is_not_the_turns(talk: Talk) -> None:
    turn = talk.create()
    assert is_ours(turn, talk.hear(created("r1"), delta(response_id="r9"), delta(response_id="r1"))) == [
        True,
        False,
        True,
    ]


def test_events_without_a_turn_belong_to_nobody(talk: Talk) -> None:
    assert [each.turn for each in talk.hear(created("r1"), delta(), completed("r1"), error())] == [None] * 4


def test_turns_of_one_lane_are_answered_in_order(talk: Talk) -> None:
    first, second = talk.create(), talk.create()
    talk.hear(created("r1"), completed("r1"), created("r2"))
    assert (first.response_id, second.response_id) == ("r1", "r2")


def test_lanes_do_not_wait_for_each_other(talk: Talk) -> None:
    a = talk.create(CREATE.model_copy(update={"stream_id": "a"}))
    b = talk.create(CREATE.model_copy(update={"stream_id": "b"}))
    talk.hear(created("r2", stream_id="b"), created("r1", stream_id="a"), completed("r2", stream_id="b"))
    assert (a.phase, b.phase) == (TurnPhase.STARTED, TurnPhase.FINISHED)


def test_an_error_ends_the_turn_of_its_lane_only(talk: Talk) -> None:
    a = talk.create(CREATE.model_copy(update={"stream_id": "a"}))
    b = talk.create(CREATE.model_copy(update={"stream_id": "b"}))
    talk.hear(error("x", 400, stream_id="b"))
    assert (a.phase, b.phase) == (TurnPhase.DISPATCHED, TurnPhase.REJECTED)


def test_an_error_without_a_lane_ends_the_only_turn(talk: Talk) -> None:
    turn = talk.create(CREATE.model_copy(update={"stream_id": "a"}))
    talk.hear(error("x", 400))
    assert turn.phase is TurnPhase.REJECTED


def test_a_close_loses_the_turns_of_all_lanes(talk: Talk) -> None:
    turns = [talk.create(CREATE.model_copy(update={"stream_id": lane})) for lane in ("a", "b", "b")]
    assert talk.conversation.connection_lost(Close(1006)) == turns


# --- rejections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (error("invalid_value", 400), BadRequest),
        (error("invalid_api_key", 401), AuthenticationFailed),
        (error("previous_response_not_found", 400), ChainRejected),
        (error("websocket_connection_limit_reached", 400), Busy),
        (error("rate_limit_exceeded", 429), Busy),
        (error("insufficient_quota", 429), QuotaExhausted),
        (error("server_is_overloaded", 503), Busy),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "flat"}, Busy),
    ],
)
def test_an_error_that_proves_nothing_was_generated_rejects_the_turn(
    talk: Talk, event: dict[str, Any], kind: type
) -> None:
    """W23: rejected by the server; the connection can be used again."""
    turn = talk.create()
    talk.hear(event)
    assert turn.phase is TurnPhase.REJECTED
    failure = turn.failure()
    assert type(failure) is kind
    assert not isinstance(failure, OutcomeUnknown)


@pytest.mark.parametrize("event", [error(None, 500), error("server_error"), error("x", 504), error(None, 408)])
def test_an_error_that_proves_nothing_leaves_the_outcome_unknown(talk: Talk, event: dict[str, Any]) -> None:
    """W23: never a silent second generation: what is open counts as taken."""
    turn = talk.create()
    talk.hear(event)
    assert turn.phase is TurnPhase.LOST
    assert isinstance(turn.failure(), OutcomeUnknown)


def test_an_event_of_very_many_values_ends_the_turn(talk: Talk) -> None:
    turn = talk.create()
    talk.hear(created("r1"))
    [frame] = frames_in('{"type": "response.completed", "x": [' + "{}," * 400_000 + "{}]}")
    talk.conversation.receive(frame)
    assert (turn.phase, turn.error and turn.error.error.code) == (TurnPhase.LOST, "answer_too_large")


def test_an_error_event_of_unknown_shape_still_ends_the_turn(talk: Talk) -> None:
    """W13: any `error` ends the turn."""
    turn = talk.create()
    talk.hear({"type": "error", "error": {"message": {"?": ["?"]}}})
    assert isinstance(turn.failure(), OutcomeUnknown)


def test_an_error_of_an_unknown_code_before_there_is_a_response_is_a_refusal(talk: Talk) -> None:
    """Nothing was created: an ambiguous create would be sent, and paid for, twice."""
    turn = talk.create()
    talk.hear(error("unsupported_params"))
    assert (turn.phase, type(turn.failure())) == (TurnPhase.REJECTED, BadRequest)


def test_the_connection_limit_makes_the_connection_useless(talk: Talk) -> None:
    """W23: after `websocket_connection_limit_reached` only another connection helps."""
    turn = talk.create()
    talk.hear(error("websocket_connection_limit_reached", 400))
    assert not talk.conversation.is_reusable
    assert turn.needs_new_connection


def test_the_connection_limit_in_mid_response_is_no_reason_to_send_again(talk: Talk) -> None:
    """W23: something was generated."""
    turn = talk.create()
    talk.hear(created("r1"), error("websocket_connection_limit_reached", 400))
    assert not turn.needs_new_connection


def test_the_connection_limit_may_be_told_between_turns(talk: Talk) -> None:
    talk.hear(error("websocket_connection_limit_reached", 400))
    assert not talk.conversation.is_reusable


def test_a_rejected_chain_leaves_the_connection_usable(talk: Talk) -> None:
    """W23: `previous_response_not_found` is answered on the same socket."""
    talk.create()
    talk.hear(error("previous_response_not_found", 400))
    assert talk.conversation.is_reusable


# --- continuation -------------------------------------------------------------------------------------------------


def learn(continuation: Continuation, *heard: Incoming) -> str | None:
    for incoming in heard:
        continuation.receive(incoming)
    return continuation.response_id


def test_there_is_nothing_to_continue_from_at_the_start() -> None:
    """W20: the id is None at the start."""
    assert Continuation().response_id is None


@pytest.mark.parametrize("kind", ["created", "queued", "in_progress", "failed", "incomplete"])
def test_only_a_completed_response_can_be_continued_from(talk: Talk, kind: str) -> None:
    """W11: set by `response.completed` only."""
    talk.create()
    assert learn(Continuation(), *talk.hear(lifecycle(kind, "r1"))) is None


def test_the_latest_completed_response_wins(talk: Talk) -> None:
    """W11: latest wins, whoever asked for it."""
    assert learn(Continuation(), *talk.hear(completed("r1"), completed("r2"), created("r3"))) == "r2"


def test_a_stored_response_outlives_its_connection(talk: Talk) -> None:
    """W11: with `store: true` the id survives the connection."""
    continuation = Continuation()
    learn(continuation, *talk.hear(completed("r1", store=True)))
    continuation.connection_lost()
    assert continuation.response_id == "r1"


def test_an_unstored_response_is_forgotten_with_its_connection(talk: Talk) -> None:
    """W11: forgotten when the connection that cached it is gone and `store` is false."""
    continuation = Continuation()
    learn(continuation, *talk.hear(completed("r1", store=False)))
    assert continuation.response_id == "r1"
    continuation.connection_lost()
    assert continuation.response_id is None


def test_the_requests_store_counts_where_the_response_does_not_say(talk: Talk) -> None:
    """W11: `store: false` of the request, when the response has no such field."""
    continuation = Continuation()
    talk.create(ResponseCreate(model="m", input="", store=False))
    learn(continuation, *talk.hear(created("r1"), completed("r1")))
    continuation.connection_lost()
    assert continuation.response_id is None


def test_an_id_is_handed_out_once(talk: Talk) -> None:
    """W20: taken out before sending, so that a failed turn cannot be continued twice."""
    continuation = Continuation()
    learn(continuation, *talk.hear(completed("r1")))
    assert (continuation.take(), continuation.take()) == ("r1", None)


# --- steering -----------------------------------------------------------------------------------------------------


def start_steered(talk: Talk) -> TurnState:
    turn = talk.create()
    talk.hear(created("r1"))
    talk.steer()
    return turn


def test_a_steered_response_is_followed_by_its_successor(talk: Talk) -> None:
    turn = start_steered(talk)
    talk.hear(steering("accepted"), lifecycle("incomplete", "r1", incomplete_details={"reason": "steered"}))
    assert turn.phase is TurnPhase.SETTLING
    talk.hear(created("r2"), delta(), completed("r2"))
    assert (turn.phase, turn.response_id) == (TurnPhase.FINISHED, "r2")


def test_the_successors_events_are_the_turns(talk: Talk) -> None:
    turn = start_steered(talk)
    heard = talk.hear(steering("accepted"), lifecycle("incomplete", "r1"), created("r2"), delta(), completed("r2"))
    assert is_ours(turn, heard) == [True] * 5


def test_steering_that_waits_for_tool_outputs_ends_the_turn(talk: Talk) -> None:
    turn = start_steered(talk)
    talk.hear(steering("accepted"), completed("r1"))
    assert not turn.is_over
    talk.hear(steering("pending"))
    assert turn.phase is TurnPhase.FINISHED


@pytest.mark.parametrize("accepted", [[steering("accepted")], []], ids=["after acceptance", "at once"])
def test_steering_that_fails_ends_the_turn(talk: Talk, accepted: list[dict[str, Any]]) -> None:
    turn = start_steered(talk)
    talk.hear(*accepted, completed("r1"))
    assert not turn.is_over
    talk.hear(steering("failed", steer_id="s1" if accepted else None))
    assert turn.phase is TurnPhase.FINISHED


def test_a_turn_waits_for_every_steer(talk: Talk) -> None:
    turn = start_steered(talk)
    talk.steer()
    talk.hear(steering("accepted", steer_id="s1"), steering("failed", steer_id=None))
    talk.hear(lifecycle("incomplete", "r1"), created("r2"), completed("r2"))
    assert turn.phase is TurnPhase.FINISHED


def test_a_connection_lost_while_steering_settles_loses_the_turn(talk: Talk) -> None:
    turn = start_steered(talk)
    talk.hear(steering("accepted"), completed("r1"))
    talk.conversation.connection_lost(Close(1006))
    failure = turn.failure()
    assert isinstance(failure, TurnLost)
    assert failure.response_id == "r1"


def test_steering_of_another_response_is_not_the_turns(talk: Talk) -> None:
    turn = start_steered(talk)
    assert is_ours(turn, talk.hear(steering("accepted", response_id="r9"))) == [False]


def test_an_unsteered_turn_does_not_wait_for_a_successor(talk: Talk) -> None:
    turn = talk.create()
    talk.hear(created("r1"), lifecycle("incomplete", "r1"))
    assert turn.is_over


# --- reconnecting -------------------------------------------------------------------------------------------------


def test_six_close_codes_are_worth_another_connection() -> None:
    """W4: reconnect on 1001, 1005, 1006, 1011, 1012, 1013 only; codes of applications are final."""
    retryable = {code for code in range(5000) if Close(code).retryable}
    assert retryable == {1001, 1005, 1006, 1011, 1012, 1013}


def budget(max_retries: int = 5, random: float = 0.0, max_retry_after: float = 60) -> RetryBudget:
    return RetryBudget(max_retries, (1, 2, 4, 8, 16), max_retry_after, lambda: random)


def test_delays_double_from_1_to_16_seconds() -> None:
    """W4: after 1, 2, 4, 8, 16 s, at most 5 attempts."""
    spending = budget()
    assert [spending.spend() for _ in range(6)] == [1, 2, 4, 8, 16, None]


def test_the_last_delay_repeats() -> None:
    """W1: the last of the backoff delays repeats."""
    spending = RetryBudget(4, (0.5, 3), 60, lambda: 0)
    assert [spending.spend() for _ in range(5)] == [0.5, 3, 3, 3, None]


def test_jitter_adds_up_to_a_quarter() -> None:
    """W4: jitter is added."""
    assert budget(random=1.0).spend() == 1.25


def test_an_open_connection_restores_the_budget() -> None:
    """W4: a successful reconnect restores the budget."""
    spending = budget()
    spending.spend()
    spending.spend()
    spending.restore()
    assert spending.spend() == 1


def test_without_retries_there_is_no_second_attempt() -> None:
    """W3: `max_retries=0` means one socket."""
    assert budget(0).spend() is None


def test_without_delays_the_next_attempt_follows_at_once() -> None:
    assert RetryBudget(1, (), 60, lambda: 1).spend() == 0


@pytest.mark.parametrize(("retry_after", "delay"), [(0.2, 1), (7, 7), (60, 60), (61, None)])
def test_the_servers_own_delay_is_waited_for_within_limits(retry_after: float, delay: float | None) -> None:
    """W5: `Retry-After` is honoured; one beyond `max_retry_after` ends the attempts."""
    assert budget().spend(retry_after) == delay


def test_what_was_refused_before_it_was_sent_is_a_class_of_its_own() -> None:
    """W23: before dispatch, after dispatch and rejected can be told apart by class."""
    assert not issubclass(TurnLost, NotProcessed)
    assert not issubclass(ChainRejected, (NotProcessed, OutcomeUnknown))
