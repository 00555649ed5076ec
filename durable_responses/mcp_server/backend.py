"""Temporal for the tools: the configured server, or the embedded stack, which is started when it is needed."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

from temporalio.client import Client

from durable_responses.connection import connect, temporal_address
from durable_responses.embedded import ensure_running, jobs_here, note_use, running_project, running_stack
from durable_responses.jobs.jobs import Jobs
from durable_responses.settings import Settings, SetupError, configured_address

logger = logging.getLogger("durable_responses.mcp_server")

T = TypeVar("T")

_FRESH_SECONDS = 5.0
_PATIENCE = 40.0  # clients give up after 60 s


class StillStarting(SetupError):
    """What the jobs need is still being started."""


class Renewed(Generic[T]):
    """The outcome of some work, valid for so many seconds; callers in the meantime wait for the same work."""

    def __init__(self, work: Callable[[], Awaitable[T]], *, fresh: float) -> None:
        self._work = work
        self._fresh = fresh
        self._task: asyncio.Task[T] | None = None
        self._done_at = 0.0

    @property
    def known(self) -> T | None:
        """The last outcome of the work; None if it was not done, is being done, or failed."""
        task = self._task
        succeeded = task is not None and task.done() and not task.cancelled() and task.exception() is None
        return task.result() if task and succeeded else None

    def begin(self) -> "asyncio.Task[T]":
        """The work, under way or fresh."""
        if self._task is None or (self._task.done() and not self._is_fresh()):
            self._task = asyncio.ensure_future(self._do())
            self._task.add_done_callback(_tell_failure)
        return self._task

    async def give_up(self) -> None:
        """Stop the work that is under way."""
        if self._task and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    def _is_fresh(self) -> bool:
        return self.known is not None and time.monotonic() - self._done_at < self._fresh

    async def _do(self) -> T:
        outcome = await self._work()
        self._done_at = time.monotonic()
        return outcome


class Backend:
    """Where the jobs are. An async context manager: it looks for what is needed, or starts it, right away."""

    def __init__(self, settings: Settings, *, patience: float = _PATIENCE) -> None:
        self._settings = settings
        self._patience = patience
        self._last_word = ""
        self._address: str | None = None
        self._client: Client | None = None
        self._with_worker = Renewed(self._start_what_is_missing, fresh=_FRESH_SECONDS)
        self._connected = Renewed(self._find, fresh=_FRESH_SECONDS)

    async def __aenter__(self) -> Self:
        self._connected.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._with_worker.give_up()
        await self._connected.give_up()

    @property
    def ready(self) -> Jobs | None:
        """The jobs, if they are available without waiting."""
        return self._connected.known

    async def to_start(self, *, patience: float = math.inf) -> Jobs:
        """The jobs, with a worker to run them; `patience`: seconds, if less than usual. Raises `SetupError`."""
        return await self._within_patience(self._with_worker, patience)

    async def to_read(self) -> Jobs:
        """The jobs. A configured Temporal may have no worker, the embedded one has. Raises `SetupError`."""
        return await self._within_patience(self._connected)

    async def _within_patience(self, wanted: "Renewed[Jobs]", patience: float = math.inf) -> Jobs:
        task = wanted.begin()
        await asyncio.wait({task}, timeout=max(0.0, min(patience, self._patience)))
        if not task.done():
            raise StillStarting(
                f"Temporal and a worker are still being started ({self._last_word or 'not there yet'}): "
                "call again in a minute. Earlier jobs are safe."
            )
        return task.result()

    async def _start_what_is_missing(self) -> Jobs:
        await ensure_running(self._settings, self._say)
        return await self._connect()

    async def _find(self) -> Jobs:
        # Looking at jobs is no reason to start a worker for somebody's server, nor to restart one that is up, even if
        # its settings are not ours.
        note_use(self._settings)
        stack = running_stack(self._settings)
        if configured_address() or (stack and stack.is_ready and running_project(self._settings)):
            return await self._connect()
        return await asyncio.shield(self._with_worker.begin())

    async def _connect(self) -> Jobs:
        address = temporal_address(self._settings)
        if self._client is None or address != self._address:
            self._client, self._address = await connect(self._settings), address
        return await jobs_here(self._client, self._settings)

    def _say(self, line: str) -> None:
        self._last_word = line.rstrip(".")
        logger.info("%s", line)


def _tell_failure(task: "asyncio.Task[T]") -> None:
    # Read here, because possibly nobody waits for it.
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("%s", error)
