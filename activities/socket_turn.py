"""One create over the socket of its run, or over HTTP where no socket can be had: then nothing was sent yet."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from pydantic import SecretStr
from temporalio import activity

from durable_responses.activities.cool_down import CoolDown
from durable_responses.activities.messages import ResponseRecord, WebSocketTurn
from durable_responses.activities.records import record_of
from durable_responses.activities.steering import Steering, TurnsUnderWay
from durable_responses.responses_api.client import CREATE_TIMEOUT, ResponsesClient
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    GiveUp,
    LossCause,
    NotProcessed,
    ResponsesError,
    TurnLost,
)
from durable_responses.responses_api.events import Event, ResponseEvent
from durable_responses.responses_api.models import CreateRequest, Response, ResponseStatus
from durable_responses.responses_api.protocol import ResponseCreate
from durable_responses.responses_api.websocket_pool import Lease, Turn, WebSocketPool

logger = logging.getLogger(__name__)

_LEFT_BY_US = (LossCause.ABANDONED, LossCause.DEADLINE)


@dataclass
class RunSockets:
    """The sockets of one worker to its provider, one for each run, and when to leave them alone."""

    pool: WebSocketPool
    url: str
    api_key: SecretStr | None
    cool_down: CoolDown

    async def lease(self, session: str, lifetime: AsyncExitStack) -> Lease | None:
        """The socket of a run, given back at the end of `lifetime`; None where HTTP is to be used.

        Raises `AuthenticationFailed`: the key is no better over HTTP.
        """
        if self.cool_down.is_on:
            return None
        try:
            return await lifetime.enter_async_context(self.pool.lease(session, api_key=self.api_key, url=self.url))
        except AuthenticationFailed:
            raise
        except (NotProcessed, GiveUp) as error:
            self.cool_down.failed(error.retry_after)
            logger.warning("No WebSocket to %s, so HTTP is used for a while: %s", self.url, error)
            return None


@dataclass
class SocketTurn:
    """The way of one create. `queue` is this worker's own; `warm_up`: send tools and instructions ahead."""

    client: ResponsesClient
    sockets: RunSockets
    under_way: TurnsUnderWay
    warm_up: bool
    queue: str
    silence: float
    _connection: str | None = None
    _steering: Steering | None = None
    _ended: list[Response] = field(default_factory=list)

    @property
    def steering_queue(self) -> str | None:
        """Where texts for the response are taken; None while it does not go over a WebSocket."""
        return self.queue if self._steering is not None else None

    @asynccontextmanager
    async def events(self, request: CreateRequest) -> AsyncIterator[AsyncIterator[Event]]:
        """Send the request and give the events that answer it. May be entered again for what was turned away."""
        session = activity.info().workflow_id or ""
        async with AsyncExitStack() as lifetime:
            lease = await self.sockets.lease(session, lifetime)
            if lease is None:
                self._steering = None
                yield await lifetime.enter_async_context(self.client.stream(request, silence=self.silence))
                return
            turn = lease.turn(await self._warmed_up(lease, request))
            self._steering = lifetime.enter_context(self.under_way.open_to_texts(session, turn))
            yield await lifetime.enter_async_context(aclosing(self._heard(lease, turn, self._steering)))

    def result(self, record: ResponseRecord) -> WebSocketTurn:
        """What came of it, with the response as it was recorded at last."""
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
            if isinstance(error, TurnLost) and error.loss not in _LEFT_BY_US:
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
