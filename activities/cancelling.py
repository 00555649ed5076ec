"""Stopping a response at the provider: asked for again while that fails, within bounds, and the run is told of it."""

import asyncio
from dataclasses import dataclass

from temporalio import activity

from durable_responses.activities.clocks import Clock
from durable_responses.activities.failures import failed_read, may_still_run
from durable_responses.activities.heartbeats import WaitingReports, earlier_heartbeat
from durable_responses.activities.messages import HeartbeatDetails
from durable_responses.responses_api.client import FINISHED_OR_GONE, ResponsesClient
from durable_responses.responses_api.errors import (
    ConnectionLost,
    GiveUp,
    MalformedAnswer,
    NoSuchEndpoint,
    NotFound,
    OutcomeUnknown,
    ResponsesError,
    Unreachable,
)
from durable_responses.responses_api.models import Response, ResponseStatus

CANCEL_PATIENCE = 60.0  # seconds
_NOT_FOUND_YET = 10.0  # seconds in which a response need not be found that was created a moment ago
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds
_SHORTEST_TRY = 1.0  # seconds, for an attempt that begins when the time is nearly over


@dataclass
class Cancelling:
    """One cancel of one response. `patience`: seconds from the first try, in which it may fail.

    `is_possible`: whether the server has shown that it can cancel, or by `refusal` that it cannot; None: neither.
    """

    client: ResponsesClient
    response_id: str
    now: Clock
    patience: float = CANCEL_PATIENCE

    def __post_init__(self) -> None:
        earlier = earlier_heartbeat()
        waiting = earlier.waiting if earlier else None
        self.heartbeat = HeartbeatDetails(response_id=self.response_id, waiting=waiting)
        self.is_possible: bool | None = None
        self.refusal: str | None = None
        self._reports = WaitingReports(waiting, self.response_id)
        self._asked_at = activity.info().scheduled_time.timestamp()
        self._began = waiting.since.timestamp() if waiting else self.now()

    async def until_it_is_told(self) -> Response:
        """What the response has become: cancelled, or finished before that.

        Raises `ApplicationError`, for one that may still run as well.
        """
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    return await self._in_time()
                except ResponsesError as error:
                    pause = self._pause_after(error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            await self._reports.finish()

    async def _in_time(self) -> Response:
        left = max(self._left, _SHORTEST_TRY)
        try:
            async with asyncio.timeout(left):
                return await self._cancelled()
        except TimeoutError:
            raise ConnectionLost(f"No answer within {left:.0f} seconds.") from None

    async def _cancelled(self) -> Response:
        try:
            response = await self.client.cancel(self.response_id)
            self.is_possible, self.refusal = True, None
            if response.status != ResponseStatus.COMPLETED or "output" in response.model_fields_set:
                return response
        except MalformedAnswer:  # some say no more than that they have done it
            self.is_possible, self.refusal = True, None
        except (GiveUp, OutcomeUnknown) as refused:
            if isinstance(refused, NoSuchEndpoint):
                self.is_possible, self.refusal = False, str(refused)
            if refused.status not in FINISHED_OR_GONE:  # a GET shows which
                raise
        return (await self.client.retrieve(self.response_id)).response

    def _pause_after(self, error: ResponsesError, pause: float) -> float:
        """Seconds until the next try. Raises `ApplicationError` where there is to be none."""
        now = self.now()
        is_new = isinstance(error, NotFound) and now - self._asked_at < _NOT_FOUND_YET
        if not (error.retry_read or is_new):
            raise failed_read(error, self.response_id) from None
        pause = error.retry_after or pause
        if pause >= self._left:
            if (error.status or 0) >= 500:
                self.is_possible, self.refusal = False, str(error)
            raise may_still_run(error, self.response_id, self.patience) from None
        unreachable = "the provider is unreachable" if isinstance(error, Unreachable) else "the provider does not do it"
        what = f"the response is to be cancelled, and {unreachable}"
        self.heartbeat.waiting = self._reports.failed(what, str(error), now, now + pause)
        return pause

    @property
    def _left(self) -> float:
        return self._began + self.patience - self.now()
