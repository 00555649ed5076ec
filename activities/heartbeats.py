"""Heartbeats to Temporal, and reports to the run: that an activity is alive, and how far it has come."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from pydantic import BaseModel
from temporalio import activity
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.messages import (
    PREVIEW_CHARACTERS,
    REPORT_PROGRESS,
    SIGNAL_PREVIEW_CHARACTERS,
    HeartbeatDetails,
    ProgressReport,
    Waiting,
)

logger = logging.getLogger(__name__)

_RPC_TIMEOUT = timedelta(seconds=3)
_FIRST_REPORT = 5.0  # seconds after the start of the activity
_GROWTH = 1.25
_LONGEST_SILENCE = 60.0  # seconds
_WORTH_A_REPORT = 2.0  # seconds
_GROWTH_OF_A_WAIT = 1.5
_CAUSE_CHARACTERS = 500


# --- heartbeats --------------------------------------------------------------------------------------------------


def earlier_heartbeat() -> HeartbeatDetails | None:
    """The last heartbeat of this activity's earlier attempt that reached the server."""
    details = activity.info().heartbeat_details
    return HeartbeatDetails.model_validate(details[0]) if details else None


def send_heartbeat(heartbeat: BaseModel | None) -> None:
    """Heartbeat, with the preview cut: details that are too large fail the activity."""
    if heartbeat is None:
        activity.heartbeat()
        return
    if isinstance(heartbeat, HeartbeatDetails) and heartbeat.preview is not None:
        heartbeat.preview = heartbeat.preview[-PREVIEW_CHARACTERS:]
    activity.heartbeat(heartbeat)


class Heartbeats:
    """Heartbeats beside an activity, so that a lost worker is noticed and a cancel arrives, whatever it waits for.

    `heartbeat` returns the details of each heartbeat; `every` is in seconds. The first heartbeat comes after that time:
    what ends sooner costs no call to Temporal. Each costs the server as much as a small activity.
    """

    def __init__(self, heartbeat: Callable[[], BaseModel | None] = lambda: None, every: float = 1.0) -> None:
        self._heartbeat = heartbeat
        self._every = every
        self._next: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None

    def heartbeat(self) -> None:
        """Send a heartbeat now."""
        self._forget()
        send_heartbeat(self._heartbeat())

    def heartbeat_soon(self, seconds: float) -> None:
        """Send a heartbeat in a moment, unless the activity has its result by then, which says the same.

        It is sent at once if the activity fails instead: the next attempt has to know.
        """
        self._forget()
        if seconds <= 0:
            self.heartbeat()
        else:
            self._soon = asyncio.get_running_loop().call_later(seconds, self.heartbeat)

    def _forget(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def _go_on(self) -> None:
        # A timer, not a task: most activities end before the first heartbeat, and a task costs as much as they do.
        self._next = asyncio.get_running_loop().call_later(self._every, self._regularly)

    def _regularly(self) -> None:
        self._go_on()
        self.heartbeat()

    async def __aenter__(self) -> Self:
        self._go_on()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._soon is not None and kind is not None:
            self.heartbeat()
        self._forget()
        if self._next is not None:
            self._next.cancel()


# --- reports to the run ------------------------------------------------------------------------------------------


class RunReports:
    """Sends `report_progress` signals to the run: rarely (see `ReportSchedule`), one at a time, delaying nothing.

    `started_at`: when the activity began to wait; seconds, on the clock of `now`.
    """

    def __init__(self, started_at: float) -> None:
        self._schedule = ReportSchedule(started_at)
        self._signals = _Signals()

    def tell(self, report: ProgressReport, now: float) -> None:
        """Report if it is time."""
        if self._schedule.due(report, now):
            self.tell_at_once(report)

    def tell_at_once(self, report: ProgressReport) -> None:
        """Report, unless an earlier report is still on its way."""
        self._signals.send(_short(report))

    async def finish(self) -> None:
        """Let the report on its way arrive before the activity's result does."""
        await self._signals.finish()


def _short(report: ProgressReport) -> ProgressReport:
    text = report.preview
    if text is not None and len(text) > SIGNAL_PREVIEW_CHARACTERS:
        text = "…" + text[-SIGNAL_PREVIEW_CHARACTERS:]
    return ProgressReport(
        response_id=report.response_id,
        response_status=report.response_status,
        preview=text,
        queue=report.queue,
        waiting=report.waiting,
    )


class _Signals:
    """The signals of one kind of report, one at a time: what is to be sent while one is on its way is left out."""

    def __init__(self) -> None:
        self._sending: asyncio.Task[None] | None = None

    def send(self, report: ProgressReport) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(_signal(report))

    async def finish(self) -> None:
        if self._sending is not None:
            await self._sending


async def _signal(report: ProgressReport) -> None:
    """Without a run id: after a continue-as-new the report still finds the run."""
    run = activity.client().get_workflow_handle(activity.info().workflow_id or "")
    try:
        await run.signal(REPORT_PROGRESS, report, rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # the run has ended in the meantime
            logger.warning("A progress report did not arrive: %s", error)


class WaitingReports:
    """Tells the run that it waits for something else than its response: in heartbeats each time, by signal rarely.

    By signal once the next try is two seconds after the first, then when the wait has grown by half, at the latest
    after a minute; and once when it is over. `earlier`: what an earlier attempt waited for.
    """

    def __init__(self, earlier: Waiting | None = None, response_id: str | None = None) -> None:
        self.waiting = earlier
        self._response_id = response_id
        self._told = earlier is not None
        self._due: float | None = None
        self._signals = _Signals()

    def failed(self, what: str, cause: str, now: float, next_at: float) -> Waiting:
        """One more try has failed. Times are in seconds since the epoch."""
        before = self.waiting
        self.waiting = Waiting(
            what=what,
            since=before.since if before else datetime.fromtimestamp(now, UTC),
            attempt=before.attempt + 1 if before else 1,
            next_at=datetime.fromtimestamp(next_at, UTC),
            cause=cause[:_CAUSE_CHARACTERS],
        )
        since = self.waiting.since.timestamp()
        if next_at - since >= _WORTH_A_REPORT and (self._due is None or now >= self._due):
            self._due = min(since + (next_at - since) * _GROWTH_OF_A_WAIT, now + _LONGEST_SILENCE)
            self._told = True
            self._tell()
        return self.waiting

    def over(self) -> None:
        """The wait is over; the run is told so if it knows of it and learns it in no other way."""
        was_told, self._told, self.waiting, self._due = self._told, False, None, None
        if was_told and self._response_id is not None:
            self._tell()

    def _tell(self) -> None:
        self._signals.send(ProgressReport(response_id=self._response_id, waiting=self.waiting))

    async def finish(self) -> None:
        """Let the report on its way arrive before the activity's result does."""
        await self._signals.finish()


class ReportSchedule:
    """When the run gets a report about a response: rarely, since every report is an event in history.

    Only when something changed; first 5 s after the start, then each time the response's age has grown by a quarter,
    at the latest after 60 s. Plain Python; the clock is given.
    """

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._due = started_at + _FIRST_REPORT
        self._told: str | None = None

    def due(self, report: ProgressReport, now: float) -> bool:
        """Whether to send this report now; if so, it counts as sent."""
        if not report.preview or now < self._due or report.preview == self._told:
            return False
        self._told = report.preview
        self._due = min(self._started_at + (now - self._started_at) * _GROWTH, now + _LONGEST_SILENCE)
        return True
