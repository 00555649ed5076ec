"""Following a run: show it until it ends, and ask what to do when somebody presses Ctrl-C."""

import asyncio
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from durable_responses.cli.asking import Questions, answer_to, typed_line, user_name
from durable_responses.cli.questions import choice_lines, outcome_line, question_lines
from durable_responses.cli.screen import RunScreen, changes, still
from durable_responses.cli.times import duration
from durable_responses.cli.wrapping import wrapped, wrapped_prompt
from durable_responses.jobs.job_errors import AnswerRefused, JobError
from durable_responses.jobs.job_view import JobView
from durable_responses.jobs.jobs import Jobs
from durable_responses.workflows.contract import InputRequest

_DRAWINGS_PER_SECOND = 4
_FIRST_SILENCE, _LONGEST_SILENCE = timedelta(seconds=10), timedelta(minutes=10)
_REMINDERS = 1.0  # seconds between two looks at the time
_QUESTION = "Leave the run going without you (Enter), or cancel it (c and Enter)? "


class Left(Exception):
    """The watcher has left; the run is still going."""


def utc_now() -> datetime:
    """The time now."""
    return datetime.now(UTC)


# --- showing -----------------------------------------------------------------------------------------------------


class Display(ABC):
    """Shows one run, view by view."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._paused = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    @abstractmethod
    def show(self, view: JobView) -> None:
        """Show the run as it is now."""

    def remind(self) -> None:  # noqa: B027 what is drawn shows it by itself
        """Nothing may be new, but time goes by: called every now and then."""

    def say(self, line: str) -> None:
        """A line that stays."""
        for part in line.split("\n"):
            self.show_line(Text(part))

    def show_line(self, line: Text) -> None:
        """A line that stays, in its own style."""
        parts = [line.plain] if not self._console.is_terminal else wrapped(line.plain, self._console.width)
        for part in parts:
            self._console.print(Text(part, style=line.style), soft_wrap=True)

    def ask(self, question: str) -> None:
        """A question; the answer is typed behind it."""
        self._console.print(Text(wrapped_prompt(question, self._console.width)), end="", soft_wrap=True)

    def pause(self) -> None:
        """Leave the terminal alone."""
        self._paused = True

    def resume(self) -> None:
        """Show again what was shown last."""
        self._paused = False


class PlainLines(Display):
    """One line when something has changed, and more and more seldom that nothing has: for logs and pipes."""

    def __init__(self, console: Console, *, now: Callable[[], datetime] = utc_now) -> None:
        super().__init__(console)
        self._now = now
        self._before: JobView | None = None
        self._said_at = now()
        self._silence = _FIRST_SILENCE

    def show(self, view: JobView) -> None:
        """Print what is new, with the time since the run began."""
        for line in changes(self._before, view, self._now()):
            self._silence = _FIRST_SILENCE
            self._tell(line, view)
        self._before = view

    def remind(self) -> None:
        """Say that it is still running, if nothing was said for long."""
        if self._before is not None and self._now() - self._said_at >= self._silence:
            self._silence = min(2 * self._silence, _LONGEST_SILENCE)
            self._tell(still(self._before, self._now()), self._before)

    def _tell(self, line: str, view: JobView) -> None:
        self._said_at = self._now()
        self.say(f"[{duration(view.elapsed(self._said_at))}] {line}")


class LiveScreen(Display):
    """Draws the run in place, several times a second, and clears it away at the end."""

    def __init__(self, console: Console, web_ui: str | None) -> None:
        super().__init__(console)
        self._web_ui = web_ui
        self._view: JobView | None = None
        self._live: Live | None = None

    def show(self, view: JobView) -> None:
        """Draw this view from now on."""
        self._view = view
        if self._live is None and not self._paused:
            self.resume()

    def pause(self) -> None:
        """Clear the drawing away."""
        super().pause()
        if self._live is not None:
            self._live.stop()
        self._live = None

    def resume(self) -> None:
        """Draw the run again."""
        super().resume()
        self._live = Live(
            get_renderable=self._screen,
            console=self._console,
            transient=True,
            refresh_per_second=_DRAWINGS_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def _screen(self) -> RunScreen:
        assert self._view is not None, "nothing is drawn before the first view"
        return RunScreen(self._view, self._web_ui, utc_now)


# --- Ctrl-C ------------------------------------------------------------------------------------------------------


class Choice(StrEnum):
    """What to do with a run whose watcher pressed Ctrl-C."""

    LEAVE = "leave"
    CANCEL = "cancel"


def choice_of(line: str) -> Choice | None:
    """What was typed: `c…` cancels, `l…` or nothing leaves; None: not understood."""
    word = line.strip().lower()
    return Choice.LEAVE if not word else next((choice for choice in Choice if choice.startswith(word)), None)


class Interrupts:
    """Ctrl-C, as something to wait for; SIGTERM is one that asks nothing, and leaves the terminal as it was."""

    def __enter__(self) -> Self:
        self._pressed = asyncio.Event()
        self.is_final = False
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._pressed.set)
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)

    def _terminate(self) -> None:
        self.is_final = True
        self._pressed.set()

    async def come_before(self, *others: "asyncio.Task[Any]") -> bool:
        """Wait; whether Ctrl-C is pressed before one of the others is done."""
        pressed = asyncio.create_task(self._pressed.wait())
        await asyncio.wait([pressed, *others], return_when=asyncio.FIRST_COMPLETED)
        pressed.cancel()
        self._pressed.clear()
        return not any(other.done() for other in others)


async def follow(jobs: Jobs, job_id: str, display: Display, *, asks: bool) -> JobView:
    """Show a run until it ends, and return its last view; what it asks its owner is asked here, if there is anybody.

    Ctrl-C asks whether to leave the run or to cancel it. If nobody can be asked, Ctrl-C leaves, and so does a second
    Ctrl-C, or SIGTERM. Raises `Left`, `JobError`.
    """
    questions = Questions()
    showing = asyncio.create_task(_show_all(jobs, job_id, display, questions))
    reminding = asyncio.create_task(_remind(display))
    try:
        with Interrupts() as interrupts:
            while await _is_interrupted(jobs, job_id, display, interrupts, showing, questions if asks else None):
                if not asks or interrupts.is_final or await _ask(display, interrupts, showing) is Choice.LEAVE:
                    raise Left
                if not showing.done():
                    asks = not await _cancel(jobs, job_id, display)
        return showing.result()
    finally:
        showing.cancel()
        reminding.cancel()
        await asyncio.wait([showing, reminding])


async def _is_interrupted(
    jobs: Jobs,
    job_id: str,
    display: Display,
    interrupts: Interrupts,
    showing: "asyncio.Task[JobView]",
    questions: Questions | None,
) -> bool:
    """Wait; whether Ctrl-C is pressed before the run has ended. Meanwhile its questions are asked."""
    if questions is None:
        return await interrupts.come_before(showing)
    while not showing.done():
        asked = asyncio.create_task(questions.next())
        try:
            if await interrupts.come_before(showing, asked):
                return True
            if asked.done() and not await _put(asked.result(), jobs, job_id, display, interrupts, showing, questions):
                return True
        finally:
            asked.cancel()
    return False


async def _put(
    request: InputRequest,
    jobs: Jobs,
    job_id: str,
    display: Display,
    interrupts: Interrupts,
    showing: "asyncio.Task[JobView]",
    questions: Questions,
) -> bool:
    """Ask one question, until it is answered, here or anywhere else, or left open; whether Ctrl-C was not pressed."""
    display.pause()
    for line in [*question_lines(request, utc_now()), *choice_lines(request)]:
        display.show_line(line)
    typing = asyncio.create_task(answer_to(request, display.ask, display.say))
    closed = asyncio.create_task(questions.closed(request))
    try:
        if await interrupts.come_before(typing, closed, showing):
            display.ask("\n")
            return False
        if not typing.done():
            if closed.done() and (ended := closed.result()) is not None:
                display.say(f"\n{outcome_line(ended)}")
        elif (answer := typing.result()) is None:
            questions.leave(request)
        else:
            await _respond(answer, request, jobs, job_id, display, questions)
    finally:
        typing.cancel()
        closed.cancel()
    if not showing.done():
        display.resume()
    return True


async def _respond(
    answer: str, request: InputRequest, jobs: Jobs, job_id: str, display: Display, questions: Questions
) -> None:
    try:
        responded = await jobs.respond(job_id, request.id, answer, user_name())
    except AnswerRefused as error:  # asked again
        display.say(str(error))
    except JobError as error:
        display.say(f"Not answered: {error}")
        questions.leave(request)
    else:
        display.say(responded.sentence)
        questions.leave(request)


async def _show_all(jobs: Jobs, job_id: str, display: Display, questions: Questions) -> JobView:
    view: JobView | None = None
    async for view in jobs.watch(job_id, signs_of_life=True):
        display.show(view)
        questions.saw(view)
    assert view is not None, "watching gives at least one view"
    return view


async def _remind(display: Display) -> None:
    while True:
        await asyncio.sleep(_REMINDERS)
        display.remind()


async def _ask(display: Display, interrupts: Interrupts, showing: "asyncio.Task[JobView]") -> Choice | None:
    """What to do with the run; None: it has ended before there was an answer."""
    display.pause()
    choice = None
    while choice is None and not showing.done():
        display.ask(_QUESTION)
        typing = asyncio.create_task(typed_line())
        left = await interrupts.come_before(typing, showing)
        choice = Choice.LEAVE if left else choice_of(typing.result()) if typing.done() else None
        typing.cancel()
    return choice


async def _cancel(jobs: Jobs, job_id: str, display: Display) -> bool:
    """Ask the run to stop and show it again; whether the request has reached it."""
    try:
        await jobs.cancel(job_id, "cancelled from the command line", patience=0)
    except JobError as error:
        display.say(f"Not cancelled: {error}")
        return False
    finally:
        display.resume()
    return True
