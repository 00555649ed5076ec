"""The WebSocket endpoint: `/v1/responses`, upgraded. https://platform.openai.com/docs/guides/websocket-mode"""

import asyncio

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from durable_responses.emulator.faults import BreakSocket, Effect, Operation
from durable_responses.emulator.http.asgi_answers import check_key
from durable_responses.emulator.objects.api_errors import ApiError
from durable_responses.emulator.provider import Provider, check_refusal
from durable_responses.emulator.socket.client_events import (
    ClientEvent,
    ClientEventType,
    ResponseCreate,
    connection_limit_reached,
    parse_create,
    parse_event,
)
from durable_responses.emulator.socket.lanes import Lane, Lanes
from durable_responses.emulator.socket.steered_turns import Steering, Successor
from durable_responses.emulator.socket.turn import Turn
from durable_responses.emulator.socket.wire import SocketWire
from durable_responses.emulator.state.lifecycle import StoredResponse, Transport

LIFETIME_SECONDS = 3600
GOING_AWAY = 1001


class WebSocketEndpoint:
    """The endpoint as an ASGI application."""

    def __init__(self, provider: Provider, api_key: str | None = None) -> None:
        self._provider = provider
        self._api_key = api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        wire = SocketWire(scope, receive, send, self._provider.state.clock)
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(self._open(Headers(scope=scope), wire))
            session = Session(self._provider, wire, group)
            await session.read()
            opening.cancel()
            session.end()

    async def _open(self, headers: Headers, wire: SocketWire) -> None:
        effect = self._provider.take_fault(Operation.UPGRADE, {})
        try:
            check_key(headers, self._api_key)
            check_refusal(effect)
        except ApiError as error:
            await wire.refuse(error)
            return
        await wire.meet(effect, processed=False)
        await wire.accept()
        await wire.meet(effect, processed=True)
        if isinstance(effect, BreakSocket):
            await wire.break_(effect)


class Session:
    """One open WebSocket, from the upgrade until the client is gone."""

    def __init__(self, provider: Provider, wire: SocketWire, group: asyncio.TaskGroup) -> None:
        self._provider = provider
        self._clock = provider.state.clock
        self._wire = wire
        self._lanes = Lanes(group, self._answer)
        self._steering = Steering(provider, wire)
        self._expires_at = self._clock.now() + LIFETIME_SECONDS
        self._heard: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._tasks = [group.create_task(self._expire()), group.create_task(self._hear_all())]

    async def read(self) -> None:
        """Receive messages until the client leaves. Waits for nothing else, or it would not notice that."""
        while (message := await self._wire.receive()) is not None:
            self._heard.put_nowait(message)

    def end(self) -> None:
        """The client has left: stop everything in progress."""
        for task in self._tasks:
            task.cancel()
        self._lanes.cancel()

    async def _expire(self) -> None:
        await self._clock.sleep(LIFETIME_SECONDS)
        await self._lanes.until_idle()
        error = connection_limit_reached()
        await self._wire.send_error(error)
        await self._wire.close(GOING_AWAY, error.error.message)

    async def _hear_all(self) -> None:
        while True:
            await self._hear(await self._heard.get())

    async def _hear(self, message: str | bytes) -> None:
        try:
            event = parse_event(message)
        except ApiError as error:
            await self._wire.send_error(error)
            return
        if event.type is ClientEventType.STEER:
            await self._steering.hear(event)
            return
        try:
            self._lanes.put(event)
        except ApiError as error:
            await self._wire.send_error(error, event.stream_id)

    async def _answer(self, lane: Lane, event: ClientEvent) -> None:
        try:
            if self._clock.now() >= self._expires_at:
                raise connection_limit_reached()
            turn = await self._begin(lane, self._steering.with_pending(lane, parse_create(event)))
        except ApiError as error:
            lane.forget(event.fields.get("previous_response_id"))
            await self._wire.send_error(error, lane.stream_id)
            return
        while successor := await self._carry_out(turn):
            try:
                turn = await self._begin(lane, successor.create)
            except ApiError as error:
                await successor.hand_back(error)
                return

    async def _begin(self, lane: Lane, create: ResponseCreate) -> Turn:
        request = create.request
        metadata = request.metadata or {}
        try:
            effect = self._provider.take_fault(Operation.CREATE, metadata, request)
            check_refusal(effect, request)
            await self._wire.meet(effect, processed=False)
            if isinstance(effect, BreakSocket):
                await self._wire.break_(effect)
            response = self._create(create, effect)
        except ApiError as error:
            self._provider.reject(error, metadata, Transport.WEBSOCKET)
            raise
        turn = Turn(
            self._provider, self._wire, lane, response, effect, self._provider.take_fault(Operation.TURN, metadata)
        )
        self._steering.begin(turn)
        return turn

    def _create(self, create: ResponseCreate, effect: Effect | None) -> StoredResponse:
        return self._provider.create(
            create.request,
            effect,
            transport=Transport.WEBSOCKET,
            generate=create.generate,
            cached=self._lanes.cached(create.request.previous_response_id),
        )

    async def _carry_out(self, turn: Turn) -> Successor | None:
        await turn.send_all()
        turn.lane.remember(turn.response, self._clock.now())
        return await self._steering.end(turn)
