"""`doctor`, `up` and `down`: what runs need, and the embedded stack, which has it all."""

from typing import TYPE_CHECKING, Annotated

import typer

from durable_responses.cli.command import command
from durable_responses.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from durable_responses.settings import Settings


@command("doctor")
async def doctor(
    settings: "Settings",
    output: Output,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also ask the provider for all that it can do, with a few small requests that are paid for."
        ),
    ] = False,
) -> ExitCode:
    """Check everything that runs need.

    First it shows the settings in force here, with where each comes from, and the tools. Then come the checks: whose
    settings those are, Temporal, workers, the provider, its key, the clock, the tools, MCP servers, the project, the
    workspace and the disk. Each line of these says ok, or what to do.
    """
    from durable_responses.cli.checks import (
        Diagnosis,
        check_tools,
        check_worker,
        lines_of,
        lines_of_settings,
        lines_of_tools,
    )
    from durable_responses.cli.server_tools import check_servers, tools_of_servers
    from durable_responses.health.doctor import examine
    from durable_responses.health.in_force import settings_in_force

    report = await examine(settings, output.say if deep else None)
    tools, check = check_tools(settings)
    servers = await tools_of_servers(settings)
    tools += [tool for each in servers for tool in each.offered]
    checks = [check_worker(settings), *report.checks, check, *check_servers(servers)]
    diagnosis = Diagnosis(checks=checks, settings=settings_in_force(settings), tools=tools)
    if output.as_json:
        output.object(diagnosis)
    else:
        output.report_all([*lines_of_settings(diagnosis.settings), *lines_of_tools(tools), *lines_of(diagnosis)])
    return ExitCode.COMPLETED if diagnosis.is_well else ExitCode.UNAVAILABLE


@command("up", prints_json=False)
async def up(settings: "Settings", output: Output) -> ExitCode:
    """Run Temporal, the emulator and a worker until Ctrl-C.

    What is configured elsewhere is left out.
    """
    from durable_responses import embedded

    await embedded.up(settings, output.report)
    return ExitCode.COMPLETED


@command("down", prints_json=False)
async def down(settings: "Settings", output: Output) -> ExitCode:
    """Stop what `up` or `run` started.

    Open runs are kept, and continue after the next start.
    """
    from durable_responses import embedded

    if not await embedded.stop(settings, output.report):
        output.report("Nothing was running.")
    return ExitCode.COMPLETED
