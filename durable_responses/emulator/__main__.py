"""The command line of the emulator: `durable-responses emulator`, or `python -m durable_responses.emulator`."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from durable_responses.emulator.model.library import DEFAULT
from durable_responses.emulator.server import EmulatorOptions, UnusableScenario, serve
from durable_responses.program_arguments import ProgramArguments, not_negative, port, positive


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve with `arguments`, or with those of the process; returns the exit code, 2 for wrong usage."""
    parser = ProgramArguments(
        "durable-responses emulator",
        "Run an emulator of the Responses API. Its answers are scripted: there is no model.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port, default=8090, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="write the port here when listening")
    parser.add_argument("--state-file", type=Path, help="survive a kill: keep everything in this file")
    parser.add_argument("--scenario-dir", type=Path, help="folder of scenarios, one JSON file each")
    parser.add_argument("--scenario", default=DEFAULT, help="the scenario of requests that name none")
    parser.add_argument("--pace", type=not_negative, default=1.0, help="multiplies every scripted time")
    parser.add_argument(
        "--context-window",
        type=positive,
        metavar="TOKENS",
        help="what models have room for; without it, for any number",
    )
    parser.add_argument("--api-key", help="refuse every other key with 401")
    parser.add_argument(
        "--unverified", action="store_true", help="refuse what OpenAI refuses organisations that are not verified"
    )
    parser.add_argument(
        "--allowed-host",
        dest="allowed_hosts",
        action="append",
        default=[],
        metavar="NAME",
        help="answer to this host name, too; without it only to localhost, 127.0.0.1 and --host",
    )
    given = vars(parser.parse_args(arguments))
    port_file = given.pop("port_file")
    try:
        asyncio.run(serve(EmulatorOptions(**given), port_file))
    except (RuntimeError, OSError) as error:
        print(f"durable-responses emulator: {error}", file=sys.stderr)  # noqa: T201 a program's last words
        return 2 if isinstance(error, UnusableScenario) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
