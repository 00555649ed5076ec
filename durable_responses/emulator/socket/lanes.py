"""The lanes of one WebSocket: the order of answers, and which responses can be continued from memory.

The creates of one lane (`stream_id`) are answered one after the other, in the order in which they came; lanes do not
wait for each other, until `MAX_IN_FLIGHT` responses are in flight on the connection. Each lane keeps its latest
response, which can therefore be continued though it may not be stored.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from durable_responses.emulator.socket.client_events import ClientEvent, stream_limit_reached
from durable_responses.emulator.state.lifecycle import StoredResponse
from durable_responses.emulator.state.response_store import CONTINUABLE

MAX_IN_FLIGHT = 16
MAX_NAMED_LANES = 32


class Lane:
    """The creates that wait in one lane, and its latest response. `stream_id` is None for the default lane."""

    def __init__(self, stream_id: str | None) -> None:
        self.stream_id = stream_id
        self.waiting: deque[ClientEvent] = deque()
        self.latest: StoredResponse | None = None
        self.task: asyncio.Task[None] | None = None

    def remember(self, response: StoredResponse, now: float) -> None:
        """A response of this lane has ended: the next one may continue it or, if it failed, not even its parent."""
        if response.status(now) in CONTINUABLE:
            self.latest = response
        else:
            self.forget(response.request.previous_response_id)

    def forget(self, response_id: str | None) -> None:
        """A continuation has failed: what it continued is dropped, if it was kept here."""
        if self.latest is not None and self.latest.id == response_id:
            self.latest = None


class Lanes:
    """All lanes of a connection. `answer` answers one create, from beginning to end, in a task of `group`."""

    def __init__(self, group: asyncio.TaskGroup, answer: Callable[[Lane, ClientEvent], Awaitable[None]]) -> None:
        self._group = group
        self._answer = answer
        self._lanes: dict[str | None, Lane] = {}
        self._in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._busy: set[Lane] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, event: ClientEvent) -> None:
        """Have a create answered. Raises: ApiError 400 for a lane too many."""
        lane = self._lane(event.stream_id)
        lane.waiting.append(event)
        if lane not in self._busy:
            self._busy.add(lane)
            self._idle.clear()
            lane.task = self._group.create_task(self._work(lane))

    async def until_idle(self) -> None:
        """Wait until nothing is under way and nothing waits."""
        await self._idle.wait()

    def cancel(self) -> None:
        """Stop everything in progress; the client is gone."""
        for lane in self._busy:
            assert lane.task is not None
            lane.task.cancel()

    def cached(self, response_id: str | None) -> StoredResponse | None:
        """A response that some lane has kept."""
        kept = (lane.latest for lane in self._lanes.values())
        return next((it for it in kept if it and it.id == response_id and not it.deleted), None)

    def _lane(self, stream_id: str | None) -> Lane:
        if stream_id not in self._lanes:
            if stream_id is not None and len(self._lanes.keys() - {None}) >= MAX_NAMED_LANES:
                raise stream_limit_reached(MAX_NAMED_LANES)
            self._lanes[stream_id] = Lane(stream_id)
        return self._lanes[stream_id]

    async def _work(self, lane: Lane) -> None:
        while lane.waiting:
            async with self._in_flight:
                await self._answer(lane, lane.waiting.popleft())
        self._busy.discard(lane)
        if not self._busy:
            self._idle.set()
