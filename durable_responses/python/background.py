"""The thread of a program in which everything of Temporal's happens, and its orderly end.

Temporal's SDK has threads of its own, and one of them that wants to tell Python something while the interpreter shuts
down aborts the process, after all is done and well (https://github.com/temporalio/sdk-python/issues/300). So nothing of
the SDK is left by then: when the program ends, whatever its exit code will be, this thread ends what it has under way,
drops every client, and waits until the SDK's threads are gone.

One thread with an event loop of its own also serves programs with no loop, with several at once, or with one after the
other, such as notebooks and tests; and function calls go on while a program blocks its own loop.
"""

import asyncio
import atexit
import gc
import os
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from durable_responses.errors import DurableResponsesError

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.runtime import Runtime

    from durable_responses.settings import Settings

T = TypeVar("T")

_ENDING = 3.0  # seconds for what is under way
_THREADS_END = 2.0  # seconds
_THREADS = Path("/proc/self/task")  # where the system has it
_OF_THE_SDK = "tokio"  # how its threads are called
_LET_THEM_END = 0.1  # seconds, where nobody can look


class Background:
    """The thread, its event loop, and the clients that live there. The program has one: `background()`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(_without_polls_of_the_sdk)
        self.starting = asyncio.Lock()
        """Held by whoever makes sure that a stack is running."""
        self._runtime: Runtime | None = None
        self._clients: dict[object, Client] = {}
        self._under_way: set[asyncio.Task[Any]] = set()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self.loop.run_forever, name="durable-responses", daemon=True)
        self._thread.start()
        atexit.register(self.end)

    @property
    def is_usable(self) -> bool:
        """Whether the thread is there: it is not in a fork of the program, nor after its end."""
        return self._pid == os.getpid() and not self.loop.is_closed()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin some work there, in the context of the caller."""
        return asyncio.run_coroutine_threadsafe(self._contained(work), self.loop)

    def keep(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Begin some work, in that thread, that nobody waits for. It ends with the program at the latest."""
        task = self.loop.create_task(work)
        self._note(task)
        return task

    def _note(self, task: asyncio.Task[Any] | None) -> None:
        if task is not None:
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def client(self, settings: "Settings") -> "Client":
        """A client of the server of the settings, in that thread. Raises `TemporalUnreachable`, `SettingsError`."""
        from temporalio.service import RetryConfig

        from durable_responses.connection import connect, temporal_address
        from durable_responses.settings import temporal_config

        key = (temporal_address(settings), repr(temporal_config()))
        if (known := self._clients.get(key)) is not None:
            return known
        made = await connect(settings, for_worker=True, retry_config=RetryConfig(max_elapsed_time_millis=2000))
        return self._clients.setdefault(key, made)

    async def _contained(self, work: Coroutine[Any, Any, T]) -> T:
        """The work, with a runtime that ends with the program, and without the frames of its exception.

        Whoever keeps an exception would keep a client, too.
        """
        from durable_responses.connection import RUNTIME

        self._note(asyncio.current_task())
        RUNTIME.set(self._quiet_runtime())
        try:
            return await work
        except Exception as error:
            if not isinstance(error, DurableResponsesError):
                error.add_note("".join(traceback.format_exception(error)))
            seen: BaseException | None = error
            while seen is not None and seen.__traceback__ is not None:
                seen.__traceback__ = None
                seen = seen.__cause__ or seen.__context__
            raise

    def _quiet_runtime(self) -> "Runtime":
        from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

        if self._runtime is None:
            # The SDK would log its retries on standard error.
            quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
            self._runtime = Runtime(telemetry=TelemetryConfig(logging=quiet))
        return self._runtime

    def end(self) -> None:
        """End everything, at the end of the program: a few seconds at most. Runs keep going without it."""
        if not self.is_usable:
            return
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._end_all(), self.loop).result(_ENDING)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_ENDING)
        if not self.loop.is_running():
            self.loop.close()
        self._clients.clear()
        if self._runtime is not None:
            _let_go_of_the_sdk(self._runtime)
            self._runtime = None
            _wait_for_threads_of_the_sdk()

    async def _end_all(self) -> None:
        # First what was begun here: workers need their own tasks for their shutdown.
        for begun_here in (True, False):
            tasks = (set(self._under_way) if begun_here else asyncio.all_tasks()) - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


def _without_polls_of_the_sdk(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell what nobody awaited has raised, but for the polls of a worker that the program's end has cut off."""
    from temporalio.bridge.worker import PollShutdownError  # type: ignore[attr-defined]

    if not isinstance(context.get("exception"), PollShutdownError):
        loop.default_exception_handler(context)


def _let_go_of_the_sdk(runtime: "Runtime") -> None:
    """Drop what the SDK has behind its Python objects, which are referred to by a function that still runs, say.

    It has no public way to end a runtime but to forget all that was made with it.
    """
    from temporalio.bridge.client import Client as BridgeClient

    core = runtime._core_runtime
    for each in gc.get_objects():
        if type(each) is BridgeClient and each._runtime is core:
            del each._ref
    del core._ref
    gc.collect()


def _wait_for_threads_of_the_sdk() -> None:
    """Let the threads of a runtime that nobody refers to end, which may need the interpreter once more for it."""
    give_up = time.monotonic() + _THREADS_END
    if not _THREADS.is_dir():
        time.sleep(_LET_THEM_END)
        return
    while _has_threads_of_the_sdk() and time.monotonic() < give_up:
        time.sleep(0.005)


def _has_threads_of_the_sdk() -> bool:
    for thread in _THREADS.iterdir():
        with suppress(OSError):
            if (thread / "comm").read_text().startswith(_OF_THE_SDK):
                return True
    return False


# --- the one of this process -------------------------------------------------------------------------------------

_lock = threading.Lock()
_backgrounds: list[Background] = []  # those of the processes that this one was forked from stay, and are left alone


def background() -> Background:
    """The one of this process."""
    with _lock:
        if not _backgrounds or not _backgrounds[-1].is_usable:
            _backgrounds.append(Background())
        return _backgrounds[-1]


async def awaited(work: Coroutine[Any, Any, T]) -> T:
    """The result of some work that is done in the background. A cancel is passed on."""
    return await asyncio.wrap_future(background().submit(work))


async def streamed(source: Callable[[], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """What a generator gives that lives in the background, and is closed when nobody takes more."""
    taking, arrived = asyncio.get_running_loop(), asyncio.Queue[T | None]()

    def give(value: T | None) -> None:
        with suppress(RuntimeError):  # the loop of whoever took it is closed
            taking.call_soon_threadsafe(arrived.put_nowait, value)

    async def pump() -> None:
        try:
            async with aclosing(source()) as values:
                async for value in values:
                    give(value)
        finally:
            give(None)

    pumping = background().submit(pump())
    try:
        while (value := await arrived.get()) is not None:
            yield value
        await asyncio.wrap_future(pumping)
    finally:
        pumping.cancel()
