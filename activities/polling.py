"""Waiting for one background response: GET it, send heartbeats, sleep, and GET it once more at the deadline.

From the top down: the wait, the GETs of its response (which failures pass, how long until the next one), and what all
waits of one worker share. Clocks are given; times are in seconds since the epoch, by the server's clock.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from temporalio import activity

from durable_responses.activities.clocks import Clock, steady
from durable_responses.activities.conversation_items import is_no_response
from durable_responses.activities.failures import failed_read, lost_response
from durable_responses.activities.heartbeats import (
    Heartbeats,
    RunReports,
    WaitingReports,
    earlier_heartbeat,
    send_heartbeat,
)
from durable_responses.activities.messages import (
    PREVIEW_CHARACTERS,
    AwaitResponse,
    CreatePhase,
    HeartbeatDetails,
    Keep,
    ResponseRecord,
)
from durable_responses.activities.metrics import polled
from durable_responses.activities.records import record_of, unfinished_record
from durable_responses.capabilities import Capabilities, Capability
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import (
    AnswerTooLarge,
    AuthenticationFailed,
    BadRequest,
    Busy,
    MalformedAnswer,
    NoSuchEndpoint,
    NotFound,
    ResponsesError,
    ServerFailed,
)
from durable_responses.responses_api.models import Response, ResponseStatus

logger = logging.getLogger(__name__)

OF_THE_TIMEOUT = 0.75  # the rest is for a worker that is slow for a moment
_OFTEN_ENOUGH = 1.0  # seconds between two heartbeats with something new to see

_NOT_FOUND_YET = 30.0  # seconds after its create, and after our first GET, in which a response need not be found
_NOT_FOUND_AT_ALL = 3  # in a row, beyond that time: one node of a provider may not know what the others do
_WITHOUT_OUTPUT = 3  # GETs that bring a completed response without any; the next one is believed
_STRANGE_ANSWERS = 20  # in a row, about eight minutes
_NO_ENDPOINT_YET = 120.0  # seconds in which a server that never found a response may deny that it can be read at all
_LONGEST_WAIT = 300.0  # seconds between two GETs, whatever the server asks for: a header may be in other units
_LEAVE_WITHIN = 5.0  # seconds
_LAST_READ = 5.0  # seconds for the GET at the deadline
_NO_SUCH_METHOD = (405, 501)
_ABOUT_THE_REQUEST = (400, 410, 413, 414, 422)
_RANDOM = Random()  # one for all: the state of each takes 2.5 KB


# --- one wait ----------------------------------------------------------------------------------------------------


@dataclass
class ResponseWait:
    """One `await_response`. `told`: the finished response, where somebody else on this worker sees it first."""

    wait: AwaitResponse
    reads: "Reads"
    budget: "GetBudget"
    told: "asyncio.Future[ResponseRecord]"
    now: Callable[[], float]

    def __post_init__(self) -> None:
        self._last_sent_at = 0.0
        self._reports = RunReports(self.now())
        # Where an earlier attempt left off: the text seen so far must not be lost with a worker.
        self._heartbeat = earlier_heartbeat() or HeartbeatDetails(
            phase=CreatePhase.CREATED, response_id=self.wait.response_id
        )
        self._waits = WaitingReports(self._heartbeat.waiting, self.wait.response_id)
        self._characters = len(self._heartbeat.preview or "")
        self._deadline = self.wait.deadline.timestamp() if self.wait.deadline else None

    def heartbeats(self) -> Heartbeats:
        """The heartbeats, sent whatever the wait is doing: a GET may take longer than the timeout."""
        timeout = activity.info().heartbeat_timeout
        return Heartbeats(lambda: self._heartbeat, timeout.total_seconds() * OF_THE_TIMEOUT if timeout else 60.0)

    async def until_finished(self) -> ResponseRecord:
        """The finished response, or its state at the deadline: an answer that is ready is never thrown away.

        Raises `ApplicationError` for a GET whose failure does not pass.
        """
        wait = 0.0
        try:
            while (finished := await self._rest(wait) or await self._look()) is None:
                if self._is_past_deadline():
                    return self._unfinished()
                wait = self.reads.wait(self.now(), self.budget.fair_share)
                self._tell_of_failures(wait)
            return finished
        finally:
            await self._reports.finish()
            await self._waits.finish()

    def _tell_of_failures(self, wait: float) -> None:
        if self.reads.failures:
            now, cause = self.now(), self.reads.last_error or ""
            self._heartbeat.waiting = self._waits.failed("the response cannot be read", cause, now, now + wait)
        elif self._heartbeat.waiting is not None:
            self._waits.over()
            self._heartbeat.waiting = None

    async def _look(self) -> ResponseRecord | None:
        """GET the response and report on it; returns it once it is finished."""
        response = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._time_for_a_read()):
                response = await self.reads.read(self.now())
        failed_before = self._heartbeat.failed_reads
        self._heartbeat.failed_reads, self._heartbeat.read_error = self.reads.failures or None, self.reads.last_error
        if response is not None and not response.is_finished:
            self._show(response)
        elif self._heartbeat.failed_reads != failed_before:
            self._tell(news=True)
        return self.reads.finished

    def _time_for_a_read(self) -> float | None:
        """Seconds that a GET may take. It has a limit of its own, unless the answer goes on and on."""
        return None if self._deadline is None else max(0.0, self._deadline - self.now()) + _LAST_READ

    def _show(self, response: Response) -> None:
        news = response.status != self._heartbeat.response_status
        self._heartbeat.response_status = response.status
        text = self.reads.client.secrets.mask_beginning(response.all_text)
        self._tell(self._take(text[-PREVIEW_CHARACTERS:], len(text)) or news)

    def show_text(self, end: str, characters: int) -> None:
        """Take more text: its end, and its length in characters."""
        self._tell(self._take(end, characters))

    def _take(self, end: str, characters: int) -> bool:
        if characters <= self._characters:  # a stream that is followed again starts at the beginning
            return False
        self._heartbeat.preview, self._characters = end, characters
        return True

    def _tell(self, news: bool) -> None:
        """Report: by heartbeat soon, to the run itself from time to time."""
        if news and self.now() - self._last_sent_at >= _OFTEN_ENOUGH:
            self._last_sent_at = self.now()
            send_heartbeat(self._heartbeat)
        self._reports.tell(self._heartbeat, self.now())

    async def _rest(self, seconds: float) -> ResponseRecord | None:
        """Sleep, at most to the deadline, and until it is this GET's turn.

        Returns the response if somebody else saw its end in the meantime.
        """
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - self.now())
        return await self._told_within(seconds) or await self._told_within(self.budget.take_turn())

    async def _told_within(self, seconds: float) -> ResponseRecord | None:
        if seconds > 0:
            await asyncio.wait((self.told,), timeout=seconds)
        return self.told.result() if self.told.done() else None

    def _is_past_deadline(self) -> bool:
        return self._deadline is not None and self.now() >= self._deadline

    def _unfinished(self) -> ResponseRecord:
        if self.reads.record is not None and self.reads.record.output_text:
            return self.reads.record
        return unfinished_record(self.wait.response_id, self._heartbeat.preview or "", ResponseStatus.IN_PROGRESS)


# --- the GETs of one response ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reads:
    """The GETs of one response. `keep`: what of its output; `chained`: it should name the one that it continues from.

    Thousands may be waited for at once, so of what was read last it keeps only `record`, once there is output or it has
    ended.
    """

    client: ResponsesClient
    response_id: str
    created_at: float
    cadence: "Cadence"
    random: Random = _RANDOM
    capabilities: Capabilities | None = None
    found: bool = False
    record: ResponseRecord | None = None
    failures: int = 0
    last_error: str | None = None
    keep: Keep | None = None
    chained: bool = False
    _gets: int = 0
    _strange: int = 0
    _without_output: int = 0
    _not_found: int = 0
    _first_asked: float | None = None
    _asked_to_wait: float = 0.0

    async def read(self, now: float) -> Response | None:
        """GET the response; None if that failed in a way that passes: `failures` in a row, `last_error` says why.

        Raises `ApplicationError` for what does not pass: the run then tells the provider to stop.
        """
        self._gets += 1
        self._first_asked = now if self._first_asked is None else self._first_asked
        polled()
        try:
            retrieved = await self.client.retrieve(self.response_id)
            response = retrieved.response
            if self._may_lack_its_output(response):
                return None
            record = record_of(response, self.keep) if response.output or response.is_finished else None
            failed = response.status in (ResponseStatus.FAILED, ResponseStatus.CANCELLED)
            if record is not None and self.chained and not failed and is_no_response(response.previous_response_id):
                record.continues = False
        except ResponsesError as error:
            self._take_failure(error, now)
            return None
        except Exception as error:
            # Whatever else reading can raise is about this answer, and must not be tried for ever either.
            self._take_failure(MalformedAnswer(f"The answer cannot be read: {error!r}"), now)
            return None
        self.failures, self.last_error, self._strange, self._not_found = 0, None, 0, 0
        self._asked_to_wait = retrieved.poll_after or 0.0
        if not self.found and self.capabilities is not None:
            self.capabilities.learned(Capability.RETRIEVE, True)
        self.found = True
        self.record = record
        if record is not None and record.is_too_large:  # only its beginning was read, so it may be running
            await self.leave()
        return response

    def _may_lack_its_output(self, response: Response) -> bool:
        """Whether a response is said to be completed, and nothing of its output is: it may be there in a moment."""
        if response.status != ResponseStatus.COMPLETED or "output" in response.model_fields_set:
            return False
        self._without_output += 1
        return self._without_output <= _WITHOUT_OUTPUT

    def _take_failure(self, error: ResponsesError, now: float) -> None:
        self.failures += 1
        self.last_error = str(error)
        self._strange += error.is_a_page or isinstance(error, MalformedAnswer | NoSuchEndpoint) or _is_odd(error)
        self._not_found += isinstance(error, NotFound)
        self._asked_to_wait = error.retry_after or 0.0
        if self._passes(error, now):
            if self.failures.bit_count() == 1:  # the first, second, fourth …: a log is no place for each
                logger.warning("%s could not be read (%d in a row): %s", self.response_id, self.failures, error)
            return
        raise self._failure(error)

    async def leave(self) -> None:
        """Nobody will read the response any more: it shall not cost anything either."""
        with contextlib.suppress(ResponsesError, TimeoutError):
            async with asyncio.timeout(_LEAVE_WITHIN):
                await self.client.cancel(self.response_id)

    @property
    def is_not_found(self) -> bool:
        """Whether the provider has not found it, or answered in a way that says nothing of it, at the last GET."""
        return self._not_found + self._strange > 0

    @property
    def finished(self) -> ResponseRecord | None:
        """The response, once a GET has found it finished."""
        return self.record if self.record is not None and self.record.is_finished else None

    def wait(self, now: float, fair_share: float) -> float:
        """Seconds until the next GET: the cadence or the fair share of the budget, and what the server asked for."""
        if self.failures:
            wait = self.cadence.back_off(self.failures)
        else:
            wait = self.cadence.wait(self._gets, now - self.created_at)
        asked = min(self._asked_to_wait, _LONGEST_WAIT)
        return self.cadence.jittered(max(wait, fair_share, asked), self.random)

    def _passes(self, error: ResponsesError, now: float) -> bool:
        # The provider gave us this id. What says that there is no such thing may come from something between here and
        # the provider, and the response is paid for.
        match error:
            case NoSuchEndpoint() if error.status in _NO_SUCH_METHOD and not self.found:
                return False
            case AnswerTooLarge():
                return False
            case AuthenticationFailed() | BadRequest() if error.is_a_page or _is_odd(error):
                return self._strange <= _STRANGE_ANSWERS
            case NoSuchEndpoint() if not self.found and now - self._asked_since(now) >= _NO_ENDPOINT_YET:
                return False
            case NoSuchEndpoint() | MalformedAnswer():
                return self._strange <= _STRANGE_ANSWERS
            case ServerFailed() | Busy() if self._never_succeeds(error, now):
                return False
            case NotFound():
                return self._not_found < _NOT_FOUND_AT_ALL or self._is_new(now)
            case _:
                return error.retry_read

    def _never_succeeds(self, error: ResponsesError, now: float) -> bool:
        """Whether the server fails at every GET, and has never answered one: gateways without GET say 500."""
        if self.found or (error.status or 0) < 500 or self.capabilities is None:
            return False
        if now - self._asked_since(now) < _NO_ENDPOINT_YET:
            return False
        return self.capabilities.can(Capability.RETRIEVE) is not True

    def _is_new(self, now: float) -> bool:
        """Whether it need not be found yet: a moment after its create, or after we began to ask for it."""
        return not self.found and now - max(self.created_at, self._asked_since(now)) < _NOT_FOUND_YET

    def _asked_since(self, now: float) -> float:
        return now if self._first_asked is None else self._first_asked

    def _failure(self, error: ResponsesError) -> Exception:
        if isinstance(error, NotFound):
            return lost_response(self.response_id, f"the provider no longer knows it. {error}")
        if isinstance(error, BadRequest):
            return lost_response(self.response_id, f"the provider cannot read it by this id. {error}")
        if isinstance(error, ServerFailed | Busy | NoSuchEndpoint):
            if self.capabilities is not None and not self.found:
                self.capabilities.learned(Capability.RETRIEVE, False, str(error))
            if isinstance(error, NoSuchEndpoint):
                why = f"The provider cannot read responses by their ids: {error}"
            else:
                seconds = f"{_NO_ENDPOINT_YET:.0f} seconds"
                why = f"The provider has answered no GET of {self.response_id} in {seconds}: {error}"
            way_out = "" if self.found else "; choose the transport stream, or auto"
            return failed_read(NoSuchEndpoint(f"{why}{way_out}"), self.response_id)
        return failed_read(error, self.response_id)


def _is_odd(error: ResponsesError) -> bool:
    """Whether a GET was refused by a status that says nothing of it: a gateway gave up, something is locked."""
    return isinstance(error, BadRequest) and error.status not in _ABOUT_THE_REQUEST


@dataclass(frozen=True)
class Cadence:
    """The wait between two GETs of one response. Seconds."""

    first: float = 0.4
    factor: float = 1.35
    cap: float = 2.5
    jitter: float = 0.149
    old_age: float = 60.0
    cap_of_the_old: float = 30.0
    first_back_off: float = 0.5
    longest_back_off: float = 30.0

    def back_off(self, failures: int) -> float:
        """The wait after that many GETs in a row have failed, without jitter."""
        return min(self.first_back_off * 2.0 ** (min(failures, 30) - 1), self.longest_back_off)

    def wait(self, gets: int, age: float) -> float:
        """The wait after that many GETs (at least 1) of a response of that age, without jitter.

        Whole milliseconds, each step from the rounded one before it: 400, 540, 729, 984, 1328, 1792, 2419, 2500 …
        After the first minute the cap grows to a 24th of the response's age.
        """
        cap = min(max(self.cap, age / 24), self.cap_of_the_old) if age > self.old_age else self.cap
        wait = self.first
        for _ in range(gets - 1):
            wait = int(wait * self.factor * 1000 + 1e-6) / 1000
            if wait >= cap:
                return cap
        return min(wait, cap)

    def jittered(self, wait: float, random: Random) -> float:
        """The wait with its jitter, which the next wait does not build upon."""
        return wait + random.uniform(0, self.jitter)


# --- what the waits of one worker share --------------------------------------------------------------------------


class GetBudget:
    """The limit on GETs a second that all waiting activities of one worker share.

    Each response may be read once in (responses waited for) / (GETs a second) seconds: its fair share. And since
    thousands may begin to be waited for at once, when another worker has died, each GET takes its turn.
    """

    def __init__(self, gets_per_second: float, now: Clock = steady) -> None:
        self._gets_per_second = gets_per_second
        self._now = now
        self._waiting = 0
        self._next_turn = float("-inf")

    @contextmanager
    def shared(self) -> Iterator[None]:
        """One more response is being waited for."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    @property
    def fair_share(self) -> float:
        """Seconds between two GETs of one response."""
        return self._waiting / self._gets_per_second

    def take_turn(self) -> float:
        """Seconds until this GET may be sent. What a quiet second leaves unused may be sent at once."""
        now = self._now()
        turn = max(self._next_turn, now - 1)
        self._next_turn = turn + 1 / self._gets_per_second
        return max(0.0, turn - now)


class Waiters:
    """The activities of this worker that wait for a response, so that whoever sees its end first can wake them."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[ResponseRecord]] = {}

    @contextmanager
    def waiting(self, response_id: str) -> Iterator[asyncio.Future[ResponseRecord]]:
        """A future that holds the finished response once somebody else on this worker has seen it."""
        told = asyncio.get_running_loop().create_future()
        self._waiting[response_id] = told
        try:
            yield told
        finally:
            if self._waiting.get(response_id) is told:
                del self._waiting[response_id]

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._waiting

    def tell(self, response_id: str, finished: ResponseRecord) -> None:
        """Wake those that wait for this response here."""
        told = self._waiting.get(response_id)
        if told is not None and not told.done():
            told.set_result(finished)
