"""What the tools return, as text for people and models. Pure: answers in, text out."""

from datetime import UTC, datetime

from durable_responses.mcp_server.answers import (
    AskedOfTheOwner,
    CancelAnswer,
    CancelStatus,
    JobAnswer,
    ListAnswer,
    RespondAnswer,
    StartAnswer,
    SteerAnswer,
)
from durable_responses.mcp_server.next_steps import LONG_OUTPUT
from durable_responses.workflows.contract import AgentError, AgentUsage
from durable_responses.workflows.costs import cost_text

_PREVIEW_TAIL = 200


def started_text(answer: StartAnswer) -> str:
    """A job that was started, and what to call next."""
    if answer.status.is_final:
        return f"Job {answer.job_id} has already ended: {answer.status}. {answer.next_step}"
    return f"Job {answer.job_id} is {answer.status}. It runs on its own. {answer.next_step}"


def job_text(answer: JobAnswer) -> str:
    """A job: its output and the facts, or its progress and what to call next."""
    if answer.next_poll_ms is not None:
        return _open_text(answer)
    # What is wrong, and where the rest is, comes first: clients cut the end of what is long.
    is_long = answer.output is None or len(answer.output.encode()) >= LONG_OUTPUT
    parts = [_error(answer.error), answer.next_step if is_long else None, answer.output, _facts(answer)]
    return "\n\n".join(filter(None, [*parts, *answer.notices]))


def _open_text(answer: JobAnswer) -> str:
    cancelling = " A cancel is requested." if answer.cancel_requested else ""
    head = f"Job {answer.job_id} is {standing(answer)}.{cancelling}"
    written = f"The end of the text so far:\n{answer.preview}" if answer.preview else None
    asked = [asked_text(each) for each in answer.input_requests]
    return "\n\n".join(filter(None, [head, written, *answer.notices, *asked, answer.next_step]))


def asked_text(asked: AskedOfTheOwner) -> str:
    """`refusal-1: No credit is left. (It goes on by itself at 2026-11-29 12:00:00Z.)`"""
    until = f" (The job goes on by itself at {_moment(asked.resume_at)}.)" if asked.resume_at else ""
    if asked.expires_at:
        until += f" ({asked.default or 'No answer'} is taken at {_moment(asked.expires_at)}.)"
    return f"{asked.id}: {asked.message}{until}"


def _moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def task_text(answer: JobAnswer) -> str:
    """The status message of a task: the standing, and what changes with time about its questions."""
    until = [asked for asked in answer.input_requests if asked.resume_at or asked.expires_at]
    return ". ".join([standing(answer), *map(asked_text, until)])


def responded_text(answer: RespondAnswer, sentence: str) -> str:
    """What has become of an answer."""
    return " ".join([sentence, answer.next_step, *answer.notices])


def steered_text(answer: SteerAnswer) -> str:
    """A job that was told something, and what to call next."""
    head = f"Job {answer.job_id} was told; it is {answer.status}."
    return " ".join([head, answer.next_step, *answer.notices])


def cancelled_text(answer: CancelAnswer) -> str:
    """The outcome of a cancel."""
    if answer.status is CancelStatus.CANCELLING:
        head = f"Job {answer.job_id} is being stopped; the provider has not confirmed yet. {answer.next_step}"
    else:
        head = f"Job {answer.job_id} has ended: {answer.status}."
    return " ".join([head, *answer.notices])


def list_text(answer: ListAnswer) -> str:
    """One line for each job."""
    lines = [
        f"{job.job_id}  {job.status}  {f'{job.started_at:%Y-%m-%d %H:%M:%SZ}' if job.started_at else ''}  {job.task}"
        + "".join(f"\n  {asked_text(asked)} {asked.next_step}" for asked in job.input_requests)
        for job in answer.jobs
    ]
    return "\n".join([*(lines or ["There are no jobs."]), *answer.notices])


def progress_text(answer: JobAnswer) -> str:
    """One line for a progress notification: standing, tokens, and the end of what was written."""
    tail = " ".join(answer.preview[-_PREVIEW_TAIL:].split())
    return standing(answer) + (f": …{tail}" if tail else "")


def standing(answer: JobAnswer) -> str:
    """`running, iteration 2 of 10, in_progress, 1,234 tokens, 0:41`, as far as it is known."""
    progress = answer.progress
    of = f" of {progress.max_iterations}" if progress.max_iterations else ""
    parts = [
        str(answer.status),
        f"iteration {progress.iteration}{of}" if progress.iteration else None,
        progress.response_status if progress.iteration else None,
        _tokens(answer.usage) if answer.usage.total_tokens else None,
        cost_text(answer.cost, answer.budget_usd),
        duration(progress.elapsed_s),
    ]
    return ", ".join(filter(None, parts))


def duration(seconds: float) -> str:
    """`0:41`, `12:05`, `3:07:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _facts(answer: JobAnswer) -> str:
    """How a job ended: status, response id, model, iterations, tokens, time, path."""
    reason = f" ({answer.incomplete_reason})" if answer.incomplete_reason else ""
    facts = {
        "job": answer.job_id,
        "status": f"{answer.status}{reason}",
        "response": answer.response_id and f"{answer.response_id} (pass it as previous_response_id to continue)",
        "model": answer.model,
        "iterations": str(answer.iterations),
        "tokens": _tokens(answer.usage),
        "cost": _cost(answer),
        "time": duration(answer.progress.elapsed_s),
        "saved": answer.result_path,
    }
    lines = [f"{name}: {value}" for name, value in facts.items() if value]
    lines += [
        f"file: {file.path} ({file.bytes:,} bytes)" for file in answer.files if file.path and file.bytes is not None
    ]
    return "\n".join(["---", *lines])


def _error(error: AgentError | None) -> str | None:
    if error is None:
        return None
    told = {"type": error.type, "code": error.code, "HTTP": error.http_status, "request": error.request_id}
    return f"Error: {error.message} ({', '.join(f'{name} {value}' for name, value in told.items() if value)})"


def _cost(answer: JobAnswer) -> str | None:
    known = cost_text(answer.cost, answer.budget_usd)
    why = "; ".join(answer.cost.why) if answer.cost else ""
    return f"{known} ({why})" if known and why else known


def _tokens(usage: AgentUsage) -> str:
    thought = f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""
    return f"{usage.total_tokens:,} tokens{thought}"
