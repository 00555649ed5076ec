"""What a run remembers: its state, what each response cost, what the model has said and called.

Plain Python, kept by the workflow and carried over continue-as-new. It answers the `progress` query and becomes the
result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, Field, PrivateAttr

from durable_responses.activities.conversation_items import START, after, encoded, output_items, own_items
from durable_responses.activities.messages import (
    PREVIEW_CHARACTERS,
    Conversation,
    ConversationPoint,
    ConversationStart,
    CreatedResponse,
    CreateResponse,
    Keep,
    McpSession,
    PinnedTool,
    ProgressReport,
    ResponseCost,
    ResponseRecord,
    SavedFile,
    Waiting,
)
from durable_responses.json_text import cut, json_bytes
from durable_responses.responses_api.models import CallAnswer, FunctionCall, Response, ResponseStatus, Usage
from durable_responses.workflows import compaction, rules
from durable_responses.workflows.compaction import COMPACTION
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentState,
    AgentStatus,
    AgentUsage,
    CallRecord,
    CallStatus,
    Compaction,
    ConversationChoice,
    OnLimit,
    ResponseUsage,
    RunCost,
)
from durable_responses.workflows.costs import added, plus, sum_of

_SHOWN_CALLS = 100
_CARRIED_TEXT = 64 * 1024  # bytes
_SHORTEST_TEXT = 100  # bytes
_MOST_CHANGES = 20
_MOST_FILES = 200
_MOST_FILE_BYTES = 1024**3
_MORE = "more files"
_LONGEST_NAME = 200  # characters of what is only shown
LOST = "lost"
MAY_STILL_RUN = "may_still_run"
SUPERSEDED = "superseded"
AMBIGUOUS = "ambiguous"
TOO_LARGE = "has items that are too large to be sent again"
NOT_KNOWN = "came in a way in which its items are not known"
IN_FULL = "the whole conversation is sent with each request, as it does not continue from previous_response_id"


def usage_of(usage: Usage | None) -> AgentUsage:
    """A response's usage in our flat form; total = input + output, whatever the provider adds up."""
    if usage is None:
        return AgentUsage()
    return AgentUsage(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.input_tokens_details.cached_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.output_tokens_details.reasoning_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
    )


def add_usage(left: AgentUsage, right: AgentUsage) -> AgentUsage:
    """The sum, field by field."""
    return AgentUsage(**{name: getattr(left, name) + getattr(right, name) for name in AgentUsage.model_fields})


@dataclass(frozen=True)
class Most:
    """What a response may cost at most, in USD and in tokens; None where that is not known."""

    usd: float | None = None
    tokens: int | None = None


class ConversationSoFar(BaseModel):
    """How far a run's conversation has come; its items are in the run's histories.

    `after`: the response whose output are the last items. `in_full`: all of it is sent with each create; `store`: the
    provider is to keep the responses all the same. `lost`: why it cannot be sent any more. `start`: for a new
    history, where the items before it are. `compacted` and `opens_with` as in `Conversation`; `begins_anew`: no
    response continues from the compaction yet.
    """

    point: ConversationPoint = ConversationPoint()
    after: str | None = None
    in_full: bool = False
    store: bool = True
    lost: str | None = None
    start: ConversationStart | None = None
    compacted: str | None = None
    opens_with: int | None = None
    begins_anew: bool = False

    def told(self, *, chained: bool = False) -> Conversation:
        """What a create is told of it; `chained`: it continues from `after` by its id."""
        return Conversation(
            before=self.point,
            after=None if chained else self.after,
            in_full=self.in_full or self.begins_anew or None,
            store=None if self.store else False,
            compacted=self.compacted,
            opens_with=self.opens_with,
        )


class Ledger(BaseModel):
    """The memory of one run.

    `text_before`: the tail of the text of earlier responses. `chain`: the responses of this run that were continued
    from, or can be, in order. `answers`: what the next create carries. `socket_queue`: the worker-specific task queue
    of the worker that holds the run's WebSocket, `connection` the one that its last turn went over. `texts` and
    `texts_received` are the steering messages, as histories name them; `workflows.steering` keeps them. `last_text`:
    after a continue-as-new, the text of the last response before it. `most_calls`: how many calls of one response are
    executed, where a worker has said another number than the usual one. `conversation`: None where the run does not
    know its own. `asks_at`: when the owner is asked for more time, in place of a deadline. `answer_within`: the seconds
    that the run waits for its owner. `requests_opened` counts the input requests, `times_asked` how often any of them
    was asked, `repeats` the answers that were given again.
    """

    state: AgentState
    deadline: datetime | None = None
    text_before: str = ""
    responses: list[ResponseUsage] = []
    chain: list[str] = []
    answers: list[CallAnswer] = []
    socket_queue: str | None = None
    connection: str | None = None
    texts: dict[str, str] = {}
    texts_received: int = 0
    search_attributes: bool = Field(False, description="Whether a worker has said that the namespace has ours.")
    last_text: str = ""
    most_calls: int | None = None
    approvals: bool = Field(False, description="Whether a worker has said that it has approval rules.")
    conversation: ConversationSoFar | None = None
    asks_at: datetime | None = None
    answer_within: float | None = None
    requests_opened: int = 0
    times_asked: int = 0
    repeats: int = 0
    keeps_outputs: bool = Field(False, description="Whether a worker keeps an answer of a tool that was too long.")
    keeps_images: bool = Field(False, description="Whether a worker keeps images that the model is shown.")
    in_iteration: bool = Field(False, description="Whether the iteration under way has no response yet.")
    no_background: bool = Field(False, description="Whether the server was found to have no background responses.")
    context_window: int | None = Field(None, description="The tokens of the model's window, as a worker has said.")
    context_tokens: int | None = Field(None, description="Those that the conversation has come to, where known.")
    carried_tokens: int | None = Field(None, description="The most of them that the next response is given.")
    compacted: str | None = Field(None, description="The latest compaction, which the run goes on from.")
    no_trigger: bool = Field(False, description="Whether no create of this run is made a compaction by its input.")
    mcp_tools: list[PinnedTool] | None = Field(None, description="Tools of MCP servers, as the run began with them.")
    mcp_sessions: dict[str, McpSession] | None = Field(None, description="Those that the run has, where not shared.")
    hosted_servers: dict[str, list[str]] | None = Field(None, description="MCP servers that the provider speaks to.")
    no_compaction: bool = Field(False, description="Whether the provider was found not to compact at all.")
    saved_files: dict[str, SavedFile] = Field({}, description="Files of the provider's tools, by their marks.")
    budget_warned: bool = Field(False, description="Whether the model was told that the budget is nearly spent.")
    budget_waived: bool = Field(False, description="Whether the next response may cost whatever it does.")
    usd_set_aside: float = Field(0, description="Of the budget, for what has no price, and no bound in `responses`.")
    tokens_set_aside: int = Field(0, description="Of the budget, for responses whose tokens are not known.")
    _steering_queue: str | None = PrivateAttr(None)
    _last: Response | None = PrivateAttr(None)
    _text_before_last: str = PrivateAttr("")
    _works_since: datetime | None = PrivateAttr(None)
    _at_work: int = PrivateAttr(0)
    _most: Most | None = PrivateAttr(None)

    def begin(self, request: AgentInput, now: datetime) -> None:
        """The run starts."""
        deadline = rules.absolute_deadline(request, now)
        if request.on_deadline is OnLimit.ASK:
            self.asks_at = deadline
        else:
            self.deadline = deadline
        self.answer_within = request.answer_within
        self.state.budget = request.budget
        self.state.max_iterations = rules.max_iterations_for(request)
        self.state.model = request.model
        self.state.started_at = now
        if request.conversation is not ConversationChoice.SERVER and request.previous_response_id is None:
            in_full = request.conversation is ConversationChoice.FULL
            self.conversation = ConversationSoFar(in_full=in_full, store=not in_full)
            self.state.in_full = in_full
        self.state.deadline = deadline

    def begin_iteration(self) -> None:
        """A further response is wanted; the one before stays shown until its id is known."""
        if not self.in_iteration:  # as it is where a new history took over in the middle of one
            self.state.iteration += 1
            self.in_iteration = True

    def iteration_ended(self) -> None:
        """The iteration has its response, which was given the answers to the calls of the one before."""
        self.in_iteration = False
        self.answers = []

    @property
    def mcp_hashes(self) -> dict[str, dict[str, str]] | None:
        """What a create is told of the tools of MCP servers; None where there are none."""
        hashes: dict[str, dict[str, str]] = {}
        for each in self.mcp_tools or []:
            hashes.setdefault(each.server, {})[each.tool] = each.hash
        return hashes or None

    def mcp_session(self, name: str) -> McpSession | None:
        """The session for calls of a tool, where the run has one of its own."""
        tool = self.mcp_tool(name) if self.mcp_sessions else None
        return (self.mcp_sessions or {}).get(tool.server) if tool else None

    def mcp_session_is(self, name: str, session: McpSession) -> None:
        """The session for calls of a tool, and of the others of its server, from now on."""
        if (tool := self.mcp_tool(name)) is not None:
            self.mcp_sessions = {**(self.mcp_sessions or {}), tool.server: session}

    def mcp_tool(self, name: str) -> PinnedTool | None:
        """The tool of an MCP server that the model calls by this name."""
        return next((each for each in self.mcp_tools or [] if each.name == name), None)

    @property
    def iterations_left(self) -> int:
        """How many more responses the run may have."""
        return self.state.max_iterations - self.state.iteration

    def response_created(self, response_id: str, status: str, model: str | None) -> None:
        """The provider has taken the request: the run is no longer queued."""
        if self.state.status is not AgentStatus.INPUT_REQUIRED:
            self.state.status = AgentStatus.RUNNING
        self.state.waiting = None
        if response_id != self.state.response_id:  # what another one may cost says nothing of it
            self._most = None
        self.state.response_id = response_id
        self.state.response_status = status[:_LONGEST_NAME]
        self.state.model = (model or self.state.model or "")[:_LONGEST_NAME] or None

    def told_by_worker(self, obtained: CreatedResponse | ResponseRecord) -> None:
        """What a worker says of itself beside a response: it holds from now on."""
        if isinstance(obtained, CreatedResponse) or obtained.at_most is not None or obtained.is_finished:
            self.may_cost(Most(obtained.at_most, obtained.most_tokens))
        if obtained.at_most is not None:
            self._bound(obtained.at_most)
        self.search_attributes |= obtained.search_attributes or False
        self.most_calls = obtained.most_calls or self.most_calls
        self.approvals |= obtained.approvals or False
        self.context_window = obtained.context_window or self.context_window
        for change in obtained.changes or []:
            self.changed_request(change)
        if obtained.chains is False:
            self.send_all()

    def changed_request(self, change: str) -> None:
        """Something of what is sent is not as it was asked for."""
        if change not in self.state.request_changes and len(self.state.request_changes) < _MOST_CHANGES:
            self.state.request_changes.append(change[:_LONGEST_NAME])

    def progress_reported(self, report: ProgressReport) -> None:
        """An activity told what a running response has written so far. A report that comes after its end is void."""
        if any(entry.response_id == report.response_id for entry in self.responses):
            return
        if report.response_id is not None and report.response_id != self.state.response_id:
            self.response_created(report.response_id, report.response_status or "in_progress", None)
        if report.response_status is not None:
            self.state.response_status = report.response_status[:_LONGEST_NAME]
        self.state.waiting = rules.fit_waiting(report.waiting) if report.waiting else None
        if report.queue is not None:
            self._steering_queue = report.queue
        if report.preview is not None:
            self._show(report.preview)

    def waits(self, what: str, attempt: int, cause: str | None, now: datetime, next_at: datetime) -> None:
        """The run itself waits for something that is not its response."""
        before = self.state.waiting
        since = before.since if before else now
        waiting = Waiting(what=what, since=since, attempt=attempt, next_at=next_at, cause=cause)
        self.state.waiting = rules.fit_waiting(waiting)

    def waits_quietly(self, what: str, now: datetime) -> None:
        """The same, where nothing has failed; what is known to have failed stays shown."""
        if self.state.waiting is None:
            self.state.waiting = Waiting(what=what, since=now, attempt=0)

    @property
    def steering_queue(self) -> str | None:
        """The task queue that steering messages for the response under way go to; None if no worker takes any."""
        return self._steering_queue

    def turn_ended(self) -> None:
        """No turn is under way: steering messages can no longer be sent into it."""
        self._steering_queue = None

    def response_ended(self, response: Response) -> None:
        """Record what a response cost and said, whatever its end."""
        waiting = None if response.is_finished else self.state.waiting  # the deadline passed meanwhile
        self.response_created(response.id, response.status, response.model or None)
        self.state.waiting = waiting
        self._last = response
        self._record_response(response, response.status)
        if rules.may_be_continued(response):
            self.chain.append(response.id)
        self._text_before_last = self.text_before
        self._show(response.all_text)
        if response.status != ResponseStatus.FAILED:  # which may be created again
            self.text_before = self.state.preview

    @property
    def whole_text(self) -> str | None:
        """The file that holds all of the last response's text, where history had no room for it."""
        return self._last.whole_text if isinstance(self._last, ResponseRecord) else None

    # --- files of the provider's tools ----------------------------------------------------------------------------

    def files_saved(self, files: Mapping[str, SavedFile]) -> None:
        """What has become of files that the provider's tools have made. The list has an end, and says so."""
        for mark, file in files.items():
            if mark in self.saved_files or len(self.saved_files) < _MOST_FILES:
                self.saved_files[mark] = file
            else:
                self.saved_files[_MORE] = SavedFile(name=_MORE, error=f"At most {_MOST_FILES} files are listed.")

    @property
    def files_left(self) -> int:
        """How many more files the run may save."""
        return max(_MOST_FILES - len(self.saved_files), 0)

    @property
    def bytes_left(self) -> int:
        """How many more bytes these may have."""
        return max(_MOST_FILE_BYTES - sum(file.bytes or 0 for file in self.saved_files.values()), 0)

    # --- the conversation ------------------------------------------------------------------------------------------

    @property
    def sends_all(self) -> bool:
        """Whether each create carries the whole conversation."""
        return self.conversation is not None and self.conversation.in_full

    @property
    def keep(self) -> Keep | None:
        """What history keeps of a response's output."""
        if self.conversation is None:
            return None
        return Keep.ALL if self.conversation.in_full else Keep.SOME

    def send_all(self) -> None:
        """From now on each create carries the whole conversation, where the run knows it."""
        if self.conversation is not None:
            self.conversation.in_full = self.state.in_full = True

    def conversation_grew(self, create: CreateResponse, response: ResponseRecord) -> None:
        """The run continues with the response to this create, if at all."""
        so_far = self.conversation
        if so_far is None:
            return
        given = response.conversation
        so_far.begins_anew = False
        if create.opening is None:
            given = after(so_far.point, map(encoded, own_items(create)))
        if given is not None and response.replayable:
            so_far.point, so_far.after = after(given, map(encoded, output_items(response))), response.id
        elif so_far.in_full:
            so_far.lost = f"{response.id} {TOO_LARGE if response.replayable is False else NOT_KNOWN}"
        else:
            self.conversation = None

    # --- its compactions -------------------------------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether there is a response, or a compaction, that the next create goes on from."""
        return bool(self.chain) or self.compacted is not None

    def compaction_ended(self, response: ResponseRecord) -> None:
        """Record what a compaction cost, or what was meant to be one: it is neither an iteration nor an answer."""
        status = COMPACTION if compaction.is_compaction(response) else response.status
        self._record_response(response, status)
        self.state.waiting = None

    def begins_anew_with(self, compacted: ResponseRecord) -> None:
        """From now on the conversation is what a compaction has made of it, with the answers that it was given."""
        before = self.conversation or ConversationSoFar()
        point = compacted.kept.point if compacted.kept else after(START, map(encoded, output_items(compacted)))
        self.conversation = ConversationSoFar(
            point=point,
            after=compacted.id,
            in_full=before.in_full,
            store=before.store,
            compacted=compacted.id,
            opens_with=point.count,
            begins_anew=True,
        )
        self.chain, self.answers, self.compacted = [], [], compacted.id
        left = compacted.usage.output_tokens if compacted.usage else None
        happened = Compaction(iteration=self.state.iteration, tokens_before=self.context_tokens, tokens_after=left)
        self.state.compactions = [*self.state.compactions, happened][-_MOST_CHANGES:]
        self.context_tokens = self.carried_tokens = None

    def superseded(self, response_id: str) -> None:
        """A response is not used, and nothing is chained from it: another one is created in its place."""
        self.unchain(response_id)
        for entry in reversed(self.responses):
            if entry.response_id == response_id:
                entry.status = SUPERSEDED
                self.state.cost = sum_of(self.responses)
                break
        self._last = None
        self.text_before = self._text_before_last
        self.state.preview = self.text_before

    def unchain(self, response_id: str) -> None:
        """The next response does not continue from this one, although it could."""
        if self.chain and self.chain[-1] == response_id:  # an earlier one may have the same id
            self.chain.pop()

    def response_lost(self, response_id: str | None, most: Most | None = None) -> None:
        """A response whose outcome cannot be known: it may have cost tokens that nobody told us of."""
        self._record_unknown(response_id, LOST, most or self._most_of(response_id))

    def create_ambiguous(self, most: Most) -> None:
        """A create of which nobody knows whether it was taken, and which then costs so much at most."""
        self.state.ambiguous_creates += 1
        self._record_unknown(None, AMBIGUOUS, most)

    def response_left(self, response_id: str | None) -> None:
        """A response that could not be stopped: it may cost more than is known."""
        self._record_unknown(response_id, MAY_STILL_RUN, self._most_of(response_id))

    def may_cost(self, most: Most) -> None:
        """The response under way may cost so much."""
        self._most = most

    def _record_unknown(self, response_id: str | None, status: str, most: Most) -> None:
        self._record_usage(response_id, status, AgentUsage(), at_most=most.usd)
        self.tokens_set_aside += most.tokens or 0

    def _record_response(self, response: Response, status: str) -> None:
        """Record what a response cost. Where that is not known, the budget of the run bears what it may have cost."""
        usage, cost = usage_of(response.usage), response.cost if isinstance(response, ResponseRecord) else None
        most = self._most_of(response.id)
        told = Most(response.at_most, response.most_tokens) if isinstance(response, ResponseRecord) else Most()
        if told != Most():
            most = told
        known = cost.known or 0 if cost is not None else 0
        is_uncounted = cost is not None and cost.uncounted is True
        at_most = most.usd if is_uncounted and most.usd is not None and most.usd >= known else None
        self._record_usage(response.id, status, usage, cost, at_most)
        if cost is not None and cost.usd is None and at_most is None:
            self.usd_set_aside = added(self.usd_set_aside, max(0.0, (most.usd or 0) - known))
        if response.usage is None or is_uncounted:
            self.tokens_set_aside += max(0, (most.tokens or 0) - usage.total_tokens)

    @property
    def has_prices(self) -> bool:
        """Whether what the next response may cost is of use to anybody."""
        return self.state.budget is not None or (self.state.cost is not None and self.state.cost.known > 0)

    @property
    def lacks_a_bound(self) -> bool:
        """Whether there is a create of this iteration of which not even the most is known that it may have cost."""
        return any(map(self._is_without_bound, self.responses))

    def _bound(self, at_most: float) -> None:
        """A create like those of this iteration of which nobody knows may cost so much at most: so may they."""
        for entry in filter(self._is_without_bound, self.responses):
            entry.at_most = at_most
            self.state.cost = sum_of(self.responses)

    def _is_without_bound(self, entry: ResponseUsage) -> bool:
        is_unknown = entry.status in (AMBIGUOUS, LOST) and entry.cost is None and entry.at_most is None
        return is_unknown and entry.iteration == self.state.iteration

    def _most_of(self, response_id: str | None) -> Most:
        return self._most or Most() if response_id == self.state.response_id else Most()

    # --- the time that it works --------------------------------------------------------------------------------------

    def work_began(self, now: datetime) -> None:
        """A response or a tool runs from now on; several may at once."""
        self._at_work += 1
        if self._at_work == 1:
            self._works_since = now

    def work_ended(self, now: datetime) -> None:
        """One of them has ended."""
        self._at_work -= 1
        if self._at_work == 0 and self._works_since is not None:
            self.state.worked_seconds += max(0.0, (now - self._works_since).total_seconds())

    def calls_started(self, calls: list[FunctionCall]) -> list[CallRecord]:
        """The model's calls are being executed. Their records, in the same order."""
        started = [
            CallRecord(
                call_id=call.call_id[:_LONGEST_NAME],
                name=call.name[:_LONGEST_NAME],
                iteration=self.state.iteration,
                status=CallStatus.RUNNING,
            )
            for call in calls
        ]
        self.state.function_calls = [*self.state.function_calls, *started][-_SHOWN_CALLS:]
        return started

    def to_carry(self, beside: int) -> "Ledger":
        """What a new history is given, with `beside` bytes of input: all that decides, and what there is room for.

        A run that ends before its next response still has the last one's text.
        """
        text = self._last.output_text if self._last else self.last_text
        room = min(self.room_beside(beside), _CARRIED_TEXT)
        return self.model_copy(update={"last_text": cut(text, room) if room >= _SHORTEST_TEXT else ""})

    def fits_beside(self, size: int) -> bool:
        """Whether a new history can be given all that decides, with `size` bytes of input."""
        return self.room_beside(size) >= 0

    def room_beside(self, size: int) -> int:
        """The bytes that are left in what a new history is given, beside `size` bytes of input."""
        return rules.LARGEST_MESSAGE - size - json_bytes(self.model_copy(update={"last_text": ""}))

    def result(self) -> AgentResult:
        """The run's result so far; `output_text` is that of the last response, while the preview runs over all."""
        last = self._last
        return AgentResult(
            status=self.state.status,
            output_text=last.output_text if last else self.last_text,
            reasoning_summary=last.reasoning_summary if last else "",
            citations=last.citations if last else [],
            response_id=self.state.response_id,
            model=self.state.model,
            iterations=self.state.iteration,
            usage=self.state.usage,
            cost=self.state.cost,
            responses=self.responses,
            ambiguous_creates=self.state.ambiguous_creates,
            request_changes=self.state.request_changes,
            in_full=self.state.in_full,
            requests=self.state.input_requests,
            files=list(self.saved_files.values()),
            error=self.state.error,
        )

    def _record_usage(
        self,
        response_id: str | None,
        status: str,
        usage: AgentUsage,
        cost: ResponseCost | None = None,
        at_most: float | None = None,
    ) -> None:
        entry = ResponseUsage(
            response_id=response_id,
            iteration=self.state.iteration,
            status=status[:_LONGEST_NAME],
            cost=cost,
            at_most=at_most,
            **usage.model_dump(),
        )
        self.responses.append(entry)
        self.state.cost = plus(self.state.cost or RunCost(), entry)
        self.state.usage = add_usage(self.state.usage, usage)

    def _show(self, text_of_this_response: str) -> None:
        self.state.preview = (self.text_before + text_of_this_response)[-PREVIEW_CHARACTERS:]
