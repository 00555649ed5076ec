"""The emulator's clock: wall time that a test can push forward, and timers that follow it."""

import asyncio
import time
from collections.abc import Callable


class Timer:
    """One pending call; `cancel()` forgets it."""

    def __init__(self, clock: "Clock", when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self._clock = clock
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, now: float) -> None:
        """(Re)start waiting, seen from `now`."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = asyncio.get_running_loop().call_later(max(0.0, self.when - now), self._fire)

    def cancel(self) -> None:
        """Never call back."""
        if self._handle is not None:
            self._handle.cancel()
        self._clock.timers.discard(self)

    def _fire(self) -> None:
        self._clock.timers.discard(self)
        self._callback()


class Clock:
    """Seconds since the epoch, plus what `advance` added."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self.timers: set[Timer] = set()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Push the clock forward; whoever waits for a time that has now come is woken."""
        self.offset += seconds
        now = self.now()
        for timer in list(self.timers):
            timer.arm(now)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once the clock shows `when`."""
        timer = Timer(self, when, callback)
        self.timers.add(timer)
        timer.arm(self.now())
        return timer

    async def sleep(self, seconds: float) -> None:
        """Wait until `seconds` have passed on this clock."""
        woken = asyncio.Event()
        timer = self.call_at(self.now() + seconds, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()
