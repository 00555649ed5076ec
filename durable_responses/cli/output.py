"""The streams of a command, its errors and its exit codes."""

import sys
from collections.abc import Sequence
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

from durable_responses.shown_text import shown

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.text import Text

    from durable_responses.workflows.contract import AgentStatus


class ExitCode(IntEnum):
    """How a command ends: the run is completed, or the command did what it says; or why not."""

    COMPLETED = 0
    FAILED = 1
    """The run failed."""
    USAGE = 2
    """The command cannot be used like this."""
    INCOMPLETE = 3
    """The run ended before it was complete."""
    CANCELLED = 4
    """The run was cancelled."""
    UNAVAILABLE = 5
    """The run cannot be started or read: something that it needs is missing."""
    LEFT = 130
    """Ctrl-C. The run is still going."""
    READER_GONE = 141
    """Nobody reads standard output any more; a shell says the same of a process that SIGPIPE ended."""


class UsageError(Exception):
    """The command line cannot be used. One sentence that names the option."""


def exit_code_of(status: "AgentStatus") -> ExitCode:
    """The exit code of a command whose run has ended with that status."""
    return ExitCode[status.name]


def exit_code_of_error(error: Exception) -> ExitCode | None:
    """How a command ends that met an error of which the user is told in one sentence; None for any other error."""
    from durable_responses.jobs.job_errors import InvalidInput, JobError, JobExists, JobNotFound
    from durable_responses.settings import SettingsError, SetupError

    match error:
        case UsageError() | SettingsError() | JobNotFound() | JobExists() | InvalidInput():
            return ExitCode.USAGE
        case SetupError() | JobError():
            return ExitCode.UNAVAILABLE
    return None


def complain(sentence: str) -> None:
    """A sentence on standard error."""
    sys.stderr.write(f"{shown(sentence)}\n")


class Output:
    """The two streams. With `--json` standard output has one JSON object, and lines for people go to standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._lines = sys.stderr if as_json else sys.stdout

    @cached_property
    def console(self) -> "Console":
        """Where lines for people go, for what is drawn or has a style."""
        # Only here: a command that writes plain lines starts a third sooner without it.
        from rich.console import Console

        return Console(stderr=self.as_json, highlight=False, markup=False, emoji=False)

    @property
    def is_screen(self) -> bool:
        """Whether lines for people go to a terminal that can be drawn on."""
        return self._lines.isatty() and not self.console.is_dumb_terminal

    @property
    def asks(self) -> bool:
        """Whether there is somebody to ask."""
        return self.is_screen and sys.stdin.isatty()

    def say(self, line: "str | Text") -> None:
        """A line for people."""
        if isinstance(line, str):
            self._lines.write(f"{shown(line)}\n")
            self._lines.flush()
        else:
            self.console.print(line, soft_wrap=True)

    def say_all(self, lines: "Sequence[str | Text]") -> None:
        """Lines for people."""
        for line in lines:
            self.say(line)

    def answer(self, text: str) -> None:
        """The text of a model: as it is for a file or a pipe, without control characters for a terminal."""
        if sys.stdout.isatty():
            text = shown(text)
        sys.stdout.write(f"{text}\n")

    def object(self, model: "BaseModel") -> None:
        """The one JSON object."""
        sys.stdout.write(f"{model.model_dump_json()}\n")
