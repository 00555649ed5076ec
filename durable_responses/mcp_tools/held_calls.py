"""Calls that a server of an older revision keeps waiting with a question of its own: `elicitation/create`.

A person may take hours, and no activity waits for one. So the call stays here, in its session, while the run asks its
owner, and another activity brings the answer. Nothing says which call such a question belongs to: the one that is left
when all others have ended. So a server that has asked once is given one call at a time, beside those that wait.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

import anyio

from durable_responses.mcp_tools.elicitation import CANCEL
from durable_responses.mcp_tools.sessions import Answer, Asked, AsksFirst, Given, NotHeld, Progress, TooLate

CANCELLED: Mapping[str, Any] = {"action": CANCEL}
_ENDS_WITHIN = 5.0  # seconds

logger = logging.getLogger(__name__)


class HeldCall:
    """One call, from its begin to its answer, over all the activities that wait for it.

    `prepared`: answers by key. `is_late`: its server asked what was answered, and did not wait for the answer.
    """

    def __init__(self, progress: Progress, prepared: Mapping[str, Any]) -> None:
        self.id = secrets.token_hex(8)
        self.task: asyncio.Task[Answer]
        self.question: Asked | None = None
        self.is_late = False
        self._progress = progress
        self._prepared = dict(prepared)
        self._is_given_up = False
        self._moved = asyncio.Event()
        self._answered = asyncio.Event()

    def begin(self, making: Coroutine[Any, Any, Answer]) -> None:
        """Make it, in a task of its own."""
        self.task = asyncio.create_task(making)
        self.task.add_done_callback(lambda _: self._moved.set())

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Told to whoever waits for the call now."""
        await self._progress(progress, total, message)

    def followed_by(self, progress: Progress, answers: Mapping[str, Any]) -> None:
        """Take the owner's answer to what it asks, on behalf of another activity."""
        self._progress = progress
        if self.question is None or self.question.key not in answers:
            self.is_late = True
            return
        self.is_late = False
        self._prepared[self.question.key] = answers[self.question.key]
        self._moved.clear()
        self._answered.set()

    def give_up(self) -> None:
        """Nobody answers any more."""
        self._is_given_up = True
        self._answered.set()

    async def answer_to(self, asked: Asked) -> Mapping[str, Any]:
        """What the owner says, once they do; at once where they have said it before."""
        try:
            while asked.key not in self._prepared and not self._is_given_up:
                self.question = asked
                self._answered.clear()
                self._moved.set()
                await self._answered.wait()
        finally:
            self.question = None
        answer: Mapping[str, Any] = self._prepared.pop(asked.key, CANCELLED)
        return answer

    async def moved(self) -> None:
        """Return when it has ended, or its server asks."""
        await self._moved.wait()
        self._moved.clear()


class HeldCalls:
    """The calls of one server. `seconds`: how long a question waits for its answer before it is cancelled."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: dict[str, HeldCall] = {}
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._asks = False
        self._active: set[HeldCall] = set()
        self._questions = 0
        self._left = asyncio.Event()

    async def answer(
        self, make: Callable[[HeldCall], Coroutine[Any, Any, Answer]], progress: Progress, given: Given
    ) -> Answer:
        """The answer to a call, which is made, or goes on after `given.held`.

        Raises what the call raises, `AsksFirst`, `NotHeld` and `TooLate`. A cancel cancels the call.
        """
        call = self._taken(given, progress) if given.held else self._begun(make, progress, given)
        while not call.task.done():
            try:
                await call.moved()
            except asyncio.CancelledError:
                await self._cancelled(call)
                raise
            if call.question is not None and not call.task.done():
                self._waiting[call.id] = asyncio.get_running_loop().call_later(self._seconds, self._given_up, call)
                raise AsksFirst([call.question], None, call.id)
        self._calls.pop(call.id, None)
        answer = call.task.result()
        if call.is_late and answer.is_error:
            raise TooLate(answer)
        return answer

    @contextlib.asynccontextmanager
    async def turn(self, call: HeldCall) -> AsyncIterator[None]:
        """While inside, the call is with its server, alone where that server is known to ask."""
        await self._enter(call)
        try:
            yield
        finally:
            self._leave(call)

    async def answer_to(self, asked: Asked) -> Mapping[str, Any]:
        """What is said to a question of the server, which may wait for it for long."""
        self._asks = True
        self._questions += 1
        try:
            while len(self._active) > self._questions:
                self._left.clear()
                await self._left.wait()
            if len(self._active) != 1:
                logger.info("An MCP server asks, and nobody knows for which call: the question is cancelled.")
                return CANCELLED
        finally:
            self._questions -= 1
        [call] = self._active
        self._leave(call)
        try:
            answer = await call.answer_to(asked)
            await self._enter(call)
        except asyncio.CancelledError:  # the server does not want to know any more
            self._active |= {call} if not call.task.done() else set()
            raise
        return answer

    async def _enter(self, call: HeldCall) -> None:
        while self._asks and self._active:
            self._left.clear()
            await self._left.wait()
        self._active.add(call)

    def _leave(self, call: HeldCall) -> None:
        self._active.discard(call)
        self._left.set()

    async def aclose(self) -> None:
        """Cancel those that wait, side by side."""
        await asyncio.gather(*map(self._cancelled, [*self._calls.values()]))

    def _begun(
        self, make: Callable[[HeldCall], Coroutine[Any, Any, Answer]], progress: Progress, given: Given
    ) -> HeldCall:
        call = HeldCall(progress, given.answers or {})
        call.begin(make(call))
        self._calls[call.id] = call
        return call

    def _taken(self, given: Given, progress: Progress) -> HeldCall:
        call = self._calls.get(given.held or "")
        if call is None:
            raise NotHeld("its worker, which kept it while its server waited for an answer, was lost or gave it up")
        if timer := self._waiting.pop(call.id, None):
            timer.cancel()
        call.followed_by(progress, given.answers or {})
        return call

    def _given_up(self, call: HeldCall) -> None:
        self._waiting.pop(call.id, None)
        self._calls.pop(call.id, None)
        call.give_up()
        call.task.add_done_callback(_drop)

    async def _cancelled(self, call: HeldCall) -> None:
        self._calls.pop(call.id, None)
        if timer := self._waiting.pop(call.id, None):
            timer.cancel()
        call.task.cancel()
        call.task.add_done_callback(_drop)
        with anyio.move_on_after(_ENDS_WITHIN, shield=True):  # it tells its server
            await asyncio.wait({call.task})


def _drop(task: asyncio.Task[Answer]) -> None:
    if not task.cancelled():
        task.exception()
