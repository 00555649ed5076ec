"""What travels between the workflow and its activities. Every byte here is stored in history: keep it small.

Models only ever widen: a new field has a default, none is removed, no set of values is narrowed, so that stored
histories keep replaying. No defaults computed at run time: the workflow sandbox would not see them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from durable_responses.pricing.rates import Billed, BudgetLine, Rates
from durable_responses.responses_api.models import (
    ANSWER_TOO_LARGE,
    CallAnswer,
    OutputItem,
    ReasoningEffort,
    Response,
    Truncation,
    Usage,
    Verbosity,
)
from durable_responses.tools.approvals import Action, Approvals
from durable_responses.tools.registry import Effect

M = TypeVar("M", bound=BaseModel)

PREVIEW_CHARACTERS = 4000
SIGNAL_PREVIEW_CHARACTERS = 500
MOST_CALLS = 128  # of one response; a worker's setting may be another
LARGEST_ANSWERS = 512 * 1024  # bytes of JSON, of the answers to all calls of a response
REPORT_PROGRESS = "report_progress"
NO_BACKGROUND = "no_background"
"""The code of the failure of a create whose server has no background responses. Nothing was created."""


class Record(BaseModel):
    """A message in history. Fields that are None cost no bytes."""

    model_config = ConfigDict(protected_namespaces=())

    @model_serializer(mode="wrap")
    def _without_nulls(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class CallersChoice(BaseModel):
    """What a caller gives. Null means the default: programs in many languages send it for what was not set."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: value for name, value in given.items() if value is not None or name not in optional}


class Transport(StrEnum):
    """How one response is obtained."""

    BACKGROUND = "background"
    STREAM = "stream"
    WEBSOCKET = "websocket"


class ActivityName(StrEnum):
    """The activity types as history knows them: each is the name of its method."""

    CREATE_RESPONSE = "create_response"
    AWAIT_RESPONSE = "await_response"
    CANCEL_RESPONSE = "cancel_response"
    STREAM_RESPONSE = "stream_response"
    WEBSOCKET_TURN = "websocket_turn"
    STEER_RESPONSE = "steer_response"
    CALL_TOOL = "call_tool"
    LIST_TOOLS = "list_tools"
    DECIDE_CALLS = "decide_calls"
    SAVE_ARTIFACT = "save_artifact"
    SAVE_FILES = "save_files"
    KEEP_CONVERSATION = "keep_conversation"
    COMPACT_CONVERSATION = "compact_conversation"
    CLOSED_RUNS = "closed_runs"


TRANSPORT_OF_ACTIVITY: Mapping[str, Transport] = {
    ActivityName.CREATE_RESPONSE: Transport.BACKGROUND,
    ActivityName.STREAM_RESPONSE: Transport.STREAM,
    ActivityName.WEBSOCKET_TURN: Transport.WEBSOCKET,
}
"""The activities that create a response, by their names: all take a `CreateResponse`."""


class CallerTool(Record):
    """A function tool that a program of the caller's executes: the one that serves `task_queue` with `call_tool`.

    `effect`: what approval rules take it to be; without one, whatever is the strictest.
    """

    model_config = ConfigDict(protected_namespaces=(), extra="forbid")

    name: str
    description: str = ""
    parameters: dict[str, Any]
    strict: bool = True
    task_queue: str = Field(min_length=1)
    effect: Effect | None = None


class ListTools(Record):
    """List the tools of MCP servers that a run is offered: of `servers`, those that `tools` chooses.

    `approvals`: the run's rules, against which no server may be offered whose calls nobody is asked about.
    """

    servers: list[str]
    tools: list[str] | None = None
    approvals: Approvals | None = None


class PinnedTool(Record):
    """A tool of an MCP server as it was when its run began: later it is that tool, or none.

    `name`: as the model calls it; `tool`: as its server does. `hash` is over all that the server says of it.
    `approval`: what holds where no rule is about a call. `strict`: False where the model is not held to the schema.
    """

    name: str
    server: str
    tool: str
    hash: str
    effect: Effect
    approval: Action
    strict: bool | None = None


class LeftOutTool(Record):
    """A tool that its server has, and that cannot be offered."""

    server: str
    tool: str
    reason: str


class McpSession(Record):
    """A session with an MCP server that only one run has. `queue`: that of the worker that holds it, if it lives."""

    id: str
    queue: str | None = None


class ListedTools(Record):
    """The tools of MCP servers that a run is offered. Of those that are left out, the first few.

    `hosted`: the servers that the provider speaks to, with the tools that are named, none for all. `sessions`: those
    that the run has with servers, where it does not share them.
    """

    tools: list[PinnedTool]
    left_out: list[LeftOutTool] | None = None
    hosted: dict[str, list[str]] | None = None
    sessions: dict[str, McpSession] | None = None


class ModelOptions(Record):
    """What every iteration of a run asks of the model: the fields of `AgentInput` with these names."""

    model_config = ConfigDict(protected_namespaces=(), extra="forbid")

    model: str | None = None
    instructions: str | None = None
    reasoning_effort: ReasoningEffort = ReasoningEffort.MEDIUM
    reasoning_summary: bool = False
    verbosity: Verbosity | None = None
    enable_web_search: bool = False
    enable_code_interpreter: bool = False
    tools: list[str] | None = None
    caller_tools: list[CallerTool] | None = None
    text_format: dict[str, Any] | None = None
    max_output_tokens: int | None = Field(None, ge=16)
    live_preview: bool = False
    metadata: dict[str, str] = Field({}, max_length=12)
    allow_questions: bool = False
    max_tool_calls: int | None = Field(None, ge=1)
    service_tier: str | None = Field(None, min_length=1, max_length=64)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    truncation: Truncation | None = None
    include: list[str] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = Field(None, max_length=128)
    parallel_tool_calls: bool | None = None
    tool_choice: str | dict[str, Any] | None = None
    hosted_tools: list[dict[str, Any]] | None = None
    extra_body: dict[str, Any] | None = None

    @model_serializer(mode="wrap")
    def _without_nulls(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """And without what is not asked for: every turn of a history holds these options."""
        return {
            name: value for name, value in serialize(self).items() if value is not None and not _is_unasked(name, value)
        }


def _is_unasked(name: str, value: object) -> bool:
    return value is False and ModelOptions.model_fields[name].default is False


class InputFile(CallersChoice):
    """A file that the model is given with the task."""

    model_config = ConfigDict(extra="forbid")

    path: str
    label: str | None = None


class Opening(Record):
    """The first input of a run. Carries paths, not contents: file bytes never enter history."""

    task: str | list[Any]
    context: str | None = None
    files: list[InputFile] = []
    files_root: str | None = None


class FailureType(StrEnum):
    """The `type` of every `ApplicationError` that an activity raises: what the workflow decides by."""

    TRY_LATER = "try_later"
    NO_ROOM = "no_room"
    MOVED = "moved"
    TURN_INTERRUPTED = "turn_interrupted"
    CREATE_AMBIGUOUS = "create_ambiguous"
    CHAIN_REJECTED = "chain_rejected"
    RESPONSE_LOST = "response_lost"
    RESPONSE_FAILED = "response_failed"
    INVALID_INPUT = "invalid_input"
    BAD_REQUEST = "bad_request"
    AUTHENTICATION_FAILED = "authentication_failed"
    QUOTA_EXHAUSTED = "quota_exhausted"
    NOT_FOUND = "not_found"
    UNSUPPORTED_BY_PROVIDER = "unsupported_by_provider"
    MALFORMED_ANSWER = "malformed_answer"
    ANSWER_TOO_LARGE = "answer_too_large"
    DEADLINE_PASSED = "deadline_passed"
    ARTIFACT_NOT_SAVED = "artifact_not_saved"
    ATTEMPT_OVER = "attempt_over"
    CONVERSATION_LOST = "conversation_lost"
    MCP_SERVER_FAILED = "mcp_server_failed"
    BUDGET_EXCEEDED = "budget_exceeded"


class TenantLine(Record):
    """How the budget of a tenant stands in its window, in USD or tokens: `held` is for responses under way."""

    tenant: str
    window: str
    ends_at: datetime
    limit: float
    spent: float
    held: float


class OverBudget(Record):
    """A response that is not created, because it may cost more than the run's budget has left in this line.

    `least`, `most`: what it costs, in USD or tokens; missing where that is not known, and `why` says why. `tenant`:
    where it is not the run's budget, but that of its tenant.
    """

    line: BudgetLine
    least: float | None = None
    most: float | None = None
    why: str | None = None
    tenant: TenantLine | None = None


class FailureDetail(Record):
    """The first detail of such an error: what the provider said.

    `may_still_run`: the request was sent, and nobody knows whether the provider works on it. `retry_after`: the seconds
    after which it may no longer be refused, where the provider says so. `at_most`, `most_tokens`: the USD and tokens
    that it may have cost, where nobody knows whether it was created. `over_budget`: why it was not.
    """

    code: str | None = None
    http_status: int | None = None
    request_id: str | None = None
    response_id: str | None = None
    may_still_run: bool | None = None
    retry_after: float | None = None
    at_most: float | None = None
    most_tokens: int | None = None
    over_budget: OverBudget | None = None


class ConversationPoint(Record):
    """A point that a conversation has come to: its items, their bytes as JSON, and a hash over all of them."""

    count: int = 0
    hash: str = ""
    size: int = 0


class Conversation(Record):
    """What was said before a create's own items, which are its opening, `new_items` and `texts`.

    `before`: how far the conversation had come; its last items are the output of the response `after`, in a create that
    continues from it those of `previous_response_id`. `in_full`: all of it is sent, instead of that id; `store` false:
    the provider is not to keep the response. The items themselves are in the histories of the run, once.

    `compacted`: the compaction that the conversation has begun anew with: its output are the first items, `opens_with`
    of them, and those before it are never sent again.
    """

    before: ConversationPoint
    after: str | None = None
    in_full: bool | None = None
    store: bool | None = None
    compacted: str | None = None
    opens_with: int | None = None


class ConversationStart(Record):
    """The conversation of a run that continues in a new history: where its items are.

    In `items`, else in pages with these hashes in the state folder, else in the history of the run before.
    """

    run_id: str
    conversation: Conversation
    items: list[Any] | None = None
    pages: list[str] = []


class KeptOutput(Record):
    """Where the output of a compaction is that a conversation begins anew with, which history does not hold.

    In pages with these hashes in the state folder, else at the provider, by the response's id. `point`: what the
    conversation has come to with it.
    """

    pages: list[str] | None = None
    point: ConversationPoint


class KeepConversation(Record):
    """Put the conversation of a run where its new history finds it: within `room` bytes, or beside it."""

    conversation: Conversation
    room: int


class RunPrices(Record):
    """What the cost of a run's responses depends on: prices of its own, and what it asks for that has a price.

    A response does not name the `completion_window` that was asked for.
    """

    rates: dict[str, Rates] | None = None
    tier: str | None = None
    completion_window: str | None = None


class ResponseCost(Record):
    """What a response has cost, in USD, as its worker found when it ended.

    `usd`: missing where part of it has no price; then `known` is the rest, and `unpriced` says why. `source`: where the
    prices are from. `tier`: the one that the response names, if it is
    not the default one. Calls of hosted tools, where there were any. `uncounted`: all that is not known is how many
    tokens are billed, so that it costs no more than was worked out before.
    """

    usd: float | None = None
    known: float | None = None
    unpriced: list[str] | None = None
    source: str | None = None
    tier: str | None = None
    web_searches: int | None = None
    file_searches: int | None = None
    code_interpreters: int | None = None
    images: int | None = None
    uncounted: bool | None = None


class Reserved(Record):
    """What is set aside for a response in the budgets of its tenant: under this key, in each of these."""

    key: str
    budgets: list[str]


class BudgetLeft(Record):
    """What the budget of a run has left, in USD and in tokens."""

    usd: float | None = None
    tokens: int | None = None


class CreateResponse(Record):
    """Ask for the next response of a run.

    `lost_response_id` and `warm_up` are for a WebSocket: a response to be read by its id before anything is
    created, and whether tools and instructions are sent ahead. `effort_asked`: whether the caller gave a reasoning
    effort, `transport_asked`: whether the caller chose the transport; older histories do not tell. `probes`:
    whether the run was refused and tries again by itself. `reads_outputs`: whether the tool `read_output` is
    offered. `manages_context`: whether the conversation is to be compacted before it is too long for the model,
    whose window has `context_window` tokens, where the caller says so. `compacts`: the response is to be a
    compaction, and nothing else. `carried_tokens`: those that the conversation before it has at most, where that is
    known; `budget`: what the response may cost, where the run has a budget; `tenant`: whom the run is for.
    `tells_most`: whether what the response may cost at most is told with it, for an earlier one of which nobody knows.
    """

    options: ModelOptions
    iteration: int
    attempt: int = 1
    opening: Opening | None = None
    new_items: list[CallAnswer] = []
    texts: list[str] = Field([], description="Messages of the user that came while the run was under way.")
    previous_response_id: str | None = None
    rebuild_from: list[str] = Field([], description="Stored responses to read back when the chain was refused.")
    deadline: datetime | None = None
    lost_response_id: str | None = None
    warm_up: bool = False
    effort_asked: bool = True
    transport_asked: bool | None = None
    save: "SaveOptions | None" = Field(None, description="Checked before the first response is paid for.")
    workspace: str | None = Field(
        None, description="Checked before the first response is paid for; later where images of tools are kept there."
    )
    save_whole_text: "SaveOptions | None" = Field(None, description="For a text that history has no room for.")
    conversation: Conversation | None = None
    probes: bool | None = None
    reads_outputs: bool | None = None
    manages_context: bool | None = None
    context_window: int | None = None
    compacts: bool | None = None
    prices: RunPrices | None = None
    mcp_tools: dict[str, dict[str, str]] | None = Field(
        None, description="The hashes of tools of MCP servers, by server and tool, as the run began with them."
    )
    hosted_servers: dict[str, list[str]] | None = Field(
        None, description="MCP servers that the provider speaks to, with the tools that are named, none for all."
    )
    carried_tokens: int | None = None
    budget: BudgetLeft | None = None
    tells_most: bool | None = None
    tenant: str | None = None

    @model_serializer(mode="wrap")
    def _without_empty_ones(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Every turn of a history holds one of these."""
        unsaid = {name for name in ("texts", "rebuild_from", "warm_up") if not getattr(self, name)}
        return {name: value for name, value in serialize(self).items() if value is not None and name not in unsaid}


class CompactConversation(Record):
    """Have a conversation compacted, with the items that this create adds to it."""

    create: CreateResponse


class Keep(StrEnum):
    """What history keeps of a response's output beside text and calls.

    `some`: what is small enough to be there in case that the chain breaks; `all`: whatever fits into a payload.
    """

    SOME = "some"
    ALL = "all"


class CitedFile(Record):
    """A file in a container that an answer cites. `name`: what the answer calls it."""

    container_id: str
    file_id: str
    name: str | None = None


class FilesAt(Record):
    """Where the files of a response are: in these containers, which end twenty minutes after their last use."""

    containers: list[str] = []
    cited: list[CitedFile] = []


class SavedFile(Record):
    """A file that one of the provider's tools has made, and where it is saved; or why it is not.

    `name`: the file's own; without any, the container's. `bytes`: its size.
    """

    name: str
    path: str | None = None
    bytes: int | None = None
    error: str | None = None


class ResponseRecord(Record, Response):
    """A response cut to what the loop needs: no echo of the request, no reasoning, no hosted tool's findings.

    `whole_text`: the file that holds all of the answer's text, where `output` does not. `uncut` is that text until the
    file is written, and never travels; nor does `billed`, what its `cost` is worked out from, nor `made`, the items
    that hold files, or tell of them, nor `compacted`, the whole output of a compaction. Where files are to be saved,
    `files` are the images, by their marks, which already are, and `files_at` is where the others are.

    Where the run knows its conversation, reasoning and findings are kept. Then `replayable` says whether the output can
    be given back to the model as it is here, and `conversation` how far it had come with the run's opening.
    `kept`: where the output of a compaction is, of which `output` then has the kinds alone; `is_compaction`: the
    endpoint that compacts has called it one, although none of its items stands for what was said before.
    `continues`: False where it was to continue from a response, and the provider named none; `chains`: False where the
    provider is known not to continue from any. `context_window`: the tokens of the model's window, where it is known.
    `at_most`, `most_tokens`: as in `CreatedResponse`, where the create asks for it, or what it used is not known.
    `reserved`: what is set aside for it, where it has not ended.
    """

    search_attributes: bool | None = None
    most_calls: int | None = None
    approvals: bool | None = None
    changes: list[str] | None = None
    whole_text: str | None = None
    uncut: str | None = Field(None, exclude=True)
    billed: Billed | None = Field(None, exclude=True)
    made: list[OutputItem] | None = Field(None, exclude=True)
    files: dict[str, SavedFile] | None = None
    files_at: FilesAt | None = None
    cost: ResponseCost | None = None
    replayable: bool | None = None
    conversation: ConversationPoint | None = None
    compacted: list[OutputItem] | None = Field(None, exclude=True)
    kept: KeptOutput | None = None
    is_compaction: bool | None = None
    continues: bool | None = None
    chains: bool | None = None
    context_window: int | None = None
    at_most: float | None = None
    most_tokens: int | None = None
    reserved: Reserved | None = None

    @property
    def is_too_large(self) -> bool:
        """Whether it has more than is taken in."""
        return self.incomplete_details is not None and self.incomplete_details.reason == ANSWER_TOO_LARGE


class CreatedResponse(Record):
    """The provider has taken the request.

    Also in `ResponseRecord`: `search_attributes`, whether the namespace has ours, as far as the worker knows, and
    `most_calls`, how many calls of a response are executed, where it is not the usual number; `approvals`, whether the
    worker has approval rules; `changes`, what of the request was changed because the provider had refused it.
    `finished`: the whole response, where the provider answered the create with it (servers without background do so):
    nothing needs to be waited for. `conversation`, `continues`, `chains` and `context_window` as in
    `ResponseRecord`. `at_most`: the USD that the response may cost, where that can be worked out. `most_tokens`: the
    tokens, where the run has a budget of them. `reserved`: what is set aside for it in the budgets of its tenant.
    """

    response_id: str
    status: str
    model: str | None = None
    search_attributes: bool | None = None
    most_calls: int | None = None
    approvals: bool | None = None
    changes: list[str] | None = None
    finished: ResponseRecord | None = None
    conversation: ConversationPoint | None = None
    continues: bool | None = None
    chains: bool | None = None
    context_window: int | None = None
    at_most: float | None = None
    most_tokens: int | None = None
    reserved: Reserved | None = None


def records_in(result: object) -> list[ResponseRecord]:
    """The responses that an activity has returned whole, in order; none where there is no more than an id."""
    match result:
        case WebSocketTurn():
            return [*result.superseded, result.response]
        case CreatedResponse(finished=ResponseRecord() as finished):
            return [finished]
        case ResponseRecord():
            return [result]
        case _:
            return []


class AwaitResponse(Record):
    """Wait until a response is finished, or until the deadline.

    `keep`: what of its output is kept; `chained`: the provider has not yet named the response that it continues from;
    `compacts`: it is to be a compaction, whose output is read again by its id.
    """

    response_id: str
    created_at: datetime
    deadline: datetime | None = None
    live_preview: bool = False
    save_whole_text: "SaveOptions | None" = None
    keep: Keep | None = None
    chained: bool | None = None
    compacts: bool | None = None
    prices: RunPrices | None = None
    reserved: Reserved | None = None


class CancelResponse(Record):
    """Stop a response at the provider. `keep`: what of its output is kept, if it has completed."""

    response_id: str
    keep: Keep | None = None
    save_whole_text: "SaveOptions | None" = None
    prices: RunPrices | None = None
    reserved: Reserved | None = None


class ServerQuestion(Record):
    """What an MCP server asks in the middle of a call. `fields`: a JSON schema of what it wants to know."""

    key: str
    message: str
    fields: dict[str, Any]
    url: str | None = None


class ServerQuestions(Record):
    """All that an MCP server asks before it answers a call; `state`: what it wants to have back with the answers.

    `held`: the call that waits for them, in the worker that alone serves the task queue `held_at`.
    """

    questions: list[ServerQuestion]
    state: str | None = None
    held: str | None = None
    held_at: str | None = None


class CallTool(Record):
    """Execute one function call of the model: the one at `position` in the output of a response.

    `largest_output`: bytes of JSON that the answer may have; `fair_output`: those with which all answers of the
    response fit, so that of one that is longer the ends are given, if it can be kept.
    `workspace`: the starter's; without one the worker's own is meant.
    `approvals`: the run's rules, beside which the worker has its own. `approved`: the hash of the call that the owner
    has allowed. `mcp`: the tool of an MCP server that is called; `answers`: to what that server has asked, by key, in
    the form of the protocol, and `state` is what it wanted to have back; `held`: the call that waits for them.
    `session`: the one that the run has with that server, where it does not share it.
    """

    call_id: str
    name: str
    arguments: str
    timeout: float
    allowed: list[str] | None = Field(None, description="The tools this run offers; all registered ones when None.")
    iteration: int | None = None
    position: int | None = None
    response_id: str | None = None
    largest_output: int | None = None
    fair_output: int | None = None
    workspace: str | None = None
    approvals: Approvals | None = None
    approved: str | None = None
    mcp: PinnedTool | None = None
    answers: dict[str, Any] | None = None
    state: str | None = None
    held: str | None = None
    session: str | None = None


class CallToDecide(Record):
    """A function call that approval rules are asked about. `is_callers`: a program of the caller's executes it.

    `is_hosted`: the provider makes it, by an MCP server; then it is asked about unless a rule says otherwise.
    `mcp`: the worker makes it, by an MCP server.
    """

    name: str
    arguments: str
    is_callers: bool | None = None
    is_hosted: bool | None = None
    effect: Effect | None = None
    mcp: PinnedTool | None = None


class DecideCalls(Record):
    """Decide about the calls of a response, by the worker's rules and `approvals`, those of the run."""

    calls: list[CallToDecide]
    allowed: list[str] | None = None
    approvals: Approvals | None = None


class Decision(Record):
    """What approval rules say of a call.

    `reason`: that of the rule. `output`: the call's answer, where it is not to run at all.
    """

    action: Action
    effect: Effect | None = None
    reason: str | None = None
    output: str | None = None


class Decisions(Record):
    """The decisions about calls, in their order."""

    decisions: list[Decision]


class ToolHeartbeat(Record):
    """The heartbeat details of a call that must not be made twice: this attempt makes it.

    `progress`: how far the call has come, as an MCP server says; for those who describe the run.
    """

    started: bool = True
    progress: str | None = None


class ToolOutcome(StrEnum):
    """How a function call ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class ToolResult(Record):
    """The answer to a function call: `output` is what the model reads, errors included.

    `decision`: nothing has run, because the owner has to be asked first. `kept`: the output is a part of one that the
    worker keeps, which the model may read on by `read_output`. `asks`: an MCP server wants answers first; then it is
    called again. `images`: the names of files that the worker keeps, which the model is shown beside the output.
    `session`: the one that the run has with an MCP server from now on.
    """

    call_id: str
    output: str
    outcome: ToolOutcome = ToolOutcome.SUCCEEDED
    decision: Decision | None = None
    kept: bool | None = None
    asks: ServerQuestions | None = None
    images: list[str] | None = None
    session: McpSession | None = None


class SteerStatus(StrEnum):
    """What has become of a steering message.

    `pending`: it waits, here or at the provider. `accepted`: the provider has put it into the response under way.
    `failed`: the provider refused it, or the run ended first. `next_input`: it is part of the next create's input.
    `unknown`: it was sent, and what became of it cannot be known; it is never sent again.
    """

    PENDING = "pending"
    ACCEPTED = "accepted"
    FAILED = "failed"
    NEXT_INPUT = "next_input"
    UNKNOWN = "unknown"


class SteerResponse(Record):
    """Send a steering message into the response that is under way over a WebSocket. `id` is ours."""

    id: str
    text: str


class SteerOutcome(Record):
    """What the provider says about such a message."""

    id: str
    status: SteerStatus
    reason: str | None = None


class WebSocketTurn(Record):
    """One turn over a WebSocket: its response, and where the next one finds the socket.

    `queue` and `connection` name the worker's own queue and the socket; None when the turn went over HTTP. `superseded`
    are the responses that a steering message ended early, in order; `response` is what the provider made of it then.
    """

    response: ResponseRecord
    queue: str | None = None
    connection: str | None = None
    superseded: list[ResponseRecord] = []
    steers: list[SteerOutcome] = []


RESULT_OF_ACTIVITY: Mapping[str, type[CreatedResponse] | type[ResponseRecord] | type[WebSocketTurn]] = {
    ActivityName.CREATE_RESPONSE: CreatedResponse,
    ActivityName.AWAIT_RESPONSE: ResponseRecord,
    ActivityName.CANCEL_RESPONSE: ResponseRecord,
    ActivityName.STREAM_RESPONSE: ResponseRecord,
    ActivityName.WEBSOCKET_TURN: WebSocketTurn,
    ActivityName.COMPACT_CONVERSATION: ResponseRecord,
}
"""What the activities return that obtain responses, by their names."""


class Waiting(Record):
    """What a run waits for that is not its response, since when, which try failed last and why, when the next one is.

    A clause for readers: "the provider is unreachable". `attempt` is 0 where nothing has failed.
    """

    what: str
    since: AwareDatetime
    attempt: int = 1
    next_at: AwareDatetime | None = None
    cause: str | None = None


class ProgressReport(Record):
    """What an activity tells the workflow while a response is under way (signal `report_progress`).

    `waiting`: it cannot be created or read for now; a report without it says that this is over.
    `queue`: where a worker that follows the response over a WebSocket takes steering messages for it.
    """

    response_id: str | None = None
    response_status: str | None = None
    preview: str | None = None
    queue: str | None = None
    waiting: Waiting | None = None


class CreatePhase(StrEnum):
    """How far a create has come, in its heartbeats. What a second attempt may do depends on it.

    `fetching`: the conversation is being put together; nothing was sent.
    """

    FETCHING = "fetching"
    POSTING = "posting"
    REJECTED = "rejected"
    CREATED = "created"


class HeartbeatDetails(ProgressReport):
    """The heartbeat details of creating and waiting: progress for those who describe the run, memory for a retry.

    `failed_reads`: how many GETs in a row have failed, the last one for the reason `read_error`. `at_most` and
    `most_tokens`: what the response may cost, which nobody can work out when this worker is lost.
    """

    phase: CreatePhase | None = None
    failed_reads: int | None = None
    read_error: str | None = None
    at_most: float | None = None
    most_tokens: int | None = None


def detail_as(kind: type[M], details: Sequence[object]) -> M | None:
    """The first detail of a failure or heartbeat, if it is such a message: people fail activities with their own."""
    try:
        return kind.model_validate(details[0]) if details else None
    except ValueError:
        return None


def failure_of_lost_create(heartbeat: HeartbeatDetails | None) -> FailureType:
    """The failure of a create that has one attempt only, and whose worker is gone.

    Without a heartbeat the request may have been sent anyway: heartbeats are throttled, and one on its way dies with
    the worker.
    """
    if heartbeat is not None and heartbeat.response_id is not None:
        return FailureType.TURN_INTERRUPTED
    if heartbeat is not None and heartbeat.phase in (CreatePhase.REJECTED, CreatePhase.FETCHING):
        return FailureType.TRY_LATER
    return FailureType.CREATE_AMBIGUOUS


class ArtifactFormat(StrEnum):
    """`standard`: task, summary, output and footer. `clean`: the text only."""

    STANDARD = "standard"
    CLEAN = "clean"


class SaveOptions(CallersChoice):
    """Where and how the result is saved as Markdown, and whether the files of the provider's tools are saved, too."""

    model_config = ConfigDict(extra="forbid")

    format: ArtifactFormat = ArtifactFormat.STANDARD
    folder: str | None = Field(None, description="Folder under the output root; `_gpt5_docs` if blank.")
    filename: str | None = None
    root: str | None = Field(None, description="Absolute output root of the starter; checked by the worker.")
    files: bool = Field(
        False, description="Save the files that the code interpreter makes, and images, in a folder beside the result."
    )

    @model_serializer(mode="wrap")
    def _as_older_workers_know_it(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if name != "files" or value}


class SaveArtifact(Record):
    """Save the result of a run. `whole_text`: the file with all of the text, where `output_text` was cut."""

    options: SaveOptions
    task: str
    reasoning_summary: str | None = None
    output_text: str
    response_id: str | None = None
    model: str | None = None
    iterations: int
    usage: Usage
    finished_at: datetime
    whole_text: str | None = None


class SavedArtifact(Record):
    """The file that holds the result."""

    path: str
    bytes: int


class SaveFiles(Record):
    """Save the files that a response has left in its containers.

    `known`: the marks of those that are saved already, which their names end in. `most_files`, `most_bytes`: what
    the run may still save.
    """

    options: SaveOptions
    response_id: str
    at: FilesAt
    known: list[str] = []
    most_files: int
    most_bytes: int


class SavedFiles(Record):
    """What has become of these files, by their marks; those that were known are left out."""

    files: dict[str, SavedFile] = {}
