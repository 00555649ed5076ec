"""Activities that obtain a response over a run's WebSocket, and send a text into it while it is written.

One attempt is one response. Nothing is tried a second time here once it may have been sent: the workflow decides what
the loss of a turn means.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from temporalio import activity

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.failures import failed_create, lost_response, no_room, stopped_worker
from durable_responses.activities.heartbeats import Pulse
from durable_responses.activities.messages import (
    Beat,
    CreatePhase,
    CreateResponse,
    ResponseRecord,
    SteerOutcome,
    SteerResponse,
    SteerStatus,
    WebSocketTurn,
)
from durable_responses.activities.polling import Cadence, Reads
from durable_responses.activities.requests import RequestBuilder
from durable_responses.activities.socket_turn import RunSockets, SocketTurn
from durable_responses.activities.steering import TurnsUnderWay
from durable_responses.activities.stream import StreamTurn, read_after_cut
from durable_responses.responses_api.client import SILENCE_LIMIT, ResponsesClient
from durable_responses.responses_api.errors import ResponsesError

T = TypeVar("T")


@dataclass
class WebSocketActivities:
    """The activities of the WebSocket transport. `queue` is this worker's own, where its sockets are found again.

    Seconds: `silence` after which a response is lost that goes over HTTP, `now` since the epoch.
    """

    client: ResponsesClient
    requests: RequestBuilder
    in_flight: ResponsesInFlight
    sockets: RunSockets
    queue: str
    now: Callable[[], float]
    cadence: Cadence = field(default_factory=Cadence)
    silence: float = SILENCE_LIMIT
    under_way: TurnsUnderWay = field(default_factory=TurnsUnderWay)

    @activity.defn
    async def websocket_turn(self, create: CreateResponse) -> WebSocketTurn:
        """ResponseSource the next response of a run; first look for the one that the run has lost sight of.

        Raises `ApplicationError`, also when this worker shuts down in the middle of it: no other attempt follows. On
        the own queue it does not wait for room: the create queue is where others wait.
        """
        lost = create.lost_response_id
        if lost is not None:
            beat = Beat(phase=CreatePhase.CREATED, response_id=lost)
            record = await _unless_stopped(self._read(lost, "the worker that followed it was lost"), lambda: beat)
            return WebSocketTurn(response=record)
        with self._admitted():
            way = SocketTurn(self.client, self.sockets, self.under_way, create.warm_up, self.queue, self.silence)
            build = partial(self.requests.build, create, background=False, stream=True)
            turn = StreamTurn(
                self.client, way.events, build, create.deadline, self.now, texts_taken_at=lambda: way.steering_queue
            )
            return await _unless_stopped(self._to_its_end(turn, way), lambda: turn.beat)

    async def _to_its_end(self, turn: StreamTurn, way: SocketTurn) -> WebSocketTurn:
        try:
            return way.result(await turn.run())
        except ResponsesError as error:
            response = turn.streamed.response
            if response is None:
                raise failed_create(error) from None
            return way.result(await self._read(response.id, str(error)))

    @activity.defn
    async def steer_response(self, steer: SteerResponse) -> SteerOutcome:
        """Send a text into the response of this run that is under way here. Never repeated."""
        steering = self.under_way.of(activity.info().workflow_id)
        if steering is None:
            return SteerOutcome(id=steer.id, status=SteerStatus.FAILED, reason="No response was under way.")
        async with Pulse():
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

    async def _read(self, response_id: str, why: str) -> ResponseRecord:
        """The response, by its id, if it finishes although nobody follows it. Raises `ApplicationError`."""
        record = await read_after_cut(Reads(self.client, response_id, self.now(), self.cadence), why, self.now)
        if record.is_steered:
            raise lost_response(response_id, "a text ended it early, and its successor is not known.")
        return record


async def _unless_stopped(work: Awaitable[T], beat: Callable[[], Beat | None]) -> T:
    """The result, or what it means that this worker shuts down. Raises the cancel only where the run asked for it."""
    try:
        return await work
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        if details is not None and details.cancel_requested:
            raise
        raise stopped_worker(beat()) from None
