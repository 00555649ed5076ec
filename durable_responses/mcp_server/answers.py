"""What the tools return, as structured content. Pure: job views in, models out."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from durable_responses.activities.messages import SavedFile
from durable_responses.jobs.job_view import JobView, Source
from durable_responses.jobs.responding import Responded, Taken
from durable_responses.mcp_server import next_steps
from durable_responses.mcp_server.arguments import Untitled
from durable_responses.responses_api.redaction import redact
from durable_responses.shown_text import shown
from durable_responses.workflows.contract import (
    AgentError,
    AgentStatus,
    AgentUsage,
    CallToApprove,
    InputRequest,
    InputRequestKind,
    Limit,
    RunCost,
)
from durable_responses.workflows.rules import waiting_text

MEMO_DISPLAY = "display_in_chat"
"""Key of the workflow's memo: false if the text is to be saved and not to be returned as well."""

_MOST_UNSAVED = 5  # files that are named
_SHORTEST_POLL_MS, _LONGEST_POLL_MS = 2_000, 30_000


class Answer(BaseModel):
    """The structured content of a tool's result."""

    model_config = ConfigDict(
        protected_namespaces=(), use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


class JobProgress(Answer):
    """The progress of an agent run."""

    iteration: int
    max_iterations: int
    response_status: str | None
    elapsed_s: float


class AskedOfTheOwner(Answer):
    """What a job asks its owner, a person. It waits for the answer."""

    id: str
    kind: InputRequestKind
    message: str
    choices: list[str]
    """The words that can be answered."""
    call: CallToApprove | None
    """The function call that may only run if it is allowed."""
    limit: Limit | None
    """If a limit is reached: a number can be answered as well, a new total of iterations or more seconds."""
    opened_at: datetime
    expires_at: datetime | None
    default: str | None
    """What is taken at `expires_at`."""
    resume_at: datetime | None
    """When the job goes on by itself."""
    next_step: str


class FileAnswer(Answer):
    """A file that the code interpreter has made, or an image: where it is saved, or why it is not."""

    name: str
    path: str | None
    bytes: int | None
    error: str | None


class JobAnswer(Answer):
    """A job, as `gpt5_agent` and `gpt5_agent_poll` return it. Times are ISO 8601, in UTC."""

    # The text comes last: a client that cuts what is long does not cut what is short.
    job_id: str
    status: AgentStatus
    next_step: str | None
    """What to call next, or where the whole output is; null if there is nothing to add."""
    input_requests: list[AskedOfTheOwner]
    """What the job asks its owner at the moment; it waits for that while its status is `input_required`."""
    error: AgentError | None
    incomplete_reason: str | None
    notices: list[str]
    """Anything unusual, such as that no worker is running."""
    result_path: str | None
    """The saved file."""
    files: list[FileAnswer] = []
    """The files that `save_files` has saved beside it."""
    result_uri: str | None
    """The result as a resource, once the job has ended."""
    output_bytes: int | None
    """The size of the whole answer, once the job has ended."""
    iterations: int
    """Model responses so far; 0 before the first."""
    response_id: str | None
    """Pass it as `previous_response_id` to continue from a completed run."""
    model: str | None
    usage: AgentUsage
    cost: RunCost | None = None
    budget_usd: float | None = None
    """USD that the job may cost in all, where it has such a budget, as it was raised."""
    progress: JobProgress
    cancel_requested: bool
    updated_at: datetime | None
    next_poll_ms: int | None
    """When to poll again; null once the job has ended."""
    preview: str
    """The last 4000 characters written so far; empty once they are in `output`, and if display_in_chat is false."""
    output: str | None
    """The whole answer, once the job has ended; null if it was saved and display_in_chat is false."""


class StartAnswer(Answer):
    """A job that was started, or that an earlier call with the same idempotency key has started."""

    job_id: str
    status: AgentStatus
    next_step: str


class SteerAnswer(Answer):
    """A job that was told something."""

    job_id: str
    status: AgentStatus
    next_step: str
    notices: list[str]


class RespondAnswer(Answer):
    """What has become of an answer to an input request."""

    job_id: str
    request_id: str | None
    taken: Taken
    """`taken`: the job has it. `noted`: kept until a worker takes it, and perhaps taken already. `over`: too late."""
    status: AgentStatus
    next_step: str
    notices: list[str]


class CancelStatus(StrEnum):
    """The answer to a cancel: the job's status, or that it is being stopped."""

    CANCELLING = "cancelling"
    COMPLETED = AgentStatus.COMPLETED
    INCOMPLETE = AgentStatus.INCOMPLETE
    FAILED = AgentStatus.FAILED
    CANCELLED = AgentStatus.CANCELLED


class CancelAnswer(Answer):
    """The outcome of a cancel. `cancelling`: requested, but not yet confirmed by the provider."""

    job_id: str
    status: CancelStatus
    next_step: str | None
    notices: list[str]


class JobSummary(Answer):
    """One job of a list."""

    job_id: str
    status: AgentStatus
    task: str
    iterations: int
    started_at: datetime | None
    updated_at: datetime | None
    result_path: str | None
    waiting: str | None = None
    input_requests: list[AskedOfTheOwner]
    """What the job asks its owner at the moment."""


class ListAnswer(Answer):
    """The newest jobs."""

    jobs: list[JobSummary]
    notices: list[str]


class ProblemCode(StrEnum):
    """Why a tool call failed."""

    JOB_NOT_FOUND = "job_not_found"
    INVALID_ARGUMENTS = "invalid_arguments"
    UNAVAILABLE = "unavailable"
    INTERNAL_ERROR = "internal_error"


class JobNotFoundAnswer(Answer):
    """No agent run has this id."""

    error: Literal[ProblemCode.JOB_NOT_FOUND] = ProblemCode.JOB_NOT_FOUND


def output_schema(*kinds: type[Answer]) -> dict[str, Any]:
    """The published schema of a tool's structured content: an object of one of these kinds."""
    # Protocol revisions before 2026-07-28 require an object at the root.
    if len(kinds) == 1:
        return kinds[0].model_json_schema(mode="serialization", schema_generator=Untitled)
    named, definitions = TypeAdapter.json_schemas(
        [(kind.__name__, "serialization", TypeAdapter(kind)) for kind in kinds], schema_generator=Untitled
    )
    return {"type": "object", "anyOf": list(named.values()), "$defs": definitions.get("$defs", {})}


# --- from a job --------------------------------------------------------------------------------------------------


def job_answer(view: JobView, now: datetime) -> JobAnswer:
    """A job as the tools return it."""
    state, result = view.state, view.result
    output = result.output_text if result and not is_kept_back(view) else None
    path = result.artifact_path if result else None
    size = len(result.output_text.encode()) if result else None
    poll_ms = next_poll_ms(view, now)
    asked = asked_of_the_owner(view)
    continues = state.response_id if state.status is AgentStatus.COMPLETED and not state.in_full else None
    return JobAnswer(
        job_id=view.job_id,
        status=state.status,
        next_step=(
            _while_open(view.job_id, poll_ms, asked)
            if poll_ms
            else next_steps.after_end(view.job_id, path, size or 0, continues, is_kept_back=is_kept_back(view))
        ),
        input_requests=asked,
        error=_redacted(state.error) if state.error else None,
        incomplete_reason=result.incomplete_reason if result else None,
        notices=notices(view),
        result_path=path,
        files=[_file(file) for file in result.files] if result else [],
        result_uri=next_steps.result_uri(view.job_id) if result else None,
        output_bytes=size,
        iterations=_iterations(view),
        response_id=state.response_id,
        model=state.model,
        usage=state.usage,
        cost=state.cost,
        budget_usd=state.budget.usd if state.budget else None,
        progress=JobProgress(
            iteration=_iterations(view),
            max_iterations=state.max_iterations,
            response_status=state.response_status,
            elapsed_s=round(view.elapsed(now).total_seconds(), 1),
        ),
        cancel_requested=state.cancel_requested,
        updated_at=state.updated_at,
        next_poll_ms=poll_ms,
        preview="" if output or is_kept_back(view) else state.preview,
        output=output,
    )


def _file(file: SavedFile) -> FileAnswer:
    error = redact(file.error) if file.error else None
    return FileAnswer(name=shown(file.name), path=file.path, bytes=file.bytes, error=error)


def _while_open(job_id: str, poll_ms: int, asked: Sequence[AskedOfTheOwner]) -> str:
    if asked:
        return next_steps.while_asking(job_id, [(each.id, answers_to(each)) for each in asked])
    return next_steps.while_open(job_id, poll_ms)


def asked_of_the_owner(view: JobView) -> list[AskedOfTheOwner]:
    """What a job asks its owner at the moment."""
    return [_asked(request, view.job_id) for request in view.open_requests]


def _asked(request: InputRequest, job_id: str) -> AskedOfTheOwner:
    said = request.model_dump(include=set(AskedOfTheOwner.model_fields) - {"message"})
    message = shown(" ".join(filter(None, [request.not_taken, request.message])))
    step = f"Ask your user, then {next_steps.respond(job_id, request.id, answers_to(request))}."
    return AskedOfTheOwner(**said, message=message, next_step=step)


def answers_to(request: InputRequest | AskedOfTheOwner) -> str:
    """What can be answered, in words: `retry or stop`."""
    numbers = {
        None: [],
        Limit.MAX_ITERATIONS: ["a new total of iterations"],
        Limit.DEADLINE: ["more seconds"],
        Limit.USD: ["a new total in USD"],
        Limit.TOKENS: ["a new total of tokens"],
        Limit.WORKING_SECONDS: ["a new total of seconds"],
    }
    texts = ["any text"] if request.kind is InputRequestKind.QUESTION else []
    return " or ".join([*numbers[request.limit], *request.choices, *texts])


def respond_answer(responded: Responded, view: JobView) -> RespondAnswer:
    """What has become of an answer, with the job as it is now."""
    return RespondAnswer(
        job_id=view.job_id,
        request_id=responded.request.id if responded.request else None,
        taken=responded.taken,
        status=view.state.status,
        next_step=next_steps.after_start(view.job_id, has_ended=view.state.status.is_final),
        notices=notices(view),
    )


def start_answer(job_id: str, status: AgentStatus) -> StartAnswer:
    """A job that was started now, or earlier."""
    return StartAnswer(
        job_id=job_id, status=status, next_step=next_steps.after_start(job_id, has_ended=status.is_final)
    )


def steer_answer(view: JobView) -> SteerAnswer:
    """A job that was told something, as it is now."""
    step = next_steps.after_start(view.job_id, has_ended=view.state.status.is_final)
    return SteerAnswer(job_id=view.job_id, status=view.state.status, next_step=step, notices=notices(view))


def cancel_answer(view: JobView) -> CancelAnswer:
    """The outcome of a cancel: an open job is being stopped, a closed one has its real status."""
    status = CancelStatus(view.state.status.value) if view.is_closed else CancelStatus.CANCELLING
    step = next_steps.after_cancel(view.job_id) if status is CancelStatus.CANCELLING else None
    return CancelAnswer(job_id=view.job_id, status=status, next_step=step, notices=notices(view))


def list_answer(views: list[JobView], asked: JobView | None) -> ListAnswer:
    """A list of jobs. `asked`: an open one whose worker was asked, which shows whether any worker is running."""
    jobs = [
        JobSummary(
            job_id=view.job_id,
            status=view.state.status,
            task=view.summary or "",
            iterations=_iterations(view),
            started_at=view.state.started_at,
            updated_at=view.state.updated_at,
            result_path=view.result.artifact_path if view.result else None,
            waiting=redact(waiting) if (waiting := waiting_text(view.state)) else None,
            input_requests=asked_of_the_owner(view),
        )
        for view in views
    ]
    return ListAnswer(jobs=jobs, notices=_outages(asked) if asked else [])


def next_poll_ms(view: JobView, now: datetime) -> int | None:
    """When to ask again: after a tenth of the job's age, 2 to 30 s; None for a job that has ended."""
    if view.is_closed:
        return None
    return min(max(int(view.elapsed(now).total_seconds() * 100), _SHORTEST_POLL_MS), _LONGEST_POLL_MS)


def is_kept_back(view: JobView) -> bool:
    """Whether the text is not returned because it was, or will be, saved and `display_in_chat` is false."""
    is_saved = view.result is None or view.result.artifact_path is not None
    return is_saved and view.memo.get(MEMO_DISPLAY) is False


_NO_WORKER = "No worker is running, or it is not responding. The job is safe and resumes as soon as there is one."
_SILENT_TEMPORAL = "Temporal is not responding: this is the last known state. The job is safe."


def notices(view: JobView) -> list[str]:
    """What is unusual about a job, a sentence each."""
    told = _outages(view)
    if waiting := waiting_text(view.state):
        told.append(redact(f"Waiting: {waiting}"))
    if view.state.ambiguous_creates:
        told.append(f"{view.state.ambiguous_creates} create(s) with an unknown outcome may have cost tokens.")
    if view.state.compactions:
        told.append(view.state.compactions[-1].sentence)
    if view.state.request_changes:
        told.append(redact(f"Requests are not as they were asked for: {', '.join(view.state.request_changes)}."))
    if view.result and view.result.artifact_error:
        told.append(redact(f"The result was not saved: {view.result.artifact_error}"))
    unsaved = [file for file in view.result.files if file.error] if view.result else []
    told += [shown(redact(f"{file.name} was not saved: {file.error}")) for file in unsaved[:_MOST_UNSAVED]]
    if len(unsaved) > _MOST_UNSAVED:
        told.append(f"{len(unsaved) - _MOST_UNSAVED} more files were not saved.")
    return told


def _outages(view: JobView) -> list[str]:
    if view.source is Source.EARLIER:
        return [_SILENT_TEMPORAL]
    if view.absent_build is not None:
        return [f"The job is pinned to build {redact(view.absent_build)}, of which no worker is running. It is safe."]
    told = [f"An operator has paused {', '.join(map(redact, view.paused))}."] if view.paused else []
    return told if view.worker_running or view.is_closed else [*told, _NO_WORKER]


def _iterations(view: JobView) -> int:
    # A queued run is in its first iteration, but there is no response yet.
    return 0 if view.state.status is AgentStatus.QUEUED else view.state.iteration


def _redacted(error: AgentError) -> AgentError:
    # Most texts were redacted at their source; the reason of a termination, for instance, can be typed by anybody.
    return error.model_copy(update={"message": redact(error.message)})
