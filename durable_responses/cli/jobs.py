"""`status`, `show`, `cancel` and `list`: look at runs, and stop one."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from durable_responses.cli.command import Connection, command
from durable_responses.cli.options import JobId, moment_ago
from durable_responses.cli.output import ExitCode, Output, UsageError, complain

if TYPE_CHECKING:
    from durable_responses.jobs.job_view import JobView


NO_RUNS = "There are no such runs."
_MOST_LISTED = 1000


class SortKey(StrEnum):
    """What a list is sorted by: the newest first, what ended last, or the most of it."""

    STARTED = "started"
    ENDED = "ended"
    TIME = "time"
    TOKENS = "tokens"
    COST = "cost"

    def of(self, view: "JobView", now: datetime) -> Any:
        """What counts of a run; None where that is not known."""
        match self:
            case SortKey.STARTED:
                return view.state.started_at
            case SortKey.ENDED:
                return view.closed_at
            case SortKey.TIME:
                return view.elapsed(now)
            case SortKey.TOKENS:
                return view.state.usage.total_tokens
            case SortKey.COST:
                return view.state.cost.usd if view.state.cost is not None else None


def in_order(views: "Sequence[JobView]", by: SortKey, now: datetime) -> "list[JobView]":
    """The runs by that, the most or the latest first; those of which it is not known come last."""
    known = [view for view in views if by.of(view, now) is not None]
    unknown = [view for view in views if by.of(view, now) is None]
    return [*sorted(known, key=lambda view: by.of(view, now), reverse=True), *unknown]


@command("status")
async def status(connection: Connection, output: Output, job: JobId = None) -> ExitCode:
    """Show the state of a run.

    Works without a worker too.
    """
    _show(await connection.jobs.state(await connection.find(job)), connection, output)
    return ExitCode.COMPLETED


@command("show")
async def show(
    connection: Connection,
    output: Output,
    job: JobId = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print all texts in full, as Markdown.")] = False,
) -> ExitCode:
    """Show what happened in a run.

    That is every response and function call, with arguments, answer or error, tokens and time. Works without a worker
    too.
    """
    from durable_responses.cli.telling import JobStory, lines_of, markdown_of, printable

    job_id = await connection.find(job)
    view, story = await connection.jobs.state(job_id), await connection.jobs.story(job_id)
    web_ui, now = connection.web_ui(job_id), datetime.now(UTC)
    if output.as_json:
        from durable_responses.cli.reports import JobReport
        from durable_responses.cli.screen import continued_by

        report = JobReport.of(view, web_ui)
        told = {**dict(story), "request": printable(story.request)}
        output.object(JobStory(job=report, result=view.result, continues=continued_by(view), **told))
    elif markdown:
        output.answer(markdown_of(view, story, now))
    else:
        output.report_all(lines_of(view, story, web_ui, now))
    return ExitCode.COMPLETED


@command("cancel")
async def cancel(
    connection: Connection,
    output: Output,
    job: JobId = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Kept with the run.", metavar="TEXT", show_default=False)
    ] = None,
) -> ExitCode:
    """Cancel a run, at the provider too.

    The text that it has written so far is kept.
    """
    job_id = await connection.find(job)
    connection = await connection.with_worker_for(job_id)
    _show(await connection.jobs.cancel(job_id, reason), connection, output)
    return ExitCode.COMPLETED


def _check_list(*, is_open: bool, ended: str | None, where: str | None, **_: object) -> None:
    if where is not None and not where.strip():
        raise UsageError("--where is empty.")
    if ended is not None:
        moment_ago("--ended", ended)
    if is_open and ended is not None:
        raise UsageError("--open and --ended exclude each other.")


def _list_nothing(*, output: Output, **_: object) -> ExitCode:
    from durable_responses.jobs.job_errors import NoJobs

    if output.as_json:
        from durable_responses.cli.reports import JobList

        output.object(JobList(jobs=[]))
    else:
        complain(str(NoJobs()))
    return ExitCode.COMPLETED


@command("list", check=_check_list, without_runs=_list_nothing)
async def list_jobs(
    connection: Connection,
    output: Output,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=_MOST_LISTED, help="The most runs to list.", metavar="N")
    ] = 20,
    is_open: Annotated[bool, typer.Option("--open", help="Only runs that have not ended.")] = False,
    ended: Annotated[
        str | None,
        typer.Option(
            "--ended",
            help="Only runs that have ended in so much time, such as 12h or 7d.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where", help="A condition, such as: AgentTenant = 'acme'.", metavar="FILTER", show_default=False
        ),
    ] = None,
    sort: Annotated[
        SortKey | None,
        typer.Option(
            "--sort",
            help="By started, ended, time, tokens or cost, the latest or the most first (default: open runs first).",
            metavar="KEY",
            show_default=False,
        ),
    ] = None,
) -> ExitCode:
    """List the latest runs.

    Open runs come first, then those that have ended, the last one first; --sort takes the latest 1000 of them in
    another order. Works without a worker too. --where takes a
    list filter of Temporal's, over its own search attributes, such as StartTime, and over AgentStatus, AgentModel,
    AgentIteration and AgentTenant if the namespace has them.
    """
    since = None if ended is None else moment_ago("--ended", ended)
    most = limit if sort is None else _MOST_LISTED
    found = await connection.jobs.recent(limit=most, where=where, is_open=is_open, ended_since=since)
    if sort is not None:
        found = in_order(found, sort, datetime.now(UTC))[:limit]
    _show_list(found, connection, output)
    return ExitCode.COMPLETED


def _show(view: "JobView", connection: Connection, output: Output) -> None:
    if output.as_json:
        from durable_responses.cli.reports import JobReport

        return output.object(JobReport.of(view, connection.web_ui(view.job_id)))
    from rich.text import Text

    from durable_responses.cli.screen import head_of, ids_of, particulars
    from durable_responses.shown_text import shown

    facts = particulars(view.result) if view.result else []
    output.report_all([*head_of(view, datetime.now(UTC)), *facts])
    if not view.is_closed and view.state.preview:
        output.report(Text(shown(view.state.preview).strip("\n"), style="dim"))
    output.report_all(ids_of(view, connection.web_ui(view.job_id)))
    return None


def _show_list(views: "list[JobView]", connection: Connection, output: Output) -> None:
    if output.as_json:
        from durable_responses.cli.reports import JobList, JobReport

        return output.object(JobList(jobs=[JobReport.of(view, connection.web_ui(view.job_id)) for view in views]))
    if not views:
        return complain(NO_RUNS)
    from durable_responses.cli.screen import list_of, no_worker, row_of

    now = datetime.now(UTC)
    if output.reports_on_screen:
        output.report_all(list_of(views, now, output.width))
    else:
        sys.stdout.writelines(f"{row_of(view, now)}\n" for view in views)
    waiting = [view for view in views if not view.is_closed and not view.worker_running and view.absent_build is None]
    if waiting:
        complain(no_worker(waiting[0], now))
    return None
