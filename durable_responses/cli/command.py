"""How a function becomes a command: what it takes from the command line, what it is handed, how the process ends.

    @command("status")
    async def status(connection: "Connection", output: Output, job: JobId = None) -> ExitCode:
        "What `durable-responses status --help` says."

`output`, `settings` and `connection` are handed to a function that has parameters of these names. Its other parameters
are arguments and options, as typer understands them; `options` is a dataclass of them.
"""

import asyncio
import dataclasses
import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from durable_responses.cli import streams
from durable_responses.cli.output import IN_PLAIN_SIGNS, ExitCode, Output, UsageError, complain, exit_code_of_error
from durable_responses.cli.sources import STANDARD_INPUT, text_of
from durable_responses.loading import loading
from durable_responses.nearest_name import did_you_mean

# What imports Temporal's client is imported where it is used: the help of a command is to be there at once.
if TYPE_CHECKING:
    from durable_responses.jobs.jobs import Jobs
    from durable_responses.settings import Settings
    from durable_responses.stack_file import StackFile

Work = Callable[..., Awaitable[ExitCode]]
Check = Callable[..., None]
WithoutRuns = Callable[..., ExitCode]

NOTHING_TO_TELL = "What is the agent to be told? Type it in quotes: behind the id of a run, or alone for the newest."

_HANDED_IN = {"output", "settings", "connection"}
_AS_JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option("--json", help="Print one JSON object to standard output, and all else to standard error.")
    ],
)


@dataclass(frozen=True)
class Connection:
    """The jobs of the Temporal server, and the stack if it is the embedded one's."""

    jobs: "Jobs"
    stack: "StackFile | None"
    settings: "Settings"
    say: Callable[[str], None]

    async def find(self, said: str | None) -> str:
        """The id of the job that is meant, which is said where it was not typed. Raises `JobError`."""
        job_id = await self.jobs.find(said)
        if said is None:
            complain(f"The newest run: {job_id}")
        return job_id

    async def find_to_tell(self, said: str | None, text: str | None) -> tuple[str, str]:
        """The job that is meant, and what it is to be told: the text alone is for the newest.

        Raises `JobError`, `UsageError`.
        """
        if text is not None:
            return await self.find(said), _typed(text)
        if said is None:
            raise UsageError(NOTHING_TO_TELL)
        if said == STANDARD_INPUT:
            return await self.find(None), _typed(said)
        if not any(map(str.isspace, said)) and (job_id := await self._job_called(said)):
            raise UsageError(f"What is {job_id} to be told? Type it behind the id, in quotes.")
        return await self.find(None), said

    async def _job_called(self, said: str) -> str | None:
        from durable_responses.jobs.job_errors import JobNotFound

        try:
            return await self.jobs.find(said)
        except JobNotFound:
            return None

    async def with_worker_for(self, job_id: str) -> "Connection":
        """A connection to the same runs, with a worker if one is needed: the run is open, and is this project's.

        That of another project needs its own folder and environment: it is said where a command starts one. Raises
        `JobError`, `SetupError`.
        """
        from durable_responses.embedded import ensure_worker_of

        if await ensure_worker_of(job_id, self.jobs, self.settings, self.say):
            return await connected(self.settings, self.say)
        return self

    def web_ui(self, job_id: str) -> str | None:
        """The page of a job; None if no Web UI is known."""
        return self.stack.run_url(job_id) if self.stack else None


def _typed(text: str) -> str:
    return text_of(STANDARD_INPUT, "TEXT").strip() if text == STANDARD_INPUT else text


async def connected(settings: "Settings", say: Callable[[str], None]) -> Connection:
    """A connection that gives up soon and keeps quiet. Raises `TemporalUnreachable`, `SettingsError`."""
    with loading():
        from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
        from temporalio.service import RetryConfig

        from durable_responses.connection import connect
        from durable_responses.embedded import jobs_here
        from durable_responses.settings import configured_address
        from durable_responses.stack_file import StackFile

    # The SDK would log its retries across the screen.
    quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    client = await connect(
        settings,
        runtime=Runtime(telemetry=TelemetryConfig(logging=quiet)),
        retry_config=RetryConfig(max_elapsed_time_millis=2000),
    )
    stack = None if configured_address() else StackFile.read(settings)
    return Connection(await jobs_here(client, settings), stack, settings, say)


def command(
    name: str, *, prints_json: bool = True, check: Check | None = None, without_runs: WithoutRuns | None = None
) -> Callable[[Work], Callable[[Sequence[str]], NoReturn]]:
    """Make a function a command of that name: it takes the words of the command line, and leaves the process.

    `check` is given what was typed before anything is started or asked. Raises `UsageError` for what cannot be used.
    `without_runs` answers, from `output` and what was typed, where the embedded server was never started: nobody is to
    wait for a download or a build to learn that there is nothing. Without it the command says that there are no runs.
    """

    def made(work: Work) -> Callable[[Sequence[str]], NoReturn]:
        def main(arguments: Sequence[str]) -> NoReturn:
            parser = _parser(name, work, check, without_runs, prints_json=prints_json)
            _leave(lambda: _run(parser, name, arguments, prints_json=prints_json))

        main.parameters = _parameters_of(work, prints_json=prints_json)  # type: ignore[attr-defined]
        return main

    return made


def parameters_of(main: object) -> Sequence[inspect.Parameter]:
    """What a command that was made here takes; nothing for another function."""
    return getattr(main, "parameters", ())


# --- the command line --------------------------------------------------------------------------------------------


class _PlainCommand(TyperCommand):
    """A command whose help is plain text, with a heading for each panel: loading rich for it takes half a second."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                usual = f"{parameter.param_type_name.capitalize()}s"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _own(work: Work) -> list[inspect.Parameter]:
    return [parameter for parameter in inspect.signature(work).parameters.values() if parameter.name not in _HANDED_IN]


def _options_of(work: Work) -> Any:
    """The dataclass of options that a function takes; None if it takes none."""
    return next((parameter.annotation for parameter in _own(work) if parameter.name == "options"), None)


def _parameters_of(work: Work, *, prints_json: bool) -> list[inspect.Parameter]:
    parameters = [parameter for parameter in _own(work) if parameter.name != "options"]
    return [*parameters, *_fields_of(_options_of(work)), *([_AS_JSON] if prints_json else [])]


def _parser(
    name: str, work: Work, check: Check | None, without_runs: WithoutRuns | None, *, prints_json: bool
) -> typer.Typer:
    options, parameters = _options_of(work), _parameters_of(work, prints_json=prints_json)

    def main(**said: Any) -> None:
        output = Output(as_json=said.pop("as_json", False))
        if options is not None:
            fields = {field.name: said.pop(field.name) for field in dataclasses.fields(options)}
            said["options"] = options(**fields)
        try:
            if check is not None:
                check(**said)
        except UsageError as error:
            raise typer.Exit(refused(f"{error} {_help_of(name)}", ExitCode.USAGE, output)) from None
        raise typer.Exit(_execute(name, work, without_runs, said, output))

    # typer reads what a command takes from these two.
    main.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    main.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    parser = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    parser.command(name, cls=_PlainCommand, help=inspect.getdoc(work))(main)
    return parser


def _fields_of(options: Any) -> list[inspect.Parameter]:
    fields = dataclasses.fields(options) if options is not None else ()
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(field.name, kind, default=field.default, annotation=field.type) for field in fields]


def _run(parser: typer.Typer, name: str, arguments: Sequence[str], *, prints_json: bool) -> int:
    try:
        return int(parser(args=arguments, prog_name=f"durable-responses {name}", standalone_mode=False) or 0)
    except typer.TyperException as error:
        # What cannot be parsed does not say how it wants its answer, but whoever typed --json reads an object.
        output = Output(as_json=prints_json and "--json" in arguments)
        return refused(f"{_sentence(error)} {_help_of(name)}", ExitCode.USAGE, output)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.LEFT


def _sentence(error: typer.TyperException) -> str:
    if (number := _refused_number(error)) is not None:
        return number
    told = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".") + "."
    return f"{told}{_nearest_choice(told)}"


def _refused_number(error: typer.TyperException) -> str | None:
    """What is wrong with a number: typer would say it in the words of pydantic. None for whatever else is wrong."""
    from pydantic import ValidationError

    if not isinstance(error, typer.BadParameter) or not isinstance(error.__cause__, ValidationError):
        return None
    from durable_responses.workflows.rules import number_expected

    option = next(iter(error.param.opts), error.param.name) if error.param is not None else "A value"
    problem = error.__cause__.errors(include_url=False)[0]
    expected = number_expected(problem)
    return None if expected is None else f"{option} {expected}, not {problem['input']!r}."


_CHOICES = re.compile(r"'(?P<said>[^']*)' is not one of (?P<choices>.*)\.$")


def _nearest_choice(told: str) -> str:
    """` Did you mean 'high'?` for a value that is not among those that an option takes."""
    if not (refused := _CHOICES.search(told)):
        return ""
    return did_you_mean(refused["said"], re.findall(r"'([^']*)'", refused["choices"]))


def _help_of(name: str) -> str:
    return f"See `durable-responses {name} --help`."


# --- the work ----------------------------------------------------------------------------------------------------


def _execute(name: str, work: Work, without_runs: WithoutRuns | None, said: dict[str, Any], output: Output) -> ExitCode:
    """Do the work of a command. Problems are reported in one sentence on standard error."""
    with loading():
        from durable_responses.process import end_telemetry, setup_export

    try:
        setup_export("durable-responses-cli")
        return asyncio.run(_work(work, without_runs, said, output))
    except Exception as error:
        code = exit_code_of_error(error)
        if code is None:
            raise
        problem = f"{error} {_help_of(name)}" if isinstance(error, UsageError) else str(error)
    finally:
        end_telemetry()
    return refused(problem, code, output)


def refused(problem: str, code: ExitCode, output: Output) -> ExitCode:
    """Say in one sentence why a command ends without having done its work."""
    if output.as_json:
        from durable_responses.cli.reports import Problem

        output.object(Problem(error=problem, exit_code=code))
    complain(problem)
    return code


async def _work(work: Work, without_runs: WithoutRuns | None, said: dict[str, Any], output: Output) -> ExitCode:
    from durable_responses.settings import Settings

    wanted = inspect.signature(work).parameters.keys() & _HANDED_IN
    handed_in: dict[str, Any] = {"output": output}
    if wanted - {"output"}:
        handed_in["settings"] = settings = Settings.load()
    if "connection" in wanted:
        from durable_responses.embedded import ensure_readable, has_records, kept_in_use

        if not has_records(settings):
            return _without_runs(without_runs, said, output)
        await ensure_readable(settings, output.say)
        async with kept_in_use(settings):
            handed_in["connection"] = await connected(settings, output.say)
            return await work(**{name: handed_in[name] for name in wanted}, **said)
    return await work(**{name: handed_in[name] for name in wanted}, **said)


def _without_runs(told: WithoutRuns | None, said: dict[str, Any], output: Output) -> ExitCode:
    if told is None:
        from durable_responses.jobs.job_errors import NoJobs

        raise NoJobs
    return told(output=output, **said)


def _leave(work: Callable[[], int]) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character is no reason to lose an answer.
        stream.reconfigure(errors=IN_PLAIN_SIGNS)  # type: ignore[union-attr]
    streams.leave(work, complain)
