"""Sending the events of one response over a WebSocket, with the faults that were ordered for it."""

from emulator.faults import BreakSocket, Effect, ExtraFrame, SlowFrames, Unpublished
from emulator.item_events import Moment
from emulator.lanes import Lane
from emulator.lifecycle import StoredResponse
from emulator.provider import Provider
from emulator.socket_wire import SocketWire, for_ever
from responses_api.events import ArgumentsDelta, ArgumentsDone, EventType, RateLimit, RateLimitsUpdated
from responses_api.models import FunctionCall

RATE_LIMITS = [
    RateLimit(name="requests", limit=10_000, remaining=9_999, reset_seconds=0.006),
    RateLimit(name="tokens", limit=2_000_000, remaining=1_990_000, reset_seconds=0.3),
]


class TurnEvents:
    """The events of one response on their way to the client."""

    def __init__(
        self, provider: Provider, wire: SocketWire, lane: Lane, response: StoredResponse, effect: Effect | None
    ) -> None:
        self._provider = provider
        self._wire = wire
        self._lane = lane
        self._response = response
        self._effect = effect
        self._sent = 0

    async def send_all(self) -> None:
        """Send every event when it is due. Never returns once the socket is broken."""
        async for number, moment in self._provider.moments(self._response):
            await self._meet_fault()
            await self._send(self._response.event(number, self._published(moment)))
            self._sent += 1
            if isinstance(self._effect, Unpublished) and moment.type == EventType.CREATED:
                await self._send(RateLimitsUpdated(rate_limits=RATE_LIMITS).model_dump_json(exclude_none=True).encode())
        await self._meet_fault()

    async def _send(self, event: bytes) -> None:
        if self._lane.stream_id is not None:
            event = b'%s,"stream_id":"%s"}' % (event[:-1], self._lane.stream_id.encode())
        if isinstance(self._effect, SlowFrames):
            await self._wire.send_slowly(event, self._effect, self._provider.state.clock)
        else:
            await self._wire.send(event)

    async def _meet_fault(self) -> None:
        effect = self._effect
        if isinstance(effect, ExtraFrame) and effect.after_events == self._sent:
            await self._wire.send_extra(effect)
        if isinstance(effect, BreakSocket) and effect.after_events == self._sent:
            if not effect.survives:
                self._provider.hang_up(self._response)
            self._wire.break_(effect)
            await for_ever()

    def _published(self, moment: Moment) -> Moment:
        event = moment.event
        if not isinstance(self._effect, Unpublished) or not isinstance(event, ArgumentsDelta | ArgumentsDone):
            return moment
        items = (span.item for span in self._response.timeline.spans)
        call_id = next(it.call_id for it in items if isinstance(it, FunctionCall) and it.id == event.item_id)
        return Moment(moment.at, event.model_copy(update={"call_id": call_id}))
