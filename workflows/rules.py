"""The rules of an agent run, as plain Python: what follows from what the provider said.

No I/O, no clock, no Temporal; the workflow asks and obeys.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from durable_responses.activities.messages import (
    LARGEST_ANSWERS,
    CallerTool,
    FailureDetail,
    FailureType,
    ModelOptions,
    ProgressReport,
    RunPrices,
    SaveArtifact,
    SaveOptions,
    ToolResult,
    Transport,
    Waiting,
)
from durable_responses.json_text import checked, cut, json_bytes, read_json, text_bytes
from durable_responses.mcp_tools.names import problem_of_server, servers_of
from durable_responses.responses_api.context_errors import exceeds_window
from durable_responses.responses_api.errors import Busy, ChainRejected, classify, is_quota_exhausted, names_the_previous
from durable_responses.responses_api.models import (
    ANSWERED,
    MCP_APPROVAL_REQUEST,
    CallAnswer,
    ErrorDetail,
    FunctionCall,
    FunctionCallOutput,
    InputImage,
    InputText,
    InputTokensDetails,
    OtherItem,
    OutputTokensDetails,
    ReasoningEffort,
    Response,
    ResponseStatus,
    Usage,
)
from durable_responses.tools.approvals import unaskable_tools
from durable_responses.tools.images import reference_to
from durable_responses.tools.owner import ASK_OWNER
from durable_responses.workflows import text_formats
from durable_responses.workflows.contract import (
    AgentError,
    AgentInput,
    AgentResult,
    AgentState,
    AgentStatus,
    AgentUsage,
    ConversationChoice,
    IncompleteReason,
    OnAmbiguousCreate,
    OnRefusal,
    ResponseUsage,
    TransportChoice,
)

# --- the input ---------------------------------------------------------------------------------------------------

_LARGEST_INPUT = 1024 * 1024  # bytes; with the answers of an iteration it must fit one payload at a continue-as-new

_LONGEST_DEADLINE = timedelta(days=30)  # a response can be read back for as long
_LONGEST_TOOL_TIMEOUT = timedelta(days=1)
_LONGEST_WAIT = timedelta(days=365)
_LIMITS = {
    "deadline": (int(_LONGEST_DEADLINE.total_seconds()), "seconds,"),
    "tool_timeout": (int(_LONGEST_TOOL_TIMEOUT.total_seconds()), "seconds,"),
    "max_output_tokens": (10_000_000, "tokens,"),
    "answer_within": (int(_LONGEST_WAIT.total_seconds()), "seconds,"),
}
# The names of the tools travel with every call.
_MOST_TOOLS, _LONGEST_NAME = 128, 256
_MOST_SERVERS = 32
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_QUEUE = 1000  # characters: Temporal's limit
_LARGEST_CALLER_TOOLS = 64 * 1024  # bytes of JSON, which each create carries
_LARGEST_APPROVALS = 16 * 1024  # bytes of JSON, which each function call carries
_LONGEST_ID = 4096  # characters: gateways put more than a name into theirs
_NAME_BYTES = 255
_METADATA_NAME, _METADATA_VALUE = 64, 512  # characters: those of the Responses API
_SHOWN_PROBLEMS, _LONGEST_REFUSAL = 10, 2000


def parse_input(payload: object, *, bounded: bool = True) -> AgentInput:
    """The run's input, whatever JSON came in. Raises `ValueError`: one sentence that names each field, no value.

    `bounded`: whether `out_of_bounds` is asked, too; a run does so itself, because older ones have begun without.
    """
    if isinstance(payload, AgentInput):
        payload = payload.model_dump()
    if not isinstance(payload, dict):
        raise ValueError('The input must be one JSON object such as {"task": "…"}.')
    try:
        request = AgentInput.model_validate(checked(payload))
    except ValidationError as error:
        raise unusable_input(*map(_problem, error.errors())) from None
    except ValueError as error:
        raise unusable_input(str(error)) from None
    size = json_bytes(request)
    if size > _LARGEST_INPUT:
        raise ValueError(f"The input is {size} bytes, more than {_LARGEST_INPUT}: give long texts in `files`.")
    if bounded and (problems := out_of_bounds(request)):
        raise unusable_input(*problems)
    return request


def out_of_bounds(request: AgentInput) -> list[str]:
    """The fields whose values no run can work with, each with its limit. Go's durations are nanoseconds, for one."""
    problems = [
        f"{name}: {unit} at most {limit}"
        for name, (limit, unit) in _LIMITS.items()
        if (value := getattr(request, name)) is not None and value > limit
    ]
    if len(request.tools or []) > _MOST_TOOLS:
        problems.append(f"tools: at most {_MOST_TOOLS} names")
    if any(len(name) > _LONGEST_NAME for name in request.tools or []):
        problems.append(f"tools: at most {_LONGEST_NAME} characters each")
    problems += _unusable_caller_tools(request.caller_tools or [])
    problems += _unusable_servers(request)
    problems += _unusable_questions(request)
    problems += [
        f"{name}: at most {longest} characters"
        for name, longest in (("model", _LONGEST_NAME), ("previous_response_id", _LONGEST_ID))
        if len(getattr(request, name) or "") > longest
    ]
    problems += [
        f"metadata.{name[:_METADATA_NAME]}: a name has 1 to {_METADATA_NAME} characters, "
        f"a value at most {_METADATA_VALUE}"
        for name, value in request.metadata.items()
        if not 0 < len(name) <= _METADATA_NAME or len(value) > _METADATA_VALUE
    ]
    if request.text_format is not None and (problem := text_formats.problem_of(request.text_format)):
        problems.append(f"text_format.{problem}")
    if request.conversation is ConversationChoice.FULL:
        problems += _not_in_full(request)
    return problems + _unusable_names(request.save)


def _unusable_caller_tools(tools: list[CallerTool]) -> list[str]:
    problems = []
    if len(tools) > _MOST_TOOLS:
        problems.append(f"caller_tools: at most {_MOST_TOOLS}")
    if not all(_TOOL_NAME.fullmatch(tool.name) for tool in tools):
        problems.append("caller_tools: a name has 1 to 64 of the characters A-Z, a-z, 0-9, _ and -")
    if len({tool.name for tool in tools}) < len(tools):
        problems.append("caller_tools: two of them have the same name")
    if any(len(tool.task_queue) > _LONGEST_QUEUE for tool in tools):
        problems.append(f"caller_tools: at most {_LONGEST_QUEUE} characters for a task_queue")
    if sum(map(json_bytes, tools)) > _LARGEST_CALLER_TOOLS:
        problems.append(f"caller_tools: at most {_LARGEST_CALLER_TOOLS} bytes together")
    return problems


def _unusable_servers(request: AgentInput) -> list[str]:
    named = servers_of(request.mcp_servers, request.tools)
    problems = [f"mcp_servers: at most {_MOST_SERVERS}"] if len(named) > _MOST_SERVERS else []
    return problems + [
        f"mcp_servers: {name[:_LONGEST_NAME]!r}: {why}" for name in named if (why := problem_of_server(name))
    ]


def _unusable_questions(request: AgentInput) -> list[str]:
    problems = []
    if request.approvals is not None:
        if json_bytes(request.approvals) > _LARGEST_APPROVALS:
            problems.append(f"approvals: at most {_LARGEST_APPROVALS} bytes together")
        problems += unaskable_tools(request, request.approvals)
    if request.allow_questions and any(tool.name == ASK_OWNER for tool in request.caller_tools or []):
        problems.append(f"caller_tools: with allow_questions no tool may be called {ASK_OWNER}")
    return problems


def _not_in_full(request: AgentInput) -> list[str]:
    """What a run cannot have that sends its whole conversation each time, and lets the provider store nothing."""
    problems = []
    if request.previous_response_id is not None:
        problems.append("previous_response_id: the run does not know that conversation, so it cannot send it in full")
    if request.transport is TransportChoice.BACKGROUND:
        problems.append("transport: a background response is stored, and with conversation full none is; take stream")
    return problems


def _unusable_names(save: SaveOptions | None) -> list[str]:
    """What no file system takes. The worker checks what its own allows, before the first response is created."""
    if save is None:
        return []
    given = {"folder": save.folder, "filename": save.filename, "root": save.root}
    return [
        f"save.{field}: at most {_NAME_BYTES} bytes for each name of a path"
        for field, path in given.items()
        if any(len(name.encode(errors="replace")) > _NAME_BYTES for name in (path or "").split("/"))
    ]


def unusable_input(*problems: str) -> ValueError:
    """The error that says why an input is refused."""
    shown = problems[:_SHOWN_PROBLEMS]
    more = [f"and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
    return ValueError(f"The input cannot be used: {cut('; '.join([*shown, *more]), _LONGEST_REFUSAL)}.")


def _problem(error: ErrorDetails) -> str:
    field = place_of(error)
    if error["type"] == "extra_forbidden" and len(error["loc"]) > 1:
        return f"{field} is not a field of {place_of({**error, 'loc': error['loc'][:-1]})}"
    if error["type"] == "extra_forbidden":
        # `effort` is short for `reasoning_effort`, and near to `text_format`.
        longer = [name for name in AgentInput.model_fields if name.endswith(f"_{field}")]
        near = longer or get_close_matches(field, AgentInput.model_fields, n=1, cutoff=0.7)
        return f"{field} is not a field of AgentInput" + (f" (did you mean {near[0]}?)" if near else "")
    return f"{field}: {what_is_expected(error)}"


def place_of(error: ErrorDetails) -> str:
    """Where the value stands that pydantic refuses: `files[0].path`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part[:_LONGEST_NAME]}" for part in error["loc"]]
    return "".join(parts).removeprefix(".")


def what_is_expected(error: ErrorDetails) -> str:
    """What would be taken in place of a value that pydantic refuses, in words for callers of any language."""
    if expected := plainly_expected(error):
        return expected
    said = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    given = error.get("input")
    if error["type"] in ("enum", "literal_error") and isinstance(given, str):
        near = get_close_matches(given[:_LONGEST_NAME].lower(), re.findall(r"'([^']*)'", said), n=1)
        said += f" (did you mean {near[0]}?)" if near else ""
    return said


def plainly_expected(error: ErrorDetails) -> str | None:
    """The same without what pydantic says itself; None for an error that only pydantic has words for."""
    expected = _EXPECTED.get(error["type"])
    return expected and expected.format(**{name: _plain(value) for name, value in error.get("ctx", {}).items()})


def number_expected(error: ErrorDetails) -> str | None:
    """As `what_is_expected`, if a number is; else None."""
    return what_is_expected(error) if error["type"].startswith(_OF_NUMBERS) else None


_OF_NUMBERS = ("int_", "float_", "greater_", "less_", "finite_")


def _plain(limit: Any) -> Any:
    """A limit as it is written: 0, not 0.0."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


# pydantic speaks Python, callers speak JSON.
_EXPECTED = {
    "missing": "is required",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "list_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be a whole number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "string_too_short": "has too few characters: at least {min_length}",
    "string_too_long": "has too many characters: at most {max_length}",
    "too_long": "has too many entries: at most {max_length}",
    "too_short": "has too few entries: at least {min_length}",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
}


# --- before the first iteration ----------------------------------------------------------------------------------

_EFFORTS = list(ReasoningEffort)
ITERATIONS_BY_EFFORT = {
    ReasoningEffort.NONE: 5,
    ReasoningEffort.MINIMAL: 6,
    ReasoningEffort.LOW: 8,
    ReasoningEffort.MEDIUM: 10,
    ReasoningEffort.HIGH: 12,
    ReasoningEffort.XHIGH: 12,
    ReasoningEffort.MAX: 12,
}
_FAR_AWAY = timedelta(days=3650)  # for runs that have begun with a longer deadline; a datetime cannot hold much more


def transport_for(request: AgentInput, *, has_background: bool = True) -> Transport:
    """The transport of every iteration: the caller's, or by effort and web search, and by what the server has.

    Where it may be a WebSocket it is one for runs with function tools, whose many short responses it is there for.
    """
    if request.transport is not TransportChoice.AUTO:
        return Transport(request.transport.value)
    effort = _EFFORTS.index(request.reasoning_effort)
    stored = request.conversation is not ConversationChoice.FULL  # what is not stored cannot be read in the background
    slow = effort >= _EFFORTS.index(ReasoningEffort.HIGH)
    searches = request.enable_web_search and effort >= _EFFORTS.index(ReasoningEffort.MEDIUM)
    if stored and (slow or searches):
        return Transport.BACKGROUND if has_background else Transport.STREAM
    has_functions = (
        request.tools is None
        or bool(request.tools)
        or bool(request.caller_tools)
        or bool(request.mcp_servers)
        or request.allow_questions
    )
    return Transport.WEBSOCKET if request.allow_websocket and has_functions else Transport.STREAM


def max_iterations_for(request: AgentInput) -> int:
    """The caller's limit, or by effort."""
    return request.max_iterations or ITERATIONS_BY_EFFORT[request.reasoning_effort]


def absolute_deadline(request: AgentInput, started_at: datetime) -> datetime | None:
    """When the whole run must have ended."""
    if request.deadline is None:
        return None
    return started_at + timedelta(seconds=min(request.deadline, _FAR_AWAY.total_seconds()))


def model_options(request: AgentInput) -> ModelOptions:
    """What every create of the run says to the model."""
    return ModelOptions(**{name: getattr(request, name) for name in ModelOptions.model_fields})


def run_prices(request: AgentInput) -> RunPrices | None:
    """What the cost of the run's responses depends on, beside what its worker knows."""
    window = (request.extra_body or {}).get("background_options")
    completion_window = window.get("completion_window") if isinstance(window, dict) else None
    asked = RunPrices(
        rates=request.prices,
        tier=request.service_tier,
        completion_window=completion_window if isinstance(completion_window, str) else None,
    )
    return asked if asked != RunPrices() else None


_LARGEST_FULL_HISTORY = 20 * 1024 * 1024  # bytes; the server ends a run at 50 MB
_SUGGESTED_TIMES = 5


def late_for_new_history(suggested_at: int) -> int:
    """The bytes of history at which a run that sends its whole conversation continues in a new one.

    `suggested_at`: those at which the server suggested it first, 4 MB or as many events as usually come with less.
    """
    return min(_SUGGESTED_TIMES * suggested_at, _LARGEST_FULL_HISTORY)


# --- after a response --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunTools:
    """Answer these calls, then create the next response.

    `to_approve`: calls of the provider's that wait for a yes or no, by the ids of their requests.
    """

    calls: list[FunctionCall]
    to_approve: tuple[FunctionCall, ...] = ()


@dataclass(frozen=True)
class Finish:
    """The run is completed; the response's text is the answer."""


@dataclass(frozen=True)
class Incomplete:
    """The run ends with the text so far."""

    reason: IncompleteReason | str


@dataclass(frozen=True)
class Fail:
    """The run has failed."""

    error: AgentError


NextStep = RunTools | Finish | Incomplete | Fail

# Items that look like calls but are carried out at the provider.
_HOSTED_CALLS = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call"}
)


def next_step(response: Response, *, iterations_left: int) -> NextStep:
    """What follows from a response, all of its output items considered.

    An unfinished response means that the deadline has passed. Only a completed response is chained from, or one that a
    steering message ended early.
    """
    match response.status:
        case ResponseStatus.QUEUED | ResponseStatus.IN_PROGRESS:
            return Incomplete(IncompleteReason.DEADLINE)
        case ResponseStatus.COMPLETED:
            return _after_completed(response, iterations_left)
        case ResponseStatus.INCOMPLETE if response.is_steered and response.function_calls:
            return _after_completed(response, iterations_left)
        case ResponseStatus.INCOMPLETE:
            return Incomplete(_incomplete_reason(response))
        case ResponseStatus.FAILED:
            return Fail(_failed(response))
        case ResponseStatus.CANCELLED:
            return Fail(AgentError(type="response_cancelled", message=f"{response.id} was cancelled at the provider."))
        case unknown:
            return Fail(AgentError(type="unknown_status", message=f"{response.id} ended with status {unknown!r}."))


def _after_completed(response: Response, iterations_left: int) -> NextStep:
    if unanswerable_calls(response):
        return unanswerable(response)
    to_approve = calls_to_approve(response)
    if response.function_calls or to_approve:
        if iterations_left <= 0:
            return Incomplete(IncompleteReason.MAX_ITERATIONS)
        return RunTools(response.function_calls, tuple(to_approve))
    if response.output_text.strip():
        return Finish()
    return Fail(
        AgentError(type="empty_output", message=f"{response.id} completed with neither an answer nor a function call.")
    )


def has_unknown_status(response: Response) -> bool:
    """Whether the status is none that the API documents."""
    return response.status not in frozenset(ResponseStatus)


def is_empty(response: Response) -> bool:
    """Whether a completed response has nothing in it that a run could use: no answer, no call, no image."""
    return (
        response.status == ResponseStatus.COMPLETED
        and not response.output_text.strip()
        and not response.function_calls
        and not unanswerable_calls(response)
        and not calls_to_approve(response)
        and not any(item.type == "image_generation_call" for item in response.output)
    )


def unanswerable_calls(response: Response) -> list[OtherItem]:
    """Items that wait for an answer of the client which we cannot give.

    An `mcp_approval_request` without an id or a name, and every kind of call that is neither carried out at the
    provider nor already answered in the same output (a hosted shell is). Unknown kinds without a `call_id` are not
    calls.
    """
    others = [item for item in response.output if isinstance(item, OtherItem)]
    answered = {_call_id(item) for item in others if item.type.endswith("_output")}
    return [
        item
        for item in others
        if (item.type == MCP_APPROVAL_REQUEST and _to_approve(item) is None)
        or (
            item.type.endswith("_call")
            and item.type not in _HOSTED_CALLS
            and _call_id(item) is not None
            and _call_id(item) not in answered
        )
    ]


def unanswerable(response: Response) -> Fail:
    """The end of a run whose response asks for what nobody can answer."""
    asked = unanswerable_calls(response)
    kinds = ", ".join(sorted({item.type for item in asked})) or MCP_APPROVAL_REQUEST
    message = f"{response.id} asks the client for {kinds}, which this runtime cannot answer."
    return Fail(AgentError(type="unanswerable_call", message=message))


def calls_to_approve(response: Response) -> list[FunctionCall]:
    """The calls of remote MCP servers that the provider makes only if it is told to, named `server.tool`."""
    found = (_to_approve(item) for item in response.output if isinstance(item, OtherItem))
    return [call for call in found if call is not None]


def _to_approve(item: OtherItem) -> FunctionCall | None:
    told = item.model_extra or {}
    name, arguments, server = told.get("name"), told.get("arguments"), told.get("server_label")
    if item.type != MCP_APPROVAL_REQUEST or not item.id or not isinstance(name, str) or not isinstance(arguments, str):
        return None
    if not isinstance(server, str):
        return FunctionCall(call_id=item.id, name=name, arguments=arguments)
    return FunctionCall.model_validate(
        {"call_id": item.id, "name": f"{server}.{name}", "arguments": arguments, "server_label": server}
    )


def server_of(call: FunctionCall) -> str | None:
    """The label of the remote MCP server of a call that is to be approved."""
    server = (call.model_extra or {}).get("server_label")
    return server if isinstance(server, str) else None


def _call_id(item: OtherItem) -> str | None:
    value = (item.model_extra or {}).get("call_id")
    return value if isinstance(value, str) else None


def _incomplete_reason(response: Response) -> IncompleteReason | str:
    reason = response.incomplete_details.reason if response.incomplete_details else None
    if reason is None:
        return "unknown"
    return IncompleteReason(reason) if reason in set(IncompleteReason) else reason


def _failed(response: Response) -> AgentError:
    error = response.error or ErrorDetail()
    kind = FailureType.QUOTA_EXHAUSTED if is_quota_exhausted(error) else FailureType.RESPONSE_FAILED
    message = f"{response.id} failed at the provider: {error.message or error.code or 'no reason was given'}"
    return AgentError(type=kind, message=message, code=error.code)


_PASSES = re.compile(
    r"server_error|internal_(server_)?error|api_error|overload|unavailable|slow_down|time_?out|capacity|408|5\d\d",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[_ ](?:length|window|size|is full)|maximum context|exceeds? the (?:context|max)", re.IGNORECASE
)
_RATE_LIMIT = re.compile(r"rate_?limit|too_many_requests|429", re.IGNORECASE)
_PASSES_IN_WORDS = re.compile(r"overloaded|server had an error|try again (later|in )|rate limit", re.IGNORECASE)


def may_succeed_later(response: Response) -> bool:
    """Whether a response has failed for a reason that passes: the provider was too busy, or broke down.

    The code decides, else the type, else the words; what no waiting cures (no credit, a request that is larger than its
    limit) does not pass, whatever it is called.
    """
    error = response.error
    if response.status != ResponseStatus.FAILED or error is None or is_quota_exhausted(error):
        return False
    if _TOO_LONG.search(f"{error.code} {error.type} {error.message}"):  # some servers call that their own failure
        return False
    name = error.code or error.type
    if name is None:
        return _PASSES_IN_WORDS.search(error.message) is not None and classify(429, error) is Busy
    if _RATE_LIMIT.search(name):
        return classify(429, error) is Busy
    return _PASSES.search(name) is not None


_SAYS_NOTHING = frozenset({"", "error", "unknown", "unknown_error", "failed", "failure", "exception"})
_PASSES_ELSEWHERE = re.compile(
    r"upstream|bad_?gateway|shut(ting)?_?down|connection_?(error|reset|refused|closed|lost)|crash|preempt|not_?ready"
    r"|loading|\binternal\b|internal_?server|deadline_?exceeded|throttl|\b499\b|resource_?exhausted",
    re.IGNORECASE,
)
_PASSES_IN_OTHER_WORDS = re.compile(
    r"internal (server )?error|upstream|bad gateway|gateway time-?out|temporarily|service unavailable|timed out"
    r"|connection (reset|refused|closed|error|lost|aborted|terminated)|disconnect|at capacity|high demand"
    r"|too many requests",
    re.IGNORECASE,
)


def may_succeed_later_in_other_words(response: Response) -> bool:
    """The same for what gateways call it, which runs of earlier days have ended by."""
    error = response.error
    if response.status != ResponseStatus.FAILED or error is None or classify(429, error) is not Busy:
        return False
    if _TOO_LONG.search(f"{error.code} {error.type} {error.message}"):
        return False
    names = [name for name in (error.code, error.type) if name and name.lower() not in _SAYS_NOTHING]
    pattern, said = (_PASSES_ELSEWHERE, names[0]) if names else (_PASSES_IN_OTHER_WORDS, error.message)
    return pattern.search(said) is not None


def refuses_the_chain(response: Response, previous: str | None) -> bool:
    """Whether a response has failed because its provider does not know the one that it was to continue from."""
    error = response.error
    if previous is None or response.status != ResponseStatus.FAILED or error is None:
        return False
    text = f"{error.message} {error.code or ''} {error.param or ''}"
    return classify(400, error) is ChainRejected or names_the_previous(text, previous)


_IMAGE_CODE = re.compile(r"image", re.IGNORECASE)


def cannot_read_an_image(response: Response) -> bool:
    """Whether a response has failed because of an image that it was given (`invalid_image`, `image_too_small`, …)."""
    code = response.error.code if response.error else None
    return response.status == ResponseStatus.FAILED and _IMAGE_CODE.search(code or "") is not None


def without_images(answers: Sequence[CallAnswer]) -> list[CallAnswer] | None:
    """The answers to calls with a text in place of each image; None where there is none."""
    if not any(isinstance(answer, FunctionCallOutput) and answer.has_images for answer in answers):
        return None
    return [
        answer.without_images(_UNREADABLE_IMAGE) if isinstance(answer, FunctionCallOutput) else answer
        for answer in answers
    ]


_UNREADABLE_IMAGE = "(There was an image, which cannot be read.)"
_DELAY = re.compile(
    r"(?:(?:try again|retry|your request) (?:in|after)|wait(?: for)?) ((?:\d+(?:\.\d+)? ?(?:ms|[smh])[a-z]*[ ,]*)+)",
    re.IGNORECASE,
)
_PART_OF_A_DELAY = re.compile(r"(\d+(?:\.\d+)?) ?(ms|milli|[smh])", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_DELAY = 86_400.0  # seconds


def delay_in(message: str) -> float:
    """The seconds that an error's sentence asks to wait ("Please try again in 1m2.5s."); 0 if it names none."""
    found = _DELAY.search(message[:_LONGEST_LINE])
    if found is None:
        return 0.0
    parts = _PART_OF_A_DELAY.findall(found[1])
    return min(sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts), _LONGEST_DELAY)


def may_be_continued(response: Response) -> bool:
    """Whether the next response can continue from this one.

    Completed, or ended early by a steering message: what the provider itself makes of one continues from it, too.
    """
    return response.status == ResponseStatus.COMPLETED or response.is_steered


def continues_with_steering(step: NextStep, *, iterations_left: int) -> bool:
    """Whether a run that would end here takes one iteration more, if steering messages have come meanwhile."""
    can_be_continued = isinstance(step, Finish) or step == Incomplete(IncompleteReason.STEERED)
    return can_be_continued and iterations_left > 0


# --- when the provider refuses to go on ---------------------------------------------------------------------------

_REFUSALS = frozenset({FailureType.QUOTA_EXHAUSTED, FailureType.AUTHENTICATION_FAILED, FailureType.NOT_FOUND})
_MODEL_GONE = re.compile(r"\bmodel[_ ](?:not[_ ]found|not[_ ]exist|unavailable)|deprecated_model|model.{0,200}"
                         r"(?:does not exist|not found|no access|deprecated|retired)", re.IGNORECASE)  # fmt: skip
_FIRST_PROBE, _LONGEST_PROBE = 60.0, 3600.0  # seconds


def is_refusal(error: AgentError) -> bool:
    """Whether the provider refuses what only the run's owner can mend: the quota, the key, the model."""
    if error.type in _REFUSALS or exceeds_window(error.code, error.message):
        return True
    return error.type == FailureType.BAD_REQUEST and bool(_MODEL_GONE.search(f"{error.code or ''} {error.message}"))


def waits_for_owner(policy: OnRefusal, responses: list[ResponseUsage], *, is_under_way: bool) -> bool:
    """Whether a run that is refused waits for its owner: by itself only if there is a response to lose.

    `is_under_way`: a response was created that is not read yet.
    """
    if policy is OnRefusal.AUTO:
        return is_under_way or any(response.status in ANSWERED for response in responses)
    return policy is OnRefusal.PAUSE


def resumes_after(asked_for: float | None, resumed: int) -> float | None:
    """Seconds after which a refused run tries again by itself; None where the provider names no time.

    `resumed`: how often it has done so before, in vain: then a minute, doubling up to an hour, unless it is longer.
    """
    if not asked_for:
        return None
    again = min(_FIRST_PROBE * 2.0 ** min(resumed - 1, 10), _LONGEST_PROBE) if resumed else 0.0
    return max(asked_for, again)


def refusal_in(response: Response) -> AgentError | None:
    """The error of a response that has failed because the provider refuses to go on."""
    if response.status != ResponseStatus.FAILED:
        return None
    error = _failed(response)
    return error if is_refusal(error) else None


# --- after a create that brought no response ---------------------------------------------------------------------


class AfterFailedCreate(StrEnum):
    """What to do when a create has failed."""

    FAIL = "fail"
    CREATE_AGAIN = "create_again"
    CREATE_WITH_FULL_INPUT = "create_with_full_input"


_MOST_LOST_RESPONSES = 3
_MOST_FAILED_RESPONSES = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds
_GROWTH_AFTER_FAILED = 5.0


@dataclass
class CreateHistory:
    """What became of the earlier creates of one iteration.

    `interrupted`: a response that nobody follows any more, to be read by its id before anything is created.
    `can_rebuild`: whether the run knows the whole conversation; not where the caller's `previous_response_id` began it.
    """

    ambiguous: int = 0
    lost: int = 0
    failed: int = 0
    turned_away: int = 0
    empty: int = 0
    not_continued: int = 0
    refused: int = 0
    chain_rejected: bool = False
    interrupted: str | None = None
    can_rebuild: bool = True

    def after(
        self, failure: FailureType | None, policy: OnAmbiguousCreate, response_id: str | None = None
    ) -> AfterFailedCreate:
        """Take note of a failed create, and of the response that it had brought, and say what to do.

        At most one more create follows an ambiguous one, and at most one goes out with the full input. A response that
        died with its connection is created again up to three times: each loss took a crash or a cut connection. What
        the provider did not take is sent again after `pause`, for as long as the run may last.
        """
        match failure:
            case FailureType.CREATE_AMBIGUOUS:
                self.ambiguous += 1
                again = policy is OnAmbiguousCreate.RETRY_ONCE and self.ambiguous == 1
            case FailureType.RESPONSE_LOST:
                self.lost += 1
                self.interrupted = None
                again = self.lost <= _MOST_LOST_RESPONSES
            case FailureType.TURN_INTERRUPTED:
                self.interrupted = response_id
                again = True
            case FailureType.TRY_LATER:
                self.turned_away += 1
                again = True
            case FailureType.CHAIN_REJECTED if self.can_rebuild and not self.chain_rejected:
                self.chain_rejected = True
                return AfterFailedCreate.CREATE_WITH_FULL_INPUT
            case _:
                again = False
        return AfterFailedCreate.CREATE_AGAIN if again else AfterFailedCreate.FAIL

    def after_not_continued(self) -> bool:
        """Take note of a response that did not continue from the one it was to; whether the full input can be sent."""
        self.not_continued += 1
        again = self.can_rebuild and not self.chain_rejected
        self.chain_rejected = True
        return again

    def after_sent_in_part(self) -> bool:
        """Take note of a response to a part of the conversation, and say whether it is created again: three times."""
        self.not_continued += 1
        return self.not_continued <= _MOST_LOST_RESPONSES

    def after_empty(self) -> bool:
        """Take note of a response that says nothing, and say whether it is created again: once in an iteration."""
        self.empty += 1
        return self.empty == 1

    def after_failed_response(self, response: Response, *, passes: bool = False) -> float | None:
        """Take note of a response that failed; the seconds after which it is created again, None if it is not.

        Only what may succeed later is, three times in an iteration: after 1, 5 and 25 s, or later if it says so.
        `passes`: it may, although not by the words of the API.
        """
        if not (passes or may_succeed_later(response)) or self.failed >= _MOST_FAILED_RESPONSES:
            return None
        self.failed += 1
        asked_for = delay_in(response.error.message if response.error else "")
        return max(_FIRST_PAUSE * _GROWTH_AFTER_FAILED ** (self.failed - 1), asked_for)

    @property
    def pause(self) -> float:
        """Seconds until what was turned away is sent again."""
        # A float holds no more than 2 ** 1023, and a run may be turned away for days.
        return min(_FIRST_PAUSE * 2.0 ** min(self.turned_away - 1, 10), _LONGEST_PAUSE)

    @property
    def attempt(self) -> int:
        """The number of the next create, sent as `metadata.attempt`: 1 unless one was taken, or may have been."""
        return 1 + self.ambiguous + self.lost + self.empty + self.failed + self.not_continued + self.refused


def error_of(failure: FailureType | str, message: str, detail: FailureDetail | None) -> AgentError:
    """An activity's failure as the run shows it."""
    detail = detail or FailureDetail()
    return AgentError(
        type=failure,
        message=message,
        code=detail.code,
        http_status=detail.http_status,
        request_id=detail.request_id,
    )


# --- what fits into history --------------------------------------------------------------------------------------

# The answers to the calls of a response fit one 2-MiB payload with the caller's input.
_LARGEST_HISTORY = 4 * 1024 * 1024  # bytes that the answers of one iteration may add; the server ends a run at 50 MB


def largest_output(calls: int) -> int:
    """Bytes of JSON that the answer to each of so many calls may have on its way."""
    return min(LARGEST_ANSWERS, _LARGEST_HISTORY // max(1, calls))


def fair_output(calls: int) -> int | None:
    """Bytes of JSON that the answer to each of so many calls may have for all of them to fit; None for one alone.

    What is longer is kept where it can be, and its ends are given; cut later, its note would go as well.
    """
    return None if calls <= 1 else max(LARGEST_ANSWERS // calls - _ROOM_FOR_AN_ID, _SHORTEST_ENDS)


_ROOM_FOR_AN_ID = 160  # bytes of an answer beside its text
_SHORTEST_ENDS = 1024  # bytes; a note takes a quarter of them


def fit_outputs(results: list[ToolResult]) -> list[FunctionCallOutput]:
    """The answers for the next create, the longest cut with a note where together they are too large for a payload.

    Raises `ValueError` when there are so many that not even their ids fit.
    """
    ids = json_bytes([_answer(result, "") for result in results])
    share = _share(LARGEST_ANSWERS - ids, [text_bytes(result.output) for result in results])
    if share < _SHORTEST_ANSWER:
        raise ValueError(f"{len(results)} function calls are more than can be answered at once.")
    return [_answer(result, cut(result.output, share)) for result in results]


def _answer(result: ToolResult, text: str) -> FunctionCallOutput:
    if not result.images:
        return FunctionCallOutput(call_id=result.call_id, output=text)
    images = [InputImage(image_url=reference_to(name)) for name in result.images]
    return FunctionCallOutput(call_id=result.call_id, output=[InputText(text=text), *images])


def _share(room: int, sizes: list[int]) -> int:
    """The most that each may take, so that together they fit: what the short ones leave, the long ones may use."""
    rest = sorted(sizes)
    while rest and rest[0] <= room // len(rest):
        room -= rest.pop(0)
    return room // len(rest) if rest else max(sizes, default=0) + _SHORTEST_ANSWER


_SHORTEST_ANSWER = 60  # bytes: room for a note that something was cut


# --- what activities report --------------------------------------------------------------------------------------

_LONGEST_REPORTED = _LONGEST_ID  # characters of an id, a status, the name of a queue


def parse_report(report: object) -> ProgressReport:
    """The report in a signal, which anybody may send. Raises `ValueError` for what is not one."""
    parsed = ProgressReport.model_validate(report)
    for value in (parsed.response_id, parsed.response_status, parsed.queue):
        if value is not None and not 0 < len(value) <= _LONGEST_REPORTED:
            raise ValueError("A name in a report is empty, or too long.")
    return parsed


# --- steering messages -------------------------------------------------------------------------------------------

LARGEST_STEERING_MESSAGE = 64 * 1024  # bytes
MOST_BYTES_WAITING = 256 * 1024  # of all that wait: they travel with the input and the answers of an iteration
MOST_MESSAGES_WAITING = 50


def unusable_steering_message(message: object, waiting: list[str]) -> str | None:
    """Why a steering message cannot be taken beside those that wait; None if it can be."""
    if not isinstance(message, str) or not message.strip():
        return "It is not text, or it is empty."
    size = text_bytes(message)
    if size > LARGEST_STEERING_MESSAGE:
        return f"It is {size} bytes, more than {LARGEST_STEERING_MESSAGE}."
    if len(waiting) >= MOST_MESSAGES_WAITING or size + sum(map(text_bytes, waiting)) > MOST_BYTES_WAITING:
        return f"At most {MOST_MESSAGES_WAITING} steering messages, {MOST_BYTES_WAITING} bytes together, may wait."
    return None


# --- the result --------------------------------------------------------------------------------------------------


def structured_output(request: AgentInput, text: str) -> Any:
    """The answer as JSON, where the caller gave a schema; None where the model did not keep to it."""
    if request.text_format is None:
        return None
    try:
        return read_json(text)
    except ValueError:
        return None


LARGEST_MESSAGE = 1_900_000  # bytes of JSON: a result, what is saved of it, or what a new history is given
_LONGEST_LINE = 2000  # bytes of an error's sentence, a reason, a name
_SHORTEST_TASK = 16 * 1024


def fit_result(result: AgentResult) -> None:
    """Cut a result so that it fits into one payload: the server ends a run whose result does not. The text goes last.

    What has been left out is seen: a text ends with a note, and a structured answer is still there as text.
    """
    result.model = _line(result.model)
    result.cancel_reason = _line(result.cancel_reason)
    result.incomplete_reason = _line(result.incomplete_reason)
    result.artifact_error = _line(result.artifact_error)
    result.error = fit_error(result.error) if result.error else None
    if not _fits(result):
        result.structured_output = None
    if not _fits(result):
        result.citations = []
    if not _fits(result):
        result.responses = result.responses[-_SHOWN_PROBLEMS:]
    if not _fits(result):
        result.reasoning_summary = ""
    if not _fits(result):
        rest = json_bytes(result.model_copy(update={"output_text": ""}))
        result.output_text = cut(result.output_text, LARGEST_MESSAGE - rest)


def _fits(result: AgentResult) -> bool:
    try:
        return json_bytes(result) <= LARGEST_MESSAGE
    except ValueError:
        return False


def fit_error(error: AgentError) -> AgentError:
    """The error with texts that are short enough to be shown."""
    return AgentError(
        type=_line(error.type) or "error",
        message=_line(error.message) or "",
        code=_line(error.code),
        http_status=error.http_status,
        request_id=_line(error.request_id),
    )


def fit_waiting(waiting: Waiting) -> Waiting:
    """What a run waits for, with texts that are short enough to be shown."""
    short = {"what": cut(waiting.what, _LONGEST_NAME), "cause": _line(waiting.cause)}
    return waiting.model_copy(update=short)


def waiting_text(state: AgentState, now: datetime | None = None) -> str | None:
    """What the run waits for: "the provider is unreachable since 0:12, try 5, next in 8 s"; None if for nothing.

    The time since is the run's own; without `now` the next try is given as a time of day.
    """
    waiting = state.waiting
    if waiting is None or state.status is AgentStatus.INPUT_REQUIRED:  # then it waits for its owner
        return None
    seconds = max(int((waiting.since - (state.started_at or waiting.since)).total_seconds()), 0)
    parts = [f"{waiting.what} since {seconds // 60}:{seconds % 60:02}"]
    if waiting.attempt:
        parts.append(f"try {waiting.attempt}")
    if waiting.next_at is not None:
        left = f"in {max(int((waiting.next_at - now).total_seconds()), 0)} s" if now else None
        parts.append(f"next {left or f'at {waiting.next_at:%H:%M:%S} UTC'}")
    return ", ".join(parts) + (f": {waiting.cause}" if waiting.cause else "")


def late_because(state: AgentState) -> AgentError | None:
    """Why a run's deadline passed, where it waited for something that was not its response."""
    if state.waiting is None:
        return None
    waited = waiting_text(state.model_copy(update={"waiting": state.waiting.model_copy(update={"next_at": None})}))
    return fit_error(AgentError(type=FailureType.DEADLINE_PASSED, message=f"The deadline passed: {waited}"))


def _line(text: str | None) -> str | None:
    return None if text is None else cut(text, _LONGEST_LINE)


def artifact_of(
    options: SaveOptions, request: AgentInput, result: AgentResult, finished_at: datetime, whole_text: str | None
) -> SaveArtifact:
    """What is saved: the whole answer, and as much of the task as there is room for beside it.

    `whole_text`: the file that holds the answer, where the result does not.
    """
    artifact = SaveArtifact(
        options=options,
        task="",
        reasoning_summary=result.reasoning_summary or None,
        output_text=result.output_text,
        response_id=result.response_id,
        model=_line(result.model),
        iterations=result.iterations,
        usage=api_usage(result.usage),
        finished_at=finished_at,
        whole_text=whole_text,
    )
    artifact.task = cut(task_text(request), max(LARGEST_MESSAGE - json_bytes(artifact), _SHORTEST_TASK))
    return artifact


def unusable_data(error: BaseException) -> AgentError:
    """Why a run ends that has met data which its code cannot use."""
    why = str(error) if type(error).__module__.startswith("durable_responses") else type(error).__name__
    message = f"The run met data that it cannot use ({why}). The worker's log says more."
    return fit_error(AgentError(type="unusable_data", message=message))


def worth_saving(result: AgentResult) -> bool:
    """Whether there is an answer, or a part of one, to write to a file."""
    return bool(result.output_text) and result.status in (AgentStatus.COMPLETED, AgentStatus.INCOMPLETE)


def task_text(request: AgentInput) -> str:
    """The task as a reader sees it."""
    return request.task if isinstance(request.task, str) else json.dumps(request.task, ensure_ascii=False, indent=2)


def api_usage(usage: AgentUsage) -> Usage:
    """Our flat usage in the API's form."""
    return Usage(
        input_tokens=usage.input_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=usage.cached_tokens),
        output_tokens=usage.output_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=usage.reasoning_tokens),
        total_tokens=usage.total_tokens,
    )
