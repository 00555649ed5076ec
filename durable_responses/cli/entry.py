"""`durable-responses`: finds out which program is meant, and loads nothing else.

A worker, an emulator and an MCP server are programs of their own: none of them needs what parses the other commands,
and an MCP client waits for the first answer. So this module imports the standard library only, and little of it.
"""

import sys
from importlib import import_module
from typing import NamedTuple, NoReturn


class Program(NamedTuple):
    """A program with arguments of its own: `main` of the module takes them, and leaves or returns the exit code."""

    module: str
    help: str


PROGRAMS = {
    "worker": Program("durable_responses.worker.__main__", "Run a worker, which executes agent runs."),
    "emulator": Program(
        "durable_responses.emulator.__main__", "Run a Responses API server without a model, for tests."
    ),
    "mcp": Program("durable_responses.mcp_server.__main__", "Serve agent runs as MCP tools."),
}


def main() -> NoReturn:
    """Run the program, or the command, that the arguments name."""
    name, *arguments = sys.argv[1:] or [""]
    if program := PROGRAMS.get(name):
        sys.exit(import_module(program.module).main(arguments))
    from durable_responses.cli import app

    app.main()


if __name__ == "__main__":
    main()
