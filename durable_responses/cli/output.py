"""The streams of a command, its errors and its exit codes."""

import asyncio
import codecs
import os
import sys
from collections.abc import Coroutine, Sequence
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from durable_responses.cli import streams
from durable_responses.cli.wrapping import wrapped
from durable_responses.progress import Progress
from durable_responses.shown_text import shown

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.text import Text

    from durable_responses.workflows.contract import AgentStatus


IN_PLAIN_SIGNS = "durable_responses.in_plain_signs"
"""The error handler of an encoding that does not have a character. A question mark would say that nobody knows."""

_PLAIN_SIGNS = {
    **{"✓": "ok", "✗": "x", "…": "...", "·": "-", "→": "->", "—": "-", "–": "-", "≥": ">="},
    **{"“": '"', "”": '"', "’": "'", "‘": "'"},
}


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN_SIGNS.get(character, "?") for character in missing), error.end


codecs.register_error(IN_PLAIN_SIGNS, _in_plain_signs)


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
    READER_GONE = streams.READER_GONE
    """Nobody reads standard output any more."""


_T = TypeVar("_T")

_LOOKS = 0.25  # seconds between two looks at whether somebody still reads
_MOST_RENDERED = 50_000
"""Characters of an answer that are rendered; more would keep the reader waiting."""


class UsageError(Exception):
    """The command line cannot be used. One sentence that names the option."""


def exit_code_of(status: "AgentStatus") -> ExitCode:
    """The exit code of a command whose run has ended with that status."""
    return ExitCode[status.name]


def exit_code_of_error(error: Exception) -> ExitCode | None:
    """How a command ends that met an error of which the user is told in one sentence; None for any other error."""
    from durable_responses.jobs.job_errors import InvalidInput, JobError, JobExists, JobNotFound, NoJobs, SeveralJobs
    from durable_responses.settings import SettingsError, SetupError

    if (registry := sys.modules.get("durable_responses.tools.registry")) and isinstance(error, registry.RegistryError):
        return ExitCode.USAGE
    match error:
        case UsageError() | SettingsError() | JobNotFound() | NoJobs() | SeveralJobs() | JobExists() | InvalidInput():
            return ExitCode.USAGE
        case SetupError() | JobError():
            return ExitCode.UNAVAILABLE
    return None


async def while_read(waiting: Coroutine[Any, Any, _T]) -> _T:
    """Await what is to go to standard output. Raises `BrokenPipeError` as soon as nobody reads that any more."""
    task = asyncio.create_task(waiting)
    try:
        while not (await asyncio.wait([task], timeout=_LOOKS))[0]:
            if streams.reader_is_gone():
                raise BrokenPipeError
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


def complain(sentence: str) -> None:
    """A sentence on standard error."""
    _write_lines(sentence, sys.stderr)


def _write_lines(text: str, stream: TextIO) -> None:
    _progress.clear()
    width = width_of(stream)
    lines = shown(text).split("\n")
    told = [part for line in lines for part in wrapped(line, width)] if width else lines
    stream.write("".join(f"{line}\n" for line in told))


def width_of(stream: TextIO) -> int | None:
    """The columns of the terminal that a stream is; None for a file or a pipe."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except (OSError, ValueError):
        return None


class _ProgressLine:
    """The last line of a terminal, while it says how far something has come."""

    _is_shown = False

    def show(self, line: str) -> None:
        self.clear()
        width = width_of(sys.stderr)
        sys.stderr.write(shown(line)[: width - 1] if width else shown(line))
        self._is_shown = True

    def clear(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            self._is_shown = False


_progress = _ProgressLine()


class Output:
    """The two streams: what was asked for goes to standard output, what is said beside it to standard error.

    What was asked for is the answer of a run, its id, a list, a report. With `--json` it is one object. So a shell can
    take it (`run "…" > answer.md`), whatever else there is to say.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @cached_property
    def console(self) -> "Console":
        """Standard error, for what is drawn or has a style."""
        return _console(stderr=True)

    @cached_property
    def _asked_for(self) -> "Console":
        return _console(stderr=False)

    @property
    def is_screen(self) -> bool:
        """Whether what is said beside the answer goes to a terminal that can be drawn on."""
        return sys.stderr.isatty() and not self.console.is_dumb_terminal

    @property
    def reports_on_screen(self) -> bool:
        """Whether what was asked for goes to a terminal that can show styles."""
        return sys.stdout.isatty() and not self._asked_for.is_dumb_terminal

    @property
    def width(self) -> int:
        """Columns of the terminal that shows what was asked for."""
        return self._asked_for.width

    @property
    def asks(self) -> bool:
        """Whether there is somebody to ask."""
        return self.is_screen and sys.stdin is not None and sys.stdin.isatty()

    def say(self, line: "str | Text") -> None:
        """A line beside what was asked for; on a terminal the next one replaces a `Progress`."""
        if isinstance(line, Progress) and self.is_screen:
            _progress.show(line)
            sys.stderr.flush()
        elif isinstance(line, str):
            complain(line)
            sys.stderr.flush()
        else:
            _print(line, self.console, on_screen=self.is_screen)

    def say_all(self, lines: "Sequence[str | Text]") -> None:
        """Lines beside what was asked for."""
        for line in lines:
            self.say(line)

    def report(self, line: "str | Text") -> None:
        """A line of what was asked for."""
        if isinstance(line, str):
            _write_lines(line, sys.stdout)
            sys.stdout.flush()
        else:
            _print(line, self._asked_for, on_screen=self.reports_on_screen)

    def report_all(self, lines: "Sequence[str | Text]") -> None:
        """Lines of what was asked for."""
        for line in lines:
            self.report(line)

    def answer(self, text: str, *, is_markdown: bool = True) -> None:
        """The text of a model: as it is for a file or a pipe, rendered and without control characters on a terminal."""
        end = "" if text.endswith("\n") else "\n"
        if not sys.stdout.isatty():
            sys.stdout.write(text + end)
        elif is_markdown and self.reports_on_screen and len(text) <= _MOST_RENDERED:
            self._render(shown(text))
        else:
            sys.stdout.write(shown(text) + end)
        sys.stdout.flush()

    def object(self, model: "BaseModel") -> None:
        """The one JSON object."""
        sys.stdout.write(f"{model.model_dump_json()}\n")
        sys.stdout.flush()

    def _render(self, text: str) -> None:
        from rich.markdown import Markdown
        from rich.theme import Theme

        # The terminal's own colours, without a background: it may be light or dark.
        with self._asked_for.use_theme(Theme({"markdown.code": "bold cyan"})):
            # A link shows where it leads: its text may be chosen to mislead.
            self._asked_for.print(Markdown(text, hyperlinks=False, code_theme="ansi_dark"))


def _print(line: "Text", console: "Console", *, on_screen: bool) -> None:
    _progress.clear()
    if on_screen and line.no_wrap:
        # Said again: rich forgets what a text says of itself. Nothing is cut that goes to a file.
        console.print(line, no_wrap=True, overflow=line.overflow)
    elif on_screen and line.overflow is None and not line.spans:
        for part in wrapped(line.plain, console.width):
            console.print(part, style=line.style, soft_wrap=True)
    else:
        console.print(line, soft_wrap=not on_screen or line.overflow == "fold")


def _console(*, stderr: bool) -> "Console":
    # Only here: a command that writes plain lines starts a third sooner without it.
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
