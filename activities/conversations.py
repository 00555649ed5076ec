"""The conversation of a run, put together by a worker: from its memory, or from the run's history.

History holds each item once: what a create adds stands in its input, what a response has said in the result. A worker
that did not do the turn before reads it by pages, and checks by the hash that it has all of it, before it sends
anything. From the bottom up: conversations in memory, in files, in histories; one create; the activity that puts a
conversation down for a run that continues in a new history.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from temporalio import activity
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from durable_responses.activities.budgets import WorstCase, notice_of
from durable_responses.activities.conversation_items import (
    START,
    after,
    encoded,
    input_items,
    is_no_response,
    output_items,
    sendable,
    since_compaction,
    without_open_calls,
)
from durable_responses.activities.cures import is_about_a_container
from durable_responses.activities.failures import conversation_lost, failed_read, later
from durable_responses.activities.heartbeats import Heartbeats
from durable_responses.activities.histories import decoded
from durable_responses.activities.messages import (
    RESULT_OF_ACTIVITY,
    TRANSPORT_OF_ACTIVITY,
    Conversation,
    ConversationPoint,
    ConversationStart,
    CreatedResponse,
    CreateResponse,
    Keep,
    KeepConversation,
    KeptOutput,
    ResponseRecord,
    WebSocketTurn,
)
from durable_responses.activities.records import kept_elsewhere
from durable_responses.capabilities import Capabilities, Capability
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.context_errors import is_too_long
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    BadRequest,
    ChainRejected,
    GiveUp,
    NoSuchEndpoint,
    NotFound,
    ResponsesError,
    ServerFailed,
    names_the_previous,
)
from durable_responses.responses_api.models import ANSWERED, Response, ResponseStatus
from durable_responses.sizes import MEBIBYTE

logger = logging.getLogger(__name__)

T = TypeVar("T")

MOST_BYTES = 256 * MEBIBYTE
LARGEST_PAGE = 1 * MEBIBYTE
FOLDER = "conversations"
_PAGES_KEPT = 31 * 86_400.0  # seconds; longer than a run may take
_MOST_HISTORIES = 1000


class ConversationLost(Exception):
    """The items of a conversation are not where they should be, or are not the same."""


@dataclass(frozen=True)
class Items:
    """The items of a conversation as JSON, and the point after each."""

    items: tuple[bytes, ...] = ()
    points: tuple[ConversationPoint, ...] = ()

    @property
    def point(self) -> ConversationPoint:
        """How far it has come."""
        return self.points[-1] if self.points else START

    def plus(self, items: Sequence[bytes]) -> "Items":
        """The conversation with these items more."""
        points, point = [], self.point
        for item in items:
            point = after(point, [item])
            points.append(point)
        return Items((*self.items, *items), (*self.points, *points))

    def until(self, point: ConversationPoint) -> "Items | None":
        """The conversation as far as that point; None if it did not come by there."""
        if point.count > len(self.items):
            return None
        cut = Items(self.items[: point.count], self.points[: point.count])
        return cut if cut.point == point else None


# --- in memory ---------------------------------------------------------------------------------------------------


@dataclass
class RememberedConversations:
    """The conversations that this worker has sent last, by workflow id, within so many bytes of JSON."""

    most_bytes: int = MOST_BYTES
    _known: OrderedDict[str, Items] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def get(self, workflow_id: str, point: ConversationPoint) -> Items | None:
        """The conversation as far as that point, if it is here."""
        known = self._known.get(workflow_id)
        found = known.until(point) if known else None
        if found is not None:
            self._known.move_to_end(workflow_id)
        return found

    def put(self, workflow_id: str, items: Items) -> None:
        """Remember how far a conversation has come; those that nobody asked for longest give way."""
        self.forget(workflow_id)
        self._known[workflow_id] = items
        self._bytes += items.point.size
        while self._bytes > self.most_bytes:
            self.forget(next(iter(self._known)))

    def forget(self, workflow_id: str) -> None:
        """Forget a conversation."""
        known = self._known.pop(workflow_id, None)
        self._bytes -= known.point.size if known else 0


# --- in files ----------------------------------------------------------------------------------------------------


@dataclass
class ConversationFiles:
    """Pages of items in the state folder, by the hash of what they hold. Encoded as the payloads of histories are."""

    folder: Path | None
    now: Callable[[], float] = time.time

    async def write(self, items: Sequence[bytes], converter: DataConverter) -> list[str]:
        """Write the items as pages. Their names; none where there is no folder. Raises `OSError`."""
        if self.folder is None:
            return []
        names = []
        for page in pages_of(items):
            names.append(hashlib.sha256(b"".join(page)).hexdigest())
            await self.write_page(names[-1], page, converter)
        await asyncio.to_thread(self._forget_old)
        return names

    async def write_page(self, name: str, items: Sequence[bytes], converter: DataConverter) -> None:
        """Write one page under a name. Raises `OSError`."""
        if self.folder is not None:
            [payload] = await converter.encode([[json.loads(item) for item in items]])
            await asyncio.to_thread(self._write, name, payload.SerializeToString())

    async def read(self, names: Sequence[str], converter: DataConverter) -> list[bytes] | None:
        """The items of these pages; None if one of them is not here."""
        if self.folder is None or not names:
            return None
        items: list[bytes] = []
        for name in names:
            try:
                data = await asyncio.to_thread((self.folder / name).read_bytes)
                [page] = await converter.decode([Payload.FromString(data)])
                items += [encoded(item) for item in page]
            except Exception as error:  # whatever is wrong with a file, there is another source
                logger.warning("A page of a conversation cannot be read: %r", error)
                return None
        return items

    def _write(self, name: str, data: bytes) -> None:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = self.folder / f"{name}.{os.getpid()}.new"
        written.write_bytes(data)
        written.replace(self.folder / name)

    def _forget_old(self) -> None:
        assert self.folder is not None
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):  # another process may have removed it
                if self.now() - path.stat().st_mtime > _PAGES_KEPT:
                    path.unlink()


def pages_of(items: Sequence[bytes], largest: int = LARGEST_PAGE) -> list[list[bytes]]:
    """The items in order, in pages of at most so many bytes, or of one item."""
    pages: list[list[bytes]] = []
    room = 0
    for item in items:
        if not pages or len(item) > room:
            pages.append([])
            room = largest
        pages[-1].append(item)
        room -= len(item)
    return pages


# --- in histories ------------------------------------------------------------------------------------------------

OwnItems = Callable[[CreateResponse], Awaitable[list[Any]]]
"""The items that a create adds to its conversation; the files of an opening are read anew."""
OutputOf = Callable[[str], Awaitable[list[Any]]]
"""The output of a response that the provider has stored. Raises `ConversationLost`, `ApplicationError`."""


@dataclass
class RecordedConversation:
    """The conversation of a run as its histories hold it. Raises `ConversationLost`, `RPCError`."""

    client: Client
    files: ConversationFiles
    own_items: OwnItems
    workflow_id: str
    output_of: "OutputOf"

    async def read(self, run_id: str, conversation: Conversation) -> Items:
        """All items of a conversation, from the history of this run and of those before it."""
        histories = [run_id]
        parts: list[list[bytes]] = []
        wanted = conversation
        while True:
            reading = _Reading(self._own_items, self._kept_output, self.client.data_converter, wanted.compacted)
            try:
                async for event in self.client.get_workflow_handle(
                    self.workflow_id, run_id=histories[-1]
                ).fetch_history_events():
                    await reading.take(event)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise ConversationLost("the history of the run before is gone") from None
                raise
            parts.append(reading.until(wanted))
            start = reading.start
            if start is None:
                break
            given = start.items and [encoded(item) for item in start.items]
            given = given or await self.files.read(start.pages, self.client.data_converter)
            if given is not None:
                parts.append(given)
                break
            if start.run_id in histories or len(histories) >= _MOST_HISTORIES:
                raise ConversationLost("its histories lead nowhere")
            wanted = start.conversation
            histories.append(start.run_id)
        items = Items().plus([item for part in reversed(parts) for item in part])
        if items.point != conversation.before:
            raise ConversationLost(
                f"it should have {conversation.before.count} items of {conversation.before.size} bytes, and what was "
                f"found, {items.point.count} items of {items.point.size} bytes, is not the same"
            )
        return items

    async def _kept_output(self, response_id: str, kept: KeptOutput) -> list[bytes]:
        if kept.pages is None:
            return [encoded(item) for item in await self.output_of(response_id)]
        items = await self.files.read(kept.pages, self.client.data_converter)
        if items is None:
            raise ConversationLost(f"what {response_id} has compacted is in files that are not here")
        return items

    async def _own_items(self, create: CreateResponse) -> list[bytes]:
        if reads_files(create):  # they may have changed since they were sent
            page = page_of_opening(self.workflow_id, create)
            if (known := await self.files.read([page], self.client.data_converter)) is not None:
                return known
        return [encoded(item) for item in await self.own_items(create)]


def reads_files(create: CreateResponse) -> bool:
    """Whether a create sends what is in files."""
    return create.opening is not None and bool(create.opening.files)


def page_of_opening(workflow_id: str, create: CreateResponse) -> str:
    """The page that holds the opening of a run as it was sent."""
    opening = create.opening.model_dump_json() if create.opening else ""
    return "opening-" + hashlib.sha256(f"{workflow_id}\n{opening}".encode()).hexdigest()


class _Reading:
    """What one history says of a conversation, event by event. Positions count from the beginning of the run.

    `wanted`: the compaction that it begins with. What was said before that one is of no use.
    """

    def __init__(
        self,
        own_items: Callable[[CreateResponse], Awaitable[list[bytes]]],
        kept_output: Callable[[str, KeptOutput], Awaitable[list[bytes]]],
        converter: DataConverter,
        wanted: str | None,
    ) -> None:
        self._own_items = own_items
        self._kept_output = kept_output
        self._converter = converter
        self._wanted = wanted
        self._items: list[bytes] = []
        self._outputs: dict[str, list[list[bytes]]] = {}
        self._kinds: dict[int, str] = {}
        self._compacted: str | None = None
        self.start: ConversationStart | None = None

    async def take(self, event: Any) -> None:
        """Take the next event."""
        if event.HasField("workflow_execution_started_event_attributes"):
            await self._begin(event.workflow_execution_started_event_attributes.input)
        elif event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            self._kinds[event.event_id] = scheduled.activity_type.name
            if scheduled.activity_type.name in TRANSPORT_OF_ACTIVITY:
                create = await decoded(self._converter, scheduled.input, CreateResponse)
                if create and create.conversation and create.conversation.compacted == self._wanted:
                    known = self.until(create.conversation, create.previous_response_id)
                    self._items = [*known, *await self._own_items(create)]
        elif event.HasField("activity_task_completed_event_attributes"):
            completed = event.activity_task_completed_event_attributes
            kind = RESULT_OF_ACTIVITY.get(self._kinds.get(completed.scheduled_event_id, ""))
            if kind is not None:
                await self._keep(await decoded(self._converter, completed.result, kind))

    def until(self, conversation: Conversation, chained_from: str | None = None) -> list[bytes]:
        """The items of this history that come before a create with this conversation. Raises `ConversationLost`."""
        if conversation.compacted != self._compacted:  # it has begun anew
            self._compacted, self._items, self.start = conversation.compacted, [], None
        said = self._outputs.get(conversation.after or chained_from or "", [[]])
        found: list[list[bytes]] = []
        for outputs in reversed(said):
            own = conversation.before.count - self._before - len(outputs)
            if own < 0:
                continue
            found.append([*self._items[:own], *outputs])
            if after(self._start_point, found[-1]) == conversation.before:  # servers use ids again
                return found[-1]
        if not found:
            raise ConversationLost("there are fewer items than expected")
        return found[0]

    @property
    def _start_point(self) -> ConversationPoint:
        return self.start.conversation.before if self.start else START

    @property
    def _before(self) -> int:
        return self.start.conversation.before.count if self.start else 0

    async def _begin(self, given: Payloads) -> None:
        decoded = await self._converter.decode(given.payloads[1:2])
        state = decoded[0].get("conversation") if decoded and isinstance(decoded[0], dict) else None
        start = state.get("start") if isinstance(state, dict) else None
        self.start = ConversationStart.model_validate(start) if start else None
        self._compacted = self.start.conversation.compacted if self.start else None

    async def _keep(self, result: CreatedResponse | ResponseRecord | WebSocketTurn | None) -> None:
        match result:
            case CreatedResponse(finished=ResponseRecord() as record) | WebSocketTurn(response=record):
                pass
            case ResponseRecord() as record:
                pass
            case _:
                return
        if record.kept is not None:
            if record.id == self._wanted:
                self._outputs.setdefault(record.id, []).append(await self._kept_output(record.id, record.kept))
        elif record.replayable:
            self._outputs.setdefault(record.id, []).append([encoded(item) for item in output_items(record)])


# --- one create --------------------------------------------------------------------------------------------------


@dataclass
class Conversations:
    """The conversations of one worker's runs, and what its provider does with them."""

    capabilities: Capabilities = field(default_factory=Capabilities)
    files: ConversationFiles = field(default_factory=lambda: ConversationFiles(None))
    remembered: RememberedConversations = field(default_factory=RememberedConversations)
    client: ResponsesClient | None = None

    def turn(self, create: CreateResponse, own_items: OwnItems, window: int | None = None) -> "ConversationTurn":
        """What a create has to do with the conversation of its run, and the tokens of its model's context window."""
        return ConversationTurn(self, create, own_items, window)

    async def keep_opening(self, create: CreateResponse, items: Sequence[bytes]) -> None:
        """Keep what was read from files, which may have changed when it is to be sent again."""
        if self.capabilities.can(Capability.CHAIN) is True:
            return
        try:
            name = page_of_opening(activity.info().workflow_id or "", create)
            await self.files.write_page(name, items, activity.client().data_converter)
        except OSError as error:
            logger.warning("The files of the task cannot be kept: %s", error)

    def learn_that_it_does_not_chain(self) -> None:
        """A finished response has named none that it continues from, although it was asked to."""
        why = "it takes previous_response_id, but does not continue from it"
        self.capabilities.learned(Capability.CHAIN, False, why)

    async def read(
        self, conversation: Conversation, own_items: OwnItems, fetching: Callable[[], Awaitable[None]] | None = None
    ) -> Items:
        """The items of this run's conversation. Raises `ApplicationError`; `fetching` is told that it takes a while."""
        if conversation.before.count == 0:
            return Items()
        info = activity.info()
        workflow_id, run_id = info.workflow_id or "", info.workflow_run_id or ""
        known = self.remembered.get(workflow_id, conversation.before)
        if known is not None:
            return known
        if fetching is not None:
            await fetching()
        recorded = RecordedConversation(activity.client(), self.files, own_items, workflow_id, self._output_of)
        try:
            items = await recorded.read(run_id, conversation)
        except ConversationLost as lost:
            raise conversation_lost(str(lost)) from None
        except RPCError as error:
            raise later(f"The history of the run cannot be read: {error.message}") from None
        self.remembered.put(workflow_id, items)
        return items

    async def kept_apart(self, record: ResponseRecord, *, is_stored: bool) -> ResponseRecord:
        """The record of a compaction with its output where history does not grow by it, if there is such a place.

        `is_stored`: the provider gives it again by its id. Else what fits into history stays there; the rest goes to
        the state folder.
        """
        if record.compacted is None or record.status != ResponseStatus.COMPLETED:
            return record
        items = [encoded(item) for item in output_items(Response(id=record.id, output=record.compacted))]
        pages = None
        if not is_stored:
            if record.replayable:
                return record
            try:
                pages = await self.files.write(items, activity.client().data_converter)
            except OSError as error:
                logger.warning("What %s has compacted cannot be written: %s", record.id, error)
            if not pages:
                return record
        kept = Items().plus(items)
        self.remembered.put(activity.info().workflow_id or "", kept)
        return kept_elsewhere(record, KeptOutput(pages=pages, point=kept.point))

    async def _output_of(self, response_id: str) -> list[Any]:
        if self.client is None:
            raise ConversationLost(f"nobody can be asked for {response_id}")
        try:
            return output_items((await self.client.retrieve(response_id)).response)
        except NotFound:
            raise ConversationLost(f"{response_id}, which has compacted it, is gone at the provider") from None
        except ResponsesError as error:
            raise failed_read(error, response_id) from None


@dataclass
class ConversationTurn:
    """One create and its response, as part of a conversation. Does nothing where the run does not know its own."""

    _all: Conversations
    create: CreateResponse
    own_items: OwnItems
    window: int | None = None
    worst_case: WorstCase | None = None
    _before: Items | None = None
    _own: list[bytes] | None = None

    @property
    def keep(self) -> Keep | None:
        """What history keeps of the response's output."""
        if self.create.compacts:
            return Keep.ALL
        if self.create.conversation is None:
            return None
        return Keep.ALL if self.create.conversation.in_full else Keep.SOME

    @property
    def is_chained(self) -> bool:
        """Whether the provider is asked to continue from a response."""
        return self.create.previous_response_id is not None

    async def given(self, own: str | list[Any], fetching: Callable[[], Awaitable[None]] | None) -> str | list[Any]:
        """The `input` to send, with what the create adds. Raises `ApplicationError`."""
        conversation = self.create.conversation
        if conversation is None:
            return own
        self._own = [encoded(item) for item in input_items(own)]
        if conversation.before.count == 0 and reads_files(self.create):
            await self._all.keep_opening(self.create, self._own)
        if not conversation.in_full or self.create.opening is not None:
            return own
        self._before = await self._all.read(conversation, self.own_items, fetching)
        known = since_compaction([json.loads(item) for item in self._before.items], conversation.opens_with or 0)
        items = [*sendable(known, stored=conversation.store is not False), *input_items(own)]
        return without_open_calls(items) if conversation.compacted is not None else items

    async def sent(self, send: Callable[[], Awaitable[T]]) -> T:
        """Send it. Raises `ChainRejected` for a refusal that is about the chain, else what `send` raises."""
        try:
            return await send()
        except (BadRequest, NotFound, NoSuchEndpoint) as refusal:
            if not self._is_about_the_chain(refusal):
                raise
            raise _chain_rejected(refusal) from None
        except (AuthenticationFailed, ServerFailed) as refusal:
            named = refusal.status in _IF_IT_IS_NAMED and names_the_chain(
                refusal, self.create.previous_response_id or ""
            )
            if not (self.is_chained and named):
                raise
            self._learn_of_refusal()
            raise _chain_rejected(refusal) from None
        except ChainRejected:
            self._learn_of_refusal()
            raise

    def _is_about_the_chain(self, refusal: GiveUp) -> bool:
        if not self.is_chained:
            return False
        if names_the_chain(refusal, self.create.previous_response_id or ""):
            self._learn_of_refusal()
            return True
        if is_about_a_container(refusal):  # calls in it can be left out of what is sent, not of a chain
            return True
        # A server that ignores the id complains of answers to calls that it does not know, in words of its own.
        if self.create.conversation is None or self._all.capabilities.can(Capability.CHAIN) is True:
            return False
        if self.create.compacts:  # it may as well not know what that is
            return False
        if refusal.code == _NO_MODEL or is_too_long(refusal.code, str(refusal)):
            return False
        return refusal.status in _MAY_BE_THE_CHAIN

    def _learn_of_refusal(self) -> None:
        # The caller may have given a wrong id; and a server that has continued from others does not know this one.
        own = self.create.conversation is not None and self.create.conversation.before.count > 0
        if own and self.is_chained and self._all.capabilities.can(Capability.CHAIN) is None:
            self._all.capabilities.learned(Capability.CHAIN, False, "it refuses previous_response_id")

    async def _point(self) -> ConversationPoint | None:
        """How far the conversation has come with the opening, which another attempt may have sent."""
        conversation = self.create.conversation
        try:
            own = self._own if self._own is not None else list(map(encoded, await self.own_items(self.create)))
        except ApplicationError as unusable:  # a file is gone
            logger.warning("How far the conversation has come is not known: %s", unusable)
            return None
        return after(conversation.before, own) if conversation else None

    async def tell(self, obtained: CreatedResponse | ResponseRecord, continues: bool | None) -> None:
        """Say beside a response what has become of the conversation. `continues`: False if it is not continued."""
        obtained.continues = continues
        obtained.context_window = self.window
        self.bound(obtained)
        if self.worst_case is not None and (notice := notice_of(self.create, self.worst_case)):
            obtained.changes = [*(obtained.changes or []), *notice]
        if self.create.conversation is None:
            return
        if self.create.opening is not None:  # else the run knows it
            obtained.conversation = await self._point()
        if not self.create.conversation.in_full and self._all.capabilities.can(Capability.CHAIN) is False:
            obtained.chains = False
        if isinstance(obtained, ResponseRecord):
            self._remember(obtained)

    @property
    def at_most(self) -> float | None:
        """The USD that the response may cost, where that is known."""
        return self.worst_case.usd if self.worst_case is not None else None

    @property
    def most_tokens(self) -> int | None:
        """The tokens that it may have, where that is known, and the run has a budget of them."""
        counts = self.create.budget is not None and self.create.budget.tokens is not None
        return self.worst_case.tokens if self.worst_case is not None and counts else None

    def bound(self, obtained: CreatedResponse | ResponseRecord) -> None:
        """Say beside a response what it may cost at most, where that is asked for, or its end may not tell."""
        is_uncounted = isinstance(obtained, ResponseRecord) and (
            obtained.usage is None or (obtained.billed is not None and bool(obtained.billed.doubts))
        )
        is_asked_for = isinstance(obtained, CreatedResponse) or self.create.tells_most or self.create.budget is not None
        if is_asked_for or is_uncounted:
            obtained.at_most = self.at_most
        if is_uncounted or isinstance(obtained, CreatedResponse):
            obtained.most_tokens = self.most_tokens

    def named(self, response_id: str | None) -> bool | None:
        """False for a response that names none to continue from, although it was asked to."""
        return False if self.is_chained and is_no_response(response_id) else None

    def continued(self, response_id: str | None, status: str) -> bool | None:
        """As `named`, for a finished response; and learn from it what its server can do.

        One that has failed need not say what it was to continue from.
        """
        if self.is_chained and is_no_response(response_id):
            if status not in ANSWERED:
                return None
            self._all.learn_that_it_does_not_chain()
        elif self.is_chained and response_id == self.create.previous_response_id:
            self._all.capabilities.learned(Capability.CHAIN, True)
        return self.named(response_id)

    def _remember(self, record: ResponseRecord) -> None:
        conversation = self.create.conversation
        if conversation is None or not conversation.in_full or not record.replayable or self._own is None:
            return
        if self.create.compacts:  # the conversation begins anew, and is read once
            return
        before = self._before if self._before is not None else Items()
        if before.point != conversation.before:
            return
        said = [encoded(item) for item in output_items(record)]
        self._all.remembered.put(activity.info().workflow_id or "", before.plus([*self._own, *said]))


_MAY_BE_THE_CHAIN = (200, 400, 404, 422)
_NO_MODEL = "model_not_found"
# What these say is usually about something else, unless their words name the chain.
_IF_IT_IS_NAMED = (403, 409, 500)


def _chain_rejected(refusal: ResponsesError) -> ChainRejected:
    return ChainRejected(str(refusal), status=refusal.status, code=refusal.code, request_id=refusal.request_id)


def names_the_chain(refusal: ResponsesError, response_id: str) -> bool:
    """Whether a refusal is about the response that was to be continued from."""
    return names_the_previous(f"{refusal} {refusal.param or ''} {refusal.code or ''}", response_id)


# --- before a new history ----------------------------------------------------------------------------------------


@dataclass
class ConversationActivities:
    """The activity that puts a conversation down before its run continues in a new history."""

    conversations: Conversations
    own_items: OwnItems

    @activity.defn
    async def keep_conversation(self, asked: KeepConversation) -> ConversationStart:
        """Its items, if there is room for them; else pages of it, in the state folder.

        Where neither is possible, the history of the run that ends here is read later, as long as Temporal keeps it.
        """
        async with Heartbeats():
            items = await self.conversations.read(asked.conversation, self.own_items)
            start = ConversationStart(run_id=activity.info().workflow_run_id or "", conversation=asked.conversation)
            if items.point.size + 2 * items.point.count <= asked.room:
                start.items = [json.loads(item) for item in items.items]
                return start
            try:
                start.pages = await self.conversations.files.write(items.items, activity.client().data_converter)
            except OSError as error:
                logger.warning("The conversation cannot be written, so it is read from this history later: %s", error)
            return start
