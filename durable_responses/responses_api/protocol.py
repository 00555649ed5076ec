"""The rules of one conversation over one WebSocket, without the WebSocket.

Every rule about turns, lanes, steering, continuation and reconnecting is in this file. Nothing here waits, reads a
clock or touches a socket: a driver (`websocket_connection.py`) writes what `Conversation.dispatch` returns, hands in
every frame and the close, and looks at the turn afterwards. https://platform.openai.com/docs/guides/websocket-mode

A turn is one `response.create` and all that the server sends because of it. Turns of one lane (`stream_id`) are
answered one after the other, in the order sent; lanes do not wait for each other.

      dispatch()            response.created              terminal event
    ------------> DISPATCHED --------------> STARTED ---------------------------> FINISHED
                      |                       |   ^                                  ^
                      | error                 |   | response.created                 | the last one is
                      v                       |   | of the successor                 | pending or failed
                  REJECTED                    v   |                                  |
                                             SETTLING -------------------------------'
                                             (terminal event, but steering input is not decided yet)

    DISPATCHED, STARTED, SETTLING -- connection closed, given up, error after response.created --> LOST

A terminal event is `response.completed`, `.failed` or `.incomplete`. Only `response.created`, `.queued` and
`.in_progress` give a turn its id, so that what is left over from another response can never pass for this one's.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Literal, Self

from durable_responses.responses_api.assembly import Assembly
from durable_responses.responses_api.bodies import EventReader, TooLarge
from durable_responses.responses_api.body_kinds import has_too_many_values, is_event_stream
from durable_responses.responses_api.budget import BUDGET
from durable_responses.responses_api.errors import (
    InvalidFrame,
    LossCause,
    NotSent,
    OutcomeUnknown,
    ResponsesError,
    TurnLost,
    error_for_event,
)
from durable_responses.responses_api.events import (
    TERMINAL_EVENTS,
    ErrorEvent,
    Event,
    EventType,
    ResponseEvent,
    SteerAccepted,
    SteerFailed,
    SteerPending,
    is_mark_of_the_end,
    parse_event,
)
from durable_responses.responses_api.foreign_forms import objects_in
from durable_responses.responses_api.models import ANSWER_TOO_LARGE, ApiModel, CreateRequest, ErrorDetail, Response

PREVIEW_CHARACTERS = 200

# --- what the client sends ---------------------------------------------------------------------------------------


class ClientEvent(ApiModel):
    """An event from the client. Kinds without a class of their own are sent as they are."""

    type: str

    def frame(self) -> str:
        """The JSON text of the frame. Fields of the event that are None are not sent.

        Raises ValueError for what JSON cannot hold.
        """
        # Not pydantic's own JSON: it refuses lone surrogates, which tools do return.
        return json.dumps(self._fields(), separators=(",", ":"))

    def _fields(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


_OF_THE_EVENT = frozenset({"type", "generate", "stream_id"})


class ResponseCreate(ClientEvent, CreateRequest):
    """Ask for a response: the fields of `POST /responses`, without `stream` and `background`.

    `generate: false` prepares tools and instructions and produces no output. `stream_id` names the lane.
    """

    type: Literal["response.create"] = "response.create"
    generate: bool | None = None
    stream_id: str | None = None
    stream: None = None
    background: None = None

    @classmethod
    def of(cls, request: CreateRequest) -> Self:
        """The same request for a WebSocket. Raises ValueError for `background`, which needs HTTP."""
        fields = dict(request)
        if fields.pop("background", None):
            raise ValueError("`background` is not possible over a WebSocket: create the response over HTTP.")
        fields.pop("stream", None)
        return cls(**fields)

    def _fields(self) -> dict[str, Any]:
        """With the further fields of the request, which cannot make another event of this one."""
        of_the_event = self.model_dump(mode="json", exclude_none=True, include=set(_OF_THE_EVENT))
        return {name: value for name, value in self.body().items() if name not in _OF_THE_EVENT} | of_the_event


class ResponseSteer(ClientEvent):
    """Give the response under way more input: text, or messages of the user."""

    type: Literal["response.steer"] = "response.steer"
    previous_response_id: str
    input: str | list[Any]


# --- how a connection ends ---------------------------------------------------------------------------------------


class CloseCode(IntEnum):
    """Close codes that rules here depend on (RFC 6455, section 7.4)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013


RETRYABLE_CLOSE_CODES = frozenset(CloseCode) - {CloseCode.NORMAL_CLOSURE}


@dataclass(frozen=True)
class Close:
    """How a connection ended: a close code of RFC 6455, and the reason given with it or, for 1006, what broke it."""

    code: int
    reason: str = ""

    @property
    def retryable(self) -> bool:
        """Whether connecting again is likely to help."""
        return self.code in RETRYABLE_CLOSE_CODES


class RetryBudget:
    """How often to connect again, and after how many seconds.

    `delays` are used in order and the last one repeats. `random` returns 0 to 1: up to a quarter of the delay is added,
    so that the many clients of a restarted server do not return all at once. A server that asks for a longer wait than
    `max_retry_after` ends the attempts.
    """

    def __init__(
        self, max_retries: int, delays: Sequence[float], max_retry_after: float, random: Callable[[], float]
    ) -> None:
        self._max_retries = max_retries
        self._delays = delays
        self._max_retry_after = max_retry_after
        self._random = random
        self.spent = 0

    def restore(self) -> None:
        """Start afresh: the connection is open."""
        self.spent = 0

    def spend(self, retry_after: float | None = None) -> float | None:
        """Seconds to wait before the next attempt, at least `retry_after`; None if there must be none."""
        wanted = retry_after or 0.0
        if self.spent >= self._max_retries or wanted > self._max_retry_after:
            return None
        delay = self._delays[min(self.spent, len(self._delays) - 1)] if self._delays else 0.0
        self.spent += 1
        return max(delay * (1 + self._random() / 4), wanted)


# --- continuing from a response ----------------------------------------------------------------------------------


class Continuation:
    """The response that the next one can continue from. It may outlive the connection.

    A response with `store: false` lives in the memory of the connection that produced it, and is forgotten with it.
    """

    def __init__(self) -> None:
        self.response_id: str | None = None
        self._stored = True

    def receive(self, incoming: "Incoming") -> None:
        """Learn from an event: `response.completed`, and nothing else, makes a response one to continue from."""
        if incoming.event.type == EventType.COMPLETED and (response_id := response_id_of(incoming.event)):
            self.response_id = response_id
            self._stored = incoming.stored

    def connection_lost(self) -> None:
        """The connection is gone."""
        if not self._stored:
            self.response_id = None

    def take(self) -> str | None:
        """Hand out the id, once: after a failed turn there is nothing left to continue a second time."""
        response_id, self.response_id = self.response_id, None
        return response_id


# --- turns -------------------------------------------------------------------------------------------------------


class TurnPhase(StrEnum):
    """The state of a turn. The last three are final."""

    DISPATCHED = "dispatched"
    STARTED = "started"
    SETTLING = "settling"
    FINISHED = "finished"
    REJECTED = "rejected"
    LOST = "lost"


_WHAT_HAPPENED = {
    LossCause.CLOSED: "the connection closed",
    LossCause.STALLED: "no event came for too long",
    LossCause.DEADLINE: "its deadline has passed",
    LossCause.ABANDONED: "nobody waits for it any more",
    LossCause.ERROR: "the server reported an error",
    LossCause.UNREADABLE: "its last event cannot be read",
}


@dataclass(eq=False)
class TurnState:
    """What is known of one turn. Read by anyone, changed only by its conversation.

    After FINISHED, `response` is the end; its status may be `failed` or `incomplete`. After REJECTED, `error` says why,
    and nothing was generated. After LOST, `loss` says why, and if `response_id` is known, `GET` it before anything is
    created again; unless it is `unsent`: the last byte of its frame was not sent, so it may be sent again.
    """

    stream_id: str | None = None
    stored: bool = True
    phase: TurnPhase = TurnPhase.DISPATCHED
    response_id: str | None = None
    response: Response | None = None
    error: ErrorEvent | None = None
    loss: LossCause | None = None
    close: Close | None = None
    unsent: bool = False
    _assembly: Assembly = field(default_factory=Assembly)
    _steers_unanswered: int = 0
    _steers_accepted: set[str | None] = field(default_factory=set)

    @property
    def needs_new_connection(self) -> bool:
        """Whether it was rejected only because of the age of its connection: over a new one it may be sent again."""
        return self.phase is TurnPhase.REJECTED and self.error is not None and _is_connection_limit(self.error)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.phase in (TurnPhase.FINISHED, TurnPhase.REJECTED, TurnPhase.LOST)

    def failure(self) -> ResponsesError | None:
        """The error of a turn that was rejected or lost."""
        if self.error is not None:
            return error_for_event(self.error, self.response_id)
        if self.loss is None:
            return None
        if self.unsent:
            return NotSent("The connection broke before the request was sent to its end.")
        text = f"The turn was lost after it was sent: {_WHAT_HAPPENED[self.loss]}"
        if self.close is not None:
            text += f" (close code {self.close.code}{', ' + self.close.reason if self.close.reason else ''})"
        lost = TurnLost(text, loss=self.loss, response_id=self.response_id)
        lost.answer = self._assembly.answer
        return lost

    def _lose(self, cause: LossCause, close: Close | None = None) -> None:
        self.phase, self.loss, self.close = TurnPhase.LOST, cause, close

    def _put_right(self, event: Event, size: int) -> Event:
        """The event as it should have been, by what came before it."""
        if self.phase is not TurnPhase.STARTED or response_id_of(event) not in (None, self.response_id):
            return event
        try:
            return self._assembly.take(event, size)
        except TooLarge as error:
            return _too_large(str(error), self.stream_id)

    def _receive(self, event: Event, known_ids: set[str]) -> bool:
        """Take an event of this lane; False if it is not this turn's."""
        if event.type == EventType.ERROR:
            self._end_by(event)
            return True
        if isinstance(event, SteerAccepted | SteerPending | SteerFailed):
            return self._receive_steering(event)
        response_id = response_id_of(event)
        if event.type in (EventType.CREATED, EventType.QUEUED, EventType.IN_PROGRESS):
            return self._bind(event, response_id, known_ids)
        if response_id is not None and response_id != self.response_id:
            return False
        if event.is_terminal or event.type in TERMINAL_EVENTS:
            return self.phase is TurnPhase.STARTED and self._finish(event)
        return self.phase is TurnPhase.STARTED or not event.type.startswith("response.")

    def _bind(self, event: Event, response_id: str | None, known_ids: set[str]) -> bool:
        if response_id == self.response_id:
            return self.phase is TurnPhase.STARTED
        expected = self.phase is TurnPhase.DISPATCHED or (
            self.phase is TurnPhase.SETTLING and event.type == EventType.CREATED
        )
        if response_id is None or response_id in known_ids or not expected:
            return False
        known_ids.add(response_id)
        self.response_id = response_id
        self.phase = TurnPhase.STARTED
        self._assembly = Assembly()
        self._assembly.take(event)
        # The successor's `response.created` is the moment at which accepted steering input is applied.
        self._steers_accepted.clear()
        return True

    def _finish(self, event: Event) -> bool:
        if not isinstance(event, ResponseEvent):
            self._lose(LossCause.UNREADABLE)
            return True
        self.response = event.response
        self.phase = TurnPhase.SETTLING
        self._settle()
        return True

    def _settle(self) -> None:
        if self.phase is TurnPhase.SETTLING and not self._steers_unanswered and not self._steers_accepted:
            self.phase = TurnPhase.FINISHED

    def _receive_steering(self, event: SteerAccepted | SteerPending | SteerFailed) -> bool:
        if event.steer.previous_response_id != self.response_id:
            return False
        if event.steer.id in self._steers_accepted:
            self._steers_accepted.discard(event.steer.id)
        else:
            self._steers_unanswered = max(0, self._steers_unanswered - 1)
        if isinstance(event, SteerAccepted):
            self._steers_accepted.add(event.steer.id)
        self._settle()
        return True

    def _end_by(self, event: Event) -> None:
        unreadable = ErrorDetail(message="The server sent an error event that cannot be read.")
        self.error = event if isinstance(event, ErrorEvent) else ErrorEvent(error=unreadable, status=500)
        if self.phase is TurnPhase.DISPATCHED and not isinstance(error_for_event(self.error), OutcomeUnknown):
            self.phase = TurnPhase.REJECTED
        else:
            self._lose(LossCause.ERROR)


def _too_large(why: str = "one event has too many values", stream_id: str | None = None) -> ErrorEvent:
    detail = ErrorDetail(code=ANSWER_TOO_LARGE, message=f"The answer is too large: {why}.")
    return ErrorEvent(error=detail, stream_id=stream_id)


def _is_connection_limit(event: ErrorEvent) -> bool:
    return event.error.code == "websocket_connection_limit_reached"


def _beginning(frame: str | bytes) -> str:
    # Four bytes hold any character, so this is never less than 200 characters of valid text.
    return (frame if isinstance(frame, str) else frame[:800].decode(errors="replace"))[:PREVIEW_CHARACTERS]


def response_id_of(event: Event) -> str | None:
    """The id of the response that an event names, if it names one. Most events do not."""
    if isinstance(event, ResponseEvent):
        return event.response.id
    extra = event.model_extra or {}
    response = extra.get("response")
    named = response.get("id") if isinstance(response, dict) else extra.get("response_id")
    return named if isinstance(named, str) else None


# --- messages ----------------------------------------------------------------------------------------------------


def frames_in(message: str | bytes) -> list[str | bytes]:
    """The frames in a WebSocket message: itself, as a rule; some servers put several events into one, or SSE."""
    text = message if isinstance(message, str) else message.decode(errors="replace")
    if has_too_many_values(text) or (_ONE_OBJECT.match(text) and not _BEHIND_EACH_OTHER.search(text)):
        return [message]
    if is_mark_of_the_end(text[:_BEGINNING]):
        return [_THE_END]
    if is_event_stream(text[:_BEGINNING].encode(errors="replace")):
        reader = EventReader()
        said = [event.data for part in (text.encode(errors="replace"), b"\n\n") for event in reader.feed(part)]
        return [_THE_END if is_mark_of_the_end(data) else data for data in said] or [message]
    return [*objects_in(text, BUDGET.items)] or [message]


_ONE_OBJECT = re.compile(r"\s*\{")
_BEHIND_EACH_OTHER = re.compile(r'\}\s*\{"')  # within a JSON object that cannot be
_BEGINNING = 100  # characters
_THE_END = '{"type": "done"}'


# --- the conversation --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outgoing:
    """Write `text` as one text frame. `turn` is the new turn, if the event begins one."""

    text: str
    turn: TurnState | None


@dataclass(frozen=True)
class Incoming:
    """Pass `event` on to the listeners. `turn` is the turn it belongs to, if any: look whether it is over now.

    `stored` is whether the provider keeps the response beyond this connection.
    """

    event: Event
    turn: TurnState | None
    stored: bool = True


class Conversation:
    """One conversation, from the open connection to its close. Never used for a second connection."""

    def __init__(self) -> None:
        self._lanes: dict[str | None, deque[TurnState]] = {}
        self._known_ids: set[str] = set()
        self._spoiled = False
        self._last_stored = True

    @property
    def is_idle(self) -> bool:
        """Whether no turn is under way."""
        return not self._lanes

    @property
    def is_reusable(self) -> bool:
        """Whether the next turn may use this connection.

        Not while a turn is under way, and not after one was given up in the middle, since the server may still be
        writing it; nor after the server said that the connection has reached its limit, or closed it.
        """
        return self.is_idle and not self._spoiled

    def dispatch(self, event: ClientEvent) -> Outgoing:
        """Register what is about to be sent. From here on the turn counts as dispatched: write the frame next.

        Raises ValueError if the event cannot be written as JSON; nothing is registered then.
        """
        text = event.frame()
        if isinstance(event, ResponseCreate):
            turn = TurnState(stream_id=event.stream_id, stored=event.store is not False)
            self._lanes.setdefault(event.stream_id, deque()).append(turn)
            self._last_stored = turn.stored
            return Outgoing(text, turn)
        if isinstance(event, ResponseSteer):
            self._count_steer(event.previous_response_id)
        return Outgoing(text, None)

    def receive(self, frame: str | bytes) -> Incoming:
        """Read one message. Raises InvalidFrame for what is not an event; the conversation continues."""
        try:
            event = _too_large() if has_too_many_values(frame) else parse_event(frame)
        except ValueError as error:
            raise InvalidFrame(f"{error} The message begins: {_beginning(frame)}") from error
        if isinstance(event, ErrorEvent) and _is_connection_limit(event):
            self._spoiled = True
        turn = self._turn_for(event)
        if turn is not None:
            event = turn._put_right(event, len(frame))
            if not turn._receive(event, self._known_ids):
                turn = None
        if turn is not None:
            self._retire(turn)
        return Incoming(event, turn, self._is_stored(event, turn))

    def give_up(self, turn: TurnState, cause: LossCause) -> None:
        """Nobody waits for this turn any more. Abort the connection next: it is not reusable."""
        if turn.is_over:
            return
        turn._lose(cause)
        self._spoiled = True
        self._retire(turn)

    def connection_lost(self, close: Close) -> list[TurnState]:
        """The connection is closed, with whatever code. Returns the turns that were under way; they are lost."""
        lost = [turn for lane in self._lanes.values() for turn in lane]
        for turn in lost:
            turn._lose(LossCause.CLOSED, close)
        self._lanes.clear()
        self._spoiled = True
        return lost

    def _turn_for(self, event: Event) -> TurnState | None:
        # Events of unknown shape are not validated: their stream_id may be anything.
        stream_id = event.stream_id if isinstance(event.stream_id, str) else None
        if lane := self._lanes.get(stream_id):
            return lane[0]
        if (
            len(self._lanes) == 1 and None in self._lanes
        ):  # the client names no lanes, whatever the server calls this one
            return self._lanes[None][0]
        # An error without a lane that can only concern the one turn under way.
        if event.type == EventType.ERROR and stream_id is None and len(self._lanes) == 1:
            return next(iter(self._lanes.values()))[0]
        return None

    def _count_steer(self, response_id: str) -> None:
        for lane in self._lanes.values():
            if lane[0].response_id == response_id:
                lane[0]._steers_unanswered += 1

    def _is_stored(self, event: Event, turn: TurnState | None) -> bool:
        if isinstance(event, ResponseEvent) and event.response.store is not None:
            return event.response.store
        return turn.stored if turn is not None else self._last_stored

    def _retire(self, turn: TurnState) -> None:
        if not turn.is_over:
            return
        lane = self._lanes[turn.stream_id]
        lane.remove(turn)
        if not lane:
            del self._lanes[turn.stream_id]
