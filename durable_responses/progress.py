"""How far something long has come: nobody waits longer than ten seconds without a word."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_WORD, NEXT_WORDS = 5.0, 10.0
"""Seconds until the first word, and between the next ones."""
_LONGEST_SILENCE = 600.0


class Progress(str):
    """A line that the next one may replace, where lines are drawn on a terminal."""

    __slots__ = ()


class Words:
    """When it is time for a word, and what it is: `  … building the Temporal CLI, 15 s`.

    `slower`: what may take hours is talked about more and more seldom; each time the silence is so much longer.
    """

    def __init__(
        self,
        doing: str,
        say: Callable[[str], None],
        *,
        slower: float = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._doing = doing
        self._say = say
        self._clock = clock
        self._began = clock()
        self._next, self._silence, self._slower = FIRST_WORD, NEXT_WORDS, slower

    def come(self, so_far: str = "") -> None:
        """Say a word if it is time for one. `so_far`: what there is of it, such as a size."""
        seconds = self._clock() - self._began
        if seconds >= self._next:
            self._next = seconds + self._silence
            self._silence = min(self._silence * self._slower, _LONGEST_SILENCE)
            self._say(Progress(f"  … {self._doing}, {seconds:.0f} s" + (f", {so_far}" if so_far else "")))


async def told_while(work: Awaitable[T], doing: str, say: Callable[[str], None], *, slower: float = 1) -> T:
    """The result of some work; meanwhile `say` gets a word from time to time, as `Words` has it."""
    words = Words(doing, say, slower=slower)
    task: asyncio.Future[T] = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait([task], timeout=0.2))[0]:
            words.come()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
    return task.result()
