"""One turn: sends the events of a response over a WebSocket, with the faults injected into it."""

from durable_responses.emulator.faults import BreakSocket, Effect, ExtraFrame, SlowFrames, Unpublished
from durable_responses.emulator.model.item_events import Moment
from durable_responses.emulator.provider import Provider
from durable_responses.emulator.socket.lanes import Lane
from durable_responses.emulator.socket.wire import SocketWire
from durable_responses.emulator.state.lifecycle import StoredResponse
from durable_responses.responses_api.events import (
    ArgumentsDelta,
    ArgumentsDone,
    EventType,
    RateLimit,
    RateLimitsUpdated,
    StreamEvent,
)
from durable_responses.responses_api.models import FunctionCall

RATE_LIMITS = [
    RateLimit(name="requests", limit=10_000, remaining=9_999, reset_seconds=0.006),
    RateLimit(name="tokens", limit=2_000_000, remaining=1_990_000, reset_seconds=0.3),
]


class Turn:
    """One response and its events on their way to the client. `create_effect` is the fault that its create has met."""

    def __init__(
        self,
        provider: Provider,
        wire: SocketWire,
        lane: Lane,
        response: StoredResponse,
        create_effect: Effect | None,
        effect: Effect | None,
    ) -> None:
        self.lane = lane
        self.response = response
        self._provider = provider
        self._wire = wire
        self._create_effect = create_effect
        self._effect = effect
        self._sent = 0
        self._announced = 0

    async def send_all(self) -> None:
        """Send every event when it is due. Cancelled, or once the socket is broken, the response stops."""
        try:
            await self._wire.meet(self._create_effect, processed=True)
            await self._send_all()
        finally:
            self._hang_up()

    async def announce(self, event: StreamEvent) -> None:
        """Send another event between those of the response, numbered as one of them."""
        number = self._sent + self._announced
        self._announced += 1
        numbered = event.model_copy(update={"sequence_number": number})
        await self._send(numbered.model_dump_json(exclude_none=True).encode())

    async def _send_all(self) -> None:
        async for number, moment in self._provider.moments(self.response):
            await self._meet_fault()
            self._sent += 1
            await self._send(self.response.event(number + self._announced, self._published(moment)))
            if isinstance(self._effect, Unpublished) and moment.type == EventType.CREATED:
                await self._send(RateLimitsUpdated(rate_limits=RATE_LIMITS).model_dump_json(exclude_none=True).encode())
        await self._meet_fault()

    async def _send(self, event: bytes) -> None:
        if self.lane.stream_id is not None:
            event = b'%s,"stream_id":"%s"}' % (event[:-1], self.lane.stream_id.encode())
        if isinstance(self._effect, SlowFrames):
            await self._wire.send_slowly(event, self._effect)
        else:
            await self._wire.send(event)

    async def _meet_fault(self) -> None:
        effect = self._effect
        if isinstance(effect, ExtraFrame) and effect.after_events == self._sent:
            await self._wire.send_extra(effect)
        if isinstance(effect, BreakSocket) and effect.after_events == self._sent:
            self._hang_up()
            await self._wire.break_(effect)

    def _hang_up(self) -> None:
        if not (isinstance(self._effect, BreakSocket) and self._effect.survives):
            self._provider.hang_up(self.response)

    def _published(self, moment: Moment) -> Moment:
        event = moment.event
        if not isinstance(self._effect, Unpublished) or not isinstance(event, ArgumentsDelta | ArgumentsDone):
            return moment
        items = (span.item for span in self.response.timeline.spans)
        call_id = next(it.call_id for it in items if isinstance(it, FunctionCall) and it.id == event.item_id)
        return Moment(moment.at, event.model_copy(update={"call_id": call_id}))
