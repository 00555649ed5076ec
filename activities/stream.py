"""Following a response by its events: one that lives no longer than its stream, and the preview of a background one.

A stream that breaks before its end loses nothing yet: the response is read by its id. A preview is only for watching:
the result of a background response is read by GET.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from temporalio import activity
from temporalio.exceptions import ApplicationError

from durable_responses.activities.claims import Claim
from durable_responses.activities.clocks import steady
from durable_responses.activities.conversations import ConversationTurn
from durable_responses.activities.create import TOLD_WITHIN, Sending
from durable_responses.activities.cures import Cures
from durable_responses.activities.failures import deadline_passed, lost_response
from durable_responses.activities.gate import GateTurn
from durable_responses.activities.heartbeats import Heartbeats, RunReports, earlier_heartbeat
from durable_responses.activities.messages import (
    PREVIEW_CHARACTERS,
    CreatePhase,
    FailureType,
    HeartbeatDetails,
    ResponseRecord,
)
from durable_responses.activities.metrics import first_text_came
from durable_responses.activities.orphans import cancel_if_orphaned
from durable_responses.activities.polling import Reads
from durable_responses.activities.records import error_record, record_of, too_large_record, unfinished_record
from durable_responses.responses_api.bodies import BeforeEnd
from durable_responses.responses_api.client import ResponsesClient, masked_item
from durable_responses.responses_api.errors import (
    AnswerTooLarge,
    ConnectionLost,
    EndedByError,
    GiveUp,
    ResponsesError,
)
from durable_responses.responses_api.events import Event, EventType, OutputItemEvent, ResponseEvent, TextDelta
from durable_responses.responses_api.models import (
    CreateRequest,
    FunctionCall,
    Response,
    ResponseStatus,
)
from durable_responses.responses_api.redaction import NO_SECRETS, Secrets
from durable_responses.responses_api.spares import SPARE_AGE

logger = logging.getLogger(__name__)

OpenEvents = Callable[[CreateRequest], AbstractAsyncContextManager[AsyncIterator[Event]]]
"""Sends a request and gives the events that answer it, up to the response's last one. Leaving it ends the response."""

RESUMABLE_FOR = 300.0  # seconds after its creation for which the provider lets a stream be resumed

_BEAT_EVERY = 0.5  # seconds, as below
_SHORT = 0.2  # a response that ends sooner needs no report of its id, which comes with its end
_LET_IT_END = 0.5  # for a response that was left, so that its usage is known
_LOOK_AGAIN = 0.1
_LAST_LOOK = 0.5  # for a response whose stream was cut when the run's time was up
_AFTER_A_CUT = 15.0  # in which a response may still finish whose stream was cut
_BEFORE_RESUMING, _LONGEST_BEFORE_RESUMING = 1.0, 30.0  # seconds; longer each time while nothing new is heard
_LONGEST_SECRET = 4096  # characters


# --- a response that lives by its stream -------------------------------------------------------------------------


@dataclass
class StreamTurn:
    """The creation of one response and the following of its stream, over HTTP or a WebSocket: `open_events` knows.

    `build` makes the request, and awaits what it is given before that takes long. `texts_taken_at`: the queue of texts
    for the response, if there is one; `now`: seconds since the epoch; `is_announced` and `gate`
    as in `Sending`.
    """

    claim: Claim
    client: ResponsesClient
    open_events: OpenEvents
    build: Callable[[Callable[[], Awaitable[None]]], Awaitable[CreateRequest]]
    conversation: ConversationTurn
    cures: Cures
    deadline: datetime | None
    now: Callable[[], float]
    texts_taken_at: Callable[[], str | None] = lambda: None
    is_announced: bool = False
    gate: GateTurn | None = None

    def __post_init__(self) -> None:
        self.streamed = StreamedResponse(secrets=self.client.secrets)
        self._sending = Sending(
            self.claim, self.deadline, self.now, earlier_heartbeat(), is_announced=self.is_announced, gate=self.gate
        )
        self._reports = RunReports(self.now())
        self._taken_at: float | None = None
        self._sent_at = self.now()
        self._changes: list[str] = []

    async def run(self) -> ResponseRecord:
        """The finished response, or what it was at the deadline or when the run was cancelled.

        Raises `ApplicationError` for a create that failed, `ResponsesError` for a stream that broke after its start.
        """
        try:
            async with (
                Heartbeats(self._told_heartbeat, _BEAT_EVERY) as heartbeats,
                asyncio.timeout(self._time_left()),
                AsyncExitStack() as connection,
            ):
                request = await self._sending.prepared(self.build(self._sending.fetching), heartbeats)
                cured = partial(self.cures.sent, request, partial(self._open, connection))
                send = partial(self.conversation.sent, cured)
                events, self._changes = await self._sending.until_taken(send, heartbeats)
                self._taken_at = self.now()
                heartbeats.heartbeat_soon(TOLD_WITHIN)
                async for event in events:
                    self._take(event)
        except TimeoutError:
            return await self._left(ResponseStatus.IN_PROGRESS, deadline_passed())
        except AnswerTooLarge:
            if self.streamed.response is None:
                raise
            return self._bounded(too_large_record(self.streamed.response.id, self.streamed.text))
        except asyncio.CancelledError as cancelled:
            details = activity.cancellation_details()
            if details is None or not details.cancel_requested:
                if self.streamed.response is not None:  # its connection is closed, which need not end it everywhere
                    await cancel_if_orphaned(self.client, self.streamed.response.id)
                raise  # this worker is shutting down: the retry looks the response up by its id
            return await self._left(ResponseStatus.CANCELLED, cancelled)
        finally:
            await self._reports.finish()
        assert self.streamed.response is not None
        record = record_of(self.streamed.response, self.conversation.keep)
        record.changes = self._changes or None
        continues = self.conversation.continued(self.streamed.continues_from, record.status)
        await self.conversation.tell(record, continues)
        return record

    async def _open(self, connection: AsyncExitStack, request: CreateRequest) -> AsyncIterator[Event]:
        """Send the request and read until the response has an id; leave the connection open."""
        async with AsyncExitStack() as attempt:
            self._sent_at = self.now()
            events = await attempt.enter_async_context(self.open_events(request))
            async for event in events:
                self._take(event)
                if self.streamed.response is not None:
                    break
            connection.push_async_exit(attempt.pop_all())
        return events

    def _take(self, event: Event) -> None:
        had_text = self.streamed.has_text
        self.streamed.take(event)
        if self.streamed.has_text and not had_text:
            response = self.streamed.response
            first_text_came(self.now() - self._sent_at, response.model if response else "")

    async def _left(self, status: ResponseStatus, otherwise: BaseException) -> ResponseRecord:
        """The response whose stream was left: completed if it was, else its text so far and what that has cost."""
        response = self.streamed.response
        if response is None:
            raise otherwise
        ended = response if response.is_finished else await self._end_of(response.id)
        if ended is not None and ended.status == ResponseStatus.COMPLETED:
            return self._bounded(record_of(ended))
        return self._bounded(
            unfinished_record(response.id, self.streamed.text, status, ended.usage if ended is not None else None)
        )

    def _bounded(self, record: ResponseRecord) -> ResponseRecord:
        self.conversation.bound(record)
        return record

    async def _end_of(self, response_id: str) -> Response | None:
        """The response, which ends because nobody follows it; None if the provider does not confirm that soon."""
        with contextlib.suppress(ResponsesError, TimeoutError):
            async with asyncio.timeout(_LET_IT_END):
                while True:
                    response = (await self.client.retrieve(response_id)).response
                    if response.is_finished:
                        return response
                    await asyncio.sleep(_LOOK_AGAIN)
        return None

    def _time_left(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline.timestamp() - self.now())

    @property
    def heartbeat(self) -> HeartbeatDetails | None:
        """How far it has come, for its heartbeats."""
        response = self.streamed.response
        if response is None:
            before = self._sending.heartbeat
            return before and before.model_copy(
                update={"at_most": self.conversation.at_most, "most_tokens": self.conversation.most_tokens}
            )
        return HeartbeatDetails(
            phase=CreatePhase.CREATED,
            at_most=self.conversation.at_most,
            most_tokens=self.conversation.most_tokens,
            response_id=response.id,
            response_status=response.status,
            preview=self.streamed.text[-PREVIEW_CHARACTERS:] or None,
            queue=self.texts_taken_at(),
        )

    def _told_heartbeat(self) -> HeartbeatDetails | None:
        heartbeat = self.heartbeat
        if heartbeat is not None and heartbeat.response_id is not None:
            self._report(heartbeat)
        return heartbeat

    def _report(self, heartbeat: HeartbeatDetails) -> None:
        now = self.now()
        if self._taken_at is not None and now - self._taken_at > _SHORT:
            self._taken_at = None
            self._reports.tell_at_once(heartbeat)
        else:
            self._reports.tell(heartbeat, now)


@contextlib.asynccontextmanager
async def events_of(
    client: ResponsesClient, request: CreateRequest, *, silence: float, before_end: BeforeEnd
) -> AsyncIterator[AsyncIterator[Event]]:
    """Send the request over HTTP and give its events; the only one, where it was found that it must not stream."""
    if request.stream is not False:
        async with (
            client.stream(request, silence=silence, before_end=before_end) as events,
            contextlib.aclosing(_with_next_connection(client, request, events)) as prepared,
        ):
            yield prepared
        return
    async with contextlib.aclosing(_whole(client, request, silence, before_end)) as whole:
        yield whole


async def _with_next_connection(
    client: ResponsesClient, request: CreateRequest, events: AsyncIterator[Event]
) -> AsyncGenerator[Event]:
    """The events; meanwhile a connection is opened for the create that follows if the model calls a function."""
    opened_at: float | None = None
    async for event in events:
        if request.tools and _leads_on(event) and (opened_at is None or steady() - opened_at > SPARE_AGE):
            opened_at = steady()
            client.open_ahead()
        yield event


def _leads_on(event: Event) -> bool:
    if isinstance(event, OutputItemEvent):
        return isinstance(event.item, FunctionCall)
    return event.type == EventType.CREATED


async def _whole(
    client: ResponsesClient, request: CreateRequest, silence: float, before_end: BeforeEnd
) -> AsyncGenerator[Event]:
    response = await client.create(request, before_end=before_end, within=silence)
    yield ResponseEvent(type=EventType.DONE, response=response)
    if not response.is_finished:
        raise ConnectionLost("The answer holds a response that is not finished.", response_id=response.id)


async def after_broken_stream(
    reads: Reads, error: ResponsesError, text: str, now: Callable[[], float], deadline: datetime | None
) -> ResponseRecord:
    """What has become of a response whose stream broke, with its text until then.

    An error event says that it has failed, unless it can be read and says otherwise. An answer of which only the last
    event is missing is used where the response cannot be read. Raises as `read_after_cut()`.
    """
    is_ended = isinstance(error, EndedByError)
    is_known = is_ended or error.answer is not None
    try:
        record = await read_after_cut(reads, str(error), now, if_found=is_known, deadline=deadline)
    except ApplicationError as lost:
        if is_ended:
            record = unfinished_record(reads.response_id, text, ResponseStatus.FAILED)
        elif lost.type == FailureType.RESPONSE_LOST and error.answer is not None:
            return record_of(error.answer)
        elif lost.type == FailureType.RESPONSE_LOST and deadline is not None and now() >= deadline.timestamp():
            return unfinished_record(reads.response_id, text, ResponseStatus.IN_PROGRESS)
        else:
            raise
    if isinstance(error, EndedByError) and record.status == ResponseStatus.FAILED and record.error is None:
        record.error = error_record(error.detail)
    return record


# Nobody knows more of a response than the provider: what these say is about the request, not about the response.
_ABOUT_US = (FailureType.AUTHENTICATION_FAILED, FailureType.QUOTA_EXHAUSTED)


async def read_after_cut(
    reads: Reads,
    why: str,
    now: Callable[[], float],
    *,
    if_found: bool = False,
    deadline: datetime | None = None,
) -> ResponseRecord:
    """Read by id a response whose stream broke: if it finishes anyway, before the run's deadline, it is used.

    `if_found`: do not wait for one that the provider does not find. Raises `ApplicationError` of type `response_lost`,
    also where the provider cannot read responses by their ids.
    """
    async with Heartbeats(
        lambda: HeartbeatDetails(phase=CreatePhase.CREATED, response_id=reads.response_id)
    ) as heartbeats:
        heartbeats.heartbeat()
        until = reads.created_at + _AFTER_A_CUT
        if deadline is not None:
            until = min(until, max(deadline.timestamp(), now() + _LAST_LOOK))
        while now() < until:
            try:
                await reads.read(now())
            except ApplicationError as error:
                if error.type in _ABOUT_US:
                    raise
                await reads.leave()
                raise lost_response(reads.response_id, f"{why}; and it cannot be read: {error.message}") from None
            if reads.finished is not None:
                if reads.finished.status == ResponseStatus.CANCELLED:
                    break
                return reads.finished
            if if_found and reads.is_not_found:
                break
            await asyncio.sleep(max(0.0, min(reads.wait(now(), 0.0), until - now())))
        else:
            await reads.leave()
    raise lost_response(reads.response_id, f"it did not finish after its stream broke: {why}")


# --- what a stream tells -----------------------------------------------------------------------------------------


@dataclass
class StreamedResponse:
    """What a stream has said about its response so far. `secrets` may be spread over several of its events."""

    response: Response | None = None
    continues_from: str | None = None
    secrets: Secrets = NO_SECRETS
    _pieces: list[str] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Take the next event."""
        if text := text_in(event):
            self._pieces.append(text)
        if isinstance(event, ResponseEvent):
            self.response = event.response
            self.continues_from = event.response.previous_response_id or self.continues_from
            if self.response.is_finished:  # its output may have been put together from what was streamed
                self.response.output = [masked_item(item, self.secrets) for item in self.response.output]

    @property
    def has_text(self) -> bool:
        """Whether any text has come."""
        return any(self._pieces)

    @property
    def text(self) -> str:
        """The text so far."""
        before, *news = self._pieces or [""]
        known = max(0, len(before) - _LONGEST_SECRET)  # which need not be looked through again
        text = before[:known] + self.secrets.mask(before[known:] + "".join(news))
        self._pieces = [text]
        return text[:-_LONGEST_SECRET] + self.secrets.mask_beginning(text[-_LONGEST_SECRET:])


def text_in(event: Event) -> str:
    """The text that an event adds to the answer; reasoning does not count."""
    if isinstance(event, TextDelta) and event.type is not EventType.REASONING_TEXT_DELTA:
        return event.delta
    return ""


# --- the preview of a background response ------------------------------------------------------------------------


class PreviewFeed:
    """Follows the text of one response, which must have been created with `stream: true`. Resumed when it breaks.

    `on_text` gets the end of the text so far, as much as a preview shows, and how many characters there are in all.
    `sleep`: as `asyncio.sleep`.
    """

    def __init__(
        self,
        client: ResponsesClient,
        response_id: str,
        on_text: Callable[[str, int], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._most = 0
        self._response_id = response_id
        self._on_text = on_text
        self._secrets = client.secrets
        self._end = ""
        self._characters = 0
        self._seen: int | None = None

    async def run(self, created_at: float, now: Callable[[], float]) -> None:
        """Follow until the response ends or grows too old. Never raises: without it, previews are just coarser."""
        pause, heard = _BEFORE_RESUMING, 0  # characters
        while now() - created_at < RESUMABLE_FOR:
            try:
                await self._follow()
            except GiveUp as error:
                logger.info("No live preview of %s: %s", self._response_id, error)
                return
            except ResponsesError as error:
                logger.info("The live preview of %s broke and is resumed: %s", self._response_id, error)
                if self._most > heard:
                    pause, heard = _BEFORE_RESUMING, self._most
                await self._sleep(pause)
                pause = min(pause * 2, _LONGEST_BEFORE_RESUMING)
            else:
                return

    async def _follow(self) -> None:
        if self._seen is None:  # a stream without sequence numbers is told again from its beginning
            self._end, self._characters = "", 0
        async with self._client.resume(self._response_id, starting_after=self._seen) as events:
            async for event in events:
                if event.sequence_number is not None:
                    self._seen = event.sequence_number
                if text := text_in(event):
                    self._end = self._secrets.mask(self._end + text)[-PREVIEW_CHARACTERS:]
                    self._characters += len(text)
                    self._most = max(self._most, self._characters)
                    self._on_text(self._secrets.mask_beginning(self._end), self._characters)
