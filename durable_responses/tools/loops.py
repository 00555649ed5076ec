"""Event loops for async tools, in threads of their own: a tool that blocks its loop holds up nothing but tools.

All calls share one loop, because a tool may keep what belongs to a loop from one call to the next: an HTTP client, a
lock. A loop that a tool has blocked for seconds gets no further calls; they go to a new one.
"""

import asyncio
import contextvars
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

BLOCKED_AFTER = 3.0  # seconds
_LOOKS = 6  # in that time: a process that was frozen as a whole must not look like a loop that is blocked
_SHOWN_FRAMES = 3


class ToolLoops:
    """Runs coroutines of tools. Use it in one event loop, and close it with `close()` or `with`.

    `blocked_after`: seconds for which a tool may block the loop of the others.
    """

    def __init__(self, blocked_after: float = BLOCKED_AFTER) -> None:
        self._blocked_after = blocked_after
        self._current: _Loop | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the loop, whatever still runs on it."""
        if self._current is not None:
            self._current.stop()
            self._current = None

    async def run(self, call: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
        """The result of a tool's coroutine. Raises what it raises. A cancel is passed on, and waits for its end."""
        if self._current is None:
            self._current = _Loop()
        loop = self._current
        running = _Call(call, name, loop)
        loop.calls += 1
        if loop.watch is None or loop.watch.done():  # one that watched shorter calls may still be there
            loop.watch = asyncio.create_task(self._watch(loop))
        try:
            return await running.result()
        finally:
            loop.calls -= 1
            if loop.calls == 0 and loop is not self._current:
                loop.stop()

    async def _watch(self, loop: "_Loop") -> None:
        """Take a loop that does not answer out of use, and say in the log which tool blocks it."""
        misses = 0
        while loop.calls and loop is self._current:
            answered = loop.ping()
            await asyncio.sleep(self._blocked_after / _LOOKS)
            misses = 0 if answered.is_set() else misses + 1
            if misses >= _LOOKS:
                self._current = None
                logger.warning(
                    "%s has blocked the event loop of the async tools for %g s. Make it a plain `def`, which has a "
                    "thread of its own, or await what it waits for. Further calls get another loop. It is at:\n%s",
                    loop.busy_with(),
                    self._blocked_after,
                    loop.where(),
                )


class _Loop:
    """An event loop in a daemon thread: a tool that never returns must not keep the process from ending."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.calls = 0
        self.watch: asyncio.Task[None] | None = None  # kept, lest it be garbage
        self._thread = threading.Thread(target=self._serve, name="async tools", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def stop(self) -> None:
        """End the loop once nothing blocks it."""
        self.loop.call_soon_threadsafe(self.loop.stop)

    def ping(self) -> threading.Event:
        """An event that the loop sets when it comes to it."""
        answered = threading.Event()
        self.loop.call_soon_threadsafe(answered.set)
        return answered

    def busy_with(self) -> str:
        """The name of the task that the loop is executing."""
        task = asyncio.current_task(self.loop)
        return task.get_name() if task else "Something"

    def where(self) -> str:
        """The innermost frames of the loop's thread."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)[-_SHOWN_FRAMES:]) if frame else ""


class _Call(Generic[T]):
    """One coroutine on a loop of tools, seen from the loop that waits for it."""

    def __init__(self, call: Callable[[], Coroutine[Any, Any, T]], name: str, loop: _Loop) -> None:
        self._call = call
        self._name = f"Tool {name}"
        self._loop = loop.loop
        self._waiting = asyncio.get_running_loop()
        self._outcome: asyncio.Future[asyncio.Task[T]] = self._waiting.create_future()
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[T] | None = None
        self._loop.call_soon_threadsafe(self._start)

    async def result(self) -> T:
        """What the coroutine returns. Raises what it raises."""
        try:
            await asyncio.wait((self._outcome,))
        except asyncio.CancelledError:
            self._loop.call_soon_threadsafe(self._cancel)
            await asyncio.wait((self._outcome,))
            raise
        return self._outcome.result().result()

    # --- on the loop of tools ---

    def _start(self) -> None:
        self._task = self._loop.create_task(self._call(), name=self._name, context=self._context)
        self._task.add_done_callback(self._ended)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[T]) -> None:
        with suppress(RuntimeError):  # a call that was given up may end after the loop that waited has
            self._waiting.call_soon_threadsafe(self._settle, task)

    # --- on the loop that waits ---

    def _settle(self, task: asyncio.Task[T]) -> None:
        if not self._outcome.done():
            self._outcome.set_result(task)
