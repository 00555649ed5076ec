"""Whatever becomes of the events of a real stream, the text that came is kept, and the response is asked for once."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import InvalidFrame, ResponsesError
from durable_responses.responses_api.events import parse_event
from durable_responses.responses_api.models import CreateRequest, read_json
from durable_responses.responses_api.protocol import Close, Continuation, Conversation, ResponseCreate, ResponseSteer
from tests.fuzz.kept import ended, keeps_streamed, remembered
from tests.support.outside_data import disturbed, json_texts, mutated, travelled
from tests.support.provider import Provider, event_stream
from tests.support.real_answers import STREAMS, STREAMS_WITHOUT_OUTPUT

streams = st.sampled_from(STREAMS + STREAMS_WITHOUT_OUTPUT).flatmap(disturbed)


def is_last(event: Any) -> bool:
    """Whether the response sends nothing more after it."""
    try:
        return parse_event(json.dumps(event)).is_terminal
    except ValueError:
        return False


def before_and_last(events: list[Any]) -> tuple[list[Any], Any]:
    """The events before the last one of the response, as a client reads them, and the response that this one shows."""
    read = [read_json(json.dumps(event)) for event in events]
    end = next((index for index, event in enumerate(read) if is_last(event)), len(read))
    last = read[end] if end < len(read) else {}
    return read[:end], last.get("response") if last.get("type") else last


@given(stream=streams, ends=st.booleans())
async def test_what_was_streamed_is_kept_and_asked_for_once(
    provider: Provider, api: ResponsesClient, stream: list[Any], ends: bool
) -> None:
    provider.asked.clear()
    provider.answers.clear()
    events = [
        (f"event: {event['type']}\n" if is_named(event) else "") + f"data: {json.dumps(event)}\n\n" for event in stream
    ]
    provider.will(event_stream(*events, *(["data: [DONE]\n\n"] if ends else [])))
    try:
        response = await ended(api, CreateRequest(model="m", input="Hello."), stream=True)
        assert response is not None
        if response.is_finished:
            keeps_streamed(remembered(response), *before_and_last(stream))
    except ResponsesError as error:
        travelled(str(error))
    assert len(provider.asked) == 1


def is_named(event: Any) -> bool:
    """Whether its type can stand in the line that names an event."""
    return isinstance(event, dict) and isinstance(event.get("type"), str) and event["type"].isprintable()


steers = [
    {"type": "response.steer.accepted", "steer": {"id": "s", "previous_response_id": "resp_1"}},
    {"type": "response.steer.pending", "steer": {"id": "s", "previous_response_id": "resp_1"}, "reason": "busy"},
    {"type": "response.steer.failed", "steer": {"id": "s", "previous_response_id": "resp_1"}, "error": {"code": "x"}},
    {"type": "error", "status": 400, "error": {"code": "x", "message": "no"}},
    {"type": "response.rate_limits.updated", "rate_limits": [{"name": "requests", "limit": 1}]},
]


@given(streams, st.lists(st.sampled_from(steers).flatmap(mutated) | json_texts, max_size=3), st.randoms())
def test_over_a_websocket_a_turn_ends_with_what_was_streamed_or_with_an_error(
    stream: list[Any], others: list[Any], order: Any
) -> None:
    conversation, continuation = Conversation(), Continuation()
    turn = conversation.dispatch(ResponseCreate(model="m", input="Hello.")).turn
    assert turn is not None
    conversation.dispatch(ResponseSteer(previous_response_id="resp_1", input="faster"))
    frames = [json.dumps(event) for event in stream]
    for other in others:
        frames.insert(order.randint(0, len(frames)), other if isinstance(other, str) else json.dumps(other))
    taken: list[Any] = []
    for frame in frames:
        try:
            incoming = conversation.receive(frame.encode(errors="surrogatepass") if order.random() < 0.5 else frame)
        except InvalidFrame as error:
            travelled(str(error))
            continue
        continuation.receive(incoming)
        if incoming.turn is turn:
            taken.append(read_json(frame))
        if turn.is_over:
            break
    conversation.connection_lost(Close(1006))
    continuation.connection_lost()
    assert conversation.is_idle
    assert turn.is_over
    if turn.response is not None:
        keeps_streamed(remembered(turn.response), *before_and_last(taken))
    elif (failure := turn.failure()) is not None:
        travelled(str(failure))
