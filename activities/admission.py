"""Bounded concurrency: a create starts only while fewer than N responses are in flight here.

What counts is either a permit of a create that runs (or is being polled for), or the id of a response that was created
here and is not known to be finished. An id is never dropped by age: the wait ends it, or a GET of our own does. The ids
are kept in a small file, otherwise a restarted worker would allow up to 2 N.
"""

import asyncio
import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import (
    CustomSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
)

from durable_responses.activities.clocks import Clock, steady
from durable_responses.activities.orphans import RunAtTemporal, end
from durable_responses.activities.polling import Waiters
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import NoSuchEndpoint, NotFound, ResponsesError
from durable_responses.responses_api.models import Response

logger = logging.getLogger(__name__)

_LOOK_AGAIN = 0.02  # seconds

_MOST_LINES = 10_000  # of the file beyond what is in flight


class IdFile:
    """Response ids on disk, as a log of `+id` and `-id` lines, rewritten when it is opened and when it has grown long.

    Each worker process of one state folder holds a file of its own, locked for as long as it lives; a restarted worker
    takes over the file of one that died.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        file.seek(0)
        ids: dict[str, None] = {}
        for line in file.read().splitlines():
            sign, response_id = line[:1], line[1:]
            if sign == "+":
                ids[response_id] = None
            elif sign == "-":
                ids.pop(response_id, None)
        self._ids = ids
        self._rewrite()

    @classmethod
    @contextmanager
    def claim(cls, folder: Path) -> Iterator[Self]:
        """Open the first file of the folder that no other process holds, and hold it."""
        with _lock_one(folder) as file:
            yield cls(file)

    @property
    def ids(self) -> list[str]:
        """The ids that came and did not go, oldest first."""
        return list(self._ids)

    def append(self, sign: str, response_id: str) -> None:
        """Record that an id came (`+`) or went (`-`)."""
        if sign == "+":
            self._ids[response_id] = None
        else:
            self._ids.pop(response_id, None)
        self._file.write(f"{sign}{response_id}\n")
        self._file.flush()
        self._lines += 1
        if self._lines > _MOST_LINES + 2 * len(self._ids):
            self._rewrite()

    def _rewrite(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.writelines(f"+{response_id}\n" for response_id in self._ids)
        self._file.flush()
        self._lines = len(self._ids)


def _lock_one(folder: Path) -> IO[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(10_000):
        file = (folder / f"responses-in-flight-{number}").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
        else:
            return file
    raise RuntimeError(f"{folder} holds 10,000 locked files; give this worker a state folder of its own.")


class ResponsesInFlight:
    """Counts the permits and the responses of one worker against its limit. Safe to use from any thread."""

    def __init__(self, limit: int, file: IdFile | None = None) -> None:
        self.limit = limit
        self._file = file
        self._ids: set[str] = set(file.ids) if file else set()
        self._permits = 0
        self._polls = 0
        self._lock = threading.Lock()
        self._room: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def ids(self) -> list[str]:
        """The responses created here that are not known to be finished."""
        with self._lock:
            return list(self._ids)

    def __len__(self) -> int:
        """Responses and creates under way; a permit whose create has not come yet does not count."""
        with self._lock:
            return self._permits - self._polls + len(self._ids)

    @property
    def polls(self) -> int:
        """How many of the permits are held by polls for a create that has not come yet."""
        with self._lock:
            return self._polls

    def polling(self, change: int) -> None:
        """So many more (or less) of the permits are held by polls for a create that has not come yet."""
        with self._lock:
            self._polls += change

    def started(self, response_id: str) -> None:
        """A response was created here."""
        with self._lock:
            if response_id not in self._ids:
                self._ids.add(response_id)
                self._log("+", response_id)

    def ended(self, response_id: str) -> None:
        """A response is known to be finished; one that was not created here does not matter."""
        with self._lock:
            if response_id in self._ids:
                self._ids.remove(response_id)
                self._log("-", response_id)
        self._tell()

    @property
    def room(self) -> int:
        """How many permits could be taken now."""
        with self._lock:
            return max(0, self.limit - self._permits - len(self._ids))

    def try_permit(self) -> bool:
        """Take a permit if there is room."""
        with self._lock:
            if self._permits + len(self._ids) >= self.limit:
                return False
            self._permits += 1
            return True

    def take_permit(self) -> None:
        """Take a permit whether or not there is room: for a response that is in flight already."""
        with self._lock:
            self._permits += 1

    async def permit(self) -> None:
        """Take a permit, waiting for room."""
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event)
        with self._lock:
            self._room.append(entry)
        try:
            while not self.try_permit():
                await event.wait()
                event.clear()
        finally:
            with self._lock:
                self._room.remove(entry)

    def give_back(self) -> None:
        """Give a permit back."""
        with self._lock:
            self._permits -= 1
        self._tell()

    def _log(self, sign: str, response_id: str) -> None:
        if self._file is None:
            return
        try:
            self._file.append(sign, response_id)
        except OSError as error:  # a full disk must not stop the runs; only a restart would count too few
            logger.warning("The ids of responses in flight could not be written: %s", error)

    def _tell(self) -> None:
        with self._lock:
            waiting = list(self._room)
        for loop, event in waiting:
            _call_soon(loop, event.set)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # that loop is closed, and with it whoever waited
        logger.debug("A waiter for a create slot is gone.")


MOST_POLLERS = 5
_STILL_WAITED_FOR = 1.0  # seconds


class AdmissionSlots(CustomSlotSupplier):
    """The activity slots of a worker on a queue whose work is admitted within a count, such as the create queue.

    `pollers`: how many polls the worker keeps open. Each holds a permit, so they are few where few are allowed: what
    is started eagerly finds room, too. `now`: seconds, for what is known of the work that waits.
    """

    def __init__(self, in_flight: ResponsesInFlight, now: Clock = steady) -> None:
        self.in_flight = in_flight
        self.pollers = max(1, min(MOST_POLLERS, in_flight.limit // 4))
        self._now = now
        self._closed = False
        self._lock = threading.Lock()
        self._waiting = 0
        self._waited_at = float("-inf")

    @property
    def somebody_waits(self) -> bool:
        """Whether work may wait in the queue: there was no room for a poll just now, or what came had waited."""
        with self._lock:
            return self._waiting > 0 or self._now() - self._waited_at < _STILL_WAITED_FOR

    def has_idle_room(self, before: int = 0) -> bool:
        """Whether work may pass the queue by, after so much other work: all polls are open, and nothing waits there."""
        if self._closed or self.somebody_waits:
            return False
        return self.in_flight.polls >= self.pollers and self.in_flight.room > before

    def had_waited(self) -> None:
        """What came through the queue had waited there, so more may wait."""
        with self._lock:
            self._waited_at = self._now()

    async def close(self, patience: float) -> None:
        """Give out no more slots, and wait until no poll for a create is open; at most `patience` seconds.

        A create that the server hands out while its poll is being cut off is lost with it: it is stuck until its
        heartbeats are missed, and then nobody knows that it was never sent.
        """
        with self._lock:
            self._closed = True
        give_up = time.monotonic() + patience
        while self.in_flight.polls and time.monotonic() < give_up:  # noqa: ASYNC110 counted from threads of the SDK
            await asyncio.sleep(_LOOK_AGAIN)

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:  # noqa: ARG002
        """Wait for room."""
        if not self.in_flight.try_permit():
            await self._wait_for_room()
        if not self._begin_poll():
            self.in_flight.give_back()
            await asyncio.Future()  # until the SDK cancels it
        return SlotPermit()

    async def _wait_for_room(self) -> None:
        with self._lock:
            self._waiting += 1
        try:
            await self.in_flight.permit()
        finally:
            with self._lock:
                self._waiting -= 1
                self._waited_at = self._now()

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:  # noqa: ARG002
        """A slot for a create that is started eagerly, if there is room."""
        if not self.in_flight.try_permit():
            return None
        if self._begin_poll():
            return SlotPermit()
        self.in_flight.give_back()
        return None

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:  # noqa: ARG002
        """A create has come. Its permit counts from its reservation."""
        self._end_poll()

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """The create is over; if it brought a response, its id counts from now on."""
        if ctx.slot_info is None:  # none has come
            self._end_poll()
        self.in_flight.give_back()

    def _begin_poll(self) -> bool:
        with self._lock:
            if self._closed:
                return False
            self.in_flight.polling(+1)
        return True

    def _end_poll(self) -> None:
        self.in_flight.polling(-1)


# --- responses that nobody here waits for ------------------------------------------------------------------------


async def sweep(
    client: ResponsesClient,
    in_flight: ResponsesInFlight,
    waiters: Waiters,
    temporal: Client | None = None,
    *,
    every: float = 5.0,
) -> None:
    """Every few seconds, GET the responses in flight that nothing here waits for. Runs until cancelled.

    One whose run was terminated before anything waited for it is cancelled, if `temporal` is given to ask.
    """
    while True:
        for response_id in in_flight.ids:
            if response_id not in waiters and await _has_ended(client, response_id, temporal):
                in_flight.ended(response_id)
        await asyncio.sleep(every)


async def _has_ended(client: ResponsesClient, response_id: str, temporal: Client | None) -> bool:
    try:
        response = (await client.retrieve(response_id)).response
        if not response.is_finished and temporal is not None and await _is_orphan(response, temporal):
            await end(client, response_id)
            return False  # the next GET shows it
        return response.is_finished
    except (NotFound, NoSuchEndpoint):  # a server that cannot be asked would hold its slots for ever
        return True
    except (ResponsesError, RPCError) as error:
        logger.info("Whether %s has ended is not known: %s", response_id, error)
        return False


async def _is_orphan(response: Response, temporal: Client) -> bool:
    told = response.metadata or {}
    workflow_id, run_id = told.get("workflow_id"), told.get("run_id")
    if not isinstance(workflow_id, str) or not isinstance(run_id, str):
        return False
    return await RunAtTemporal(temporal, workflow_id, run_id).was_ended_without(response.id)
