"""`durable-responses`: finds the command, and loads nothing else.

What parses the options of a command and what a worker is made of take a second to load; an MCP client waits for the
first answer, a person for the help. So this module imports the standard library only, and little of it.
"""

import os
import sys
from importlib import import_module
from typing import NamedTuple, NoReturn

from durable_responses.cli import streams
from durable_responses.loading import loading
from durable_responses.nearest_name import did_you_mean


class Command(NamedTuple):
    """A command: what it does in one line, and the function that takes the words after its name.

    The function leaves the process, or returns the exit code.
    """

    help: str
    module: str
    function: str = "main"


GROUPS = {
    "Agent runs": {
        "run": Command("Start a run and follow it to its end.", "durable_responses.cli.runs", "run"),
        "start": Command("Start a run and print its job id.", "durable_responses.cli.runs", "start"),
        "watch": Command("Follow a run to its end.", "durable_responses.cli.runs", "watch"),
        "continue": Command("Continue a run that has ended.", "durable_responses.cli.runs", "continue_run"),
        "steer": Command("Tell a running run something.", "durable_responses.cli.runs", "steer"),
        "respond": Command("Answer what a run asks.", "durable_responses.cli.answering", "respond"),
        "result": Command("Print the answer of a run, once it has ended.", "durable_responses.cli.runs", "result"),
        "status": Command("Show the state of a run.", "durable_responses.cli.jobs", "status"),
        "show": Command("Show what happened in a run.", "durable_responses.cli.jobs", "show"),
        "list": Command("List the latest runs.", "durable_responses.cli.jobs", "list_jobs"),
        "costs": Command("Show what runs have cost.", "durable_responses.cli.costs", "costs"),
        "budgets": Command("Show the budgets of tenants, or raise one.", "durable_responses.cli.budgets", "budgets"),
        "cancel": Command("Cancel a run, at the provider too.", "durable_responses.cli.jobs", "cancel"),
    },
    "What runs need": {
        "doctor": Command("Check everything that runs need.", "durable_responses.cli.stack", "doctor"),
        "up": Command("Run Temporal, the emulator and a worker until Ctrl-C.", "durable_responses.cli.stack", "up"),
        "down": Command("Stop what `up` or `run` started.", "durable_responses.cli.stack", "down"),
        "tools": Command("List the tools that runs may use, or call one.", "durable_responses.cli.tools", "tools"),
    },
    "Around it": {
        "temporal": Command(
            "Run Temporal's own command line on the server of the runs.", "durable_responses.cli.temporal", "temporal"
        ),
        "completion": Command(
            "Print what makes a shell complete commands and options.", "durable_responses.cli.completion", "completion"
        ),
    },
    "Programs": {
        "worker": Command("Run a worker, which executes agent runs.", "durable_responses.worker.__main__"),
        "emulator": Command("Run an emulator of the Responses API.", "durable_responses.emulator.__main__"),
        "mcp": Command("Serve agent runs as MCP tools.", "durable_responses.mcp_server.__main__"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def main() -> NoReturn:
    """Run the command that the arguments name."""
    streams.prepare()
    name, *arguments = [_as_typed(word) for word in sys.argv[1:]] or [""]
    if command := COMMANDS.get(name):
        with loading():
            function = getattr(import_module(command.module), command.function)
        sys.exit(function(arguments))
    if name in ("", "-h", "--help"):
        _print(_help(), 0 if name else 2)
    if name == "--version":
        _print(f"durable-responses {_version()}\n", 0)
    kind = "option" if name.startswith("-") else "command"
    near = did_you_mean(name, [*COMMANDS, "--help", "--version"])
    problem = f"No such {kind}: {name}.{near} See `durable-responses --help`."
    if "--json" in sys.argv[1:]:
        import json

        sys.stderr.write(f"{problem}\n")
        _print(f"{json.dumps({'error': problem, 'exit_code': 2}, separators=(',', ':'))}\n", 2)
    sys.stderr.write(f"{problem}\n")
    sys.exit(2)


def _print(text: str, code: int) -> NoReturn:
    def work() -> int:
        sys.stdout.write(text)
        return code

    streams.leave(work, lambda problem: sys.stderr.write(f"{problem}\n"))


def _as_typed(word: str) -> str:
    """A word whose bytes the locale cannot read, taken for UTF-8: a task is not to reach the model in pieces."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return os.fsencode(word).decode(errors="surrogateescape")
    return word


def _help() -> str:
    lines = ["Usage: durable-responses COMMAND [ARGUMENTS]", "", "Long OpenAI agent runs that outlive any process."]
    for title, group in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:12}{command.help}" for name, command in group.items())]
    lines += ["", "Options:", "  --version   Show the version.", "  --help      Show this text; of a command: its own."]
    return "\n".join(lines) + "\n"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("durable-responses")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
