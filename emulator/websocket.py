"""The WebSocket endpoint: `/v1/responses`, upgraded. https://platform.openai.com/docs/guides/websocket-mode"""

import asyncio

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from emulator.answers import check_key
from emulator.client_events import (
    ClientEvent,
    ClientEventType,
    ResponseCreate,
    connection_limit_reached,
    parse_create,
    parse_event,
)
from emulator.errors import ApiError
from emulator.faults import BreakSocket, Delay, Effect, Operation, Reset, SocketBreak
from emulator.lanes import Lane, Lanes
from emulator.lifecycle import StoredResponse, Transport
from emulator.provider import Provider, check_refusal
from emulator.socket_wire import SocketWire, for_ever
from emulator.turn import TurnEvents

LIFETIME_SECONDS = 3600
GOING_AWAY = 1001


class WebSocketEndpoint:
    """The endpoint as an ASGI application."""

    def __init__(self, provider: Provider, api_key: str | None = None) -> None:
        self._provider = provider
        self._api_key = api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        wire = SocketWire(scope, receive, send)
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
        await _meet(effect, wire, self._provider, processed=False)
        await wire.accept()
        await _meet(effect, wire, self._provider, processed=True)
        await _break(effect, wire)


class Session:
    """One open WebSocket, from the upgrade until the client is gone."""

    def __init__(self, provider: Provider, wire: SocketWire, group: asyncio.TaskGroup) -> None:
        self._provider = provider
        self._clock = provider.state.clock
        self._wire = wire
        self._lanes = Lanes(group, self._answer)
        self._expires_at = self._clock.now() + LIFETIME_SECONDS
        self._expiry = group.create_task(self._expire())

    async def read(self) -> None:
        """Take what the client says, until it leaves."""
        while (message := await self._wire.receive()) is not None:
            await self._hear(message)

    def end(self) -> None:
        """The client has left: stop all that is under way."""
        self._expiry.cancel()
        self._lanes.cancel()

    async def _expire(self) -> None:
        await self._clock.sleep(LIFETIME_SECONDS)
        await self._lanes.until_idle()
        error = connection_limit_reached()
        await self._wire.send_error(error)
        await self._wire.close(GOING_AWAY, error.error.message)

    async def _hear(self, message: str | bytes) -> None:
        try:
            event = parse_event(message)
        except ApiError as error:
            await self._wire.send_error(error)
            return
        if event.type is ClientEventType.CREATE:
            try:
                self._lanes.put(event)
            except ApiError as error:
                await self._wire.send_error(error, event.stream_id)

    async def _answer(self, lane: Lane, event: ClientEvent) -> None:
        try:
            if self._clock.now() >= self._expires_at:
                raise connection_limit_reached()
            create = parse_create(event)
            await self._respond(lane, create)
        except ApiError as error:
            lane.forget(event.fields.get("previous_response_id"))
            await self._wire.send_error(error, lane.stream_id)

    async def _respond(self, lane: Lane, create: ResponseCreate) -> None:
        metadata = create.request.metadata or {}
        chained = create.request.previous_response_id is not None
        try:
            effect = self._provider.take_fault(Operation.CREATE, metadata, chained=chained)
            response = await self._create(create, effect)
        except ApiError as error:
            self._provider.reject(error, metadata, Transport.WEBSOCKET)
            raise
        broken = self._provider.take_fault(Operation.TURN, metadata)
        try:
            await _meet(effect, self._wire, self._provider, processed=True)
            await TurnEvents(self._provider, self._wire, lane, response, broken).send_all()
            lane.remember(response, self._clock.now())
        finally:
            if not (isinstance(broken, BreakSocket) and broken.survives):
                self._provider.hang_up(response)

    async def _create(self, create: ResponseCreate, effect: Effect | None) -> StoredResponse:
        check_refusal(effect, create.request)
        await _meet(effect, self._wire, self._provider, processed=False)
        await _break(effect, self._wire)
        return self._provider.create(
            create.request,
            effect,
            transport=Transport.WEBSOCKET,
            generate=create.generate,
            cached=self._lanes.cached(create.request.previous_response_id),
        )


async def _meet(effect: Effect | None, wire: SocketWire, provider: Provider, *, processed: bool) -> None:
    """Meet a fault that delays or breaks the connection before or after something was `processed`."""
    if isinstance(effect, Delay) and effect.processed is processed:
        if effect.seconds is None:
            await for_ever()
        else:
            await provider.state.clock.sleep(effect.seconds)
    if isinstance(effect, Reset) and effect.processed is processed:
        wire.break_(BreakSocket(how=SocketBreak.RESET))
        await for_ever()


async def _break(effect: Effect | None, wire: SocketWire) -> None:
    if isinstance(effect, BreakSocket):
        wire.break_(effect)
        await for_ever()
