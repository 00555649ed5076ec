"""How a run obtains one response: create and wait, stream, or a WebSocket; and how it stops one that is under way.

Part of the workflow: deterministic, owned by `AgentWorkflow`. A step that is to stop raises `Stopped` once nothing of
it is left at the provider.

A WebSocket lives in a worker, so the next turn goes to that worker's own queue; when nobody takes it there, or there is
no room, to any worker. The state stays here: a turn is one attempt, and the workflow decides what its loss means.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypedDict, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityCancellationType, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from durable_responses.activities.compaction import CompactionActivities
    from durable_responses.activities.conversations import ConversationActivities
    from durable_responses.activities.messages import (
        NO_BACKGROUND,
        AwaitResponse,
        CancelResponse,
        CompactConversation,
        ConversationStart,
        CreatedResponse,
        CreateResponse,
        FailureType,
        Keep,
        KeepConversation,
        Opening,
        Reserved,
        ResponseRecord,
        SteerOutcome,
        SteerResponse,
        SteerStatus,
        Transport,
        WebSocketTurn,
    )
    from durable_responses.activities.responses import ResponsesActivities
    from durable_responses.activities.websocket import WebSocketActivities
    from durable_responses.json_text import json_bytes
    from durable_responses.responses_api.context_errors import (
        exceeds_window,
        exceeds_window_by_its_name,
        exceeds_window_in_other_words,
    )
    from durable_responses.responses_api.models import CallAnswer, Response, ResponseStatus
    from durable_responses.workflows import activity_errors, compaction, interruptions, rules
    from durable_responses.workflows.answers import RETRY, STOP
    from durable_responses.workflows.budgets import RunBudget, working
    from durable_responses.workflows.contract import (
        AgentError,
        AgentInput,
        CompactionChoice,
        ConversationChoice,
        InputRequestKind,
        InputRequestStatus,
        TaskQueue,
        TransportChoice,
    )
    from durable_responses.workflows.eager_start import queue_of
    from durable_responses.workflows.file_saving import FileSaving
    from durable_responses.workflows.input_requests import InputRequests
    from durable_responses.workflows.interruptions import (
        DeadlinePassed,
        HistoryFull,
        RunFailed,
        Stopped,
        StopRequest,
        time_left,
    )
    from durable_responses.workflows.ledger import IN_FULL, Ledger, Most
    from durable_responses.workflows.payloads import UnreadablePayload, fitting, read
    from durable_responses.workflows.rules import AfterFailedCreate, CreateHistory
    from durable_responses.workflows.steering import SteeringMessages
    from durable_responses.workflows.web_ui import summary

NO_WAY = "the server has no way to"
TWICE_LOST = "its answer was lost twice"

_ANSWERED_PATCH = "compacts-after-answer"
_CREATE_WAITS = "the create waits for a free slot or for the provider's answer"
_EMPTY_PATCH = "empty-output"
_REFUSED_CHAIN_PATCH = "refused-by-a-failed-response"
_FAILED_PATCH = "failed-responses-again"
_GATEWAYS_PATCH = "failed-in-other-words"
_LEAVE_PATCH = "given-up-responses"
_USED_PATCH = "completed-though-given-up"
_REFUSAL_PATCH = "input-requests"
_WINDOW_PATCH = "context-window"
_WORDS_PATCH = "context-window-words"
_OTHER_WORDS_PATCH = "context-window-other-words"
_UNKNOWN_PATCH = "unknown-status"
_FOREVER = timedelta(days=3650)
_GRACE = timedelta(minutes=5)  # after the deadline: for a POST to end, for a wait to move to another worker
_LET_THE_WAIT_END = timedelta(seconds=1)
_NO_IMAGES = "images of tools were left out, as the provider cannot read one"
_TAKEN_WITHIN = timedelta(seconds=2)  # by a worker that lives; longer than that is better spent on another one
_STEERED_WITHIN = timedelta(seconds=15)

# A retry of a wait only ever means a lost worker, and the attempt number never resets: no growing back-off.
_WAIT_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=1.0)
_CREATE_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
_EAGER_RETRIES = replace(_CREATE_RETRIES, non_retryable_error_types=[activity_errors.NOT_REGISTERED])
_CANCEL_RETRIES = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5))
_ONCE = RetryPolicy(maximum_attempts=1)

T = TypeVar("T")


class CreateOptions(TypedDict):
    """How an activity that creates a response is started."""

    task_queue: str
    cancellation_type: ActivityCancellationType
    schedule_to_close_timeout: timedelta
    schedule_to_start_timeout: timedelta | None
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


@dataclass
class ResponseSource:
    """Obtains the responses of one run, one at a time. `changed` is called whenever the ledger has changed.

    `files` saves what they leave at the provider.
    """

    request: AgentInput
    ledger: Ledger
    steering: SteeringMessages
    requests: InputRequests
    stop: StopRequest
    changed: Callable[[], None]
    files: FileSaving

    def __post_init__(self) -> None:
        self.budget = RunBudget(self.ledger, self.steering, self.requests)
        self._resumed = 0  # times in a row that a refused run has tried again by itself
        self._reserved: Reserved | None = None  # in the budgets of the tenant, for the response under way
        self._is_compacting = False
        self._streams_compactions = False

    async def next_response(self) -> ResponseRecord:
        """One response, finished or cut off by the deadline, and recorded in the ledger.

        Raises `Stopped`, `DeadlinePassed`, `RunFailed`, `HistoryFull`.
        """
        creates = CreateHistory(can_rebuild=self._knows_all and not self.ledger.sends_all)
        if self._is_nearly_full() and workflow.patched(_WINDOW_PATCH):
            await self._compact()
        has_compacted = False  # since the conversation was found to be too long
        while True:
            self._check_conversation()
            await self.budget.before_create()
            before = len(self.ledger.chain)
            self.ledger.waits_quietly(_CREATE_WAITS, workflow.now())
            self.changed()
            try:
                create = fitting(self._create_request(creates))
                response = await self._obtain(create)
            except ActivityError as error:
                refused = activity_errors.error_of(error)
                if not has_compacted and await self._is_compacted_after(refused.code, refused.message):
                    has_compacted = True
                    continue
                await self._after_failed_create(error, creates)
                if self._may_compact_again(refused.code, refused.message):
                    has_compacted = False
            else:
                why = response.error if response.status == ResponseStatus.FAILED else None
                if why and not has_compacted and await self._is_compacted_after(why.code, why.message):
                    has_compacted = True
                    creates.refused += 1
                    continue
                if self._is_not_continued(create, response, creates) or self._was_sent_in_part(
                    create, response, creates
                ):
                    continue
                if self._is_empty_for_the_first_time(response, before, creates):
                    continue
                if await self._is_created_again(response, creates):
                    if why is not None and self._may_compact_again(why.code, why.message):
                        has_compacted = False
                    continue
                self.ledger.iteration_ended()
                self._resumed = 0
                self.steering.given()
                self.budget.bore_it()
                self.ledger.conversation_grew(create, response)
                self.ledger.context_tokens = compaction.tokens_after(response)
                self.ledger.carried_tokens = compaction.bound_after(response)
                return response

    @property
    def _knows_all(self) -> bool:
        if self.ledger.compacted is not None:
            return self.ledger.conversation is not None
        return self.request.previous_response_id is None

    def _check_conversation(self) -> None:
        """Raise `RunFailed` where the whole conversation is to be sent, and cannot be."""
        conversation = self.ledger.conversation
        if conversation is None or not conversation.in_full:
            return
        if self.request.conversation is ConversationChoice.AUTO and conversation.point.count > 0:
            self.ledger.changed_request(IN_FULL)
        if conversation.lost:
            message = f"The whole conversation cannot be sent: {conversation.lost}."
            raise RunFailed(AgentError(type=FailureType.CONVERSATION_LOST, message=message))

    def _is_not_continued(self, create: CreateResponse, response: ResponseRecord, creates: CreateHistory) -> bool:
        """Whether a response is to be created again, with the full input: its model has not seen what was said before.

        Raises `RunFailed` where the run does not know what that was.
        """
        if rules.refuses_the_chain(response, create.previous_response_id):
            return self._is_sent_in_full(creates)
        if response.continues is not False or response.status != ResponseStatus.COMPLETED:
            return False
        self.ledger.superseded(response.id)
        if self.request.conversation is ConversationChoice.SERVER or not creates.after_not_continued():
            message = (
                f"The server took previous_response_id, but {response.id} does not continue from that response: its "
                "model has not seen what was said before."
            )
            raise RunFailed(AgentError(type=FailureType.CHAIN_REJECTED, message=message))
        self.ledger.send_all()
        self.changed()
        return True

    def _is_sent_in_full(self, creates: CreateHistory) -> bool:
        """Whether what the provider did not continue from is now sent instead: it has said so by a failed response."""
        if self.request.conversation is ConversationChoice.SERVER or not workflow.patched(_REFUSED_CHAIN_PATCH):
            return False
        if not creates.after_not_continued():
            return False
        self.ledger.send_all()
        self.changed()
        return True

    def _was_sent_in_part(self, create: CreateResponse, response: ResponseRecord, creates: CreateHistory) -> bool:
        """Whether a worker that does not know of whole conversations has sent the new items alone. Raises `RunFailed`.

        While workers are replaced, such a one may take a create.
        """
        whole = create.conversation is not None and create.conversation.in_full and create.opening is None
        if not whole or response.replayable is not None or response.status != ResponseStatus.COMPLETED:
            return False
        self.ledger.superseded(response.id)
        if not creates.after_sent_in_part():
            message = "Workers of an older version have sent no more than the new part of the conversation."
            raise RunFailed(AgentError(type=FailureType.CONVERSATION_LOST, message=message))
        self.changed()
        return True

    def _is_empty_for_the_first_time(self, response: Response, before: int, creates: CreateHistory) -> bool:
        """Whether a response is empty for the first time; then nothing is chained from it."""
        alone = len(self.ledger.chain) == before + 1  # none before it in the same turn, that a steering message ended
        if not (alone and rules.is_empty(response) and creates.after_empty()):
            return False
        if not workflow.patched(_EMPTY_PATCH):  # runs under way ended with the first one
            return False
        self.ledger.unchain(response.id)
        return True

    async def _is_created_again(self, failed: Response, creates: CreateHistory) -> bool:
        """Whether a response has failed for a reason that passes, or that the owner has mended; if so, that is over.

        Raises as `_pause` does.
        """
        if rules.cannot_read_an_image(failed) and (answers := rules.without_images(self.ledger.answers)):
            self.ledger.answers = answers
            self.ledger.changed_request(_NO_IMAGES)
            creates.failed += 1
            return True
        refusal = rules.refusal_in(failed)
        if refusal is not None and await self._goes_on_after(refusal, rules.delay_in(refusal.message)):
            creates.refused += 1
            return True
        passes = rules.may_succeed_later_in_other_words(failed) and not rules.may_succeed_later(failed)
        pause = creates.after_failed_response(failed, passes=passes and workflow.patched(_GATEWAYS_PATCH))
        if pause is None or not workflow.patched(_FAILED_PATCH):  # such runs have ended
            return False
        why = failed.error.message or failed.error.code if failed.error else None
        await self._pause(timedelta(seconds=pause), "the response failed, and is created again", creates.failed, why)
        return True

    async def _obtain(self, create: CreateResponse) -> ResponseRecord:
        with working(self.ledger):
            return await self._obtained(create)

    async def _obtained(self, create: CreateResponse) -> ResponseRecord:
        match rules.transport_for(self.request, has_background=not self.ledger.no_background):
            case Transport.BACKGROUND:
                return await self._wait_for(await self._create(create))
            case Transport.STREAM:
                return await self._stream(create)
            case Transport.WEBSOCKET:
                return await self._over_websocket(create)

    def _create_request(self, creates: CreateHistory) -> CreateResponse:
        ledger = self.ledger
        # What the run does not know itself, the create reads from the responses that the provider has stored.
        rebuilds = creates.chain_rejected and not ledger.sends_all
        previous = ledger.chain[-1] if ledger.chain else None
        if not ledger.has_begun:
            previous = self.request.previous_response_id
        begun = ledger.has_begun or rebuilds
        chained = ledger.conversation is not None and previous == ledger.conversation.after and not ledger.sends_all
        return CreateResponse(
            options=rules.model_options(self.request),
            iteration=ledger.state.iteration,
            attempt=creates.attempt,
            opening=self._opening() if rebuilds or not ledger.has_begun else None,
            new_items=ledger.answers,
            texts=self.steering.for_next_create(),
            previous_response_id=None if rebuilds or ledger.sends_all else previous,
            rebuild_from=ledger.chain if rebuilds else [],
            deadline=ledger.deadline,
            lost_response_id=creates.interrupted,
            warm_up=self.request.warm_up and not (ledger.has_begun or rebuilds or ledger.sends_all),
            save=None if begun else self.request.save,
            workspace=None if begun and not ledger.keeps_images else self.request.workspace,
            effort_asked=self.request.effort_asked,
            transport_asked=self.request.transport is not TransportChoice.AUTO,
            save_whole_text=self.request.save,
            conversation=ledger.conversation.told(chained=chained) if ledger.conversation and not rebuilds else None,
            probes=self._resumed > 0 or None,
            reads_outputs=ledger.keeps_outputs or None,
            manages_context=self.request.compaction is CompactionChoice.AUTO or None,
            context_window=self.request.context_window,
            prices=rules.run_prices(self.request),
            mcp_tools=ledger.mcp_hashes,
            hosted_servers=ledger.hosted_servers,
            carried_tokens=ledger.carried_tokens if ledger.has_prices else None,
            budget=self.budget.left(),
            tells_most=ledger.lacks_a_bound or None,
            tenant=self.request.tenant,
        )

    def _opening(self) -> Opening:
        request = self.request
        return Opening(task=request.task, context=request.context, files=request.files, files_root=request.files_root)

    def _create_options(self) -> CreateOptions:
        left = time_left(self.ledger.deadline)
        return CreateOptions(
            task_queue=self._queue(TaskQueue.CREATE),
            # The POST ends even when the run is cancelled meanwhile: its response must not become an orphan.
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            schedule_to_close_timeout=left + _GRACE if left else _FOREVER,
            schedule_to_start_timeout=left,
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=_CREATE_RETRIES,
        )

    async def _eagerly_or_queued(
        self, create: CreateResponse, start: Callable[[CreateOptions], ActivityHandle[T]]
    ) -> T:
        """What a create has brought: started at once where its worker has room, else admitted on the create queue.

        Raises as `interruptions.ended` does.
        """
        options = self._create_options()
        # After an ambiguous create, whether this one has begun must be known: a retry on that queue would not tell.
        if create.attempt == 1 and (queue := queue_of(TaskQueue.CREATE)) != options["task_queue"]:
            options = {**options, "task_queue": queue, "retry_policy": _EAGER_RETRIES}
        try:
            return await interruptions.ended(start(options), self.stop)
        except ActivityError as error:
            if not activity_errors.was_moved(error):
                raise
        if self.stop.requested:
            raise Stopped
        return await interruptions.ended(start(self._create_options()), self.stop)

    # --- compactions ---------------------------------------------------------------------------------------------

    def _is_nearly_full(self) -> bool:
        ledger = self.ledger
        return self._may_compact() and compaction.is_nearly_full(ledger.context_tokens, ledger.context_window)

    def _may_compact(self) -> bool:
        ledger = self.ledger
        is_auto = self.request.compaction is CompactionChoice.AUTO
        return is_auto and not ledger.no_compaction and ledger.context_window is not None and bool(ledger.chain)

    async def _is_compacted_after(self, code: str | None, message: str | None) -> bool:
        """Whether a create that was refused for its length may be sent again, since the conversation is compacted."""
        if not _is_too_long(code, message) or self.stop.requested:
            return False
        return self._may_compact() and workflow.patched(_WINDOW_PATCH) and await self._compact()

    def _may_compact_again(self, code: str | None, message: str | None) -> bool:
        """Whether what was refused for its length is compacted once more: the owner says that it may succeed."""
        if not _is_too_long(code, message) or not workflow.patched(_ANSWERED_PATCH):
            return False
        self.ledger.no_compaction = False
        return True

    async def _compact(self) -> bool:
        """Have the conversation compacted, with the answers that wait to be given: it begins anew with what comes.

        False where the provider does not do so: the run goes on as it is. Raises as `next_response`.
        """
        self._is_compacting, creates = True, CreateHistory(can_rebuild=False)
        answers, is_cut = self.ledger.answers, False
        try:
            while not self.ledger.no_compaction:
                self.ledger.waits_quietly("the conversation is being compacted", workflow.now())
                self.changed()
                is_spent = False
                try:
                    compacted = await self._compaction(self._create_request(creates), answers)
                except ActivityError as error:
                    refused, failure = activity_errors.error_of(error), activity_errors.failure_type_of(error)
                    is_too_long = _is_too_long(refused.code, refused.message)
                    if self._is_without_background(error) or self._is_sent_in_full_after(failure):
                        continue
                    was_repeated = creates.ambiguous > 0 and not self.stop.requested
                    is_spent = failure is FailureType.CREATE_AMBIGUOUS and was_repeated
                    # A worker of an older version does not know the activity.
                    is_refused = compaction.is_refused(failure) or activity_errors.was_moved(error)
                    if is_spent:
                        self.ledger.create_ambiguous(_most_of(error))
                    if not (is_too_long or is_spent or (is_refused and not self.stop.requested)):
                        await self._after_failed_create(error, creates)
                        continue
                else:
                    if compaction.is_compaction(compacted):
                        self.ledger.begins_anew_with(compacted)
                        return True
                    if not compacted.is_finished:
                        raise DeadlinePassed
                    why = compacted.error
                    is_too_long = why is not None and _is_too_long(why.code, why.message)
                    if not is_too_long and await self._is_created_again(compacted, creates):
                        if rules.cannot_read_an_image(compacted):
                            answers = rules.without_images(answers) or answers
                        continue
                if is_too_long:
                    if is_cut or not answers:
                        return False
                    window = self.ledger.context_window or 0
                    answers, is_cut = compaction.cut_answers(answers, self.ledger.context_tokens, window), True
                else:
                    self._compacts_otherwise(TWICE_LOST if is_spent else NO_WAY)
            return False
        finally:
            self._is_compacting = False
            self.changed()

    def _is_without_background(self, error: ActivityError) -> bool:
        """Whether the server has no background responses: then a compaction is streamed."""
        found = activity_errors.detail_of(error).code == NO_BACKGROUND and not self._streams_compactions
        self._streams_compactions |= found
        return found and not self.stop.requested

    def _is_sent_in_full_after(self, failure: FailureType | None) -> bool:
        """Whether the server does not continue from the response before: then it is sent the whole conversation."""
        knows_all = self.ledger.conversation is not None and not self.ledger.sends_all
        if failure is not FailureType.CHAIN_REJECTED or not knows_all:
            return False
        self.ledger.send_all()
        return True

    def _compacts_otherwise(self, why: str) -> None:
        """The provider does not compact in the way that was tried: the next way, if there is one."""
        if self.ledger.no_trigger:
            self.ledger.no_compaction = True
            self.ledger.changed_request(f"the conversation is not compacted: {why}")
        else:
            self.ledger.no_trigger = True

    async def _compaction(self, create: CreateResponse, answers: list[CallAnswer]) -> ResponseRecord:
        with working(self.ledger):
            return await self._compacted(create, answers)

    async def _compacted(self, create: CreateResponse, answers: list[CallAnswer]) -> ResponseRecord:
        # Steering messages are for the model: they go with the create that follows.
        wanted = {"new_items": answers, "texts": [], "warm_up": False}
        if self.ledger.no_trigger:
            return await self._compacted_at_once(CompactConversation(create=create.model_copy(update=wanted)))
        create = fitting(create.model_copy(update={**wanted, "compacts": True}))
        stores = self.ledger.conversation is None or self.ledger.conversation.store
        if stores and not (self.ledger.no_background or self._streams_compactions):
            return await self._wait_for(await self._create(create))
        return await self._stream(create)

    async def _compacted_at_once(self, asked: CompactConversation) -> ResponseRecord:
        options: CreateOptions = {
            **self._create_options(),
            "task_queue": self._queue(TaskQueue.AGENTS),
            "retry_policy": _ONCE,
        }
        handle = workflow.start_activity_method(
            CompactionActivities.compact_conversation, fitting(asked), summary="compact the conversation", **options
        )
        compacted = await interruptions.ended(handle, self.stop)
        self._record(compacted)
        if self.stop.requested:
            raise Stopped
        return compacted

    # --- background ----------------------------------------------------------------------------------------------

    async def _create(self, create: CreateResponse) -> CreatedResponse:
        def start(options: CreateOptions) -> ActivityHandle[CreatedResponse]:
            return workflow.start_activity_method(
                ResponsesActivities.create_response, create, summary=_step("create", create), **options
            )

        try:
            created = await self._eagerly_or_queued(create, start)
        except ActivityError as error:
            created = _adopted(error)
        self._reserved = created.reserved
        self.ledger.response_created(created.response_id, created.status, created.model)
        self.ledger.told_by_worker(created)
        self.changed()
        if self.stop.requested:
            await self._cancel_at_provider(created.response_id)
            raise Stopped
        return created

    async def _wait_for(self, created: CreatedResponse) -> ResponseRecord:
        if created.finished is not None:
            return await self._ended(created.finished)
        while (response := await self._waited_for(created)) is None:
            self.changed()
        if not response.is_finished:
            return await self._cut_off(response)
        response.conversation = created.conversation
        return await self._ended(response)

    async def _waited_for(self, created: CreatedResponse) -> ResponseRecord | None:
        """The response; None where it is to be waited for once more, because the owner has mended what was refused."""
        handle = self._start_waiting(created)
        await workflow.wait_condition(lambda: handle.done() or self.stop.requested)
        if not handle.done():
            await self._cancel_at_provider(created.response_id)
            await _let_end(handle)
            raise Stopped
        try:
            return read(await handle)
        except UnreadablePayload:
            await self._leave(created.response_id)
            raise
        except ActivityError as error:
            if activity_errors.ran_out_of_time(error):
                await self._cancel_at_provider(created.response_id)
                raise DeadlinePassed from error
            if await self._may_be_read_later(created.response_id, error):
                return None
            return await self._given_up(created.response_id, error)

    async def _may_be_read_later(self, response_id: str, error: ActivityError) -> bool:
        retry_after = activity_errors.detail_of(error).retry_after
        try:
            return await self._goes_on_after(activity_errors.error_of(error), retry_after, is_under_way=True)
        except (Stopped, DeadlinePassed):
            await self._cancel_at_provider(response_id)
            raise

    def _start_waiting(self, created: CreatedResponse) -> ActivityHandle[ResponseRecord]:
        deadline = self.ledger.deadline
        return workflow.start_activity_method(
            ResponsesActivities.await_response,
            AwaitResponse(
                response_id=created.response_id,
                created_at=workflow.now(),
                deadline=deadline,
                live_preview=self.request.live_preview,
                keep=Keep.ALL if self._is_compacting else self.ledger.keep,
                compacts=self._is_compacting or None,
                chained=created.continues is False or None,
                save_whole_text=self.request.save,
                prices=rules.run_prices(self.request),
                reserved=created.reserved,
            ),
            task_queue=self._queue(TaskQueue.WAITING),
            summary=summary(f"wait for {created.response_id}"),
            schedule_to_close_timeout=max(deadline - workflow.now(), timedelta(0)) + _GRACE if deadline else _FOREVER,
            heartbeat_timeout=timedelta(seconds=self.request.heartbeat_timeout),
            retry_policy=_WAIT_RETRIES,
        )

    async def _ended(self, response: ResponseRecord) -> ResponseRecord:
        """Record a response. One with a status that nobody knows may still run: it is cancelled."""
        self._reserved = response.reserved or self._reserved
        if rules.has_unknown_status(response) and workflow.patched(_UNKNOWN_PATCH):
            return await self._cut_off(response)
        self._record(response)
        return response

    async def _cut_off(self, unfinished: ResponseRecord) -> ResponseRecord:
        """Cancel a response, at the deadline or for its status. If it completed at that very moment, it is used."""
        ended = await self._cancel_at_provider(unfinished.id)
        return ended if ended is not None and ended.status == ResponseStatus.COMPLETED else unfinished

    # --- stream --------------------------------------------------------------------------------------------------

    async def _stream(self, create: CreateResponse) -> ResponseRecord:
        def start(options: CreateOptions) -> ActivityHandle[ResponseRecord]:
            return workflow.start_activity_method(
                ResponsesActivities.stream_response, create, summary=_step("stream", create), **options
            )

        response = await self._ended(await self._eagerly_or_queued(create, start))
        if self.stop.requested:
            raise Stopped
        return response

    # --- websocket -----------------------------------------------------------------------------------------------

    async def _over_websocket(self, create: CreateResponse) -> ResponseRecord:
        turn = await self._turn(create)
        if turn.superseded or turn.steers:  # the provider has put texts between them that the run cannot place
            turn.response.replayable = turn.response.continues = None
        for response in (*turn.superseded, turn.response):
            self._record(response)
        if self.stop.requested:
            raise Stopped
        return turn.response

    async def _turn(self, create: CreateResponse) -> WebSocketTurn:
        """One turn. Steering messages that come meanwhile are sent into it. Raises `Stopped`, `ActivityError`."""
        self.ledger.turn_ended()
        try:
            turn = await self._turn_on_some_worker(create)
        except ActivityError:
            self.steering.turn_lost()
            raise
        finally:
            self.ledger.turn_ended()
        self.ledger.socket_queue = turn.queue
        self.steering.turn_ended(turn.connection, turn.steers)
        return turn

    async def _turn_on_some_worker(self, create: CreateResponse) -> WebSocketTurn:
        anywhere: CreateOptions = {**self._create_options(), "retry_policy": _ONCE}
        queue, self.ledger.socket_queue = self.ledger.socket_queue, None
        if queue is not None:
            left = anywhere["schedule_to_start_timeout"]
            taken_within = min(_TAKEN_WITHIN, left or _TAKEN_WITHIN)
            there: CreateOptions = {**anywhere, "task_queue": queue, "schedule_to_start_timeout": taken_within}
            try:
                return await self._steered_turn(create, there)
            except ActivityError as error:
                if not activity_errors.never_began(error):
                    raise
        return await self._steered_turn(create, anywhere)

    async def _steered_turn(self, create: CreateResponse, options: CreateOptions) -> WebSocketTurn:
        handle = workflow.start_activity_method(
            WebSocketActivities.websocket_turn,
            create,
            summary=f"response {create.iteration} over a WebSocket",
            **options,
        )
        while (steer := await self._message_during(handle)) is not None:
            self.steering.told(await self._steer(steer))
            self.changed()
        return await interruptions.ended(handle, self.stop)

    async def _message_during(self, handle: ActivityHandle[WebSocketTurn]) -> SteerResponse | None:
        """The next steering message for the turn; None when the turn is over, or is to be."""
        # Where the run sends the whole conversation, a message must stand in it: it goes with the next create.
        next_to_send = (lambda: None) if self.ledger.sends_all else self.steering.next_to_send
        await workflow.wait_condition(lambda: handle.done() or self.stop.requested or next_to_send() is not None)
        return None if handle.done() or self.stop.requested else next_to_send()

    async def _steer(self, steer: SteerResponse) -> SteerOutcome:
        handle = workflow.start_activity_method(
            WebSocketActivities.steer_response,
            steer,
            task_queue=self.ledger.steering_queue,
            summary=summary(f"tell the model: {steer.text}"),
            start_to_close_timeout=_STEERED_WITHIN,
            schedule_to_start_timeout=_TAKEN_WITHIN,
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=_ONCE,
        )
        await workflow.wait_condition(lambda: handle.done() or self.stop.requested)
        if not handle.done():
            handle.cancel()
        try:
            return read(await handle)
        except UnreadablePayload as error:
            return SteerOutcome(id=steer.id, status=SteerStatus.UNKNOWN, reason=str(error))
        except ActivityError as error:
            if activity_errors.nobody_took(error):
                return SteerOutcome(id=steer.id, status=SteerStatus.FAILED, reason="No worker took it.")
            return SteerOutcome(id=steer.id, status=SteerStatus.UNKNOWN, reason=activity_errors.error_of(error).message)

    # --- before a new history ------------------------------------------------------------------------------------

    async def keep_conversation(self) -> None:
        """Let the ledger say where a new history finds the conversation.

        It needs the items only if it sends them. If they can be put nowhere, they are read from this history, for as
        long as Temporal keeps it.
        """
        conversation = self.ledger.conversation
        if conversation is None or conversation.point.count == 0 or conversation.lost:
            return
        so_far = conversation.told()
        conversation.start = ConversationStart(run_id=workflow.info().run_id, conversation=so_far)
        if not conversation.in_full:
            return
        try:
            kept = await workflow.execute_activity_method(
                ConversationActivities.keep_conversation,
                KeepConversation(conversation=so_far, room=self.ledger.room_beside(json_bytes(self.request))),
                task_queue=self._queue(TaskQueue.AGENTS),
                summary="keep the conversation",
                start_to_close_timeout=timedelta(minutes=2),
                schedule_to_close_timeout=timedelta(minutes=10),
                heartbeat_timeout=timedelta(seconds=5),
                retry_policy=_CREATE_RETRIES,
            )
            conversation.start = read(kept)
        except (ActivityError, UnreadablePayload) as error:
            workflow.logger.warning("The conversation could not be put down: %s", error.__cause__ or error)

    # --- stopping ------------------------------------------------------------------------------------------------

    async def _cancel_at_provider(self, response_id: str, *, may_be_used: bool = False) -> ResponseRecord | None:
        """Tell the provider to stop, and record what it says the response has become; None: no answer.

        `may_be_used`: one that has completed anyway is recorded by whoever uses it.
        """
        try:
            answer = await workflow.execute_activity_method(
                ResponsesActivities.cancel_response,
                CancelResponse(
                    response_id=response_id,
                    keep=self.ledger.keep,
                    save_whole_text=self.request.save,
                    prices=rules.run_prices(self.request),
                    reserved=self._reserved,
                ),
                task_queue=self._queue(TaskQueue.AGENTS),
                summary=summary(f"cancel {response_id}"),
                start_to_close_timeout=timedelta(seconds=90),  # it gives up by itself before that
                schedule_to_close_timeout=timedelta(hours=1),  # while there is no worker
                heartbeat_timeout=timedelta(seconds=5),
                retry_policy=_CANCEL_RETRIES,
            )
            response = read(answer)
        except (ActivityError, UnreadablePayload) as error:
            workflow.logger.warning("%s may still run at the provider: %s", response_id, error.__cause__ or error)
            self.ledger.response_left(response_id)
            return None
        is_used = may_be_used and response.status == ResponseStatus.COMPLETED
        if not (is_used and workflow.patched(_USED_PATCH)):  # such runs have counted it twice
            self._record(response)
        return response

    async def _given_up(self, response_id: str, error: ActivityError) -> ResponseRecord:
        """Stop a response that cannot be waited for; one that has completed anyway is used. Raises `RunFailed`."""
        ended = await self._leave(response_id, may_be_used=True)
        if ended is not None and ended.status == ResponseStatus.COMPLETED:
            return ended
        raise RunFailed(activity_errors.error_of(error)) from error

    async def _leave(self, response_id: str, *, may_be_used: bool = False) -> ResponseRecord | None:
        """Stop a response that nobody will follow any more. `may_be_used` as in `_cancel_at_provider()`."""
        if workflow.patched(_LEAVE_PATCH):
            return await self._cancel_at_provider(response_id, may_be_used=may_be_used)
        self.ledger.response_lost(response_id)
        return None

    async def _after_failed_create(self, error: ActivityError, creates: CreateHistory) -> None:
        """Note what became of the create, and return when the response is to be created again."""
        if self._goes_on_without_background(error):
            return
        if (over := activity_errors.detail_of(error).over_budget) is not None and not self.stop.requested:
            await (self.budget.of_tenant_raised(over.tenant, over) if over.tenant else self.budget.raised(over))
            self._check_history()
            return
        detail, failure = activity_errors.detail_of(error), activity_errors.failure_type_of(error)
        response_id = detail.response_id
        self.ledger.may_cost(_most_of(error))
        decision = creates.after(failure, self.request.on_ambiguous_create, response_id)
        if failure is FailureType.CREATE_AMBIGUOUS or detail.may_still_run:
            self.ledger.create_ambiguous(_most_of(error))
        if failure is FailureType.RESPONSE_LOST:
            self.ledger.response_lost(response_id, _most_of(error))
        if decision is AfterFailedCreate.CREATE_WITH_FULL_INPUT:
            self.ledger.send_all()
        self.changed()
        out_of_time = activity_errors.ran_out_of_time(error) or failure is FailureType.DEADLINE_PASSED
        if decision is AfterFailedCreate.FAIL and not (self.stop.requested or out_of_time):
            refused, retry_after = activity_errors.error_of(error), activity_errors.detail_of(error).retry_after
            if await self._goes_on_after(refused, retry_after, is_under_way=creates.interrupted is not None):
                return
        if creates.interrupted and (self.stop.requested or out_of_time or decision is AfterFailedCreate.FAIL):
            await self._leave(creates.interrupted)
        if self.stop.requested:
            raise Stopped from error
        if out_of_time:
            raise DeadlinePassed from error
        if decision is AfterFailedCreate.FAIL:
            raise RunFailed(activity_errors.error_of(error)) from error
        if failure is FailureType.TRY_LATER:
            pause = activity_errors.delay_asked_for(error) or timedelta(seconds=creates.pause)
            why = activity_errors.error_of(error).message
            await self._pause(pause, "the provider did not take the create", creates.turned_away, why)

    async def _goes_on_after(self, error: AgentError, retry_after: float | None, *, is_under_way: bool = False) -> bool:
        """Whether a run that the provider refused goes on, once its owner, or the time, has mended that.

        Raises `Stopped`, `DeadlinePassed`, `HistoryFull`.
        """
        if not rules.is_refusal(error) and not _is_too_long(error.code, error.message):
            return False
        if not rules.waits_for_owner(self.request.on_refusal, self.ledger.responses, is_under_way=is_under_way):
            return False
        if not workflow.patched(_REFUSAL_PATCH):  # such runs have failed
            return False
        if exceeds_window(error.code, error.message) and not (
            workflow.patched(_WINDOW_PATCH) and _is_too_long(error.code, error.message)
        ):
            return False
        after = rules.resumes_after(retry_after, self._resumed)
        asked = self.requests.open(
            InputRequestKind.REFUSAL,
            f"The provider refuses to go on: {error.message} Answer {RETRY} when that is mended, or {STOP}.",
            (RETRY, STOP),
            error=rules.fit_error(error),
            resume_at=workflow.now() + timedelta(seconds=after) if after else None,
        )
        closed = await self.requests.closed(asked)
        if closed.answer == STOP:
            return False
        self._resumed = self._resumed + 1 if closed.status is InputRequestStatus.RESUMED else 0
        if not is_under_way:
            self._check_history()
        return True

    def _check_history(self) -> None:
        """Raise `HistoryFull` where the run has waited so often that it is to continue in a new one."""
        if workflow.info().is_continue_as_new_suggested() and self.ledger.fits_beside(json_bytes(self.request)):
            raise HistoryFull

    def _goes_on_without_background(self, error: ActivityError) -> bool:
        """Whether nothing was created because the server has no background, and the choice is ours: then by stream."""
        lacks_it = activity_errors.detail_of(error).code == NO_BACKGROUND and not self.ledger.no_background
        if not lacks_it or self.request.transport is not TransportChoice.AUTO or self.stop.requested:
            return False
        self.ledger.no_background = True
        self.ledger.changed_request("the transport is stream: the server has no background responses")
        self.changed()
        return True

    async def _pause(self, pause: timedelta, what: str, attempt: int, cause: str | None) -> None:
        """Wait before a create is sent again. Raises `Stopped`, `DeadlinePassed`."""
        left = time_left(self.ledger.deadline)
        self.ledger.waits(what, attempt, cause, workflow.now(), workflow.now() + pause)
        self.changed()
        try:
            await workflow.wait_condition(
                lambda: self.stop.requested,
                timeout=min(pause, left or pause),
                timeout_summary=what,
            )
        except TimeoutError:
            return
        raise Stopped

    def _record(self, response: ResponseRecord) -> None:
        if self._is_compacting:
            self.ledger.compaction_ended(response)
        else:
            self.ledger.response_ended(response)
            self.files.response_ended(response)
        self.ledger.told_by_worker(response)
        self.changed()

    def _queue(self, queue: TaskQueue) -> str:
        return queue.under(workflow.info().task_queue)


def _is_too_long(code: str | None, message: str | None) -> bool:
    """Whether the conversation is longer than the model's window, in whatever words the server says so."""
    if exceeds_window_by_its_name(code, message):
        return True
    if exceeds_window(code, message):
        return workflow.patched(_WORDS_PATCH)
    return exceeds_window_in_other_words(code, message) and workflow.patched(_OTHER_WORDS_PATCH)


def _most_of(error: ActivityError) -> Most:
    """What the response of a failed create may have cost."""
    detail = activity_errors.detail_of(error)
    return Most(detail.at_most, detail.most_tokens)


def _step(verb: str, create: CreateResponse) -> str:
    if create.compacts:
        return "compact the conversation"
    again = f", attempt {create.attempt}" if create.attempt > 1 else ""
    return f"{verb} response {create.iteration}{again}"


def _adopted(error: ActivityError) -> CreatedResponse:
    """The response of a create whose worker died after it had told us the id. Raises the error where there is none."""
    heartbeat = activity_errors.last_heartbeat_of(error)
    if heartbeat is None or heartbeat.response_id is None:
        raise error
    return CreatedResponse(response_id=heartbeat.response_id, status=heartbeat.response_status or ResponseStatus.QUEUED)


async def _let_end(handle: ActivityHandle[Any]) -> None:
    """Let a wait end that `cancel_response` has woken; on another worker it learns of the cancel by its heartbeat."""
    try:
        await workflow.wait_condition(handle.done, timeout=_LET_THE_WAIT_END, timeout_summary="the wait is ending")
    except TimeoutError:
        handle.cancel()
