"""Responses over a run's WebSocket: obtained, steered while they are written, and HTTP if no socket can be opened.

One attempt is one response. Nothing is tried a second time here once it may have been sent: the workflow decides what
the loss of a turn means.

From bottom to top: the activities, one attempt of theirs, the sockets of a worker, the steering messages for a response
under way, and the cool-down after a failure.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TypeVar

from pydantic import SecretStr
from temporalio import activity

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.claims import Claim, Claims, came_first
from durable_responses.activities.clocks import Clock, server_clock
from durable_responses.activities.conversations import ConversationTurn
from durable_responses.activities.failures import failed_create, lost_response, no_room, stopped_worker
from durable_responses.activities.heartbeats import Heartbeats, earlier_heartbeat
from durable_responses.activities.made_files import keep_made, kept_beside
from durable_responses.activities.messages import (
    CreatePhase,
    CreateResponse,
    HeartbeatDetails,
    ResponseRecord,
    SteerOutcome,
    SteerResponse,
    SteerStatus,
    WebSocketTurn,
)
from durable_responses.activities.polling import Cadence, Reads
from durable_responses.activities.records import record_of
from durable_responses.activities.requests import RequestBuilder
from durable_responses.activities.stream import StreamTurn, after_broken_stream, events_of, read_after_cut
from durable_responses.capabilities import Capabilities, Capability
from durable_responses.responses_api.client import CREATE_TIMEOUT, SILENCE_LIMIT, ResponsesClient
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    ConnectionLost,
    GiveUp,
    LossCause,
    NoSuchEndpoint,
    NotConnected,
    NotProcessed,
    NotSent,
    ResponsesError,
    TurnLost,
)
from durable_responses.responses_api.events import Event, ResponseEvent, SteerAccepted, SteerFailed, SteerPending
from durable_responses.responses_api.models import CreateRequest, Response, ResponseStatus
from durable_responses.responses_api.protocol import ResponseCreate
from durable_responses.responses_api.websocket_pool import Lease, Turn, WebSocketPool

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LEFT_BY_US = (LossCause.ABANDONED, LossCause.DEADLINE)
_ANSWERED_WITHIN = 10.0  # seconds; the server's first word about a message
_FIRST_COOL_DOWN = 30.0  # seconds
_LONGEST_COOL_DOWN = 600.0

# --- when to leave the WebSocket alone ---------------------------------------------------------------------------


@dataclass
class CoolDown:
    """The cool-down of one provider's WebSocket: 30 s after a failure, doubling to 10 minutes. `now` in seconds.

    Many turns fail in one outage: only a failure after the cool-down makes the next one longer.
    """

    now: Callable[[], float]

    def __post_init__(self) -> None:
        self._length = 0.0
        self._until = float("-inf")

    @property
    def is_on(self) -> bool:
        """Whether to leave it alone."""
        return self.now() < self._until

    def failed(self, retry_after: float | None = None) -> None:
        """The WebSocket failed, and may have said for how many seconds to leave it alone."""
        if not self.is_on:
            self._length = min(self._length * 2 or _FIRST_COOL_DOWN, _LONGEST_COOL_DOWN)
            self._until = self.now() + self._length
        if retry_after is not None:
            self._until = max(self._until, self.now() + min(retry_after, _LONGEST_COOL_DOWN))

    def succeeded(self) -> None:
        """The WebSocket works."""
        self._length, self._until = 0.0, float("-inf")


# --- texts for a response under way ------------------------------------------------------------------------------


@dataclass
class Steering:
    """The steering messages sent into one turn: one at a time, and what the server says about each.

    The server gives each message an id of its own with its first answer. What it says comes as events of the turn:
    `accepted`, and then, when the response ends, perhaps `pending` (kept until the calls of the response are answered)
    or `failed` (handed back). `outcomes`: the latest of each message, by our id.
    """

    turn: Turn
    outcomes: dict[str, SteerOutcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._unanswered: str | None = None
        self._changed = asyncio.Event()
        self._ours: dict[str, str] = {}

    async def send(self, steer: SteerResponse) -> SteerOutcome:
        """Send a message and wait for the server's first word about it. Unknown: it may or may not have arrived."""
        async with self._one_at_a_time:
            if self._unanswered is not None:  # answers carry no id of ours: the next one is about that message
                return _failed(steer, "The provider has not answered an earlier message.")
            self._unanswered = steer.id
            self._changed.clear()
            try:
                await self.turn.steer(steer.text)
            except NotConnected:
                self._unanswered = None
                return _failed(steer, "No response was under way.")
            except ConnectionLost as error:
                return self._note(steer.id, SteerStatus.UNKNOWN, str(error))
            self._note(steer.id, SteerStatus.UNKNOWN, "The provider did not answer.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _ANSWERED_WITHIN)
            return self.outcomes[steer.id]

    def take(self, event: Event) -> None:
        """Take an event of the turn."""
        match event:
            case SteerAccepted():
                self._told(event.steer.id, SteerStatus.ACCEPTED)
            case SteerPending():
                self._told(event.steer.id, SteerStatus.PENDING, event.reason)
            case SteerFailed():
                self._told(event.steer.id, SteerStatus.FAILED, event.error.message or event.error.code)

    def lose(self) -> None:
        """The turn was lost: what the server has accepted may never have been applied."""
        for outcome in list(self.outcomes.values()):
            if outcome.status is not SteerStatus.FAILED:
                self._note(outcome.id, SteerStatus.UNKNOWN, "The turn was lost.")

    def close(self) -> None:
        """The turn is over: nothing more will be said."""
        self._changed.set()

    def _told(self, server_id: str | None, status: SteerStatus, reason: str | None = None) -> None:
        # A message that is refused at once has no id of the server's: it is the one that waits for its answer.
        ours = self._ours.get(server_id or "", self._unanswered)
        if ours is None:
            return
        if server_id is not None:
            self._ours[server_id] = ours
        if ours == self._unanswered:
            self._unanswered = None
        self._note(ours, status, reason)
        self._changed.set()

    def _note(self, ours: str, status: SteerStatus, reason: str | None = None) -> SteerOutcome:
        self.outcomes[ours] = SteerOutcome(id=ours, status=status, reason=reason)
        return self.outcomes[ours]


def _failed(steer: SteerResponse, reason: str) -> SteerOutcome:
    return SteerOutcome(id=steer.id, status=SteerStatus.FAILED, reason=reason)


# --- the sockets of a worker -------------------------------------------------------------------------------------


@dataclass
class RunSockets:
    """The sockets of one worker to its provider, one for each run: the turns under way on them, and when to leave
    them alone.
    """

    pool: WebSocketPool
    url: str
    api_key: SecretStr | None
    cool_down: CoolDown
    capabilities: Capabilities = field(default_factory=Capabilities)
    _steering: dict[str, Steering] = field(default_factory=dict)

    async def lease(self, session: str, lifetime: AsyncExitStack) -> Lease | None:
        """The socket of a run, given back at the end of `lifetime`; None if HTTP is to be used.

        Raises `AuthenticationFailed`: the key is no better over HTTP.
        """
        if self.cool_down.is_on or self.capabilities.can(Capability.WEBSOCKET) is False:
            return None
        try:
            lease = await lifetime.enter_async_context(self.pool.lease(session, api_key=self.api_key, url=self.url))
        except AuthenticationFailed:
            raise
        except (NotProcessed, GiveUp) as error:
            self.cool_down.failed(error.retry_after)
            if isinstance(error, NoSuchEndpoint) and error.status != HTTPStatus.UNAUTHORIZED:  # that may be the key
                self.capabilities.learned(Capability.WEBSOCKET, False, str(error))
            logger.warning("No WebSocket to %s, so HTTP is used for a while: %s", self.url, error)
            return None
        self.capabilities.learned(Capability.WEBSOCKET, True)
        return lease

    def steering_of(self, session: str | None) -> Steering | None:
        """Where steering messages go for the turn that is under way on a run's socket; None if there is none."""
        return self._steering.get(session or "")

    @contextmanager
    def open_to_texts(self, session: str, turn: Turn) -> Iterator[Steering]:
        """While this is entered, steering messages of the run go into this turn."""
        steering = self._steering[session] = Steering(turn)
        try:
            yield steering
        finally:
            steering.close()
            if self._steering.get(session) is steering:
                del self._steering[session]


# --- one attempt -------------------------------------------------------------------------------------------------


@dataclass
class SocketTurn:
    """The way of one create. `queue` is this worker's own; `warm_up`: send tools and instructions ahead."""

    claim: Claim
    client: ResponsesClient
    sockets: RunSockets
    warm_up: bool
    queue: str
    silence: float
    _connection: str | None = None
    _steering: Steering | None = None
    _ended: list[Response] = field(default_factory=list)

    @property
    def steering_queue(self) -> str | None:
        """Where steering messages for the response are taken; None unless it goes over a WebSocket."""
        return self.queue if self._steering is not None else None

    @asynccontextmanager
    async def events(self, request: CreateRequest) -> AsyncIterator[AsyncIterator[Event]]:
        """Send the request and give the events that answer it. May be entered again for what was turned away."""
        session = activity.info().workflow_id or ""
        async with AsyncExitStack() as lifetime:
            lease = await self.sockets.lease(session, lifetime)
            if lease is None:
                self._steering = None
                stream = events_of(self.client, request, silence=self.silence, before_end=self._before_sending)
                yield await lifetime.enter_async_context(stream)
                return
            continued = await self._warmed_up(lease, request)
            await self._before_sending()
            turn = lease.turn(continued)
            self._steering = lifetime.enter_context(self.sockets.open_to_texts(session, turn))
            yield await lifetime.enter_async_context(aclosing(self._heard(lease, turn, self._steering)))

    async def _before_sending(self) -> None:
        """Connecting and sending ahead may have taken long."""
        await self.claim.prove_if_late(HeartbeatDetails(phase=CreatePhase.POSTING))

    def result(self, record: ResponseRecord) -> WebSocketTurn:
        """The outcome, with the response as it was last recorded."""
        earlier = [response for response in self._ended if response.id != record.id]
        return WebSocketTurn(
            response=record,
            queue=self.steering_queue,
            connection=self._connection,
            superseded=[record_of(response) for response in earlier],
            steers=list(self._steering.outcomes.values()) if self._steering else [],
        )

    async def _heard(self, lease: Lease, turn: Turn, steering: Steering) -> AsyncGenerator[Event]:
        try:
            async for event in turn:
                steering.take(event)
                if isinstance(event, ResponseEvent) and event.is_terminal:
                    self._ended.append(event.response)
                yield event
        except ResponsesError as error:
            if isinstance(error, NotSent) or (isinstance(error, TurnLost) and error.loss not in _LEFT_BY_US):
                self.sockets.cool_down.failed()
            steering.lose()
            raise
        self._connection = lease.flow_id
        self.sockets.cool_down.succeeded()

    async def _warmed_up(self, lease: Lease, request: CreateRequest) -> CreateRequest:
        """The request, continuing from what was sent ahead; as it is where that failed or is not wanted."""
        if not self.warm_up:
            return request
        self.warm_up = False
        ahead = ResponseCreate.of(request).model_copy(update={"input": [], "generate": False})
        turn = lease.turn(ahead, deadline=CREATE_TIMEOUT)
        try:
            async for _ in turn:
                pass
        except ResponsesError as error:
            logger.warning("Tools and instructions could not be sent ahead: %s", error)
            return request
        if request.previous_response_id is not None or turn.response is None:
            return request
        if turn.response.status != ResponseStatus.COMPLETED:
            return request
        return request.model_copy(update={"previous_response_id": turn.response.id})


# --- the activities ----------------------------------------------------------------------------------------------


@dataclass
class WebSocketActivities:
    """The activities of the WebSocket transport. `queue` is this worker's own, where its sockets are found again.

    `silence`: seconds after which a response is lost that goes over HTTP. `clock` gives each attempt the clock that it
    goes by.
    """

    client: ResponsesClient
    requests: RequestBuilder
    in_flight: ResponsesInFlight
    sockets: RunSockets
    queue: str
    cadence: Cadence = field(default_factory=Cadence)
    claims: Claims = field(default_factory=Claims)
    silence: float = SILENCE_LIMIT
    clock: Callable[[], Clock] = server_clock

    @activity.defn
    async def websocket_turn(self, create: CreateResponse) -> WebSocketTurn:
        """Obtain the next response of a run; first look for the one that the run has lost sight of.

        Raises `ApplicationError`, also when this worker shuts down in the middle of it: no other attempt follows. On
        the own queue it does not wait for room: the create queue is where others wait.
        """
        lost, now, conversation = create.lost_response_id, self.clock(), self.requests.turn(create)
        async with self.requests.telling_what_may_be_lost(create, conversation):
            if lost is None:
                outcome = await self._obtained(create, conversation, now)
            else:
                heartbeat = HeartbeatDetails(phase=CreatePhase.CREATED, response_id=lost)
                why = "the worker that followed it was lost"
                outcome = WebSocketTurn(
                    response=await _unless_stopped(self._read(lost, why, conversation, now), lambda: heartbeat)
                )
        for response in outcome.superseded:
            await keep_made(response, create.save_whole_text, self.requests.outputs)
        outcome.response = await kept_beside(outcome.response, create.save_whole_text, self.requests.outputs)
        return outcome

    async def _obtained(self, create: CreateResponse, conversation: ConversationTurn, now: Clock) -> WebSocketTurn:
        with self._admitted():
            claim = self.claims.begin()
            _refuse_to_follow_another_attempt()
            way = SocketTurn(claim, self.client, self.sockets, create.warm_up, self.queue, self.silence)
            build = partial(self.requests.build, create, conversation, background=False, stream=True)
            turn = StreamTurn(
                claim,
                self.client,
                way.events,
                build,
                conversation,
                self.requests.cures,
                create.deadline,
                now,
                texts_taken_at=lambda: way.steering_queue,
                gate=self.requests.at_the_gate(create),
            )
            return await _unless_stopped(self._to_its_end(turn, way, now), lambda: turn.heartbeat)

    async def _to_its_end(self, turn: StreamTurn, way: SocketTurn, now: Clock) -> WebSocketTurn:
        try:
            return way.result(await turn.run())
        except ResponsesError as error:
            response = turn.streamed.response
            if response is None:
                raise failed_create(error) from None
            reads = self._reads(response.id, turn.conversation, now)
            record = await after_broken_stream(reads, error, turn.streamed.text, now, turn.deadline)
            await turn.conversation.tell(record, record.continues)
            return way.result(_not_steered(record))

    @activity.defn
    async def steer_response(self, steer: SteerResponse) -> SteerOutcome:
        """Send a steering message into the response of this run that is under way here. Never repeated."""
        steering = self.sockets.steering_of(activity.info().workflow_id)
        if steering is None:
            return SteerOutcome(id=steer.id, status=SteerStatus.FAILED, reason="No response was under way.")
        async with Heartbeats():
            return await steering.send(steer)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Room among the responses in flight. Raises `ApplicationError` of type `no_room`.

        On the create queue the slot is that room. On our own it is taken here, lest the queue's idle pollers take it;
        and nobody waits for it here, since the idle pollers of the create queue may be those who have it.
        """
        if activity.info().task_queue != self.queue:
            yield
            return
        if not self.in_flight.try_permit():
            raise no_room()
        try:
            yield
        finally:
            self.in_flight.give_back()

    async def _read(self, response_id: str, why: str, conversation: ConversationTurn, now: Clock) -> ResponseRecord:
        """The response, by its id, if it finishes although nobody follows it. Raises `ApplicationError`."""
        record = await read_after_cut(self._reads(response_id, conversation, now), why, now)
        await conversation.tell(record, record.continues)
        return _not_steered(record)

    def _reads(self, response_id: str, conversation: ConversationTurn, now: Clock) -> Reads:
        keep, chained = conversation.keep, conversation.is_chained
        return Reads(self.client, response_id, now(), self.cadence, keep=keep, chained=chained)


def _not_steered(record: ResponseRecord) -> ResponseRecord:
    if record.is_steered:
        raise lost_response(record.id, "a steering message ended it early, and its successor is not known.")
    return record


def _refuse_to_follow_another_attempt() -> None:
    """A turn has one attempt; an operator may have given it another one all the same. Raises what the first one means.

    One that was turned away may follow.
    """
    heartbeat = earlier_heartbeat()
    if heartbeat is not None and heartbeat.phase is not CreatePhase.REJECTED:
        raise stopped_worker(heartbeat)
    if heartbeat is None and not came_first():
        raise stopped_worker(heartbeat)


async def _unless_stopped(work: Awaitable[T], heartbeat: Callable[[], HeartbeatDetails | None]) -> T:
    """The result, or what this worker's shutdown means. Raises the cancel where the run asked for it, or is gone."""
    try:
        return await work
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        if details is not None and (details.cancel_requested or details.not_found):
            raise
        raise stopped_worker(heartbeat()) from None
