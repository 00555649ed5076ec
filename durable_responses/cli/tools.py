"""`tools`: the function tools that a worker with these settings offers; `tools call` executes one here, as it would."""

import os
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from durable_responses.activities.messages import CallTool, LeftOutTool, Record, ToolOutcome, ToolResult
from durable_responses.cli.command import command, parameters_of, refused
from durable_responses.cli.options import time_given
from durable_responses.cli.output import ExitCode, Output, UsageError, complain
from durable_responses.cli.sources import STANDARD_INPUT, text_of
from durable_responses.nearest_name import did_you_mean
from durable_responses.tools.approvals import Action
from durable_responses.tools.registry import ArgumentsError, Effect, Registry

if TYPE_CHECKING:
    from durable_responses.activities.messages import ToolResult
    from durable_responses.settings import Settings
    from durable_responses.tools.registry import Registry

CALL, LOGIN = "call", "login"
_LONGEST_CALL = 300.0  # seconds, as in a run that does not say otherwise


class ToolDescription(Record):
    """One tool of `tools --json`: `timeout` in seconds, `module` where its function is, `parameters` a JSON schema.

    Of a tool of an MCP server also `tool`, as its server calls it, what holds where no rule is about a call, and
    whether the API holds the model to the schema.
    """

    name: str
    effect: Effect
    timeout: float
    module: str
    description: str
    parameters: dict[str, Any]
    tool: str | None = None
    approval: Action | None = None
    strict: bool | None = None


class ToolList(Record):
    """`tools --json`. `left_out`: tools of MCP servers that are not offered; `problems`: unusable servers."""

    tools: list[ToolDescription]
    left_out: list[LeftOutTool] | None = None
    problems: list[str] | None = None


class CalledTool(BaseModel):
    """`tools call --json`: what the model would read."""

    name: str
    outcome: ToolOutcome
    output: str


def tools(arguments: Sequence[str]) -> ExitCode:
    """The command, and the one below it."""
    first = next(iter(arguments), "-")
    if first == CALL:
        _call(arguments[1:])
    if first == LOGIN:
        _login(arguments[1:])
    if first.startswith("-"):
        _list(arguments)
    problem = (
        f"No such command: tools {first}.{did_you_mean(first, [CALL, LOGIN])} See `durable-responses tools --help`."
    )
    return refused(problem, ExitCode.USAGE, Output(as_json="--json" in arguments))


@command("tools")
async def _list(settings: "Settings", output: Output) -> ExitCode:
    """List the tools that runs may use, or call one.

    Those of MCP servers too. Each with its name, its effect (what running it twice would do), its time limit, its
    module, and the first sentence of what the model is told. --json has all of that, and the schema of the arguments.
    `durable-responses tools call NAME JSON` calls one.
    """
    from durable_responses.cli.server_tools import tools_of_servers

    servers = await tools_of_servers(settings)
    offered = [*described(registry_of(settings)), *(tool for each in servers for tool in each.offered)]
    if output.as_json:
        left_out = [tool for each in servers for tool in each.left_out]
        problems = [each.error for each in servers if each.error]
        output.object(ToolList(tools=offered, left_out=left_out or None, problems=problems or None))
    else:
        for notice in (notice for each in servers for notice in each.notices):
            complain(notice)
        output.report_all(
            table_of(offered) if output.reports_on_screen else ["\t".join(_row(each)) for each in offered]
        )
    return ExitCode.COMPLETED


def _check_call(*, timeout: str | None, **_: object) -> None:
    if timeout is not None:
        _seconds(timeout)


def _seconds(timeout: str | None) -> float:
    if timeout is None:
        return _LONGEST_CALL
    seconds = time_given("--timeout", timeout, "30s, 5m or 1h").total_seconds()
    if not seconds:
        raise UsageError("--timeout must be more than 0.")
    return seconds


@command("tools call", check=_check_call)
async def _call(
    settings: "Settings",
    output: Output,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tool.", show_default=False)],
    arguments: Annotated[
        str,
        typer.Argument(
            metavar="JSON",
            help="Its arguments, as one JSON object; - reads it from standard input.",
            show_default=False,
        ),
    ] = "{}",
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            help="Time limit of the call, such as 30s; the tool's own holds as well (default: 300s).",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
) -> ExitCode:
    """Call a tool in this process, as a worker would.

    The arguments are checked and the time is limited as in a run. Standard output has what the model would read, and
    nothing else; what the tool itself prints goes to standard error. The exit code is 0 for a result, 1 for a tool that
    failed or took too long, 2 for a tool that there is not, or arguments that do not fit; then standard error has what
    the model would read.
    """
    if arguments == STANDARD_INPUT:
        arguments = text_of(STANDARD_INPUT, "JSON")
    registry = registry_of(settings)
    if name not in registry.names and name.split("__", 1)[0] in settings.mcp_servers.enabled:
        return await _call_of_a_server(_call_of(name, arguments, timeout), settings, output)
    if name not in registry.names:
        near = did_you_mean(name, registry.names)
        return refused(f"There is no tool named {name!r}.{near} See `durable-responses tools`.", ExitCode.USAGE, output)
    try:
        with _prints_diverted():
            result = await _tried(_call_of(name, arguments, timeout), registry, settings)
    except ArgumentsError as error:
        return refused(f"Error: {error}", ExitCode.USAGE, output)
    return _told(name, result, output)


@command("tools login", prints_json=False)
async def _login(
    settings: "Settings",
    output: Output,
    server: Annotated[str, typer.Argument(metavar="SERVER", help="The MCP server.", show_default=False)],
) -> ExitCode:
    """Log in to an MCP server that asks for it (OAuth).

    It prints the address of a page to open; the tokens are kept in the state folder, for the workers there.
    """
    from durable_responses.cli.server_tools import sessions_of
    from durable_responses.mcp_tools.sessions import ServerError

    configured = settings.mcp_servers.enabled.get(server)
    if configured is None:
        near = did_you_mean(server, settings.mcp_servers.enabled)
        return refused(f"There is no MCP server {server!r}.{near}", ExitCode.USAGE, output)
    if configured.url is None:
        return refused(f"The MCP server {server!r} is a program: nobody logs in to it.", ExitCode.USAGE, output)
    from durable_responses.mcp_tools.oauth import Login

    login = Login(lambda url: output.report(f"Open this address: {url}"))
    async with sessions_of(settings, login) as sessions:
        try:
            listing = await sessions.listing(server)
        except ServerError as error:
            return refused(str(error), ExitCode.UNAVAILABLE, output)
    output.report(f"Logged in to {server}: {len(listing.tools)} tools.")
    return ExitCode.COMPLETED


tools.parameters = parameters_of(_list)  # type: ignore[attr-defined]
tools.subcommands = [CALL, LOGIN]  # type: ignore[attr-defined]


def described(registry: Registry) -> list[ToolDescription]:
    """What there is to know of each tool."""
    return [
        ToolDescription(
            name=each.name,
            effect=each.effect,
            timeout=each.timeout,
            module=each.function.__module__,
            description=each.description,
            parameters=each.parameters,
        )
        for each in registry.select()
    ]


def registry_of(settings: "Settings") -> Registry:
    """The tools of a worker with these settings. What their modules print goes to standard error.

    Raises `RegistryError`.
    """
    from durable_responses.worker.offered_tools import offered_tools

    with _prints_diverted():
        return offered_tools(settings)


def _call_of(name: str, arguments: str, timeout: str | None) -> CallTool:
    return CallTool(call_id=f"call_{secrets.token_hex(12)}", name=name, arguments=arguments, timeout=_seconds(timeout))


async def _tried(call: CallTool, registry: Registry, settings: "Settings") -> ToolResult:
    from durable_responses.activities.tools import ToolActivities
    from durable_responses.responses_api.redaction import Secrets
    from durable_responses.tools.loops import ToolLoops
    from durable_responses.worker.dependencies import tool_context
    from durable_responses.workspace import prepare_workspace

    registry[call.name].parse(call.arguments)  # before a workspace is made for them
    prepare_workspace(settings, complain)
    with ToolLoops() as loops:
        activities = ToolActivities(registry, tool_context(settings), loops=loops, secrets=Secrets(settings.secrets()))
        return await activities.try_out(call)


async def _call_of_a_server(call: CallTool, settings: "Settings", output: Output) -> ExitCode:
    from durable_responses.activities.tools import ToolActivities
    from durable_responses.cli.server_tools import sessions_of, tool_named
    from durable_responses.mcp_tools.sessions import ServerError
    from durable_responses.responses_api.redaction import Secrets
    from durable_responses.worker.dependencies import tool_context

    async with sessions_of(settings) as sessions:
        try:
            tool = await tool_named(call.name, sessions)
        except ServerError as error:
            return refused(str(error), ExitCode.UNAVAILABLE, output)
        if tool is None:
            problem = f"There is no tool named {call.name!r}. See `durable-responses tools`."
            return refused(problem, ExitCode.USAGE, output)
        call = call.model_copy(update={"mcp": tool})
        activities = ToolActivities(
            Registry([]), tool_context(settings), secrets=Secrets(settings.secrets()), sessions=sessions
        )
        try:
            return _told(call.name, await activities.try_out(call), output)
        except ArgumentsError as error:
            return refused(f"Error: {error}", ExitCode.USAGE, output)


def _told(name: str, result: ToolResult, output: Output) -> ExitCode:
    has_succeeded = result.outcome is ToolOutcome.SUCCEEDED
    if output.as_json:
        output.object(CalledTool(name=name, outcome=result.outcome, output=result.output))
    elif has_succeeded:
        output.answer(result.output, is_markdown=False)
    if not has_succeeded:
        complain(result.output)
    return ExitCode.COMPLETED if has_succeeded else ExitCode.FAILED


def _row(each: "ToolDescription") -> tuple[str, ...]:
    return (each.name, each.effect.value, f"{each.timeout:g} s", each.module, _first_sentence(each.description))


def table_of(offered: list[ToolDescription]) -> list[str]:
    """A line for each tool, in columns."""
    rows = [_row(each) for each in offered]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return [
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n", maxsplit=1)[0].split())
    sentence = re.match(r".*?[.!?](?=\s|$)", paragraph)
    return sentence[0] if sentence else paragraph


@contextmanager
def _prints_diverted() -> Iterator[None]:
    """What is printed inside, by programs that a tool starts as well, goes to standard error."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # there is no standard output
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
