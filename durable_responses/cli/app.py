"""The command line: start agent runs, follow them, cancel them; run the embedded stack.

A run outlives the command that started it: every command but `up` is only a client of Temporal.

Exit codes: 0 the run is completed, or the command did what it says; 1 the run failed; 2 wrong usage; 3 the run is
incomplete; 4 it was cancelled; 5 it cannot be started or read, because something around it is missing; 130 Ctrl-C: the
run goes on.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from durable_responses.cli.options import AsJson, RunOptions, UsageError, agent_input, takes_run_options
from durable_responses.workflows.contract import AgentResult, AgentState, AgentStatus

# What imports Temporal's client is imported where it is used: `--help` is to be there at once.
if TYPE_CHECKING:
    from durable_responses.jobs.job_view import JobView
    from durable_responses.jobs.jobs import Jobs
    from durable_responses.settings import Settings
    from durable_responses.stack_file import StackFile

app = typer.Typer(
    name="durable-responses",
    help="Long OpenAI agent runs that outlive any process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job id.", show_default=False)]


class ExitCode(IntEnum):
    """How a command ends; see the top of the file."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    CANCELLED = 4
    UNAVAILABLE = 5
    LEFT = 130


_EXIT_CODES = {
    AgentStatus.COMPLETED: ExitCode.COMPLETED,
    AgentStatus.FAILED: ExitCode.FAILED,
    AgentStatus.INCOMPLETE: ExitCode.INCOMPLETE,
    AgentStatus.CANCELLED: ExitCode.CANCELLED,
}

# --- what --json prints ------------------------------------------------------------------------------------------


class StartedJob(BaseModel):
    """`start --json`, and `run --json` left by Ctrl-C: the job, and its page in the Web UI where there is one."""

    job_id: str
    web_ui: str | None


class JobResult(AgentResult, StartedJob):
    """`run --json`, `watch --json`, `result --json`: the result of a job."""


class JobReport(AgentState, StartedJob):
    """`status --json`, `cancel --json`: the state of a job, and who told it."""

    summary: str | None
    source: str
    worker_running: bool


class JobList(BaseModel):
    """`list --json`."""

    jobs: list[JobReport]


class Problem(BaseModel):
    """What a command prints with `--json` when it cannot do its work."""

    error: str
    exit_code: int


# --- streams and errors ------------------------------------------------------------------------------------------


class Output:
    """The two streams. With `--json` standard output has one JSON object, and lines for people go to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=as_json, highlight=False, markup=False, emoji=False)

    @property
    def is_screen(self) -> bool:
        """Whether lines for people go to a terminal that can be drawn on."""
        return self.console.file.isatty() and not self.console.is_dumb_terminal

    @property
    def asks(self) -> bool:
        """Whether there is somebody to ask."""
        return self.is_screen and sys.stdin.isatty()

    def say(self, line: str | Text) -> None:
        """A line for people."""
        self.console.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)

    def say_all(self, lines: Sequence[str | Text]) -> None:
        """Lines for people."""
        for line in lines:
            self.say(line)

    def answer(self, text: str) -> None:
        """The text of a model: as it is for a file or a pipe, without control characters for a terminal."""
        from durable_responses.cli.screen import printable

        sys.stdout.write(f"{printable(text) if sys.stdout.isatty() else text}\n")

    def object(self, model: BaseModel) -> None:
        """The one JSON object."""
        sys.stdout.write(f"{model.model_dump_json()}\n")


def _execute(work: Callable[[Output], Awaitable[ExitCode]], *, as_json: bool = False) -> None:
    """Do the work of a command. What it cannot do is told in one sentence on standard error."""
    from durable_responses.jobs.job_errors import InvalidInput, JobError, JobExists, JobNotFound
    from durable_responses.process import end_telemetry, setup_export
    from durable_responses.settings import SettingsError, SetupError

    output = Output(as_json=as_json)

    async def done() -> ExitCode:
        return await work(output)

    try:
        setup_export("durable-responses-cli")
        raise typer.Exit(asyncio.run(done()))
    except (UsageError, SettingsError, JobNotFound, JobExists, InvalidInput) as error:
        problem = Problem(error=str(error), exit_code=ExitCode.USAGE)
    except (SetupError, JobError) as error:
        problem = Problem(error=str(error), exit_code=ExitCode.UNAVAILABLE)
    finally:
        end_telemetry()
    if as_json:
        output.object(problem)
    _complain(problem.error)
    raise typer.Exit(problem.exit_code)


def _complain(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


# --- Temporal ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connection:
    """The jobs of the Temporal server, and the stack if it is the embedded one's."""

    jobs: "Jobs"
    stack: "StackFile | None"

    def web_ui(self, job_id: str) -> str | None:
        """The page of a job."""
        return self.stack.run_url(job_id) if self.stack else None


async def _connect(settings: "Settings") -> Connection:
    from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
    from temporalio.service import RetryConfig

    from durable_responses.connection import connect
    from durable_responses.jobs.jobs import Jobs
    from durable_responses.settings import configured_address
    from durable_responses.stack_file import StackFile

    # The SDK would log its retries across the screen.
    quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    client = await connect(
        settings,
        runtime=Runtime(telemetry=TelemetryConfig(logging=quiet)),
        retry_config=RetryConfig(max_elapsed_time_millis=2000),
    )
    return Connection(Jobs(client, settings.task_queue), None if configured_address() else StackFile.read(settings))


# --- start and follow --------------------------------------------------------------------------------------------


@app.command()
@takes_run_options
def run(options: RunOptions) -> None:
    """Start a run and follow it to its end. What is needed and does not run yet is started in the background."""

    async def work(output: Output) -> ExitCode:
        connection, job_id = await _start(options, output)
        return await _follow(connection, job_id, output)

    _execute(work, as_json=options.as_json)


@app.command()
@takes_run_options
def start(options: RunOptions) -> None:
    """Start a run and return its job id."""

    async def work(output: Output) -> ExitCode:
        connection, job_id = await _start(options, output)
        if output.as_json:
            output.object(StartedJob(job_id=job_id, web_ui=connection.web_ui(job_id)))
        else:
            output.say_all([*filter(None, [connection.web_ui(job_id)]), f"Follow it: durable-responses watch {job_id}"])
        return ExitCode.COMPLETED

    _execute(work, as_json=options.as_json)


@app.command()
def watch(job_id: JobId, as_json: AsJson = False) -> None:
    """Follow a run to its end."""

    async def work(output: Output) -> ExitCode:
        from durable_responses.settings import Settings

        return await _follow(await _connect(Settings.load()), job_id, output)

    _execute(work, as_json=as_json)


@app.command()
def result(job_id: JobId, as_json: AsJson = False) -> None:
    """Print the answer of a run, and nothing else; wait for it where the run goes on."""

    async def work(output: Output) -> ExitCode:
        from durable_responses.cli.screen import particulars, status_of
        from durable_responses.settings import Settings

        connection = await _connect(Settings.load())
        outcome = await connection.jobs.result(job_id)
        if output.as_json:
            output.object(_job_result(connection, job_id, outcome))
        elif outcome.output_text:
            output.answer(outcome.output_text)
        if outcome.status is not AgentStatus.COMPLETED:
            _complain(" · ".join([status_of(outcome), *particulars(outcome)]))
        return _EXIT_CODES[outcome.status]

    _execute(work, as_json=as_json)


async def _start(options: RunOptions, output: Output) -> tuple[Connection, str]:
    from durable_responses.embedded import ensure_running
    from durable_responses.provider import find_provider
    from durable_responses.settings import Settings

    settings = Settings.load()
    request = agent_input(options, settings, Path.cwd())
    stack = await ensure_running(settings, output.say)
    connection = await _connect(settings)
    if stack is not None:
        output.say(find_provider(settings).sentence)
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
            view = await follow(connection.jobs, job_id, display, asks=output.asks)
    except Left:
        if output.as_json:
            output.object(StartedJob(job_id=job_id, web_ui=web_ui))
        output.say(f"\nThe run goes on. Follow it: durable-responses watch {job_id}")
        return ExitCode.LEFT
    return _show_end(view, connection, output)


def _show_end(view: "JobView", connection: Connection, output: Output) -> ExitCode:
    from durable_responses.cli.screen import head_of, particulars

    assert view.result is not None, "a run is followed until it is closed"
    if output.as_json:
        output.object(_job_result(connection, view.job_id, view.result))
    else:
        _show_answer(view.result, output)
    output.say_all([*head_of(view, connection.web_ui(view.job_id), _now()), *particulars(view.result)])
    return _EXIT_CODES[view.result.status]


def _show_answer(outcome: AgentResult, output: Output) -> None:
    from durable_responses.cli.screen import printable

    if outcome.reasoning_summary:
        output.say(Text(f"\n{printable(outcome.reasoning_summary)}", style="dim"))
    if outcome.output_text:
        output.answer(f"\n{outcome.output_text.strip()}\n")


def _job_result(connection: Connection, job_id: str, outcome: AgentResult) -> JobResult:
    return JobResult(job_id=job_id, web_ui=connection.web_ui(job_id), **dict(outcome))


# --- look and steer ----------------------------------------------------------------------------------------------


@app.command()
def status(job_id: JobId, as_json: AsJson = False) -> None:
    """Say where a run stands. Answers without a worker too."""

    async def work(output: Output) -> ExitCode:
        from durable_responses.settings import Settings

        connection = await _connect(Settings.load())
        _report(await connection.jobs.state(job_id), connection, output)
        return ExitCode.COMPLETED

    _execute(work, as_json=as_json)


@app.command()
def cancel(
    job_id: JobId,
    reason: Annotated[str | None, typer.Option("--reason", help="Kept with the run.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Stop a run, at the provider too. What it has written so far is kept."""

    async def work(output: Output) -> ExitCode:
        from durable_responses.settings import Settings

        connection = await _connect(Settings.load())
        _report(await connection.jobs.cancel(job_id, reason), connection, output)
        return ExitCode.COMPLETED

    _execute(work, as_json=as_json)


@app.command(name="list")
def list_jobs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many at most.")] = 20,
    is_open: Annotated[bool, typer.Option("--open", help="Only runs that have not ended.")] = False,
    where: Annotated[
        str | None,
        typer.Option(
            "--where", help="A condition, such as: AgentTenant = 'acme'.", metavar="FILTER", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the newest runs, open ones first. Answers without a worker too.

    --where takes Temporal's list filter: over AgentStatus, AgentModel, AgentIteration, AgentTenant where the namespace
    has them, and over Temporal's own, such as StartTime.
    """

    async def work(output: Output) -> ExitCode:
        from durable_responses.settings import Settings

        connection = await _connect(Settings.load())
        conditions = [*(['ExecutionStatus = "Running"'] if is_open else []), *([f"({where})"] if where else [])]
        recent = await connection.jobs.recent(limit=limit, where=" AND ".join(conditions) or None)
        _show_list(recent, connection, output)
        return ExitCode.COMPLETED

    _execute(work, as_json=as_json)


def _report(view: "JobView", connection: Connection, output: Output) -> None:
    from durable_responses.cli.screen import head_of, particulars, printable

    if output.as_json:
        return output.object(_job_report(connection, view))
    facts = particulars(view.result) if view.result else []
    output.say_all([*head_of(view, connection.web_ui(view.job_id), _now()), *facts])
    if not view.is_closed and view.state.preview:
        output.say(Text(printable(view.state.preview).strip("\n"), style="dim"))
    return None


def _show_list(views: "list[JobView]", connection: Connection, output: Output) -> None:
    from durable_responses.cli.screen import LIST_HEADER, entry_of, no_worker, row_of

    if output.as_json:
        return output.object(JobList(jobs=[_job_report(connection, view) for view in views]))
    if output.is_screen:
        output.say_all([LIST_HEADER, *(line for view in views for line in entry_of(view, _now()))])
    else:
        sys.stdout.writelines(f"{row_of(view, _now())}\n" for view in views)
    waiting = [view for view in views if not view.is_closed and not view.worker_running]
    if waiting:
        _complain(no_worker(waiting[0].worker_seen_at, _now()))
    return None


def _job_report(connection: Connection, view: "JobView") -> JobReport:
    return JobReport(
        job_id=view.job_id,
        summary=view.summary,
        source=view.source,
        worker_running=view.worker_running,
        web_ui=connection.web_ui(view.job_id),
        **dict(view.state),
    )


def _now() -> datetime:
    return datetime.now(UTC)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look at everything that agents need: Temporal, workers, the provider, the key, the clock, the disk."""

    async def work(output: Output) -> ExitCode:
        from durable_responses.cli.checks import lines_of
        from durable_responses.health.doctor import examine
        from durable_responses.settings import Settings

        report = await examine(Settings.load())
        if output.as_json:
            output.object(report)
        else:
            output.say_all(lines_of(report))
        return ExitCode.COMPLETED if report.is_well else ExitCode.UNAVAILABLE

    _execute(work, as_json=as_json)


# --- the embedded stack ------------------------------------------------------------------------------------------


@app.command()
def up() -> None:
    """Run Temporal, the emulator and a worker here, whichever is not configured, until Ctrl-C."""

    async def work(output: Output) -> ExitCode:
        from durable_responses import embedded
        from durable_responses.settings import Settings

        await embedded.up(Settings.load(), output.say)
        return ExitCode.COMPLETED

    _execute(work)


@app.command()
def down() -> None:
    """Stop what `up` or `run` has started. Open runs are kept, and go on at the next start."""

    async def work(output: Output) -> ExitCode:
        from durable_responses import embedded
        from durable_responses.settings import Settings

        if not await embedded.stop(Settings.load(), output.say):
            output.say("Nothing was running.")
        return ExitCode.COMPLETED

    _execute(work)


# --- main --------------------------------------------------------------------------------------------------------


_READER_GONE = 141  # as a shell says of a process that SIGPIPE ended


def main() -> NoReturn:
    """Run the command that the arguments name, and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character is no reason to lose an answer.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        code = _command_line()
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich turns the one into the other
        code = _READER_GONE
    sys.stderr.flush()
    # Temporal's SDK can abort in the interpreter's shutdown, after all is done (see `process.leave`).
    os._exit(code)


def _command_line() -> int:
    try:
        code: Any = app(prog_name="durable-responses", standalone_mode=False)
    except typer.TyperException as error:
        _complain(f"{error.format_message()} `durable-responses --help` shows what there is.")
        return ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.LEFT
    return int(code or ExitCode.COMPLETED)


if __name__ == "__main__":
    main()
