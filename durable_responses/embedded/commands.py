"""Commands for the stack itself (`background`, `clean`), for make and for docker-compose.yml."""

import argparse
import asyncio
import functools
import logging
import sys
from enum import StrEnum

from durable_responses.connection import connect
from durable_responses.embedded.namespace import ensure_namespace
from durable_responses.embedded.stack import clean
from durable_responses.embedded.supervisor import StackRunning, serve_project, up
from durable_responses.embedded.temporal_cli import find_temporal_cli
from durable_responses.embedded.topology import ReadingTopology, ServerTopology
from durable_responses.process import setup_telemetry
from durable_responses.settings import Settings, SetupError
from durable_responses.stack_file import StackMode


class Command(StrEnum):
    """What this program does."""

    BACKGROUND = "background"
    """Run the stack until it is stopped or idle."""
    READING = "reading"
    """Run Temporal without a worker until it is stopped or nobody has looked at a run for a while."""
    PROJECT = "project"
    """Run the worker of this project, beside the stack that runs, until it is stopped or idle."""
    CLEAN = "clean"
    """Stop what a killed supervisor left behind."""
    TEMPORAL = "temporal"
    """Print the path of the Temporal CLI; build it if necessary."""
    STACK = "stack"
    """Run Temporal on PostgreSQL, its Web UI and workers here, until Ctrl-C."""
    NAMESPACE = "namespace"
    """Create the namespace of the configured Temporal server, or set its retention."""


async def _run(command: Command, settings: Settings, *, workers: int) -> None:
    match command:
        case Command.BACKGROUND:
            await up(settings, logging.getLogger("durable_responses.embedded").info, mode=StackMode.BACKGROUND)
        case Command.READING:
            say = logging.getLogger("durable_responses.embedded").info
            await up(settings, say, mode=StackMode.READING, topology=ReadingTopology)
        case Command.PROJECT:
            await serve_project(settings, logging.getLogger("durable_responses.embedded").info)
        case Command.CLEAN:
            await clean(settings)
        case Command.TEMPORAL:
            path = await find_temporal_cli(settings, _tell)
            sys.stdout.write(f"{path}\n")
        case Command.STACK:
            await up(settings, _tell, topology=functools.partial(ServerTopology, worker_count=workers))
        case Command.NAMESPACE:
            await ensure_namespace(await connect(settings, patience=30), settings.retention)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> int:
    """Run the given command. After an error the exit code is 1, and standard error explains it."""
    parser = argparse.ArgumentParser(prog="embedded", description=__doc__)
    parser.add_argument("command", type=Command, choices=list(Command))
    parser.add_argument("--workers", type=_at_least_one, metavar="N", default=3, help="of `stack` (default: 3)")
    given = parser.parse_args()
    try:
        settings = Settings.load()
        setup_telemetry(settings)
        asyncio.run(_run(given.command, settings, workers=given.workers))
    except StackRunning as error:
        # Two commands started a stack at the same time: the other one serves both.
        if given.command in (Command.BACKGROUND, Command.READING, Command.PROJECT):
            return 0
        _tell(str(error))
        return 1
    except SetupError as error:
        _tell(str(error))
        return 1
    return 0
