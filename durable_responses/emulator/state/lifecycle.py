"""One response from queue to ending. Its status at any time follows from four facts: when it was created, how its
script is laid out in time, whether and when it was stopped, and what time it is. So nothing has to run while it waits.

| status              | cancel (background)        | cancel (not background) |
|---------------------|----------------------------|-------------------------|
| queued, in_progress | 200, becomes `cancelled`   | 400                     |
| cancelled           | 200, unchanged             | 400                     |
| any other           | 400                        | 400                     |
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from functools import cached_property
from typing import Any

from durable_responses.emulator.model.context import is_compaction, since_compaction
from durable_responses.emulator.model.conversation import tokens_of_items, tokens_of_options
from durable_responses.emulator.model.item_events import Moment
from durable_responses.emulator.model.script import CompactionStep, Script
from durable_responses.emulator.model.timeline import Timeline
from durable_responses.emulator.objects.answer_bodies import ResponseObject, response_object, usage
from durable_responses.emulator.objects.api_errors import ApiError, ErrorBody, invalid
from durable_responses.emulator.objects.request_bodies import CALL_OUTPUTS, CreateBody, Item, listed_item
from durable_responses.emulator.state.clock import Clock
from durable_responses.responses_api.events import ErrorEvent, EventType
from durable_responses.responses_api.models import (
    UNFINISHED,
    ErrorDetail,
    IncompleteDetails,
    OutputItem,
    ReasoningEffort,
    ResponseStatus,
    Usage,
)

RESUMABLE_SECONDS = 300
RETENTION_OF_UNSTORED_SECONDS = 600
CANCELLABLE = UNFINISHED | {ResponseStatus.CANCELLED}

_LAST_EVENT = {
    ResponseStatus.COMPLETED: EventType.COMPLETED,
    ResponseStatus.INCOMPLETE: EventType.INCOMPLETE,
    # There is no event `response.cancelled`: a cancelled response ends its stream as a failed one.
    ResponseStatus.FAILED: EventType.FAILED,
    ResponseStatus.CANCELLED: EventType.FAILED,
}


class Transport(StrEnum):
    """How a response was asked for."""

    HTTP = "http"
    WEBSOCKET = "websocket"


class Stop(StrEnum):
    """What ended a response before its time."""

    CANCEL = "cancel"
    HANG_UP = "hang_up"  # the client of a foreground response is gone
    FINISH_NOW = "finish_now"  # a fault: everything is there at once
    STEER = "steer"  # it ends with what it has, and another response continues it


class StoredResponse:
    """A response and the request that it answers. `input_tokens` counts the whole context, `cached_tokens` its
    part that came with the previous response. With `generate` false the model does not work on it."""

    def __init__(
        self,
        response_id: str,
        created_at: float,
        request: CreateBody,
        items: list[Item],
        script: Script,
        *,
        previous: "StoredResponse | None",
        input_tokens: int,
        cached_tokens: int,
        transport: Transport = Transport.HTTP,
        generate: bool = True,
    ) -> None:
        self.id = response_id
        self.transport = transport
        self.generate = generate
        self.created_at = created_at
        self.request = request
        self.items = items
        self.script = script
        self.previous = previous
        self.input_tokens = input_tokens
        self.cached_tokens = cached_tokens
        self.stopped: Stop | None = None
        self.stopped_at = float("inf")
        self.deleted = False
        self.confirmed = False
        self.gets = 0
        self.watchers: set[Callable[[], None]] = set()
        self._option_tokens = tokens_of_options(request)
        self.timeline = Timeline(
            script,
            response_id.removeprefix("resp_"),
            background=bool(request.background),
            reasons=generate and request.effort is not ReasoningEffort.NONE and not request.asks_for_compaction,
            shows_summary=request.wants_summary,
            encrypted=request.wants_encrypted_reasoning,
            include=request.include or [],
        )
        self._bodies: dict[str, bytes] = {}
        self._moments: list[Moment] | None = None

    # --- time ----------------------------------------------------------------------------------------------------

    @property
    def finished_at(self) -> float:
        """When it ends; infinity while nothing will end it."""
        return min(self.created_at + self.timeline.finished, self.stopped_at)

    def status(self, now: float) -> ResponseStatus:
        """The status at a time."""
        if now >= self.finished_at:
            return ResponseStatus.CANCELLED if self._is_cut else self.script.ending.status
        if self.request.background and now < self.created_at + self.timeline.started:
            return ResponseStatus.QUEUED
        return ResponseStatus.IN_PROGRESS

    def has_run(self, now: float) -> bool:
        """Whether the model has begun to work on it."""
        return self.generate and min(now - self.created_at, self._made) >= self.timeline.started

    def is_kept(self, now: float) -> bool:
        """Whether it can still be read by id. Unstored background responses can, for ten minutes."""
        if self.deleted:
            return False
        if self.request.is_stored:
            return True
        return bool(self.request.background) and now < self.created_at + RETENTION_OF_UNSTORED_SECONDS

    def stop(self, how: Stop, at: float) -> None:
        """End it now. Whoever waits for it is woken."""
        if how is Stop.STEER:
            self.timeline = self.timeline.cut(at - self.created_at)
            self.script = self.timeline.script
        else:
            self.stopped, self.stopped_at = how, at
        self._bodies.clear()
        self._moments = None
        for wake in list(self.watchers):
            wake()

    def check_cancel(self, now: float) -> None:
        """The table at the top of this file. Raises: ApiError 400."""
        status = self.status(now)
        if not self.request.background:
            raise invalid("Cannot cancel a synchronous response.")
        if status not in CANCELLABLE:
            raise invalid(f"Cannot cancel a {status} response.")

    def check_resume(self, now: float) -> None:
        """Whether its events can be read (again). Raises: ApiError 400."""
        if not (self.request.background and self.request.stream):
            raise invalid("This response cannot be streamed because it was not created with background=true and "
                          "stream=true.", "stream")  # fmt: skip
        if now >= self.created_at + RESUMABLE_SECONDS:
            raise invalid("This response can no longer be streamed because it is more than 5 minutes old.", "stream")

    async def wait(self, clock: Clock, until: float) -> None:
        """Wait for a time, or for a stop, whichever comes first."""
        woken = asyncio.Event()
        self.watchers.add(woken.set)
        timer = clock.call_at(until, woken.set) if until != float("inf") else None
        try:
            await woken.wait()
        finally:
            self.watchers.discard(woken.set)
            if timer is not None:
                timer.cancel()

    # --- what is shown -------------------------------------------------------------------------------------------

    @property
    def _is_cut(self) -> bool:
        return self.stopped in (Stop.CANCEL, Stop.HANG_UP)

    @property
    def _made(self) -> float:
        """The seconds of its timeline that took place, once it has ended."""
        return self.stopped_at - self.created_at if self._is_cut else float("inf")

    @property
    def output(self) -> list[OutputItem]:
        """The output once it has ended."""
        return self.timeline.output(self._made)

    @property
    def calls(self) -> list[Item]:
        """The calls that it makes, or will make, and that its client must answer."""
        items = (span.item for span in self.timeline.spans)
        return [it.model_dump(exclude_none=True) for it in items if it.type in CALL_OUTPUTS.values()]

    @property
    def input_items(self) -> list[Item]:
        """The items of its request, each with an id and in full form, as the API lists them."""
        key = self.id.removeprefix("resp_")
        return [
            listed_item(item, f"{key}{index:02x}") for index, item in enumerate(self.items, len(self.timeline.spans))
        ]

    @property
    def usage(self) -> Usage:
        """What it has cost once it has ended. One that was cancelled in the queue has cost nothing."""
        ran = self.has_run(float("inf"))
        return usage(
            input_tokens=self.input_tokens if ran else 0,
            cached_tokens=self.cached_tokens if ran else 0,
            output_tokens=self.timeline.output_tokens(self._made),
            reasoning_tokens=self.timeline.reasoning_tokens(self._made),
        )

    @property
    def context_tokens(self) -> int:
        """Tokens that a response chained to this one starts with: nothing from before a compaction, no thoughts."""
        if self._compacts:
            return tokens_of_items(since_compaction(self.output_items))
        written = self.timeline.output_tokens(self._made) - self.timeline.reasoning_tokens(self._made)
        return self.input_tokens - self._option_tokens + written

    @property
    def _compacts(self) -> bool:
        return any(isinstance(step, CompactionStep) for step in self.script.output)

    def compactions(self, now: float) -> int:
        """How often it has compacted the conversation; known once it has ended."""
        return sum(map(is_compaction, self.output_items)) if self._compacts and now >= self.finished_at else 0

    @cached_property
    def output_items(self) -> list[Item]:
        """The output as JSON objects, which are also items of a chained response's input. Only once it has ended."""
        return [item.model_dump(mode="json", exclude_none=True) for item in self.output]

    def body(self, now: float) -> bytes:
        """The response object at a time, as JSON."""
        return self.body_as(self.status(now))

    def body_as(self, status: ResponseStatus) -> bytes:
        """The response object with one of the statuses it passes through, as JSON. Rendered once for each."""
        if status not in self._bodies:
            self._bodies[status] = self._object(status).model_dump_json().encode()
        return self._bodies[status]

    def _object(self, status: ResponseStatus) -> ResponseObject:
        state: dict[str, Any] = {"id": self.id, "created_at": int(self.created_at), "status": status}
        if status in UNFINISHED:
            return response_object(self.request, **state)
        state |= {"output": self.output_items, "usage": self.usage}
        ending = self.script.ending
        if status == ResponseStatus.COMPLETED:
            state["completed_at"] = int(self.finished_at)
        elif status == ResponseStatus.FAILED:
            state["error"] = ErrorDetail(code=ending.code, message=ending.message)
        elif status == ResponseStatus.INCOMPLETE:
            state["incomplete_details"] = IncompleteDetails(reason=ending.reason)
        return response_object(self.request, **state)

    # --- events --------------------------------------------------------------------------------------------------

    def moments(self) -> list[Moment]:
        """Every event it sends, in order, as far as the end is known. What was due before a stop is never changed."""
        if self._moments is None:  # kept, since whoever follows asks for them before each one
            self._moments = self._moments_until(self.finished_at - self.created_at)
        return self._moments

    def _moments_until(self, end: float) -> list[Moment]:
        if end == float("inf"):
            return self.timeline.moments
        sent = [Moment(min(it.at, end), it.event) for it in self.timeline.moments if it.at <= end or not self._is_cut]
        return [*sent, Moment(end, self._last_event())]

    def _last_event(self) -> EventType | ErrorEvent:
        status, ending = self.status(self.finished_at), self.script.ending
        if status is not ResponseStatus.FAILED or not ending.as_error:
            return _LAST_EVENT[status]
        error = ErrorDetail(type="invalid_request_error", code=ending.code, message=ending.message, param="input")
        return ErrorEvent(error=error)

    def event(self, sequence_number: int, moment: Moment) -> bytes:
        """One event as JSON."""
        if not isinstance(moment.event, EventType):
            numbered = moment.event.model_copy(update={"sequence_number": sequence_number})
            return numbered.model_dump_json(exclude_none=True).encode()
        body = self.body_as(self._status_in(moment.event))
        return b'{"type":"%s","sequence_number":%d,"response":%s}' % (moment.event.encode(), sequence_number, body)

    def _status_in(self, event: EventType) -> ResponseStatus:
        if event in (EventType.CREATED, EventType.QUEUED) and self.request.background:
            return ResponseStatus.QUEUED
        if event in (EventType.CREATED, EventType.IN_PROGRESS):
            return ResponseStatus.IN_PROGRESS
        return self.status(self.finished_at)


def conversation_locked(response_id: str) -> ApiError:
    """400: the response that should be continued is not finished."""
    message = f"Previous response '{response_id}' is not finished yet. Wait for it, then continue it."
    return ApiError(400, ErrorBody(message=message, param="previous_response_id", code="conversation_locked"))
