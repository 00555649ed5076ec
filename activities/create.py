"""Sending a create once: what an earlier attempt's heartbeat allows, and what is retried inside.

A create is not idempotent and there is no list of responses to look it up in. So nothing is ever sent after a POST
whose outcome is unknown; only what the provider provably did not process is sent again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from durable_responses.activities.claims import Claim, came_first
from durable_responses.activities.clocks import steady
from durable_responses.activities.cures import Changed
from durable_responses.activities.failures import ambiguous_create, deadline_passed, failed_create, later
from durable_responses.activities.gate import GateTurn
from durable_responses.activities.heartbeats import Heartbeats, WaitingReports, earlier_heartbeat
from durable_responses.activities.messages import CreatePhase, CreateResponse, HeartbeatDetails
from durable_responses.activities.till import current_turn
from durable_responses.responses_api.client import CREATE_TIMEOUT
from durable_responses.responses_api.errors import NotProcessed, ResponsesError, Unreachable

logger = logging.getLogger(__name__)

T = TypeVar("T")

CREATE_PATIENCE = 120.0  # seconds
TOLD_WITHIN = 0.1  # seconds in which an id waits for the result that holds it, too
_CUT_OFF = "the run ended before the provider answered, so the POST was cut off."
_LOOK_AGAIN = 0.5
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0


def response_of_earlier_attempt(create: CreateResponse) -> str | None:
    """The id that an earlier attempt of this activity obtained; None if this attempt may send the request.

    The heartbeat decides, whatever the attempt's number is. An earlier attempt that left none may have been killed just
    after sending, so that counts as ambiguous, unless the create is announced (see `is_announced`): then nothing was
    sent, for instance because the task lay in a worker that was frozen. Raises the ambiguous create.
    """
    heartbeat = earlier_heartbeat()
    if heartbeat is not None and heartbeat.response_id is not None:
        return heartbeat.response_id
    if heartbeat is None and is_announced(create) and activity.info().attempt > 1:
        return None
    if (heartbeat is None and not came_first()) or (heartbeat is not None and heartbeat.phase is CreatePhase.POSTING):
        raise ambiguous_create("the worker was lost while it sent the request.")
    return None


def is_announced(create: CreateResponse) -> bool:
    """Whether the server has to know of its POST before that is sent: so it is after a create that was ambiguous.

    No further one can follow, so it must not be spent on tasks that nobody has begun: all polls of a frozen worker are
    given some, one after the other.
    """
    return create.attempt > 1


@dataclass
class Sending:
    """The sending of one create, by the attempt that has this claim to it. Times are in seconds since the epoch.

    `patience`: seconds that a create holds its slot while it is turned away; then it fails and Temporal retries.
    `is_announced`: whether the first POST, too, waits until the server has the heartbeat before it. `gate`: where it is
    asked whether it may be sent now, if it is.

    Heartbeats are throttled, and one on its way dies with the worker. So none is sent before the first POST, and none
    for it while the answer comes quickly: a worker that dies with it leaves no heartbeat, which counts as sent, or one
    that says `posting`, never one that allows another POST. `heartbeat` holds their details, at first those of an
    earlier attempt's last one.
    """

    claim: Claim
    deadline: datetime | None
    now: Callable[[], float]
    heartbeat: HeartbeatDetails | None = None
    patience: float = CREATE_PATIENCE
    is_announced: bool = False
    gate: GateTurn | None = None

    def __post_init__(self) -> None:
        self.reports = WaitingReports(self.heartbeat.waiting if self.heartbeat else None)
        self._sent_at: float | None = None

    async def fetching(self) -> None:
        """What to send has to be fetched first, which may take long: an attempt that is lost meanwhile has not sent."""
        if self.heartbeat is None:
            self.heartbeat = HeartbeatDetails(phase=CreatePhase.FETCHING)
            await self.claim.prove(self.heartbeat)

    async def prepared(self, request: Awaitable[T], heartbeats: Heartbeats) -> T:
        """What to send. If making it fails, nothing was sent, so another attempt may send."""
        try:
            return await request
        except ApplicationError:
            self._tell(CreatePhase.REJECTED, heartbeats)
            raise

    async def until_taken(self, send: Callable[[], Awaitable[T]], heartbeats: Heartbeats) -> T:
        """Send the request, again and again while the provider provably did not take it. Raises `ApplicationError`."""
        try:
            return await self._until_taken(send, heartbeats)
        except asyncio.CancelledError:
            was_refused = self.heartbeat is not None and self.heartbeat.phase is CreatePhase.REJECTED
            if was_refused and (till := current_turn()) is not None:
                till.nothing_was_sent()
            raise
        finally:
            await self.reports.finish()

    async def _until_taken(self, send: Callable[[], Awaitable[T]], heartbeats: Heartbeats) -> T:
        give_up_at = self.now() + self.patience
        delay = _FIRST_DELAY
        while True:
            self._check_deadline(self.now())
            await self._pass_the_gate()
            await self._announce(heartbeats)
            try:
                taken = await send()
            except NotProcessed as error:
                self._tell_the_gate(error)
                wait = self._within_the_deadline(error.retry_after or delay)  # 0 would mean: as fast as possible
                what = "the provider is unreachable" if isinstance(error, Unreachable) else "the provider is busy"
                self.reports.failed(what, str(error), self.now(), self.now() + wait)
                self._tell(CreatePhase.REJECTED, heartbeats)
                error.retry_after = min(error.retry_after, wait) if error.retry_after else None
                if self.now() + wait > give_up_at or not await _still_wanted(wait):
                    raise failed_create(error) from None
            except Changed:
                self._tell(CreatePhase.REJECTED, heartbeats)
                continue
            except ResponsesError as error:
                self._tell_the_gate(error)
                raise failed_create(error) from None
            except ApplicationError:
                raise
            except Exception as error:  # whatever else an answer can raise: it was sent, so it is not sent again
                logger.exception("The answer to a create cannot be read.")
                raise ambiguous_create(f"the answer cannot be read ({type(error).__name__}).") from None
            else:
                self._tell_the_gate(None)
                return taken
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _pass_the_gate(self) -> None:
        """Raise `ApplicationError` where another run has learned that this create would be in vain: it is not sent."""
        held = self.gate.wait() if self.gate else None
        if held is None:
            return
        wait = self._within_the_deadline(held.seconds)
        self.reports.failed(held.what, held.why, self.now(), self.now() + wait)
        # The next attempt must know that this one has not sent.
        self.heartbeat = HeartbeatDetails(phase=CreatePhase.REJECTED, waiting=self.reports.waiting)
        await self.claim.prove(self.heartbeat)
        raise later(f"{held.what}: {held.why}", wait)

    def _tell_the_gate(self, error: ResponsesError | None) -> None:
        if self.gate is None:
            return
        if error is None:
            self.gate.passed()
        else:
            self.gate.failed(error)

    def _within_the_deadline(self, wait: float) -> float:
        """A wait that ends with the run's time: the last moment may be the one in which the provider is back."""
        return wait if self.deadline is None else min(wait, max(0.0, self.deadline.timestamp() - self.now()))

    def _check_deadline(self, then: float) -> None:
        if self.deadline is not None and then >= self.deadline.timestamp():
            raise deadline_passed()

    async def _announce(self, heartbeats: Heartbeats) -> None:
        """Announce the POST. If a retry was allowed until now, this heartbeat must arrive before the POST does; and an
        attempt that is late must not send what another one may have sent.
        """
        must_arrive = self.is_announced or self.heartbeat is not None or self.claim.is_late
        if not must_arrive:
            self.heartbeat = HeartbeatDetails(phase=CreatePhase.POSTING)
            return
        self._tell(CreatePhase.POSTING, heartbeats)
        try:
            await self.claim.prove(HeartbeatDetails(phase=CreatePhase.POSTING))
        except BaseException:
            self._tell(CreatePhase.REJECTED, heartbeats)
            raise

    async def before_end(self) -> None:
        """Connecting and sending may have taken long: the last byte is only sent by an attempt that is still ours."""
        await self.claim.prove_if_late(HeartbeatDetails(phase=CreatePhase.POSTING))
        self._sent_at = steady()

    async def answered(self, post: Awaitable[T], within: float = CREATE_TIMEOUT) -> T:
        """Await a POST that a cancel must not cut off: what it creates must not become an orphan.

        But a server that has not answered `within` seconds of the last byte has nothing to cancel by: it answers with
        the whole response, and has no other end than that of its connection. So the cancel, or the run's deadline, cuts
        the POST off then. Raises `ApplicationError` for one that was cut off: its response may still run.
        """
        self._sent_at = None
        posting, cancelled = asyncio.ensure_future(post), False
        while not posting.done():
            is_over = cancelled or self._is_past_deadline()
            if is_over and self._seconds_since_sent() >= within:
                posting.cancel()
                await asyncio.wait((posting,))
                break
            try:
                await asyncio.wait((posting,), timeout=_LOOK_AGAIN)
            except asyncio.CancelledError:
                cancelled = True
        if not posting.cancelled():
            return posting.result()
        raise ambiguous_create(_CUT_OFF) if cancelled else deadline_passed(_CUT_OFF)

    def _seconds_since_sent(self) -> float:
        return 0.0 if self._sent_at is None else steady() - self._sent_at

    def _is_past_deadline(self) -> bool:
        return self.deadline is not None and self.now() >= self.deadline.timestamp()

    def _tell(self, phase: CreatePhase, heartbeats: Heartbeats) -> None:
        self.heartbeat = HeartbeatDetails(phase=phase, waiting=self.reports.waiting)
        heartbeats.heartbeat()


async def _still_wanted(seconds: float) -> bool:
    """Wait before sending again; False when this worker is shutting down. Raises the cancel."""
    if activity.is_cancelled():
        raise asyncio.CancelledError
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(activity.wait_for_worker_shutdown(), seconds)
    return not activity.is_worker_shutdown()
