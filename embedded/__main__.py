"""What the stack starts of itself: `background`, the supervisor without a terminal; `clean`; `temporal`, for make."""

import asyncio
import logging
import sys
from enum import StrEnum

from embedded.stack import clean
from embedded.supervisor import StackRunning, up
from embedded.temporal_cli import find_temporal_cli
from runtime import Settings, SetupError, StackMode, setup_telemetry


class Command(StrEnum):
    """What this program does."""

    BACKGROUND = "background"
    """Run the stack until it is stopped or idle."""
    CLEAN = "clean"
    """End what a killed supervisor left behind."""
    TEMPORAL = "temporal"
    """Print the path of the Temporal CLI; build it if need be."""


async def _run(command: Command, settings: Settings) -> None:
    match command:
        case Command.BACKGROUND:
            await up(settings, logging.getLogger("embedded").info, mode=StackMode.BACKGROUND)
        case Command.CLEAN:
            await clean(settings)
        case Command.TEMPORAL:
            path = await find_temporal_cli(settings, _tell)
            sys.stdout.write(f"{path}\n")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> int:
    """Run the command that is named; the exit code is 1 after an error, which standard error explains."""
    try:
        settings = Settings.load()
        setup_telemetry(settings)
        asyncio.run(_run(Command(sys.argv[1]), settings))
    except StackRunning:
        # Two commands started one at the same time: the other one serves both.
        return 0
    except SetupError as error:
        _tell(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
