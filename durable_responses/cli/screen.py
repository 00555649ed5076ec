"""A job on a terminal and in plain lines. No I/O: views in, text out.

Text that a model, a tool or a server wrote is never trusted: control characters do not reach the terminal.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from durable_responses.jobs.job_view import JobView, Source
from durable_responses.shown_text import shown
from durable_responses.workflows.contract import (
    AgentError,
    AgentResult,
    AgentState,
    AgentStatus,
    AgentUsage,
    CallRecord,
    CallStatus,
)
from durable_responses.workflows.ledger import LOST, MAY_STILL_RUN
from durable_responses.workflows.rules import waiting_text

_FRESH = timedelta(seconds=60)  # a worker that polled so recently may only be slow
_TASK_ATTEMPTS = 3  # a workflow task whose worker was killed is tried once or twice more
_PREVIEW_LINES = 12
_STYLES = {
    AgentStatus.QUEUED: "yellow",
    AgentStatus.RUNNING: "cyan",
    AgentStatus.COMPLETED: "bold green",
    AgentStatus.INCOMPLETE: "bold yellow",
    AgentStatus.FAILED: "bold red",
    AgentStatus.CANCELLED: "bold magenta",
}
_CALL_SIGNS = {CallStatus.SUCCEEDED: "✓", CallStatus.FAILED: "✗", CallStatus.UNKNOWN: "?", CallStatus.RUNNING: "…"}

# --- pieces ------------------------------------------------------------------------------------------------------


def duration(time: timedelta) -> str:
    """`0:41`, `12:05`, `3:07:00`, `2d 3:07:00`."""
    seconds = int(time.total_seconds())
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    clock = f"{hours}:{minutes:02}" if hours or days else f"{minutes}"
    return (f"{days}d " if days else "") + f"{clock}:{seconds % 60:02}"


def tokens(usage: AgentUsage) -> str:
    """`1,234 tokens (500 reasoning)`."""
    thought = f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""
    return f"{usage.total_tokens:,} tokens{thought}"


def counted(number: int, noun: str) -> str:
    """`1 iteration`, `2 iterations`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def calls_line(calls: Sequence[CallRecord]) -> str:
    """The function calls by name: `read_file ✓✓, write_file …`; long rows of signs are counted."""
    signs: dict[str, str] = {}
    for call in calls:
        signs[call.name] = signs.get(call.name, "") + _CALL_SIGNS[call.status]
    return shown(", ".join(f"{name} {_counted_signs(row)}" for name, row in signs.items()))


def _counted_signs(row: str) -> str:
    if len(row) <= 4:
        return row
    return " ".join(f"{row.count(sign)}{sign}" for sign in _CALL_SIGNS.values() if sign in row)


def iteration_of(state: AgentState) -> str:
    """`iteration 2 of 10`, or `iteration 2` if the limit is not known."""
    return f"iteration {state.iteration}" + (f" of {state.max_iterations}" if state.max_iterations else "")


def standing(view: JobView, now: datetime) -> list[str]:
    """Status and its reason, iteration, time, and the tokens if they are known."""
    status = status_of(view.result) if view.result else f"{view.state.status}"
    parts = [status, iteration_of(view.state), duration(view.elapsed(now))]
    return [*parts, tokens(view.state.usage)] if view.state.usage.total_tokens else parts


def status_of(result: AgentResult) -> str:
    """`completed`, `incomplete (max_iterations)`, `cancelled (no longer needed)`."""
    reason = result.incomplete_reason or result.cancel_reason
    return shown(f"{result.status} ({reason})" if reason else f"{result.status}")


def notices(view: JobView, now: datetime) -> dict[str, str]:
    """What is unusual: one sentence each, by subject."""
    told = {}
    if view.source is Source.EARLIER:
        told["temporal"] = "Temporal is not responding. The run is safe and this view resumes when it is back."
    elif view.task_attempt > _TASK_ATTEMPTS:
        told["worker"] = "The worker keeps failing at this run and retries: its log says why."
    elif view.absent_build is not None:
        told["worker"] = absent_build(view.absent_build, view.job_id)
    elif not view.worker_running and not view.is_closed:
        told["worker"] = no_worker(view.worker_seen_at, now)
    if view.state.cancel_requested and not view.state.status.is_final:
        told["cancel"] = "Cancel requested."
    if view.paused:
        told["pause"] = paused(view.paused, view.job_id)
    if waiting := waiting_text(view.state, now):
        told["waiting"] = shown(f"Waiting: {waiting}")
    if creates := view.state.ambiguous_creates:
        told["creates"] = f"{counted(creates, 'create')} with an unknown outcome: its response may have cost tokens."
    if changes := view.state.request_changes:
        told["changes"] = shown(f"Because the provider refuses it otherwise: {', '.join(changes)}.")
    return told


def absent_build(build: str, job_id: str) -> str:
    """That the run is pinned to a build of which no worker is running, and what to do."""
    return shown(
        f"The run is pinned to build {build}, of which no worker is running. Start one, or let the run move: "
        f"`temporal workflow update-options --workflow-id {job_id} --versioning-override-behavior auto_upgrade`."
    )


def paused(activities: Sequence[str], job_id: str) -> str:
    """That an operator has paused activities of the run, and what to do."""
    return shown(
        f"Paused by an operator: {', '.join(activities)}. To resume, use `temporal activity unpause`; "
        f"`temporal workflow describe --workflow-id {job_id}` tells the activity's id."
    )


def no_worker(seen_at: datetime | None, now: datetime) -> str:
    """That no worker is running, and how certain that is."""
    if seen_at is None or now - seen_at > _FRESH:
        return (
            "No worker is running. To resume the run, start one: `durable-responses up` or `durable-responses worker`."
        )
    seconds = max(int((now - seen_at).total_seconds()), 0)
    return f"No worker is running, or it is not responding (last seen {seconds} s ago). The run is safe."


# --- one job, in plain lines -------------------------------------------------------------------------------------


def changes(before: JobView | None, view: JobView, now: datetime) -> list[str]:
    """One line for each thing that is new since `before`."""
    lines = []
    if before is None or _place(before) != _place(view):
        lines.append(f"{view.state.status}: {', '.join(_place_parts(view))}")
    lines += [f"call {shown(call.name)}: {call.status}" for call in _moved_calls(before, view)]
    known, told = notices(before, now) if before else {}, notices(view, now)
    lines += [notice for subject, notice in told.items() if subject not in known]
    over = {"temporal": "Temporal is back.", "worker": "A worker is running."}
    lines += [
        sentence
        for subject, sentence in over.items()
        if subject in known and not view.is_closed and subject not in told
    ]
    return lines


def _place(view: JobView) -> tuple[object, ...]:
    state = view.state
    return state.status, state.iteration, state.response_id, state.response_status


def _place_parts(view: JobView) -> list[str]:
    state = view.state
    parts = [iteration_of(state)]
    if state.response_id:
        parts.append(f"{shown(state.response_id)} {shown(state.response_status or '')}".rstrip())
    if state.usage.total_tokens:
        parts.append(tokens(state.usage))
    return parts


def _moved_calls(before: JobView | None, view: JobView) -> Iterable[CallRecord]:
    known = {(call.iteration, call.call_id): call.status for call in before.state.function_calls} if before else {}
    return [call for call in view.state.function_calls if known.get((call.iteration, call.call_id)) != call.status]


# --- one job, on a terminal --------------------------------------------------------------------------------------


def head_of(view: JobView, web_ui: str | None, now: datetime) -> list[Text]:
    """The state of a run, line by line; the first line is its status."""
    status, *rest = standing(view, now)
    lines = [_one_line(Text(" · ").join([Text(status, style=_STYLES[view.state.status]), *map(Text, rest)]))]
    lines.append(Text(shown(view.job_id), style="dim", overflow="fold"))
    if web_ui:
        lines.append(Text(web_ui, style=f"dim link {web_ui}", overflow="fold"))
    if told := response_line(view):
        lines.append(_one_line(Text(told)))
    if view.state.function_calls:
        lines.append(_one_line(Text(calls_line(view.state.function_calls))))
    return lines + [Text(notice, style="yellow") for notice in notices(view, now).values()]


@dataclass
class RunScreen:
    """A rich renderable: the state of the run, and the last lines of its text.

    `now` is asked at each drawing, so that the time goes on between two views.
    """

    view: JobView
    web_ui: str | None
    now: Callable[[], datetime]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = head_of(self.view, self.web_ui, self.now())
        yield from head
        used = sum(len(console.render_lines(line, options, pad=False)) for line in head)
        text = Text(shown(self.view.state.preview).strip("\n"), style="dim")
        room = min(max(console.height - used - 2, 3), _PREVIEW_LINES)
        yield from text.wrap(console, options.max_width)[-room:]


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def response_line(view: JobView) -> str:
    """`resp_1 in_progress · gpt-5.4`; empty before the first response."""
    state = view.state
    response = f"{state.response_id} {state.response_status or ''}".strip() if state.response_id else ""
    return shown(" · ".join(filter(None, [response, state.model if response else None])))


# --- after the end -----------------------------------------------------------------------------------------------


def particulars(result: AgentResult) -> list[str]:
    """The facts about a finished run beside its answer: error, lost responses, where it was saved."""
    lines = [error_line(result.error)] if result.error else []
    if lost := sum(response.status == LOST for response in result.responses):
        lines.append(f"{counted(lost, 'response')} lost: the tokens are not counted.")
    left = [response.response_id for response in result.responses if response.status == MAY_STILL_RUN]
    lines += [f"{response_id} may still run at the provider: it could not be cancelled." for response_id in left]
    if result.artifact_path:
        lines.append(f"saved: {result.artifact_path}")
    if result.artifact_error:
        lines.append(f"not saved: {result.artifact_error}")
    lines += [f"source: {citation.title or ''} {citation.url}" for citation in result.citations]
    if result.status is AgentStatus.COMPLETED and result.response_id:
        lines.append(f"continue from it: --previous-response-id {result.response_id}")
    return [shown(line) for line in lines]


def error_line(error: AgentError) -> str:
    """An error's sentence, and what the provider said about it."""
    told = {"type": error.type, "code": error.code, "HTTP": error.http_status, "request": error.request_id}
    facts = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
    return f"error: {error.message}" + (f" ({facts})" if facts else "")


# --- many jobs ---------------------------------------------------------------------------------------------------


LIST_HEADER = Text(f"{'status':10}  {'start':6} {'time':>8} {'tokens':>9}  job", style="dim")


def entry_of(view: JobView, now: datetime) -> list[Text]:
    """A job in a list on a terminal: one line of columns under `LIST_HEADER`, one with the task.

    A third says what the run waits for, if it is not its response.
    """
    state = view.state
    tokens_used = f"{state.usage.total_tokens:,}" if state.usage.total_tokens else ""
    columns = f"{_when(state.started_at, now):6} {duration(view.elapsed(now)):>8} {tokens_used:>9}  {view.job_id}"
    first = Text.assemble((f"{state.status:10}", _STYLES[state.status]), "  ", shown(columns))
    lines = [first, _one_line(Text(f"            {shown(_task_of(view))}", style="dim"))]
    if waiting := waiting_text(state, now):
        lines.append(_one_line(Text(f"            {shown(f'Waiting: {waiting}')}", style="yellow")))
    return lines


def _when(moment: datetime | None, now: datetime) -> str:
    """The local time of a moment of today, the date of an earlier one."""
    if moment is None:
        return ""
    local = moment.astimezone()
    return f"{local:%H:%M}" if local.date() == now.astimezone().date() else f"{local:%b %d}"


def _task_of(view: JobView) -> str:
    return " ".join((view.summary or "").split())


def row_of(view: JobView, now: datetime) -> str:
    """A job in a list for other programs: fields with tabs between them, times in UTC.

    The last one says what the run waits for, if it is not its response.
    """
    state = view.state
    started = f"{state.started_at:%Y-%m-%dT%H:%M:%SZ}" if state.started_at else ""
    waiting = " ".join((waiting_text(state, now) or "").split())
    fields = [state.status, started, duration(view.elapsed(now)), view.job_id, _task_of(view), waiting]
    return "\t".join(shown(field).replace("\t", " ") for field in fields)
