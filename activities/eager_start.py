"""Work that is started eagerly: on the queue of its run, by the worker that has just decided the run's next step.

Temporal hands such an activity over in its answer to the workflow task, so that it needs no poll and nobody has to
find a worker for it. But whoever gives out the slots of a queue is not told what for. So what may be admitted within a
count only takes its permit inside the activity, or is moved to the queue that is admitted so; and it passes that queue
by only while nothing can be waiting there. A rate limit of that queue would not hold, and a machine that serves that
queue alone would be left without work: then it is not done.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from temporalio import activity
from temporalio.worker import (
    ActivityInboundInterceptor,
    CustomSlotSupplier,
    ExecuteActivityInput,
    Interceptor,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
)

from durable_responses.activities.admission import AdmissionSlots, ResponsesInFlight
from durable_responses.activities.failures import moved

MOST_AT_ONCE = 20
"""How many activities one workflow task may start eagerly."""

_LONG_IN_A_QUEUE = 0.5  # seconds; a poll that is open is given work within milliseconds
_LOOK_AGAIN = 0.02


@dataclass
class EagerStart:
    """What one kind of work needs to be started eagerly within the count of `slots`, those of its own queue.

    `queue`: that of the runs. `is_served`: whether this worker serves both. `is_apart`: whether something speaks
    against it now.
    """

    queue: str
    slots: AdmissionSlots
    is_served: bool
    is_apart: Callable[[], bool]

    def is_possible(self, before: int = 0) -> bool:
        """Whether it may be scheduled on the queue of its run, after so much other work at the same moment."""
        return self.is_served and before < MOST_AT_ONCE and not self.is_apart() and self.slots.has_idle_room(before)

    @property
    def is_here(self) -> bool:
        """Whether this activity is where its work is served, if there is room; asked inside of it."""
        return self.is_served or not self._is_eager

    @property
    def _is_eager(self) -> bool:
        return activity.info().task_queue == self.queue

    @contextmanager
    def admitted(self, *, in_flight_already: bool = False) -> Iterator[None]:
        """While inside, count what this activity does. Raises `ApplicationError` of type `moved` if there is no room.

        On its own queue the slot is that permit. An activity that may have sent something must not ask: what it knows
        would be lost. `in_flight_already`: it follows a response that is counted whether or not there is room.
        """
        if not self._is_eager:
            yield
            return
        if in_flight_already:
            self.slots.in_flight.take_permit()
        elif not self.is_served or self.slots.somebody_waits or not self.slots.in_flight.try_permit():
            raise moved()
        try:
            yield
        finally:
            self.slots.in_flight.give_back()


class _EagerPermit(SlotPermit):
    is_used = False


class RunQueueSlots(CustomSlotSupplier):
    """The activity slots of a worker on the queue of the runs; `limit`: of them all, eager ones and others."""

    def __init__(self, limit: int) -> None:
        self._slots = ResponsesInFlight(limit)
        self._lock = threading.Lock()
        self._expected = 0
        self._closed = False

    async def close(self, patience: float) -> None:
        """Start nothing eagerly any more, and wait until nothing that was asked for can come; at most so many seconds.

        What the server hands over with its answer to a worker that has stopped is lost until its heartbeats are missed.
        """
        with self._lock:
            self._closed = True
        give_up = time.monotonic() + patience
        while self._expected and time.monotonic() < give_up:  # noqa: ASYNC110 counted from threads of the SDK
            await asyncio.sleep(_LOOK_AGAIN)

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:  # noqa: ARG002
        """Wait for room."""
        await self._slots.permit()
        return SlotPermit()

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:  # noqa: ARG002
        """A slot for what is to be started eagerly."""
        with self._lock:
            if self._closed or not self._slots.try_permit():
                return None
            self._expected += 1
            return _EagerPermit()

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """It has come."""
        self._no_longer_expected(ctx.permit)

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """It is over, or has not come."""
        self._no_longer_expected(ctx.permit)
        self._slots.give_back()

    def _no_longer_expected(self, permit: SlotPermit) -> None:
        if isinstance(permit, _EagerPermit) and not permit.is_used:
            permit.is_used = True
            with self._lock:
                self._expected -= 1


class NoticesBacklog(Interceptor):
    """Notices work that had to wait in the queue of these slots."""

    def __init__(self, slots: AdmissionSlots) -> None:
        self._slots = slots

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 the SDK's
        """As the SDK asks for it."""
        return _Waited(next, self._slots)


class _Waited(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, slots: AdmissionSlots) -> None:  # noqa: A002
        super().__init__(next)
        self._slots = slots

    async def execute_activity(self, input: ExecuteActivityInput) -> object:  # noqa: A002 the SDK's
        info = activity.info()
        if (info.started_time - info.current_attempt_scheduled_time).total_seconds() > _LONG_IN_A_QUEUE:
            self._slots.had_waited()
        return await super().execute_activity(input)
