"""`run`, `start`, `watch`, `continue`, `steer` and `result`: start a run, follow it, print its answer, go on."""

import asyncio
import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from durable_responses.cli.command import NOTHING_TO_TELL, Connection, command, connected
from durable_responses.cli.options import JobId, JobOrText, RunOptions, agent_input, task_of
from durable_responses.cli.output import ExitCode, Output, UsageError, complain, exit_code_of, while_read
from durable_responses.cli.worker_checks import check_as_the_worker_will
from durable_responses.shell_words import typed

if TYPE_CHECKING:
    from durable_responses.jobs.job_view import JobView
    from durable_responses.settings import Settings
    from durable_responses.workflows.contract import AgentResult


@command("run")
async def run(settings: "Settings", output: Output, options: RunOptions) -> ExitCode:
    """Start a run and follow it to its end.

    The answer goes to standard output, everything else to standard error. Whatever the run needs that is neither
    configured nor running is started in the background.
    """
    connection, job_id = await _started(options, settings, output, asks=output.asks)
    return await _follow(connection, job_id, output)


@command("start")
async def start(settings: "Settings", output: Output, options: RunOptions) -> ExitCode:
    """Start a run and print its job id.

    Nothing else goes to standard output.
    """
    connection, job_id = await _started(options, settings, output)
    await connection.jobs.until_listed(job_id)
    web_ui = connection.web_ui(job_id)
    if output.as_json:
        from durable_responses.cli.reports import StartedJob

        output.object(StartedJob(job_id=job_id, web_ui=web_ui))
    else:
        output.report(job_id)
    output.say_all([*filter(None, [web_ui]), f"Follow it with: durable-responses watch {typed(job_id)}"])
    return ExitCode.COMPLETED


@command("watch")
async def watch(connection: Connection, output: Output, job: JobId = None) -> ExitCode:
    """Follow a run to its end.

    The answer goes to standard output, everything else to standard error.
    """
    job_id = await connection.find(job)
    return await _follow(await connection.with_worker_for(job_id), job_id, output)


@command("continue")
async def continue_run(
    settings: "Settings",
    output: Output,
    options: RunOptions,
    job: JobOrText = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Tell the model all that was said again, where the provider forgot it.")
    ] = False,
) -> ExitCode:
    """Continue a run that has ended, however it ended, and follow it to its end.

    It is a run of its own with the options of the first one, as far as none are given here. It goes on from the last
    completed response; function calls that were left open are answered with their results, or as not executed.
    """
    from durable_responses.jobs.continuing import MEMO_CONTINUES

    told = task_of(options)
    if job is None and told is None:
        raise UsageError(NOTHING_TO_TELL)
    connection = await _with_worker(settings, output)
    before, text = await connection.find_to_tell(job, told)
    fields = await connection.jobs.continued(before, text, rebuild=rebuild)
    rest = dataclasses.replace(options, task=None, task_file=None)
    request = agent_input(rest, settings, Path.cwd(), fields=fields)
    if await connection.jobs.task_queue_of(before) == connection.jobs.task_queue:
        check_as_the_worker_will(request, settings)
    job_id = await connection.jobs.start(request, job_id=options.job_id, memo={MEMO_CONTINUES: before}, about=text)
    output.say(f"Started {job_id}, which continues {before}")
    return await _follow(connection, job_id, output)


def _check_steer(*, job: str | None, text: str | None, **_: object) -> None:
    if job is None and text is None:
        raise UsageError(NOTHING_TO_TELL)


@command("steer", check=_check_steer)
async def steer(
    connection: Connection,
    output: Output,
    job: JobOrText = None,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What to tell it.", show_default=False)] = None,
) -> ExitCode:
    """Tell a running run something.

    The model is given it at once where responses come over a WebSocket, else with its next response.
    """
    job_id, said = await connection.find_to_tell(job, text)
    connection = await connection.with_worker_for(job_id)
    await connection.jobs.steer(job_id, said)
    if output.as_json:
        from durable_responses.cli.reports import StartedJob

        output.object(StartedJob(job_id=job_id, web_ui=connection.web_ui(job_id)))
    output.say(f"Told {job_id}.")
    return ExitCode.COMPLETED


@command("result")
async def result(connection: Connection, output: Output, job: JobId = None) -> ExitCode:
    """Print the answer of a run, once it has ended.

    Nothing else goes to standard output.
    """
    from durable_responses.progress import told_while

    job_id = await connection.find(job)
    connection = await connection.with_worker_for(job_id)
    waiting = connection.jobs.result(job_id)
    outcome = await while_read(told_while(waiting, f"waiting for {job_id} to end", output.say, slower=2))
    if output.as_json:
        _print_result(outcome, job_id, connection, output)
    else:
        _print_answer(outcome, output)
    code = exit_code_of(outcome.status)
    if code is not ExitCode.COMPLETED:
        from durable_responses.cli.screen import particulars, status_of

        complain(" · ".join([status_of(outcome), *particulars(outcome)]))
    return code


async def _with_worker(settings: "Settings", output: Output) -> Connection:
    from durable_responses.embedded import ensure_running
    from durable_responses.provider import find_provider

    stack = await ensure_running(settings, output.say)
    connection = await connected(settings, output.say)
    if stack is not None:
        output.say(find_provider(settings).sentence)
    return connection


async def _started(
    options: RunOptions, settings: "Settings", output: Output, *, asks: bool = False
) -> tuple[Connection, str]:
    """A new run; its model may ask, where somebody is there to answer and nothing else was said."""
    request = agent_input(options, settings, Path.cwd(), fields={"allow_questions": True} if asks else {})
    check_as_the_worker_will(request, settings)
    try:
        connection = await _with_worker(settings, output)
    except asyncio.CancelledError:  # Ctrl-C
        output.say("\nNo run was started.")
        raise
    job_id = await connection.jobs.start(request, job_id=options.job_id)
    output.say(f"Started {job_id}")
    return connection, job_id


async def _follow(connection: Connection, job_id: str, output: Output) -> ExitCode:
    from durable_responses.cli.following import Left, LiveScreen, PlainLines, follow

    web_ui = connection.web_ui(job_id)
    if web_ui and not output.is_screen:
        output.say(web_ui)
    try:
        with LiveScreen(output.console, web_ui) if output.is_screen else PlainLines(output.console) as display:
            view = await while_read(follow(connection.jobs, job_id, display, asks=output.asks))
    except BrokenPipeError:
        output.say(f"Nobody reads the answer any more. {_still_going(job_id)}")
        raise
    except Left:
        if output.as_json:
            from durable_responses.cli.reports import StartedJob

            output.object(StartedJob(job_id=job_id, web_ui=web_ui))
        output.say(f"\n{_still_going(job_id)}")
        return ExitCode.LEFT
    return _show_end(view, connection, output)


def _still_going(job_id: str) -> str:
    return f"The run is still going. Reattach with: durable-responses watch {typed(job_id)}"


def _show_end(view: "JobView", connection: Connection, output: Output) -> ExitCode:
    from rich.text import Text

    from durable_responses.cli.screen import head_of, ids_of, particulars, ways_on
    from durable_responses.provider import NO_MODEL, ProviderKind, configured_provider
    from durable_responses.shown_text import shown

    assert view.result is not None, "a run is followed until it is closed"
    if output.as_json:
        _print_result(view.result, view.job_id, connection, output)
    else:
        if view.result.reasoning_summary:
            output.say(Text(f"{shown(view.result.reasoning_summary)}", style="dim"))
        air = [""] if view.result.output_text and output.is_screen else []
        output.say_all(air)
        _print_answer(view.result, output)
        output.say_all(air)
    if view.result.structured_output is not None and configured_provider(connection.settings) is ProviderKind.EMULATOR:
        output.say(NO_MODEL)
    output.say_all([*head_of(view, datetime.now(UTC)), *particulars(view.result)])
    output.say_all([*ids_of(view, connection.web_ui(view.job_id)), *ways_on(view)])
    return exit_code_of(view.result.status)


def _print_answer(outcome: "AgentResult", output: Output) -> None:
    if outcome.output_text:
        output.answer(outcome.output_text, is_markdown=outcome.structured_output is None)


def _print_result(outcome: "AgentResult", job_id: str, connection: Connection, output: Output) -> None:
    from durable_responses.cli.reports import JobResult

    output.object(JobResult.of(outcome, job_id, connection.web_ui(job_id)))
