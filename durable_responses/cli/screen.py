"""A job on a terminal and in plain lines. No I/O: views in, text out.

Text that a model, a tool or a server wrote is never trusted: control characters do not reach the terminal.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.segment import Segment
from rich.text import Text

from durable_responses.activities.messages import FailureType, SavedFile
from durable_responses.cli.questions import asked_in_short, asked_lines, request_changes, standing_of
from durable_responses.cli.times import age, counted, duration
from durable_responses.jobs.continuing import MEMO_CONTINUES
from durable_responses.jobs.job_view import THE_RUN, JobView, Source
from durable_responses.jobs.starting import MEMO_PROJECT
from durable_responses.shell_words import typed
from durable_responses.shown_text import shown, shown_on_one_line
from durable_responses.workflows.contract import (
    AgentError,
    AgentResult,
    AgentState,
    AgentStatus,
    AgentUsage,
    CallRecord,
    CallStatus,
    RunCost,
)
from durable_responses.workflows.costs import cost_text
from durable_responses.workflows.ledger import LOST, MAY_STILL_RUN
from durable_responses.workflows.rules import waiting_text

_FRESH = timedelta(seconds=60)  # a worker that polled so recently may only be slow
_TASK_ATTEMPTS = 3  # a workflow task whose worker was killed is tried once or twice more
_PREVIEW_LINES = 12
_SHOWN_CALLS, _SHOWN_FAILURES = 5, 2
_SHORT_ID = 17  # characters
_STYLES = {
    AgentStatus.QUEUED: "yellow",
    AgentStatus.RUNNING: "cyan",
    AgentStatus.INPUT_REQUIRED: "bold yellow",
    AgentStatus.COMPLETED: "bold green",
    AgentStatus.INCOMPLETE: "bold yellow",
    AgentStatus.FAILED: "bold red",
    AgentStatus.CANCELLED: "bold magenta",
}
_CALL_SIGNS = {CallStatus.SUCCEEDED: "✓", CallStatus.FAILED: "✗", CallStatus.UNKNOWN: "?", CallStatus.RUNNING: "…"}

# --- pieces ------------------------------------------------------------------------------------------------------


def tokens(usage: AgentUsage) -> str:
    """`1,234 tokens (500 reasoning)`."""
    thought = f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""
    return f"{usage.total_tokens:,} tokens{thought}"


def calls_line(calls: Sequence[CallRecord]) -> str:
    """The function calls by name: `read_file ✓✓, write_file …`; long rows of signs are counted."""
    signs: dict[str, str] = {}
    for call in calls:
        signs[call.name] = signs.get(call.name, "") + _CALL_SIGNS[call.status]
    return shown(", ".join(f"{name} {_counted_signs(row)}" for name, row in signs.items()))


def call_line(call: CallRecord, now: datetime | None = None) -> str:
    """A function call: `read_file docs/x.md ✓ 0.2 s`; one that has failed says why. `now`: for how long it has run."""
    argument = f" {call.argument}" if call.argument else ""
    if call.waits_for is not None:
        return shown_on_one_line(f"{call.name}{argument} … waits for an answer to {call.waits_for}")
    seconds = call.seconds
    if seconds is None and now is not None and call.started_at is not None:
        seconds = max((now - call.started_at).total_seconds(), 0)
    took = f" {seconds_in_words(seconds)}" if seconds is not None else ""
    why = f": {call.reason}" if call.reason else ""
    return shown_on_one_line(f"{call.name}{argument} {_CALL_SIGNS[call.status]}{took}{why}")


def seconds_in_words(seconds: float) -> str:
    """`0.2 s`, and from a minute on `1:05`."""
    return f"{seconds:.1f} s" if seconds < 60 else duration(timedelta(seconds=seconds))


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
    return [*parts, *_bill(view.state)]


def _bill(state: AgentState) -> list[str]:
    """Tokens and cost, as far as they are known."""
    used = [tokens(state.usage)] if state.usage.total_tokens else []
    cost = cost_text(state.cost, state.budget.usd if state.budget else None)
    return [*used, *filter(None, (cost,))]


def status_of(result: AgentResult) -> str:
    """`completed`, `incomplete (max_iterations)`, `cancelled (no longer needed)`."""
    reason = result.incomplete_reason or result.cancel_reason
    return shown(f"{result.status} ({reason})" if reason else f"{result.status}")


def notices(view: JobView, now: datetime) -> dict[str, str]:
    """What is unusual: one sentence each, by subject."""
    told = {}
    if view.source is Source.EARLIER:
        told["temporal"] = (
            "Temporal is not responding. The run is safe and this view resumes when it is back. "
            "If it stays away, any durable-responses command brings it back."
        )
    elif view.task_attempt > _TASK_ATTEMPTS:
        told["worker"] = "The worker keeps failing at this run and retries: its log says why."
    elif view.absent_build is not None:
        told["worker"] = absent_build(view.absent_build, view.job_id)
    elif not view.worker_running and not view.is_closed:
        told["worker"] = no_worker(view, now)
    if view.state.cancel_requested and not view.state.status.is_final:
        told["cancel"] = "Cancel requested."
    if view.paused:
        told["pause"] = paused(view.paused, view.job_id)
    # Without a worker nothing has a free slot, and the line above says why.
    if (view.worker_running or _is_tried_again(view)) and (waiting := waiting_text(view.state, now)):
        told["waiting"] = shown(f"Waiting: {waiting}")
    if creates := view.state.ambiguous_creates:
        told["creates"] = f"{counted(creates, 'create')} with an unknown outcome: its response may have cost tokens."
    if changes := view.state.request_changes:
        told["changes"] = shown(f"Requests are not as they were asked for: {', '.join(changes)}.")
    if compactions := view.state.compactions:
        told["compaction"] = shown(compactions[-1].sentence)
    return told


def _is_tried_again(view: JobView) -> bool:
    return view.state.waiting is not None and view.state.waiting.attempt > 0


def absent_build(build: str, job_id: str) -> str:
    """That the run is pinned to a build of which no worker is running, and what to do."""
    return shown(
        f"The run is pinned to build {build}, of which no worker is running. Start one, or let the run move: "
        f"`durable-responses temporal workflow update-options --workflow-id {job_id} "
        "--versioning-override-behavior auto_upgrade`."
    )


def paused(activities: Sequence[str], job_id: str) -> str:
    """That an operator has paused the run, or activities of it, and what to do."""
    if THE_RUN in activities:
        return shown(
            f"Paused by an operator: {', '.join(activities)}. "
            f"To resume, use `durable-responses temporal workflow unpause --workflow-id {job_id}`."
        )
    return shown(
        f"Paused by an operator: {', '.join(activities)}. "
        "To resume, use `durable-responses temporal activity unpause`; "
        f"`durable-responses temporal workflow describe --workflow-id {job_id}` tells the activity's id."
    )


def no_worker(view: JobView, now: datetime) -> str:
    """That no worker is running, how certain that is, and what to do."""
    seen_at = view.worker_seen_at
    if seen_at is not None and now - seen_at <= _FRESH:
        seconds = max(int((now - seen_at).total_seconds()), 0)
        return f"No worker is running, or it is not responding (last seen {seconds} s ago). The run is safe."
    if MEMO_PROJECT not in view.memo:
        return (
            "No worker is running. To resume the run, start one: `durable-responses up` or `durable-responses worker`."
        )
    # Only there are its settings: a worker that is started elsewhere is another project's. `watch` names the folder.
    watch = f"durable-responses watch {typed(view.job_id)}"
    return shown(f"No worker is running. To resume the run, type `{watch}` in the folder of its project.")


# --- one job, in plain lines -------------------------------------------------------------------------------------


def changes(before: JobView | None, view: JobView, now: datetime) -> list[str]:
    """One line for each thing that is new since `before`."""
    lines = []
    if before is None or _place(before) != _place(view):
        lines.append(f"{view.state.status}: {', '.join(_place_parts(view.state))}")
    lines += [call_line(call) for call in _moved_calls(before, view)]
    lines += request_changes(before, view)
    known, told = notices(before, now) if before else {}, notices(view, now)
    lines += [notice for subject, notice in told.items() if subject not in known]
    over = {"temporal": "Temporal is back.", "worker": "A worker is running."}
    lines += [
        sentence
        for subject, sentence in over.items()
        if subject in known and not view.is_closed and subject not in told
    ]
    return lines


def still(view: JobView, now: datetime) -> str:
    """That nothing has changed since `view`: `still running: response in_progress, last sign of life 3 s ago`."""
    if view.source is Source.EARLIER:
        return "Temporal is still not responding."
    running = [call_line(call, now) for call in view.state.function_calls if call.status is CallStatus.RUNNING]
    waiting = [standing_of(request, now) for request in view.open_requests]
    # What is tried again says for how long, and how often.
    held_up = [shown(f"waiting: {told}")] if (told := waiting_text(view.state, now)) else []
    if not view.worker_running and not _is_tried_again(view):
        held_up = ["no worker is running"]
    parts = waiting or held_up or running[:_SHOWN_CALLS] or response_facts(view, now) or [iteration_of(view.state)]
    return f"still {view.state.status}: {', '.join(parts)}"


def _place(view: JobView) -> tuple[object, ...]:
    state = view.state
    return state.status, state.iteration, state.response_id, state.response_status


def _place_parts(state: AgentState) -> list[str]:
    parts = [iteration_of(state)]
    if state.response_id and state.response_status:
        parts.append(f"response {shown(state.response_status)}")
    parts += _bill(state)
    return [*parts, _short(state.response_id)] if state.response_id else parts


def _short(response_id: str) -> str:
    """Enough of an id to find it in `show`, which has all of it."""
    cut = f"{response_id[:_SHORT_ID]}…" if len(response_id) > _SHORT_ID else response_id
    return shown(cut)


def _moved_calls(before: JobView | None, view: JobView) -> Iterable[CallRecord]:
    known = {(call.iteration, call.call_id): call.status for call in before.state.function_calls} if before else {}
    return [call for call in view.state.function_calls if known.get((call.iteration, call.call_id)) != call.status]


# --- one job, on a terminal --------------------------------------------------------------------------------------


def head_of(view: JobView, now: datetime) -> list[Text]:
    """The state of a run, line by line; the first line is its status."""
    status, *rest = standing(view, now)
    rest += time_left(view, now)
    lines = [Text(" · ").join([Text(status, style=_STYLES[view.state.status]), *map(Text, rest)])]
    if task := shown_on_one_line(_task_of(view)):
        lines.append(_one_line(Text(task)))
    if told := response_line(view, now):
        lines.append(_one_line(Text(told)))
    if view.state.function_calls:
        lines.append(_one_line(Text(calls_line(view.state.function_calls))))
    lines += [_one_line(Text(line)) for line in _calls_that_matter(view, now)]
    lines += asked_lines(view, now)
    return lines + [Text(notice, style="yellow") for notice in notices(view, now).values()]


def ids_of(view: JobView, web_ui: str | None) -> list[Text]:
    """Where a run is found again: its id, its response, its page."""
    # Without a sign between them: where they stand on two lines, it would be left over at the end of the first.
    ids = "  ".join(filter(None, [view.job_id, view.state.response_id]))
    lines = [Text(shown(ids), style="dim")]
    if before := continued_by(view):
        lines.insert(0, Text(shown(f"continues {before}"), style="dim", overflow="fold"))
    return [*lines, Text(web_ui, style=f"dim link {web_ui}", overflow="fold")] if web_ui else lines


def continued_by(view: JobView) -> str | None:
    """The job that this one continues, if it does."""
    before = view.memo.get(MEMO_CONTINUES)
    return before if isinstance(before, str) else None


def ways_on(view: JobView) -> list[Text]:
    """What can be typed next about a run, ready to paste."""
    job = typed(shown(view.job_id))
    rebuild = "--rebuild " if view.result and _is_forgotten(view.result) else ""
    ways = {"continue": f'continue {rebuild}{job} "…"', "details": f"show {job}"}
    if view.result and view.result.error and view.result.error.type == FailureType.INVALID_INPUT:
        # It would be continued with the same input, and fail again.
        ways = {"correct the input and start again": 'run "…"', "details": f"show {job}"}
    if not view.is_closed:
        ways = {"follow": f"watch {job}", "steer": f'steer {job} "…"', "cancel": f"cancel {job}"}
    width = max(map(len, ways))
    return [Text(f"{name:{width}}  durable-responses {words}", style="dim") for name, words in ways.items()]


def time_left(view: JobView, now: datetime) -> list[str]:
    """How long a run has until its deadline: `29:19 left`; nothing where there is none, or the run has ended."""
    if view.state.deadline is None or view.is_closed:
        return []
    left = view.state.deadline - now
    return [f"{duration(left)} left"] if left > timedelta(0) else ["past its deadline"]


def _calls_that_matter(view: JobView, now: datetime) -> list[str]:
    """The calls that are running, and the newest that have failed, each with its argument."""
    calls = view.state.function_calls
    running = [call for call in calls if call.status is CallStatus.RUNNING]
    failed = [call for call in calls if call.status in (CallStatus.FAILED, CallStatus.UNKNOWN)]
    more = [f"and {len(running) - _SHOWN_CALLS} more calls …"] if len(running) > _SHOWN_CALLS else []
    told = [*failed[-_SHOWN_FAILURES:], *running[:_SHOWN_CALLS]]
    return [*(f"  {call_line(call, None if view.is_closed else now)}" for call in told), *more]


@dataclass
class RunScreen:
    """A rich renderable: the state of the run, and the last lines of its text.

    `now` is asked at each drawing, so that the time goes on between two views.
    """

    view: JobView
    web_ui: str | None
    now: Callable[[], datetime]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head, ids = head_of(self.view, self.now()), ids_of(self.view, self.web_ui)
        used = sum(len(console.render_lines(line, options, pad=False)) for line in [*head, *ids])
        text = Text(shown(self.view.state.preview).strip("\n"), style="dim")
        room = min(max(console.height - used - 2, 3), _PREVIEW_LINES)
        last_lines = text.wrap(console, options.max_width)[-room:] if text else []
        lines = console.render_lines(Group(*head, *last_lines, *ids), options, pad=False)
        # What is higher than the terminal could not be cleared away again.
        for line in lines[: max(console.height - 1, 1)]:
            yield from line
            yield Segment.line()


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def response_line(view: JobView, now: datetime) -> str:
    """`gpt-5.4 · response in_progress · last sign of life 3 s ago`; empty before the first response."""
    model = [view.state.model] if view.state.model and view.state.response_id else []
    return shown_on_one_line(" · ".join([*model, *response_facts(view, now)]))


def response_facts(view: JobView, now: datetime) -> list[str]:
    """`response in_progress`, `last sign of life 3 s ago`: as far as they are known."""
    state = view.state
    facts = [f"response {shown(state.response_status)}"] if state.response_id and state.response_status else []
    # While the run waits for its owner there is nothing to hear of.
    is_heard_of = not view.is_closed and state.status is not AgentStatus.INPUT_REQUIRED
    if is_heard_of and (seen_at := view.last_sign) is not None:
        seconds = max(int((now - seen_at).total_seconds()), 0)
        facts.append(f"last sign of life {seconds} s ago" if seconds < 60 else f"last sign of life {age(seen_at, now)}")
    return facts


# --- after the end -----------------------------------------------------------------------------------------------


def particulars(result: AgentResult) -> list[str]:
    """The facts about a finished run beside its answer: error, lost responses, where it was saved."""
    lines = [error_line(result.error)] if result.error else []
    if lost := sum(response.status == LOST for response in result.responses):
        lines.append(f"{counted(lost, 'response')} lost: the tokens are not counted.")
    left = [response.response_id for response in result.responses if response.status == MAY_STILL_RUN]
    lines += [f"{response_id} may still run at the provider: it could not be cancelled." for response_id in left]
    if result.cost is not None and result.cost.unknown:
        lines.append(unknown_cost(result.cost))
    if result.artifact_path:
        lines.append(f"saved: {result.artifact_path}")
    if result.artifact_error:
        lines.append(f"not saved: {result.artifact_error}")
    lines += [_file_line(file) for file in result.files]
    lines += [f"source: {citation.title or ''} {citation.url}" for citation in result.citations]
    if result.error is not None and result.error.type == FailureType.CHAIN_REJECTED:
        lines.append(
            "The provider has forgotten the conversation: `durable-responses continue --rebuild` tells it again."
        )
    return [shown(line) for line in lines]


def _file_line(file: SavedFile) -> str:
    if file.path is None:
        return f"not saved: {file.name}: {file.error or 'nobody knows why'}"
    return f"saved: {file.path} ({file.bytes or 0:,} bytes)"


def unknown_cost(cost: RunCost) -> str:
    """What of a run's cost is not known, and why."""
    why = f": {'; '.join(cost.why)}" if cost.why else ""
    return f"The cost of {counted(cost.unknown, 'response')} is not known{why}."


def _is_forgotten(result: AgentResult) -> bool:
    return result.error is not None and result.error.type == FailureType.CHAIN_REJECTED


def error_line(error: AgentError) -> str:
    """An error's sentence, and what the provider said about it, as far as the sentence does not have it."""
    told = {"code": error.code, "HTTP": error.http_status, "request": error.request_id}
    facts = [f"type {error.type}"] if error.type else []
    facts += [
        f"{name} {value}" for name, value in told.items() if value is not None and str(value) not in error.message
    ]
    return f"error: {error.message}" + (f" ({', '.join(facts)})" if facts else "")


# --- many jobs ---------------------------------------------------------------------------------------------------


_NARROW_TASK = 24  # columns; with less than this the task has a line of its own


def list_of(views: Sequence[JobView], now: datetime, width: int) -> list[Text]:
    """Jobs on a terminal of so many columns: a line each, or two where there is no room for the task.

    One more line says what a run waits for, if it is not its response.
    """
    rows = [_cells(view, now) for view in views]
    no_costs = all(not cells[_COST_COLUMN] for cells in rows)  # then nobody needs a column of them
    headings = ["" if no_costs and heading == "USD" else heading for heading in _HEADINGS]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    room = width - sum(each + len(_GAP) for each in widths if each)
    is_wide = room >= _NARROW_TASK
    header = _row(headings, widths, is_wide=is_wide) + (f"{_GAP}task" if is_wide else "")
    lines = [Text(header, style="dim")]
    for view, cells in zip(views, rows, strict=True):
        row = _row(cells, widths, is_wide=is_wide)
        task = shown(_task_of(view))
        line = Text.assemble((row[: widths[0]], _STYLES[view.state.status]), row[widths[0] :])
        if is_wide:
            line = _one_line(Text.assemble(line, _GAP, (task, "dim")))
        lines.append(line)
        if not is_wide:
            told = " · ".join(filter(None, [shown(view.state.model or ""), task]))
            lines.append(_one_line(Text(f"{'':{widths[0]}}{_GAP}{told}", style="dim")))
        is_asking = view.state.status is AgentStatus.INPUT_REQUIRED
        told_below = [each if is_asking else f"Waiting: {each}" for each in _waits_for(view, now)]
        lines += [_one_line(Text(f"{'':{widths[0]}}{_GAP}{shown(each)}", style="yellow")) for each in told_below]
    return lines


def _waits_for(view: JobView, now: datetime) -> list[str]:
    """What a run waits for that is not its response: its owner, or something else."""
    if view.state.status is AgentStatus.INPUT_REQUIRED:
        return asked_in_short(view, now)
    return [waiting] if (waiting := waiting_text(view.state, now)) else []


_HEADINGS = ("status", "started", "iteration", "tokens", "USD", "model", "job")
_TO_THE_RIGHT = {"iteration", "tokens", "USD"}
_COST_COLUMN, _MODEL_COLUMN = _HEADINGS.index("USD"), _HEADINGS.index("model")
_GAP = "  "


def _cells(view: JobView, now: datetime) -> tuple[str, ...]:
    state = view.state
    iteration = f"{state.iteration}/{state.max_iterations}" if state.max_iterations else str(state.iteration or "")
    tokens_used = f"{state.usage.total_tokens:,}" if state.usage.total_tokens else ""
    started, cost = age(state.started_at, now), _usd_cell(state.cost)
    told = (str(state.status), started, iteration, tokens_used, cost, state.model or "", view.job_id)
    return tuple(shown(cell) for cell in told)


def _usd_cell(cost: RunCost | None) -> str:
    known = cost_text(cost)
    return known.split(" USD")[0].replace("at least ", "≥ ") if known else ""


def _row(cells: Sequence[str], widths: Sequence[int], *, is_wide: bool) -> str:
    padded = [
        f"{cell:>{width}}" if heading in _TO_THE_RIGHT else f"{cell:{width}}"
        for heading, cell, width in zip(_HEADINGS, cells, widths, strict=True)
    ]
    if not is_wide:  # the model stands on the second line then
        del padded[_MODEL_COLUMN]
        padded[-1] = padded[-1].rstrip()
    return _GAP.join(cell for cell in padded if cell)


def _task_of(view: JobView) -> str:
    return " ".join((view.summary or "").split())


def row_of(view: JobView, now: datetime) -> str:
    """A job in a list for other programs: fields with tabs between them, times in UTC.

    The last but one says what the run waits for, if it is not its response, the last one what it has cost in USD.
    """
    state = view.state
    started = f"{state.started_at:%Y-%m-%dT%H:%M:%SZ}" if state.started_at else ""
    waiting = " ".join("; ".join(_waits_for(view, now)).split())
    fields = [state.status, started, duration(view.elapsed(now)), view.job_id, _task_of(view)]
    cost = "" if state.cost is None or state.cost.usd is None else f"{state.cost.usd}"
    fields += [state.model or "", str(state.iteration), str(state.usage.total_tokens or ""), waiting, cost]
    return "\t".join(shown(field).replace("\t", " ") for field in fields)
