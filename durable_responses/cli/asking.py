"""Asking the owner of a run in the terminal: a line is typed, or an editor is opened; Enter alone leaves it open."""

import asyncio
import getpass
import os
import select
import shlex
import sys
import tempfile
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

from durable_responses.cli import questions
from durable_responses.cli.questions import Answer, Typed
from durable_responses.jobs.job_view import JobView
from durable_responses.settings import child_environment
from durable_responses.workflows.contract import InputRequest

_REST_OF_A_PASTE = 0.05  # seconds
_LONGEST_BY = 100
_EDITORS = ("VISUAL", "EDITOR")
_USUAL_EDITOR = "vi"


def user_name() -> str | None:
    """Who answers, unless they call themselves otherwise: the name of the user."""
    try:
        return getpass.getuser()[:_LONGEST_BY] or None
    except (KeyError, OSError, ImportError):  # there is no such user here
        return None


# --- typing ------------------------------------------------------------------------------------------------------


async def typed_line() -> str:
    """The next line typed on the terminal; what was typed before does not count. Empty at the end of input.

    Lines that were pasted at once come together.
    """
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    termios.tcflush(descriptor, termios.TCIFLUSH)
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
    typed = b""
    while part := os.read(descriptor, 4096):
        typed += part
        await asyncio.sleep(_REST_OF_A_PASTE)
        if not select.select([descriptor], [], [], 0)[0]:
            break
    return typed.decode(errors="replace")


async def written_in_editor(text: str) -> str | None:
    """What becomes of a text in the user's editor; None if that could not be started, or failed."""
    command = next(
        (editor for name in _EDITORS if (editor := child_environment().get(name, "").strip())), _USUAL_EDITOR
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer.md"
        path.write_text(text)
        try:
            # Not our streams: the answer of the run may go to a file.
            terminal = os.open("/dev/tty", os.O_RDWR)
            try:
                process = await asyncio.create_subprocess_exec(
                    *shlex.split(command), str(path), stdin=terminal, stdout=terminal, stderr=terminal
                )
            finally:
                os.close(terminal)
            return path.read_text(errors="replace") if await process.wait() == 0 else None
        except (OSError, ValueError):
            return None


# --- which questions are put -------------------------------------------------------------------------------------


class Questions:
    """The open questions of one run that its owner has not left for later."""

    def __init__(self) -> None:
        self._open: Sequence[InputRequest] = ()
        self._all: Sequence[InputRequest] = ()
        self._later: set[tuple[str, int]] = set()
        self._seen = asyncio.Event()

    def saw(self, view: JobView) -> None:
        """The run, as it is now."""
        self._open, self._all = view.open_requests, view.input_requests
        self._seen.set()

    def leave(self, request: InputRequest) -> None:
        """Not to be asked again, unless the run asks again."""
        self._later.add((request.id, request.asked_as))

    async def next(self) -> InputRequest:
        """Wait for the first question that is open."""
        while (found := next((each for each in self._open if self._is_put(each)), None)) is None:
            await self._change()
        return found

    async def closed(self, request: InputRequest) -> InputRequest | None:
        """Wait until a question can no longer be answered; what has become of it, if that is known."""
        while any(each.id == request.id for each in self._open):
            await self._change()
        return next((each for each in self._all if each.id == request.id), None)

    def _is_put(self, request: InputRequest) -> bool:
        return (request.id, request.asked_as) not in self._later

    async def _change(self) -> None:
        self._seen.clear()
        await self._seen.wait()


async def answer_to(request: InputRequest, ask: Callable[[str], None], say: Callable[[str], None]) -> str | None:
    """Ask until there is an answer; None: it stays open."""
    while True:
        ask(questions.prompt_of(request))
        line = await typed_line()
        if not line.endswith("\n"):  # Ctrl-D
            ask("\n")
        match questions.meaning_of(line, request):
            case Answer(text):
                return text
            case Typed.LATER:
                return None
            case Typed.EDITOR:
                written = await written_in_editor(questions.editor_text(request))
                if written is None:
                    say("The editor failed: set EDITOR to one that works here.")
                elif answer := questions.edited(written):
                    return answer
                else:
                    return None
            case Typed.UNCLEAR:
                say("That is not an answer.")
