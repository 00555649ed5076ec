"""The rules of an agent run, as plain Python: what follows from what the provider said.

No I/O, no clock, no Temporal; the workflow asks and obeys.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from durable_responses.activities.messages import FailureDetail, FailureType, ModelOptions, ToolResult, Transport
from durable_responses.responses_api.errors import is_quota_exhausted
from durable_responses.responses_api.models import (
    ErrorDetail,
    FunctionCall,
    FunctionCallOutput,
    InputTokensDetails,
    Message,
    OtherItem,
    OutputTokensDetails,
    ReasoningEffort,
    Response,
    ResponseStatus,
    Usage,
)
from durable_responses.workflows.contract import (
    AgentError,
    AgentInput,
    AgentResult,
    AgentStatus,
    AgentUsage,
    IncompleteReason,
    OnAmbiguousCreate,
    TransportChoice,
)

# --- the input ---------------------------------------------------------------------------------------------------

_LARGEST_INPUT = 1024 * 1024  # bytes; with the answers of an iteration it must fit one payload at a continue-as-new


def parse_input(payload: object) -> AgentInput:
    """The run's input, whatever JSON came in. Raises `ValueError`: one sentence that names each field, no value."""
    if not isinstance(payload, dict | AgentInput):
        raise ValueError('The input must be one JSON object such as {"task": "…"}.')
    try:
        request = AgentInput.model_validate(payload)
    except ValidationError as error:
        raise ValueError("The input cannot be used: " + "; ".join(map(_problem, error.errors())) + ".") from None
    size = len(request.model_dump_json().encode())
    if size > _LARGEST_INPUT:
        raise ValueError(f"The input is {size} bytes, more than {_LARGEST_INPUT}: give long texts in `files`.")
    return request


def _problem(error: ErrorDetails) -> str:
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{field} is not a field of AgentInput"
    return f"{field}: {error['msg'].removeprefix('Value error, ')}"


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
_LONGEST_DEADLINE = timedelta(days=3650)  # a datetime cannot hold much more


def transport_for(request: AgentInput) -> Transport:
    """The transport of every iteration: the caller's, or by effort and web search.

    Where it may be a WebSocket it is one for runs with function tools, whose many short responses it is there for.
    """
    if request.transport is not TransportChoice.AUTO:
        return Transport(request.transport.value)
    effort = _EFFORTS.index(request.reasoning_effort)
    slow = effort >= _EFFORTS.index(ReasoningEffort.HIGH)
    searches = request.enable_web_search and effort >= _EFFORTS.index(ReasoningEffort.MEDIUM)
    if slow or searches:
        return Transport.BACKGROUND
    has_functions = request.tools is None or bool(request.tools)
    return Transport.WEBSOCKET if request.allow_websocket and has_functions else Transport.STREAM


def max_iterations_for(request: AgentInput) -> int:
    """The caller's limit, or by effort."""
    return request.max_iterations or ITERATIONS_BY_EFFORT[request.reasoning_effort]


def absolute_deadline(request: AgentInput, started_at: datetime) -> datetime | None:
    """When the whole run must have ended."""
    if request.deadline is None:
        return None
    return started_at + timedelta(seconds=min(request.deadline, _LONGEST_DEADLINE.total_seconds()))


def model_options(request: AgentInput) -> ModelOptions:
    """What every create of the run says to the model."""
    return ModelOptions(**{name: getattr(request, name) for name in ModelOptions.model_fields})


# --- after a response --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunTools:
    """Answer these calls, then create the next response."""

    calls: list[FunctionCall]


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
    unanswerable = unanswerable_calls(response)
    if unanswerable:
        kinds = ", ".join(sorted({item.type for item in unanswerable}))
        message = f"{response.id} asks the client for {kinds}, which this runtime cannot answer."
        return Fail(AgentError(type="unanswerable_call", message=message))
    if response.function_calls:
        if iterations_left <= 0:
            return Incomplete(IncompleteReason.MAX_ITERATIONS)
        return RunTools(response.function_calls)
    if any(isinstance(item, Message) for item in response.output):
        return Finish()
    return Fail(
        AgentError(type="empty_output", message=f"{response.id} completed with neither a message nor a function call.")
    )


def unanswerable_calls(response: Response) -> list[OtherItem]:
    """Items that wait for an answer of the client which we cannot give.

    `mcp_approval_request`, and every kind of call that is neither carried out at the provider nor already answered in
    the same output (a hosted shell is). Unknown kinds without a `call_id` are no calls.
    """
    others = [item for item in response.output if isinstance(item, OtherItem)]
    answered = {_call_id(item) for item in others if item.type.endswith("_output")}
    return [
        item
        for item in others
        if item.type == "mcp_approval_request"
        or (
            item.type.endswith("_call")
            and item.type not in _HOSTED_CALLS
            and _call_id(item) is not None
            and _call_id(item) not in answered
        )
    ]


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


def may_be_continued(response: Response) -> bool:
    """Whether the next response can continue from this one.

    Completed, or ended early by a steering message: what the provider itself makes of one continues from it, too.
    """
    return response.status == ResponseStatus.COMPLETED or response.is_steered


def continues_with_steering(step: NextStep, *, iterations_left: int) -> bool:
    """Whether a run that would end here takes one iteration more, if steering messages have come meanwhile."""
    can_be_continued = isinstance(step, Finish) or step == Incomplete(IncompleteReason.STEERED)
    return can_be_continued and iterations_left > 0


# --- after a create that brought no response ---------------------------------------------------------------------


class AfterFailedCreate(StrEnum):
    """What to do when a create has failed."""

    FAIL = "fail"
    CREATE_AGAIN = "create_again"
    CREATE_WITH_FULL_INPUT = "create_with_full_input"


_MOST_LOST_RESPONSES = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds


@dataclass
class CreateHistory:
    """What became of the earlier creates of one iteration.

    `interrupted`: a response that nobody follows any more, to be read by its id before anything is created.
    `can_rebuild`: whether the run knows the whole conversation; not where the caller's `previous_response_id` began it.
    """

    ambiguous: int = 0
    lost: int = 0
    turned_away: int = 0
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

    @property
    def pause(self) -> float:
        """Seconds until what was turned away is sent again."""
        return min(_FIRST_PAUSE * 2.0 ** (self.turned_away - 1), _LONGEST_PAUSE)

    @property
    def attempt(self) -> int:
        """The number of the next create, sent as `metadata.attempt`: 1 unless one may have been taken unseen."""
        return 1 + self.ambiguous + self.lost


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

_OUTPUT_BYTES_OF_ONE_ITERATION = 512 * 1024  # with the caller's input it must fit one 2-MiB payload


def fit_outputs(results: list[ToolResult]) -> list[FunctionCallOutput]:
    """The answers for the next create, the longest cut with a note where together they are too large for a payload."""
    share = _OUTPUT_BYTES_OF_ONE_ITERATION // max(1, len(results))
    total = sum(len(result.output.encode()) for result in results)
    fits = total <= _OUTPUT_BYTES_OF_ONE_ITERATION
    return [
        FunctionCallOutput(call_id=result.call_id, output=result.output if fits else _cut(result.output, share))
        for result in results
    ]


def _cut(text: str, limit: int) -> str:
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    note = f"\n[cut: the first {limit} of {len(encoded)} bytes]"
    return encoded[:limit].decode(errors="ignore") + note


# --- steering messages -------------------------------------------------------------------------------------------

LARGEST_STEERING_MESSAGE = 64 * 1024  # bytes
MOST_BYTES_WAITING = 256 * 1024  # of all that wait: they travel with the input and the answers of an iteration
MOST_MESSAGES_WAITING = 50


def unusable_steering_message(message: object, waiting: list[str]) -> str | None:
    """Why a steering message cannot be taken beside those that wait; None if it can be."""
    if not isinstance(message, str) or not message.strip():
        return "It is not text, or it is empty."
    size = _bytes(message)
    if size > LARGEST_STEERING_MESSAGE:
        return f"It is {size} bytes, more than {LARGEST_STEERING_MESSAGE}."
    if len(waiting) >= MOST_MESSAGES_WAITING or size + sum(map(_bytes, waiting)) > MOST_BYTES_WAITING:
        return f"At most {MOST_MESSAGES_WAITING} steering messages, {MOST_BYTES_WAITING} bytes together, may wait."
    return None


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


# --- the result --------------------------------------------------------------------------------------------------


def structured_output(request: AgentInput, text: str) -> Any:
    """The answer as JSON, where the caller gave a schema; None where the model did not keep to it."""
    if request.text_format is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


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
