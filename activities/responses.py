"""Activities that create, wait for, stream and cancel one response."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from temporalio import activity

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.background import (
    first_stage,
    is_only_named,
    learn_of_background,
    learn_of_stream,
    names_background,
    no_background,
    refuse_without_background,
    unless_cut,
)
from durable_responses.activities.cancelling import CANCEL_PATIENCE, Cancelling
from durable_responses.activities.claims import Claim, Claims
from durable_responses.activities.clocks import Clock, server_clock
from durable_responses.activities.conversations import ConversationTurn
from durable_responses.activities.create import (
    CREATE_PATIENCE,
    TOLD_WITHIN,
    Sending,
    is_announced,
    response_of_earlier_attempt,
)
from durable_responses.activities.eager_start import EagerStart
from durable_responses.activities.failures import failed_create
from durable_responses.activities.heartbeats import Heartbeats, earlier_heartbeat
from durable_responses.activities.made_files import kept_beside
from durable_responses.activities.messages import (
    AwaitResponse,
    CancelResponse,
    CreatedResponse,
    CreatePhase,
    CreateResponse,
    HeartbeatDetails,
    Keep,
    ResponseRecord,
    SaveOptions,
)
from durable_responses.activities.orphans import cancel_if_orphaned, leaving_no_orphan
from durable_responses.activities.polling import Cadence, GetBudget, Reads, ResponseWait, Waiters
from durable_responses.activities.records import record_of, shortened
from durable_responses.activities.requests import RequestBuilder
from durable_responses.activities.stream import PreviewFeed, StreamTurn, after_broken_stream, events_of, read_after_cut
from durable_responses.capabilities import Capability
from durable_responses.responses_api.bodies import BeforeEnd
from durable_responses.responses_api.client import CREATE_TIMEOUT, SILENCE_LIMIT, ResponsesClient
from durable_responses.responses_api.errors import GiveUp, ResponsesError
from durable_responses.responses_api.models import CreateRequest, Response, ResponseStatus


@dataclass
class ResponsesActivities:
    """The activities about responses. What they need comes in here; they read no settings.

    Seconds: `patience` with a provider that turns creates away, `answer_within` for a create's answer, `first_event`
    for a create that streams only to be previewed, `silence` after which a stream is lost, `cancel_within` for a cancel
    with all its tries. `eager` admits what is started eagerly; `clock` gives each attempt the clock that it goes by.
    """

    client: ResponsesClient
    requests: RequestBuilder
    in_flight: ResponsesInFlight
    budget: GetBudget
    cadence: Cadence = field(default_factory=Cadence)
    waiters: Waiters = field(default_factory=Waiters)
    claims: Claims = field(default_factory=Claims)
    patience: float = CREATE_PATIENCE
    answer_within: float = CREATE_TIMEOUT
    first_event: float = CREATE_TIMEOUT
    silence: float = SILENCE_LIMIT
    cancel_within: float = CANCEL_PATIENCE
    clock: Callable[[], Clock] = server_clock
    eager: EagerStart | None = None

    # --- background ----------------------------------------------------------------------------------------------

    @activity.defn
    async def create_response(self, create: CreateResponse) -> CreatedResponse:
        """Create a background response. Its id is in history before anything else happens."""
        claim, conversation = self.claims.begin(), self.requests.turn(create)
        async with self.requests.telling_what_may_be_lost(create, conversation):
            adopted = response_of_earlier_attempt(create)
            if adopted is not None:
                self.in_flight.started(adopted)
                created = CreatedResponse(response_id=adopted, status=ResponseStatus.QUEUED)
                await conversation.tell(created, conversation.named(None))
                return created
            with self._admitted():
                return await self._created(create, claim, conversation)

    def _admitted(self, *, in_flight_already: bool = False) -> AbstractContextManager[None]:
        if self.eager is None:
            return contextlib.nullcontext()
        return self.eager.admitted(in_flight_already=in_flight_already)

    async def _created(self, create: CreateResponse, claim: Claim, conversation: ConversationTurn) -> CreatedResponse:
        capabilities = self.requests.capabilities
        refuse_without_background(capabilities, create)
        earlier, announced = earlier_heartbeat(), is_announced(create)
        gate = self.requests.at_the_gate(create)
        sending = Sending(claim, create.deadline, self.clock(), earlier, self.patience, announced, gate)
        async with Heartbeats(lambda: sending.heartbeat) as heartbeats:
            live, told = create.options.live_preview, (conversation, sending.fetching)
            building = self.requests.build(create, *told, background=True, stream=live)
            request = await sending.prepared(building, heartbeats)
            post = partial(self._create, before_end=sending.before_end)
            send = partial(conversation.sent, partial(self.requests.cures.sent, request, post))
            # Where an answer only comes with its create, there is no id to wait for before a cancel may cut it off.
            ends_at_once = capabilities.can(Capability.BACKGROUND) is False
            answered = partial(sending.answered, within=0.0 if ends_at_once else CREATE_TIMEOUT)
            response, changes = await sending.until_taken(lambda: answered(send()), heartbeats)
            if is_only_named(response):
                response.status = ResponseStatus.IN_PROGRESS
            else:
                changes += learn_of_background(capabilities, response)
            self.in_flight.started(response.id)
            sending.heartbeat = HeartbeatDetails(
                phase=CreatePhase.CREATED, response_id=response.id, response_status=response.status
            )
            heartbeats.heartbeat_soon(TOLD_WITHIN)
            finished, most_tokens = None, create.options.max_output_tokens
            if response.is_finished:
                self.in_flight.ended(response.id)
                record = unless_cut(record_of(response, conversation.keep), most_tokens, capabilities)
                if create.compacts:
                    record = await self.requests.conversations.kept_apart(record, is_stored=False)
                finished = await self._kept(record, create.save_whole_text)
                await conversation.tell(
                    finished, conversation.continued(response.previous_response_id, response.status)
                )
            else:
                await cancel_if_orphaned(self.client, response.id)
            created = CreatedResponse(
                response_id=response.id,
                status=response.status,
                model=shortened(response.model) or None,
                changes=changes or None,
                finished=finished,
            )
            if finished is None:
                await conversation.tell(created, conversation.named(response.previous_response_id))
            return created

    async def _create(self, request: CreateRequest, before_end: BeforeEnd) -> Response:
        capabilities = self.requests.capabilities
        has_background = capabilities.can(Capability.BACKGROUND)
        within = CREATE_TIMEOUT if has_background else self.answer_within
        try:
            if not request.stream:
                return await self.client.create(request, before_end=before_end, within=within)
            silence = self.first_event if has_background else max(self.first_event, self.answer_within)
            async with self.client.stream(request, silence=silence, before_end=before_end) as events:
                return await first_stage(events, has_background=has_background or False)
        except GiveUp as refused:
            if not request.stream and names_background(refused):
                raise no_background(capabilities, refused) from None
            raise

    @activity.defn
    async def await_response(self, wait: AwaitResponse) -> ResponseRecord:
        """Wait until the response is finished, or for its state at the deadline. Re-attaches by id after any crash."""
        now = self.clock()
        reads = self._reads(wait.response_id, wait.created_at.timestamp(), wait.keep, chained=wait.chained or False)
        with self.budget.shared(), self.waiters.waiting(wait.response_id) as told:
            waiting = ResponseWait(wait, reads, self.budget, told, now)
            preview = self._preview(wait, waiting, now) if wait.live_preview else contextlib.nullcontext()
            async with leaving_no_orphan(self.client, wait.response_id), waiting.heartbeats(), preview:
                record = await waiting.until_finished()
        if record.is_finished:
            self.in_flight.ended(wait.response_id)
            if record.function_calls:
                self.client.open_ahead()
            if record.continues is False:
                self.requests.conversations.learn_that_it_does_not_chain()
        if wait.compacts:
            record = await self.requests.conversations.kept_apart(record, is_stored=True)
        return await self._kept(record, wait.save_whole_text)

    @contextlib.asynccontextmanager
    async def _preview(self, wait: AwaitResponse, waiting: ResponseWait, now: Clock) -> AsyncIterator[None]:
        """Follow the text of a response beside the GETs."""
        feed = PreviewFeed(self.client, wait.response_id, waiting.show_text)
        following = asyncio.create_task(feed.run(wait.created_at.timestamp(), now))
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    @activity.defn
    async def cancel_response(self, cancel: CancelResponse) -> ResponseRecord:
        """Stop a response at the provider and return what it has become: cancelled, or finished before that."""
        cancelling = Cancelling(self.client, cancel.response_id, self.clock(), self.cancel_within)
        async with leaving_no_orphan(self.client, cancel.response_id), Heartbeats(lambda: cancelling.heartbeat):
            try:
                response = await cancelling.until_it_is_told()
            finally:
                if cancelling.is_possible is not None:
                    self.requests.capabilities.learned(Capability.CANCEL, cancelling.is_possible, cancelling.refusal)
        record = record_of(response, cancel.keep)
        if record.is_finished:
            self.in_flight.ended(cancel.response_id)
            self.waiters.tell(cancel.response_id, record.model_copy())
        return await self._kept(record, cancel.save_whole_text)

    # --- stream --------------------------------------------------------------------------------------------------

    @activity.defn
    async def stream_response(self, create: CreateResponse) -> ResponseRecord:
        """Create a response and follow its stream to the end, to the deadline, or until the run is cancelled."""
        record = await self._streamed(create)
        if create.compacts:
            record = await self.requests.conversations.kept_apart(record, is_stored=False)
        return await self._kept(record, create.save_whole_text)

    async def _streamed(self, create: CreateResponse) -> ResponseRecord:
        claim, now, conversation = self.claims.begin(), self.clock(), self.requests.turn(create)
        async with self.requests.telling_what_may_be_lost(create, conversation):
            earlier = response_of_earlier_attempt(create)
            with self._admitted(in_flight_already=earlier is not None):
                if earlier is None:
                    return await self._followed(create, claim, now, conversation)
                reads = self._reads(earlier, now(), conversation.keep, chained=conversation.is_chained)
                lost = "the worker that followed it was lost"
                record = await read_after_cut(reads, lost, now, deadline=create.deadline)
                await conversation.tell(record, record.continues)
                return record

    async def _followed(
        self, create: CreateResponse, claim: Claim, now: Clock, conversation: ConversationTurn
    ) -> ResponseRecord:
        build = partial(self.requests.build, create, conversation, background=False, stream=True)
        posting = HeartbeatDetails(phase=CreatePhase.POSTING)
        before_end = partial(claim.prove_if_late, posting)
        stream = partial(events_of, self.client, silence=self.silence, before_end=before_end)
        turn = StreamTurn(
            claim,
            self.client,
            stream,
            build,
            conversation,
            self.requests.cures,
            create.deadline,
            now,
            is_announced=is_announced(create),
            gate=self.requests.at_the_gate(create),
        )
        try:
            record = await turn.run()
            learn_of_stream(self.requests.capabilities, record)
            return unless_cut(record, create.options.max_output_tokens, self.requests.capabilities)
        except ResponsesError as error:
            response = turn.streamed.response
            if response is None:
                raise failed_create(error) from None
            reads = self._reads(response.id, now(), conversation.keep, chained=conversation.is_chained)
            record = await after_broken_stream(reads, error, turn.streamed.text, now, create.deadline)
            await conversation.tell(record, record.continues)
            return record

    async def _kept(self, record: ResponseRecord, options: SaveOptions | None) -> ResponseRecord:
        """The record as it travels; what it has no room for is in a file, where one is wanted."""
        return await kept_beside(record, options, self.requests.outputs)

    def _reads(self, response_id: str, created_at: float, keep: Keep | None, *, chained: bool) -> Reads:
        """The GETs of a response created at that time, in seconds since the epoch."""
        return Reads(
            self.client,
            response_id,
            created_at,
            self.cadence,
            capabilities=self.requests.capabilities,
            keep=keep,
            chained=chained,
        )
