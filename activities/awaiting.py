"""Waiting for one response: GET, beat, sleep; look once more at the deadline."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from temporalio import activity

from durable_responses.activities.heartbeats import Pulse, RunReports, earlier_beat, send_beat
from durable_responses.activities.messages import PREVIEW_CHARACTERS, AwaitResponse, Beat, CreatePhase, ResponseRecord
from durable_responses.activities.reading import Reads
from durable_responses.activities.records import record_of, unfinished_record
from durable_responses.activities.waiting import GetBudget, ReportSchedule
from durable_responses.responses_api.models import Response, ResponseStatus

OF_THE_TIMEOUT = 0.75  # the rest is for a worker that is slow for a moment
_OFTEN_ENOUGH = 1.0  # seconds between two beats with something new to see


@dataclass
class ResponseWait:
    """One `await_response`. Times in seconds since the epoch."""

    wait: AwaitResponse
    reads: Reads
    budget: GetBudget
    told: "asyncio.Future[ResponseRecord]"
    now: Callable[[], float]

    def __post_init__(self) -> None:
        self._beaten_at = 0.0
        self._reports = RunReports(ReportSchedule(self.now()))
        # Where an earlier attempt left off: what was seen of the text must not get lost with a worker.
        self._beat = earlier_beat() or Beat(phase=CreatePhase.CREATED, response_id=self.wait.response_id)
        self._characters = len(self._beat.preview or "")
        self._deadline = self.wait.deadline.timestamp() if self.wait.deadline else None

    def pulse(self) -> Pulse:
        """The heartbeats that go on whatever the wait is doing: a GET may take longer than the timeout."""
        timeout = activity.info().heartbeat_timeout
        return Pulse(lambda: self._beat, timeout.total_seconds() * OF_THE_TIMEOUT if timeout else 60.0)

    async def until_finished(self) -> ResponseRecord:
        """The finished response, or its state at the deadline: an answer that is ready is never thrown away (A6)."""
        wait = 0.0
        try:
            while (finished := await self._rest(wait) or await self._look()) is None:
                if self._is_past_deadline():
                    return self._unfinished()
                wait = self.reads.wait(self.now(), self.budget.fair_share)
            return finished
        finally:
            await self._reports.finish()

    async def _look(self) -> ResponseRecord | None:
        """GET the response and tell of it; what it has become, once it is finished. The whole of it is not kept."""
        response = await self.reads.read(self.now())
        if response is None:
            return None
        if response.is_finished:
            return record_of(response)
        self._show(response)
        return None

    def _show(self, response: Response) -> None:
        news = response.status != self._beat.response_status
        self._beat.response_status = response.status
        text = response.output_text
        self._tell(self._take(text[-PREVIEW_CHARACTERS:], len(text)) or news)

    def show_text(self, end: str, characters: int) -> None:
        """Tell of more text: its end, and how many characters there are in all."""
        self._tell(self._take(end, characters))

    def _take(self, end: str, characters: int) -> bool:
        if characters <= self._characters:  # a stream that is followed again starts at the beginning
            return False
        self._beat.preview, self._characters = end, characters
        return True

    def _tell(self, news: bool) -> None:
        """By a beat soon, the run itself from time to time."""
        if news and self.now() - self._beaten_at >= _OFTEN_ENOUGH:
            self._beaten_at = self.now()
            send_beat(self._beat)
        self._reports.tell(self._beat, self.now())

    async def _rest(self, seconds: float) -> ResponseRecord | None:
        """Sleep, at most to the deadline, and until it is this GET's turn.

        The response, if somebody else saw its end meanwhile.
        """
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - self.now())
        return await self._told_within(seconds) or await self._told_within(self.budget.take_turn(self.now()))

    async def _told_within(self, seconds: float) -> ResponseRecord | None:
        if seconds > 0:
            await asyncio.wait((self.told,), timeout=seconds)
        return self.told.result() if self.told.done() else None

    def _is_past_deadline(self) -> bool:
        return self._deadline is not None and self.now() >= self._deadline

    def _unfinished(self) -> ResponseRecord:
        if self.reads.output is not None and self.reads.output.output_text:
            return self.reads.output
        return unfinished_record(self.wait.response_id, self._beat.preview or "", ResponseStatus.IN_PROGRESS)
