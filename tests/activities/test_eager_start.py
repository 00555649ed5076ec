"""What may be started eagerly, on the queue of its run, within the count of its own queue."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.worker import SlotMarkUsedContext, SlotReleaseContext, SlotReserveContext

from durable_responses.activities.admission import AdmissionSlots, ResponsesInFlight
from durable_responses.activities.eager_start import EagerStart, RunQueueSlots
from durable_responses.activities.messages import FailureType
from tests.support.attempts import Attempt

RUNS, OTHER = "agents", "agents-create"
ASKED = cast(SlotReserveContext, None)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Place:
    """A worker that may have four responses in flight, whose one poll is open."""

    def __init__(self, limit: int = 4, *, is_served: bool = True) -> None:
        self.clock = Clock()
        self.in_flight = ResponsesInFlight(limit)
        self.slots = AdmissionSlots(self.in_flight, self.clock)
        self.apart = False
        self.eager = EagerStart(RUNS, self.slots, is_served, lambda: self.apart)
        self.poll()

    def poll(self) -> None:
        assert self.slots.try_reserve_slot(ASKED) is not None

    def take_all(self) -> None:
        while self.in_flight.try_permit():
            pass


def on(queue: str) -> Attempt:
    attempt = Attempt()
    attempt.info = replace(attempt.info, task_queue=queue)
    return attempt


def admitted(place: Place, queue: str = RUNS, *, in_flight_already: bool = False) -> int:
    """How many permits are left inside."""

    def inside() -> int:
        with place.eager.admitted(in_flight_already=in_flight_already):
            return place.in_flight.room

    return on(queue).run(inside)


# --- at the decision ---------------------------------------------------------------------------------------------


def test_it_is_possible_while_all_polls_are_open_and_there_is_room() -> None:
    assert Place().eager.is_possible()


@pytest.mark.parametrize(
    "hinder",
    [
        lambda place: setattr(place, "apart", True),
        lambda place: place.take_all(),
        lambda place: place.slots.had_waited(),
        lambda place: place.slots.mark_slot_used(cast(SlotMarkUsedContext, None)),
    ],
    ids=["a rate limit", "no room", "what came had waited", "its poll has just brought something"],
)
def test_it_is_not_possible_where_it_would_pass_by_who_waits_or_exceed_the_count(
    hinder: Callable[[Place], None],
) -> None:
    place = Place()
    hinder(place)
    assert not place.eager.is_possible()


def test_it_is_not_possible_in_a_worker_that_does_not_serve_both_queues() -> None:
    assert not Place(is_served=False).eager.is_possible()


def test_as_much_is_possible_at_once_as_there_is_room_for() -> None:
    eager = Place().eager
    assert [eager.is_possible(before) for before in range(4)] == [True, True, True, False]


def test_one_workflow_task_starts_no_more_than_twenty() -> None:
    eager = Place(100).eager
    place = Place(100)
    for _ in range(place.slots.pollers - 1):
        place.poll()
    eager = place.eager
    assert [eager.is_possible(before) for before in (0, 19, 20)] == [True, True, False]


async def test_who_waited_for_room_is_let_in_first() -> None:
    """Also a second later: more may wait at the server."""
    place = Place()
    place.take_all()
    polling = asyncio.create_task(place.slots.reserve_slot(ASKED))
    await asyncio.sleep(0)
    place.in_flight.give_back()
    assert not place.eager.is_possible()
    await polling
    place.in_flight.give_back()
    assert not place.eager.is_possible()
    place.clock.now += 1.1
    assert place.eager.is_possible()


@pytest.mark.parametrize(("limit", "pollers"), [(1, 1), (4, 1), (8, 2), (20, 5), (100, 5)])
def test_polls_leave_room_for_what_is_started_eagerly(limit: int, pollers: int) -> None:
    assert AdmissionSlots(ResponsesInFlight(limit)).pollers == pollers


# --- inside the activity -----------------------------------------------------------------------------------------


def test_it_counts_while_it_runs() -> None:
    place = Place()
    assert (admitted(place), place.in_flight.room) == (2, 3)


def test_on_its_own_queue_its_slot_counts_already() -> None:
    place = Place()
    place.take_all()
    assert admitted(place, OTHER) == 0


@pytest.mark.parametrize("place", [Place(1), Place(is_served=False)], ids=["no room", "not served here"])
def test_where_there_is_no_room_it_is_moved(place: Place) -> None:
    with pytest.raises(ApplicationError) as caught:
        admitted(place)
    assert (caught.value.type, caught.value.non_retryable) == (FailureType.MOVED, True)


def test_a_response_that_is_in_flight_already_is_followed_without_room() -> None:
    """An earlier attempt has created it: that must not be forgotten."""
    place = Place(1)
    assert admitted(place, in_flight_already=True) == 0
    assert not place.in_flight.try_permit()


# --- the slots of the runs' queue --------------------------------------------------------------------------------


def released(permit: Any) -> SlotReleaseContext:
    return SlotReleaseContext(slot_info=None, permit=permit)


class Used:
    """What the SDK tells of a slot that is used now."""

    def __init__(self, permit: Any) -> None:
        self.permit = permit


async def test_after_the_close_nothing_is_started_eagerly_while_polls_go_on() -> None:
    slots = RunQueueSlots(2)
    await slots.close(patience=0)
    assert slots.try_reserve_slot(ASKED) is None
    assert await asyncio.wait_for(slots.reserve_slot(ASKED), 2)


@pytest.mark.parametrize("comes", [True, False])
async def test_the_close_waits_for_what_may_still_be_handed_over(*, comes: bool) -> None:
    slots = RunQueueSlots(2)
    permit = slots.try_reserve_slot(ASKED)
    closing = asyncio.create_task(slots.close(patience=60))
    done, _ = await asyncio.wait((closing,), timeout=0.05)
    assert not done
    if comes:
        slots.mark_slot_used(cast(SlotMarkUsedContext, Used(permit)))
    else:
        slots.release_slot(released(permit))
    await asyncio.wait_for(closing, 2)


async def test_the_slots_have_a_limit() -> None:
    slots = RunQueueSlots(1)
    permit = slots.try_reserve_slot(ASKED)
    assert slots.try_reserve_slot(ASKED) is None
    slots.release_slot(released(permit))
    assert slots.try_reserve_slot(ASKED) is not None
