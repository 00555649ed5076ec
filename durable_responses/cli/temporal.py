"""`temporal`: Temporal's own command line, on the server that the runs are on."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from durable_responses.cli.output import complain, exit_code_of_error

_HELP = """\
Usage: durable-responses temporal [ARGUMENTS]...

  Run Temporal's own command line on the server of the runs.

  That is the configured server, else the embedded one, which is started if it
  is not running. For what it can do: `durable-responses temporal help`. To have
  it on another server, set TEMPORAL_ADDRESS or type --address.
"""
# Everything else works without a server, or starts one of its own.
_OF_A_SERVER = {"activity", "batch", "nexus", "operator", "schedule", "task-queue", "worker", "workflow"}


def temporal(arguments: Sequence[str]) -> int:
    """Become Temporal's command line; returns an exit code only if that cannot be."""
    if list(arguments) in (["--help"], ["-h"]):
        sys.stdout.write(_HELP)
        return 0
    try:
        program, environment = asyncio.run(_prepared(arguments))
    except Exception as error:
        code = exit_code_of_error(error)
        if code is None:
            raise
        complain(str(error))
        return code
    sys.stdout.flush()
    sys.stderr.flush()
    return _become(program, arguments, environment)


def _become(program: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    os.execve(program, [str(program), *arguments], environment)


async def _prepared(arguments: Sequence[str]) -> tuple[Path, Mapping[str, str]]:
    """The program, and the environment that leads it to the server. Raises `SetupError`."""
    from durable_responses.connection import temporal_address
    from durable_responses.embedded import ensure_readable, find_temporal_cli
    from durable_responses.settings import Settings, child_environment, configured_address, temporal_namespace

    settings = Settings.load()
    program = await find_temporal_cli(settings, complain)
    if configured_address():
        return program, child_environment()
    if _needs_a_server(arguments):
        await ensure_readable(settings, complain)
    return program, child_environment(
        TEMPORAL_ADDRESS=temporal_address(settings), TEMPORAL_NAMESPACE=temporal_namespace()
    )


def _needs_a_server(arguments: Sequence[str]) -> bool:
    if any(word in ("--help", "-h") or word.split("=")[0] == "--address" for word in arguments):
        return False
    return next((word for word in arguments if not word.startswith("-")), "") in _OF_A_SERVER
