"""The contract of an agent run: how to start one, what to send it, what it returns.

Start workflow type `AgentWorkflow` on task queue `agents` with one `AgentInput`; its workflow id is the job id.
Everything here is plain pydantic: a caller needs neither Temporal's SDK nor our workflow code to read it. Models only
ever widen (see `activities.messages`).
"""

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from durable_responses.activities.messages import (
    CallersChoice,
    CallerTool,
    InputFile,
    Record,
    ResponseCost,
    SavedFile,
    SaveOptions,
    SteerStatus,
    ToolOutcome,
    Waiting,
)
from durable_responses.pricing.rates import BudgetLine, Rates, not_a_truth
from durable_responses.responses_api.models import ReasoningEffort, Truncation, UrlCitation, Verbosity
from durable_responses.responses_api.request_fields import (
    hidden_from_budgets,
    problem_of_extra_body,
    problem_of_hosted_tool,
)
from durable_responses.tools.approvals import Approvals

WORKFLOW_TYPE = "AgentWorkflow"
PROGRESS_QUERY = "progress"
CANCEL_SIGNAL = "cancel"
STEER_SIGNAL = "steer"
RESPOND = "respond"
"""The name of an update, and of a signal: how an input request is answered."""
REFUSED_ANSWER = "refused_answer"
"""The type of the error with which an update `respond` is refused."""


class TaskQueue(StrEnum):
    """The task queues of a deployment, under the usual names."""

    AGENTS = "agents"
    CREATE = "agents-create"
    WAITING = "agents-waiting"
    TOOLS = "agents-tools"

    def under(self, base: str) -> str:
        """The queue's name in a deployment whose workflows are on `base` instead of `agents`."""
        return base + self.value.removeprefix("agents")


def agent_workflow_id() -> str:
    """A new job id: `agent-` and 128 random bits."""
    return f"agent-{secrets.token_hex(16)}"


class TransportChoice(StrEnum):
    """How responses are obtained; `auto` decides by effort and web search."""

    AUTO = "auto"
    BACKGROUND = "background"
    STREAM = "stream"
    WEBSOCKET = "websocket"


class ConversationChoice(StrEnum):
    """Who keeps the conversation: the server, from which each response continues, or the run, which sends all of it.

    `auto`: the server, as long as it shows that it does; else the run.
    """

    AUTO = "auto"
    SERVER = "server"
    FULL = "full"


class OnAmbiguousCreate(StrEnum):
    """What happens when it cannot be known whether the provider took a create."""

    RETRY_ONCE = "retry_once"
    FAIL = "fail"


class OnRefusal(StrEnum):
    """What happens when the provider refuses to go on: the quota is used up, the key is revoked, the model is gone.

    `auto`: the run waits for its owner once it has a response that would otherwise have been paid for in vain; before
    that it fails at once.
    """

    AUTO = "auto"
    PAUSE = "pause"
    FAIL = "fail"


class OnLimit(StrEnum):
    """What happens when a limit of the run is reached: it ends with what it has, or its owner may raise the limit."""

    STOP = "stop"
    ASK = "ask"


class CompactionChoice(StrEnum):
    """Whether a run has its conversation compacted before it is too long for the model.

    `auto`: where the size of the model's context window is known.
    """

    AUTO = "auto"
    OFF = "off"


class OnBudget(StrEnum):
    """What happens when the next response may cost more than the budget has left: the owner is asked, or it ends."""

    ASK = "ask"
    STOP = "stop"


class Budget(CallersChoice):
    """What a run may cost: USD, tokens of all its responses, seconds in which responses and tools run; one at least."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: float | None = Field(None, gt=0, le=1e6)
    tokens: int | None = Field(None, gt=0, le=10**12)
    working_seconds: float | None = Field(None, gt=0, le=31_536_000)
    warn_at: float = Field(0.8, gt=0, le=1)
    on_exceeded: OnBudget = OnBudget.ASK

    _are_numbers = field_validator("usd", "tokens", "working_seconds", "warn_at", mode="before")(not_a_truth)

    @model_validator(mode="after")
    def _has_a_line(self) -> "Budget":
        if self.usd is None and self.tokens is None and self.working_seconds is None:
            raise ValueError("needs usd, tokens or working_seconds")
        return self


class AgentInput(Record, CallersChoice):
    """The input of an agent run. Only `task` is required, null means the default; it can be typed as JSON."""

    model_config = ConfigDict(protected_namespaces=(), extra="forbid")

    # --- what to do
    task: str | list[dict[str, Any]] = Field(
        description="What to do: text, or Responses API input items.", min_length=1
    )
    context: str | None = Field(None, description="Background for the task.")
    files: list[InputFile] = Field([], description="Text files and images given to the model.")
    files_root: str | None = Field(None, description="Absolute folder that `files` are relative to.")
    workspace: str | None = Field(
        None, description="Absolute folder that the file tools work in; default: the worker's own."
    )
    previous_response_id: str | None = Field(
        None, description="A completed response, of an earlier run for instance, that this one continues from."
    )

    # --- the model. Each of these stands in `ModelOptions` too, which is built from it for every create.
    model: str | None = Field(None, description="Model name; default: the worker's AGENT_MODEL.")
    instructions: str | None = Field(None, description="Added to the default instructions.")
    reasoning_effort: ReasoningEffort = Field(
        ReasoningEffort.MEDIUM, description="How hard the model thinks: none, minimal, low, medium, high, xhigh or max."
    )
    reasoning_summary: bool = Field(False, description="Request a summary of the reasoning; it is part of the result.")
    verbosity: Verbosity | None = Field(None, description="How long the answer is: low, medium or high.")
    enable_web_search: bool = Field(False, description="Let the model search the web, at the provider.")
    enable_code_interpreter: bool = Field(False, description="Let the model run Python in the provider's sandbox.")
    tools: list[str] | None = Field(
        None,
        description="Names of function tools, and patterns of those of MCP servers (github.get_*); default: all "
        "registered ones, and all of the servers in mcp_servers.",
    )
    caller_tools: list[CallerTool] | None = Field(
        None,
        description="Function tools that the caller's own program executes: name, description, parameters (a JSON "
        "schema), and the task_queue that it serves with the activity `call_tool`.",
    )
    text_format: dict[str, Any] | None = Field(
        None, description="JSON schema of an object that the answer must follow, or a `text.format` of the API."
    )
    max_output_tokens: int | None = Field(None, ge=16, description="Tokens of one response, reasoning included.")
    max_tool_calls: int | None = Field(
        None, ge=1, description="Most calls of the provider's own tools in one response, all of them together."
    )
    service_tier: str | None = Field(
        None, min_length=1, max_length=64, description="How fast and at what price: auto, default, flex, priority."
    )
    temperature: float | None = Field(None, ge=0, le=2, description="Randomness, where the model takes it.")
    top_p: float | None = Field(None, ge=0, le=1, description="Share of the likeliest tokens that are drawn from.")
    truncation: Truncation | None = Field(
        None, description="auto: the provider drops the oldest items of a conversation that is too long; or disabled."
    )
    include: list[str] | None = Field(None, description="What else the provider is to return with each response.")
    prompt_cache_key: str | None = Field(None, description="Finds the prompt cache again; for runs that begin alike.")
    safety_identifier: str | None = Field(
        None, max_length=128, description="Stands for your user, so that the provider can tell users apart."
    )
    parallel_tool_calls: bool | None = Field(None, description="Whether one response may ask for several calls.")
    tool_choice: str | dict[str, Any] | None = Field(
        None,
        description="auto, none, required, or one tool as the API names it. What forces a call holds for the first "
        "response alone: the run would never end otherwise.",
    )
    hosted_tools: list[dict[str, Any]] | None = Field(
        None,
        description="Tools that run at the provider, as the API takes them: file_search, mcp, image_generation. "
        "`${NAME}` stands for a secret of the worker.",
    )
    extra_body: dict[str, Any] | None = Field(
        None, description="Further fields of each create, as they are. `${NAME}` stands for a secret of the worker."
    )
    mcp_servers: list[str] | None = Field(
        None, description="MCP servers of the worker whose tools the model gets; default: those that `tools` names."
    )
    live_preview: bool = Field(False, description="Follow a background response's text while it is written.")
    metadata: dict[str, str] = Field(
        {}, max_length=12, description="Sent with every response, beside the run's own keys; at most 12."
    )

    # --- limits
    max_iterations: int | None = Field(
        None, ge=1, le=1000, description="Most responses; default by effort: 5, 6, 8, 10 or 12."
    )
    deadline: float | None = Field(None, gt=0, description="Seconds for the whole run, at most 30 days (2592000).")
    tool_timeout: float = Field(
        300, gt=0, description="Seconds for one function call, at most 86400; a tool's own limit may be less."
    )

    # --- when the owner is asked, and the run waits
    approvals: Approvals | None = Field(
        None,
        description="Which function calls wait for your answer, or never run: a list of rules, each with tool, "
        "arguments, effect and action (allow, ask or deny), of which the first that fits counts; or ask, for all but "
        "pure tools. The worker's own rules count as well.",
    )
    allow_questions: bool = Field(False, description="Let the model ask you questions: it gets a tool `ask_owner`.")
    answer_within: float | None = Field(
        None,
        gt=0,
        description="Seconds that the run waits for your answer, at most 31536000; then a call is denied, a question "
        "has no answer, and a run that was refused or has reached a limit ends. Default: as long as it takes.",
    )
    on_refusal: OnRefusal = Field(
        OnRefusal.AUTO,
        description="If the provider refuses to go on (quota, key, model): pause until you respond, fail, or auto: "
        "pause once there is a response to lose.",
    )
    on_max_iterations: OnLimit = Field(OnLimit.STOP, description="At the last iteration: stop, or ask for more.")
    on_deadline: OnLimit = Field(OnLimit.STOP, description="At the deadline: stop, or ask for more time.")

    # --- how responses are obtained
    transport: TransportChoice = Field(
        TransportChoice.AUTO, description="auto (by effort and web search), background, stream or websocket."
    )
    conversation: ConversationChoice = Field(
        ConversationChoice.AUTO,
        description="Who keeps the conversation: server (each response continues from the one before), full (each "
        "request carries all of it, and nothing is stored), or auto: the server, unless it does not.",
    )
    compaction: CompactionChoice = Field(
        CompactionChoice.AUTO,
        description="auto: the conversation is compacted before it is too long for the model, if the size of its "
        "context window is known; off: the provider's refusal ends the run.",
    )
    context_window: int | None = Field(
        None, ge=4000, description="Tokens of the model's context window; default: as in the table of known models."
    )
    allow_websocket: bool = Field(
        False, description="Let `auto` take the WebSocket for runs with function tools that would stream otherwise."
    )
    warm_up: bool = Field(False, description="Send tools and instructions ahead, over a WebSocket only.")
    on_ambiguous_create: OnAmbiguousCreate = Field(
        OnAmbiguousCreate.RETRY_ONCE,
        description="If nobody can know whether the provider took a create: retry_once, or fail.",
    )
    heartbeat_timeout: float = Field(
        10, ge=1, le=300, description="Seconds after which a wait whose worker died moves to another worker."
    )

    # --- around the run
    prices: dict[str, Rates] | None = Field(
        None,
        description="What models cost, by name, where the known prices do not hold: USD for a million tokens of input, "
        "output, cached_input and cache_write, a thousand of web_search and file_search, each code_interpreter, image.",
    )
    budget: Budget | None = Field(
        None,
        description="What the run may cost: a number of USD, or usd, tokens, working_seconds. Before each response the "
        "most that it may cost is set aside; if that does not fit, on_exceeded says whether you are asked (ask) or the "
        "run ends (stop). At the share warn_at (0.8) the model is told to finish.",
    )
    save: SaveOptions | None = Field(None, description="Save the result as a Markdown file; default: not saved.")
    tenant: str | None = Field(
        None, min_length=1, max_length=100, description="Whom the run is for: the search attribute `AgentTenant`."
    )

    @property
    def effort_asked(self) -> bool:
        """Whether the caller gave a reasoning effort, or left it to the default."""
        return "reasoning_effort" in self.model_fields_set

    @model_serializer(mode="wrap")
    def _as_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without nulls, and without an effort that nobody gave: a new history must not take it for one."""
        unasked = set() if self.effort_asked else {"reasoning_effort"}
        unasked |= set() if self.allow_questions else {"allow_questions"}
        unasked |= {"compaction"} if self.compaction is CompactionChoice.AUTO else set()
        return {name: value for name, value in serialize(self).items() if value is not None and name not in unasked}

    @field_validator("tool_choice", mode="before")
    @classmethod
    def _is_a_choice(cls, given: Any) -> Any:
        if given is not None and not isinstance(given, str | dict):
            raise ValueError("must be auto, none or required, or an object that names a tool")
        return given

    @field_validator("budget", mode="before")
    @classmethod
    def _usd_alone(cls, budget: Any) -> Any:
        if isinstance(budget, bool | str | list):
            raise ValueError('must be a number of USD, or an object such as {"usd": 5}')
        return {"usd": budget} if isinstance(budget, int | float) else budget

    @field_validator("budget")
    @classmethod
    def _counts_by_fields_of_the_run(cls, budget: Budget | None, info: ValidationInfo) -> Budget | None:
        hidden = hidden_from_budgets(info.data.get("extra_body"))
        if budget is not None and hidden is not None:
            raise ValueError(f"counts by {hidden}, which extra_body has: give it as a field of the run")
        return budget

    @field_validator("hosted_tools")
    @classmethod
    def _run_at_the_provider(cls, tools: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        for index, tool in enumerate(tools or []):
            if problem := problem_of_hosted_tool(tool):
                raise ValueError(f"[{index}] {problem}")
        return tools

    @field_validator("extra_body")
    @classmethod
    def _leaves_what_is_ours(cls, extra: dict[str, Any] | None) -> dict[str, Any] | None:
        if extra and (problem := problem_of_extra_body(extra)):
            raise ValueError(problem)
        return extra

    @field_validator("task", mode="before")
    @classmethod
    def _text_or_items(cls, task: Any) -> Any:
        if not isinstance(task, str | list):
            raise ValueError("must be text, or a list of input items")
        if not task or (isinstance(task, str) and not task.strip()):
            raise ValueError("is empty")
        if isinstance(task, list) and not all(isinstance(item, dict) for item in task):
            raise ValueError("must be text, or a list of input items, each a JSON object")
        return task


class AgentStatus(StrEnum):
    """The status of a run. The last four are final. `input_required`: it waits for its owner."""

    QUEUED = "queued"
    RUNNING = "running"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self not in (AgentStatus.QUEUED, AgentStatus.RUNNING, AgentStatus.INPUT_REQUIRED)


class IncompleteReason(StrEnum):
    """Why a run ended with part of its answer. The provider may add reasons of its own, as plain text."""

    MAX_OUTPUT_TOKENS = "max_output_tokens"
    CONTENT_FILTER = "content_filter"
    MAX_ITERATIONS = "max_iterations"
    DEADLINE = "deadline"
    STEERED = "steered"
    BUDGET = "budget"


class AgentUsage(BaseModel):
    """Tokens, summed over all responses of a run; `total_tokens` = input + output."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0


class ResponseUsage(AgentUsage):
    """Tokens and cost of one response, whatever became of it.

    `status`: the response's, or `lost`: its outcome could not be read back; `may_still_run`: it could not be stopped;
    `superseded`: another one was created in its place; `ambiguous`: nobody knows whether there is one;
    `compaction`: the conversation was compacted, which is no iteration. `at_most`: the USD that it may have cost, where
    nobody knows what it did.
    """

    response_id: str | None
    iteration: int
    status: str
    cost: ResponseCost | None = None
    at_most: float | None = None


class RunCost(BaseModel):
    """What all responses of a run have cost together, in USD.

    `usd`: missing where a cost is not known; `known` is the sum of all others. `wasted`: the part of it that went into
    responses that were not used. `unknown`: how many costs are not known, wholly or in part, and `why`; `at_most`:
    what the run may have cost with these, where that can be worked out.
    """

    usd: float | None = 0
    known: float = 0
    at_most: float | None = None
    wasted: float = 0
    unknown: int = 0
    why: list[str] = []


class Compaction(BaseModel):
    """The conversation was compacted: the tokens that it had, and those that are left, as far as they are known."""

    iteration: int
    tokens_before: int | None = None
    tokens_after: int | None = None

    def __str__(self) -> str:
        before, after = (f"{n:,}" if n is not None else "?" for n in (self.tokens_before, self.tokens_after))
        return f"the conversation was compacted: {before} → {after} tokens"

    @property
    def sentence(self) -> str:
        """The same with the iteration, as a notice."""
        return f"In iteration {self.iteration}, {self}."


class CallStatus(StrEnum):
    """The status of a function call."""

    RUNNING = "running"
    SUCCEEDED = ToolOutcome.SUCCEEDED
    FAILED = ToolOutcome.FAILED
    UNKNOWN = ToolOutcome.UNKNOWN


class CallRecord(BaseModel):
    """One function call as seen from outside.

    `argument`: the one that tells most, such as a path. `seconds`: how long the call took, once it has ended. `reason`:
    why it failed, or why its outcome is unknown. `waits_for`: the id of the input request that holds it up; a call that
    nobody has answered yet counts as running.
    """

    call_id: str
    name: str
    iteration: int
    status: CallStatus
    argument: str | None = None
    started_at: datetime | None = None
    seconds: float | None = None
    reason: str | None = None
    waits_for: str | None = None


class AgentError(BaseModel):
    """Why a run failed: one sentence, and what the provider said about it."""

    type: str
    message: str
    code: str | None = None
    http_status: int | None = None
    request_id: str | None = None


class Steer(BaseModel):
    """One steering message (signal `steer`): its beginning, and what has become of it."""

    id: str
    text: str
    status: SteerStatus = SteerStatus.PENDING
    reason: str | None = None


class InputRequestKind(StrEnum):
    """What a run needs from its owner.

    `refusal`: the provider refuses to go on. `limit`: a limit of the run is reached. `approval`: a function call may
    only run if its owner allows it. `question`: the model asks something. `budget`: the next response may cost more
    than the run's budget has left.
    """

    REFUSAL = "refusal"
    LIMIT = "limit"
    BUDGET = "budget"
    APPROVAL = "approval"
    QUESTION = "question"


class InputRequestStatus(StrEnum):
    """What has become of an input request.

    `expired`: nobody answered in time, so its default was taken. `resumed`: the time came at which the run goes on by
    itself. `withdrawn`: the run was stopped, or its time was up.
    """

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    RESUMED = "resumed"
    WITHDRAWN = "withdrawn"


class Limit(StrEnum):
    """A limit of a run that its owner can raise."""

    MAX_ITERATIONS = "max_iterations"
    DEADLINE = "deadline"
    USD = BudgetLine.USD
    TOKENS = BudgetLine.TOKENS
    WORKING_SECONDS = BudgetLine.WORKING_SECONDS


class CallToApprove(BaseModel):
    """A function call that waits for its owner: exactly these arguments are executed, or none.

    `arguments`: as the model wrote them; of `size` bytes, cut where these are too many, and once it is decided. `hash`:
    SHA-256 over name and arguments, which the worker that runs the call compares. `effect`: None where nobody knows it.
    `reason`: what the rule gives for asking. `server`: the MCP server whose tool it is; a remote one by its label.
    """

    call_id: str
    name: str
    arguments: str
    size: int
    hash: str
    effect: str | None = None
    reason: str | None = None
    server: str | None = None


class InputRequest(BaseModel):
    """What a run asks its owner. It waits for months at no cost, and is answered by the update or signal `respond`.

    `choices`: the words that can be answered; where `limit` is set, a number as well (a new total of iterations, more
    seconds, a new budget). The answer to a `question` is any text, and so is that to an `approval`, where all but
    `allow` denies; `words` are then what the owner said, which the model reads. `resume_at`: when the run goes on by
    itself. `default`: what is taken at `expires_at`. `by`: who answered, as they call themselves. `asked_as`: how many
    times the run had asked anything when it last asked this; clients that may ask a question only once take it for a
    new one when that changes. `not_taken`: why an answer that came by signal is none, so that the question is asked
    again. `at_least`: a smaller number is taken, too, and then it is asked again.
    """

    id: str
    kind: InputRequestKind
    message: str
    choices: list[str] = []
    limit: Limit | None = None
    at_least: float | None = None
    error: AgentError | None = None
    call: CallToApprove | None = None
    opened_at: datetime
    expires_at: datetime | None = None
    default: str | None = None
    resume_at: datetime | None = None
    asked_as: int = 0
    not_taken: str | None = None
    status: InputRequestStatus = InputRequestStatus.OPEN
    answer: str | None = None
    words: str | None = None
    by: str | None = None
    closed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be answered."""
        return self.status is InputRequestStatus.OPEN


class Respond(BaseModel):
    """The answer to an input request: what the update and the signal `respond` take.

    `id` may be left out while only one request is open.
    """

    id: str | None = None
    answer: Any = None
    by: str | None = None


class AgentState(BaseModel):
    """The answer to the query `progress`. Function calls and steering messages: the newest hundred, in order."""

    model_config = ConfigDict(protected_namespaces=())

    status: AgentStatus = AgentStatus.QUEUED
    iteration: int = 0
    max_iterations: int = 0
    model: str | None = None
    response_id: str | None = None
    response_status: str | None = None
    preview: str = ""
    usage: AgentUsage = AgentUsage()
    cost: RunCost | None = None
    budget: Budget | None = Field(None, description="What the run may cost, as its owner has raised it.")
    worked_seconds: float = Field(0, description="Seconds in which responses and tools have run.")
    function_calls: list[CallRecord] = []
    steers: list[Steer] = []
    input_requests: list[InputRequest] = Field([], description="What the run asks its owner, and what it has asked.")
    waiting: Waiting | None = Field(None, description="What the run waits for that is not its response.")
    cancel_requested: bool = False
    ambiguous_creates: int = 0
    request_changes: list[str] = Field(
        [],
        description="What of the requests is not as it was asked for: the provider or the budget does not take it.",
    )
    in_full: bool = Field(False, description="Whether each request carries the whole conversation.")
    compactions: list[Compaction] = Field([], description="The newest twenty compactions of the conversation.")
    error: AgentError | None = None
    started_at: datetime | None = None
    deadline: datetime | None = Field(None, description="When the run must have ended.")
    updated_at: datetime | None = None


class AgentResult(BaseModel):
    """The end of a run: the result of the workflow, or the details of its failure."""

    model_config = ConfigDict(protected_namespaces=())

    status: AgentStatus
    output_text: str = ""
    structured_output: Any = None
    reasoning_summary: str = ""
    citations: list[UrlCitation] = []
    response_id: str | None = None
    model: str | None = None
    iterations: int = 0
    usage: AgentUsage = AgentUsage()
    cost: RunCost | None = None
    responses: list[ResponseUsage] = []
    ambiguous_creates: int = 0
    request_changes: list[str] = Field(
        [],
        description="What of the requests is not as it was asked for: the provider or the budget does not take it.",
    )
    in_full: bool = Field(False, description="Whether each request carries the whole conversation.")
    requests: list[InputRequest] = Field([], description="What the run has asked its owner, and who answered what.")
    incomplete_reason: IncompleteReason | str | None = None
    cancel_reason: str | None = None
    artifact_path: str | None = None
    artifact_error: str | None = None
    files: list[SavedFile] = Field([], description="What the provider's tools have made, where `save.files` is on.")
    error: AgentError | None = None

    @model_serializer(mode="wrap")
    def _without_files_that_nobody_asked_for(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if name != "files" or value}
